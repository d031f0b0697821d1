//! A batch while it is filled: records go behind the room for the header, in the order in which they get their LSN.

use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::extent::{self, Extent, ExtentKind};
use crate::format::batch::{self, BATCH_HEADER_BYTES, BatchFacts, BatchHeader, OwedRun};
use crate::format::checksum::checksum;
use crate::format::control::{Accepted, Control};
use crate::format::message::MessageParts;
use crate::format::record::{RECORD_HEADER_BYTES, RecordHeader, RecordKind};
use crate::ids::{Lsn, SetId};
use crate::limits::{BATCH_RECORD_BYTES_MAX, EXTENTS_MAX};

/// What is known of a batch that was filled and sealed.
#[derive(Clone, Debug)]
pub struct SealedBatch {
    /// Its header, as it stands in the buffer.
    pub header: BatchHeader,
    /// Its records.
    pub extents: Vec<Extent>,
}

/// The filling of one batch. The buffer belongs to the caller and is handed in each time.
#[derive(Debug)]
pub struct BatchBuilder {
    first: Lsn,
    next: Lsn,
    used: usize,
    /// The header's checksum of each record: what the batch's own header covers of them. To checksum them together, once,
    /// costs a hundredth of doing so one by one under the lock.
    header_crcs: Vec<U32>,
    extents: Vec<Extent>,
}

impl BatchBuilder {
    /// An empty batch whose first record will be `first`.
    #[must_use]
    pub fn new(first: Lsn) -> BatchBuilder {
        BatchBuilder {
            first,
            next: first,
            used: BATCH_HEADER_BYTES,
            header_crcs: Vec::with_capacity(64),
            extents: Vec::with_capacity(64),
        }
    }

