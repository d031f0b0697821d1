//! The oldest segment while it is looked through: what it holds that is still so is written again.

use bytes::Bytes;

use super::contents::{Contents, EntryDefect};
use crate::format::entry::Entry;
use crate::format::record::{RECORD_HEADER_BYTES, RecordKind, Records};
use crate::ids::Lsn;
use crate::limits::CARRY_BYTES_PER_BATCH;
use crate::log::batch_builder::BatchBuilder;
use crate::log::chunk::{Chunk, ChunkDefect};
use crate::log::index::{LogIndex, Span};

/// Records that are looked at before others get the lock again.
const LOOKED_AT_MAX: u64 = 4096;

/// One passage through the oldest segment.
#[derive(Debug)]
pub struct Compaction {
    /// The first record after the segment.
    end: Lsn,
    /// The first that was not looked at yet.
    next: Lsn,
    /// A piece of the segment, read back.
    chunk: Option<Chunk>,
    is_reading: bool,
    /// All was looked at; what was known then is in records up to this one.
    until: Option<Lsn>,
}

impl Compaction {
    /// Of the segment with the records from `first` to before `end`.
    pub(super) fn new(first: Lsn, end: Lsn) -> Compaction {
        let until = (first >= end).then_some(end);
        Compaction { end, next: first, chunk: None, is_reading: false, until }
    }

    /// Whether a piece is there that was not looked at yet.
    pub(super) fn can_stage(&self) -> bool {
        self.chunk.is_some()
    }

    /// Whether nothing of the segment is wanted any more: what is still so was written again, and that, and all that made the
    /// rest be no longer so, is durable.
    pub(super) fn is_over(&self, durable: Lsn) -> bool {
        self.until.is_some_and(|until| until <= durable)
    }

    /// The piece that is to be read next.
    pub(super) fn poll_read(&mut self, index: &LogIndex, durable: Lsn) -> Option<Span> {
        if self.is_reading || self.chunk.is_some() || self.until.is_some() {
            return None;
        }
        self.is_reading = true;
        Some(index.span(self.next, durable))
    }

    /// A piece was read.
    pub(super) fn handle_read(&mut self, span: &Span, bytes: Bytes) -> Result<(), ChunkDefect> {
        self.is_reading = false;
        self.chunk = Some(Chunk::read_back(bytes, span.first)?);
        Ok(())
    }