    /// Whether `count` more records of `bytes` in all fit.
    #[must_use]
    #[inline]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used - BATCH_HEADER_BYTES + bytes <= BATCH_RECORD_BYTES_MAX
            && self.extents.len() + 2 <= EXTENTS_MAX
    }

    /// Whether `count` more records fit, each of them owed to others than its neighbours.
    #[must_use]
    pub fn has_room_for_extents(&self, count: usize) -> bool {
        self.extents.len() + count + 2 <= EXTENTS_MAX
    }

    /// Whether nothing is in it yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next == self.first
    }

    /// The LSN that the next record gets.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.next
    }

    /// Bytes of records so far.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.used - BATCH_HEADER_BYTES
    }

    /// Adds a message, whose checksum was computed before the caller took the lock.
    #[inline]
    pub fn push_message(
        &mut self,
        buffer: &mut [u8],
        parts: &MessageParts<'_>,
        flags: u8,
        set: SetId,
    ) -> Lsn {
        let length = parts.body_bytes();
        let header = RecordHeader::new(self.next, RecordKind::Message, flags, length, parts.crc());
        let mut at = self.put_header(buffer, &header, ExtentKind::Messages(set));
        for piece in parts.pieces() {
            buffer[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        self.took_one()
    }

    /// Adds a record of any other kind.
    pub fn push_record(&mut self, buffer: &mut [u8], kind: RecordKind, body: &[u8]) -> Lsn {
        assert!(kind != RecordKind::Message);
        let header = RecordHeader::new(self.next, kind, 0, body.len(), checksum(body));
        let at = self.put_header(buffer, &header, ExtentKind::Control);
        buffer[at..at + body.len()].copy_from_slice(body);
        self.took_one()
    }

    /// Adds a control record.
    pub fn push_control(&mut self, buffer: &mut [u8], control: &Control) -> Lsn {
        self.push_record(buffer, control.kind(), &control.encode())
    }

    /// Adds a run of a peer's records, verified, under its header. Returns the LSN of the last one.
    pub fn push_run(&mut self, buffer: &mut [u8], accepted: &Accepted, records: &[u8]) -> Lsn {
        assert!(accepted.count > 0 && accepted.bytes as usize == records.len());
        self.push_record(buffer, RecordKind::Accepted, &accepted.encode());
        let at = self.used;
        buffer[at..at + records.len()].copy_from_slice(records);
        batch::header_crcs(records, &mut self.header_crcs);
        // One extent whatever its size: a run is bounded, and what is cut on the way to handlers is cut by walking.
        self.extents.push(Extent {
            first: self.next,
            count: accepted.count,
            kind: ExtentKind::Foreign,
            offset: at as u32,
            bytes: accepted.bytes,
        });
        self.used += records.len();
        self.next = self.next.plus(u64::from(accepted.count));
        Lsn(self.next.0 - 1)
    }

    #[inline]
    fn put_header(&mut self, buffer: &mut [u8], header: &RecordHeader, kind: ExtentKind) -> usize {
        let bytes = header.record_bytes();
        assert!(self.has_room(bytes), "the caller asks for room first");
        let at = self.used;
        buffer[at..at + RECORD_HEADER_BYTES].copy_from_slice(header.as_bytes());
        self.header_crcs.push(header.header_crc);
        extent::extend(&mut self.extents, kind, self.next, at as u32, 1, bytes as u32);
        self.used += bytes;
        at + RECORD_HEADER_BYTES
    }

    #[inline]
    fn took_one(&mut self) -> Lsn {
        let lsn = self.next;
        self.next = lsn.plus(1);
        lsn
    }

    /// Makes the batch whole. `owed` is room that the caller keeps from batch to batch.
    #[must_use]
    pub fn seal(self, buffer: &mut [u8], owed: &mut Vec<OwedRun>, facts: &BatchFacts) -> SealedBatch {
        extent::owed_runs(&self.extents, owed);
        let count = self.next.since(self.first) as u32;
        let (bytes, crc) = (self.record_bytes(), checksum(self.header_crcs.as_bytes()));
        let header = batch::seal_counted(buffer, bytes, crc, self.first, count, owed, facts);
        SealedBatch { header, extents: self.extents }
    }
}

#[cfg(test)]
mod tests {
    use super::super::extent::extents_of;
    use super::*;
    use crate::format::batch::BatchView;
    use crate::format::message::MessageHead;
    use crate::format::record;
    use crate::ids::{BatchNumber, Epoch, Incarnation, PeerSlot, Position, SegmentNumber, StreamId};
    use crate::limits::BATCH_BYTES_MAX;
    use crate::time::Wall;

    fn facts() -> BatchFacts {
        BatchFacts {
            log_id: 1,
            epoch: Epoch(1),
            nonce: 1,
            batch_number: BatchNumber(1),
            durable_batch: BatchNumber(0),
            segment: SegmentNumber(1),
            previous_header_crc: 0,
            closing: false,
        }
    }

    fn push(builder: &mut BatchBuilder, buffer: &mut [u8], payload: &[u8], set: u32) {
        let head = MessageHead::with_topics(Wall(1), ["t"]).unwrap();
        builder.push_message(buffer, &MessageParts::new(&head, payload).unwrap(), 0, SetId(set));
    }

    fn filled() -> (Vec<u8>, SealedBatch) {
        let mut buffer = vec![0; BATCH_BYTES_MAX];
        let mut builder = BatchBuilder::new(Lsn(5));
        push(&mut builder, &mut buffer, b"one", 1);
        push(&mut builder, &mut buffer, b"two", 1);
        builder.push_control(&mut buffer, &Control::CheckpointEnd);
        let mut records = Vec::new();
        record::append(&mut records, Lsn(90), RecordKind::Message, 0, b"x");
        record::append(&mut records, Lsn(91), RecordKind::Message, 0, b"y");
        let accepted = Accepted {
            slot: PeerSlot(1),
            incarnation: Incarnation(1),
            stream: StreamId(1),
            first_position: Position(1),
            count: 2,
            bytes: records.len() as u32,
            last_lsn: Lsn(91),
        };
        assert_eq!(builder.push_run(&mut buffer, &accepted, &records), Lsn(10));
        push(&mut builder, &mut buffer, b"three", 2);
        builder.push_control(&mut buffer, &Control::CheckpointEnd);
        let sealed = builder.seal(&mut buffer, &mut Vec::new(), &facts());
        (buffer, sealed)
    }

    #[test]
    fn extents_read_back_are_the_extents_that_were_written() {
        let (buffer, sealed) = filled();
        let view = BatchView::parse_verified(&buffer).unwrap();
        let mut read = Vec::new();
        extents_of(&view, 0, &mut read).unwrap();
        assert_eq!(read, sealed.extents);
        assert_eq!(
            read.iter().map(|e| e.kind).collect::<Vec<_>>(),
            [
                ExtentKind::Messages(SetId(1)),
                ExtentKind::Control,
                ExtentKind::Foreign,
                ExtentKind::Messages(SetId(2)),
                ExtentKind::Control,
            ]
        );
    }

    #[test]
    fn neighbours_of_one_set_are_one_run_of_the_trailer_and_what_nobody_is_owed_at_the_end_is_none() {
        let (buffer, _) = filled();
        let view = BatchView::parse_verified(&buffer).unwrap();
        let runs: Vec<_> = view.owed.iter().map(|run| (run.count.get(), run.set.get())).collect();
        assert_eq!(runs, [(2, 1), (4, 0), (1, 2)]);
    }

    #[test]
    fn an_extent_ends_where_a_stream_may_be_cut() {
        let mut buffer = vec![0; BATCH_BYTES_MAX];
        let mut builder = BatchBuilder::new(Lsn(1));
        while builder.has_room(10_100) {
            push(&mut builder, &mut buffer, &[7; 10_000], 1);
        }
        assert!(builder.extents.len() > 10);
        assert!(builder.extents.iter().all(|e| e.bytes <= crate::limits::EXTENT_BYTES));
    }
}