    /// Writes again what is still so, some with each batch.
    pub(super) fn stage<C: Contents>(
        &mut self,
        builder: &mut BatchBuilder,
        buffer: &mut [u8],
        contents: &mut C,
    ) -> Result<(), EntryDefect> {
        let Some(chunk) = &self.chunk else { return Ok(()) };
        let chunk_end = chunk.end().min(self.end);
        let slices = chunk.slice(self.next, LOOKED_AT_MAX.min(chunk_end.since(self.next)), usize::MAX);
        let mut copied = 0;
        for record in slices.pieces.iter().flat_map(|piece| Records::new(piece)) {
            let lsn = self.next;
            let record = record.map_err(|defect| EntryDefect::Record { lsn, defect })?;
            let entry = Entry::decode(record.body).map_err(|defect| EntryDefect::Body { lsn, defect })?;
            if contents.is_live(lsn, &entry) {
                let bytes = RECORD_HEADER_BYTES + record.body.len();
                if copied + bytes > CARRY_BYTES_PER_BATCH && copied > 0 || !builder.has_room(bytes) {
                    return Ok(());
                }
                let copy = builder.push_record(buffer, RecordKind::Entry, record.body);
                contents.apply(copy, &entry)?;
                copied += bytes;
            }
            self.next = lsn.plus(1);
        }
        if self.next == chunk_end {
            self.chunk = None;
        }
        if self.next == self.end {
            self.until = Some(Lsn(builder.next_lsn().0 - 1));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::map::MapContents;
    use super::*;
    use crate::format::batch::BatchFacts;
    use crate::ids::{BatchNumber, Epoch, SegmentNumber};
    use crate::limits::BATCH_BYTES_MAX;

    const SET: Entry<'static> = Entry::Set { key: b"key", value: b"value" };

    fn push(builder: &mut BatchBuilder, buffer: &mut [u8], map: &mut MapContents, entry: &Entry<'_>) {
        let lsn = builder.push_record(buffer, RecordKind::Entry, &entry.encode());
        map.apply(lsn, entry).unwrap();
    }

    /// A segment that holds a key and another, read back, and the map of it.
    fn segment() -> (Compaction, MapContents) {
        let (mut builder, mut buffer) = (BatchBuilder::new(Lsn(1)), vec![0; BATCH_BYTES_MAX]);
        let mut map = MapContents::default();
        push(&mut builder, &mut buffer, &mut map, &SET);
        push(&mut builder, &mut buffer, &mut map, &Entry::Set { key: b"other", value: b"value" });
        let facts = BatchFacts {
            log_id: 1,
            epoch: Epoch(1),
            nonce: 1,
            batch_number: BatchNumber(1),
            durable_batch: BatchNumber(0),
            segment: SegmentNumber(1),
            previous_header_crc: 0,
            closing: false,
        };
        let sealed = builder.seal(&mut buffer, &mut Vec::new(), &facts);
        buffer.truncate(sealed.header.batch_bytes.get() as usize);
        let mut compaction = Compaction::new(Lsn(1), Lsn(3));
        let span = Span {
            first: Lsn(1),
            segment: SegmentNumber(1),
            offset: 0,
            bytes: sealed.header.batch_bytes.get(),
        };
        compaction.handle_read(&span, buffer.into()).unwrap();
        (compaction, map)
    }

    #[test]
    fn what_is_still_so_is_written_again_and_must_be_durable_before_the_segment_goes() {
        let (mut compaction, mut map) = segment();
        let (mut builder, mut buffer) = (BatchBuilder::new(Lsn(50)), vec![0; BATCH_BYTES_MAX]);
        assert!(compaction.can_stage() && !compaction.is_over(Lsn(100)));
        let before = map.live_bytes();
        compaction.stage(&mut builder, &mut buffer, &mut map).unwrap();
        assert_eq!(builder.next_lsn(), Lsn(52));
        assert_eq!((map.get(b"key").unwrap().lsn, map.live_bytes()), (Lsn(50), before));
        assert!(!compaction.is_over(Lsn(50)) && compaction.is_over(Lsn(51)) && !compaction.can_stage());
    }

    #[test]
    fn what_made_it_be_no_longer_so_must_be_durable_too() {
        let (mut compaction, mut map) = segment();
        let (mut builder, mut buffer) = (BatchBuilder::new(Lsn(50)), vec![0; BATCH_BYTES_MAX]);
        push(&mut builder, &mut buffer, &mut map, &Entry::Cleared(b"key"));
        push(&mut builder, &mut buffer, &mut map, &Entry::Cleared(b"other"));
        compaction.stage(&mut builder, &mut buffer, &mut map).unwrap();
        assert_eq!(builder.next_lsn(), Lsn(52), "nothing is written again");
        assert!(!compaction.is_over(Lsn(50)) && compaction.is_over(Lsn(51)));
    }

    #[test]
    fn a_batch_that_has_no_room_is_gone_on_with_in_the_next() {
        let (mut compaction, mut map) = segment();
        let (mut builder, mut buffer) = (BatchBuilder::new(Lsn(50)), vec![0; BATCH_BYTES_MAX]);
        while builder.has_room(100) {
            builder.push_record(&mut buffer, RecordKind::Entry, &[0; 70]);
        }
        let full = builder.next_lsn();
        while builder.has_room(RECORD_HEADER_BYTES + SET.encode().len()) {
            builder.push_record(&mut buffer, RecordKind::Entry, b"");
        }
        compaction.stage(&mut builder, &mut buffer, &mut map).unwrap();
        assert!(compaction.can_stage() && map.get(b"key").unwrap().lsn == Lsn(1), "since {full}");
        let (mut builder, mut buffer) = (BatchBuilder::new(Lsn(90_000)), vec![0; BATCH_BYTES_MAX]);
        compaction.stage(&mut builder, &mut buffer, &mut map).unwrap();
        assert!(compaction.is_over(Lsn(90_001)));
    }
}
