//! One entry of the log, which is also what travels in a run and what the receiver stores: the same bytes.
//!
//! ```text
//!  0        4        8                16       20   21   22   23   24
//!  +--------+--------+----------------+--------+----+----+----+----+----------------
//!  | header | body   | LSN            | body   |kind|flag|part|of  | body …
//!  | CRC    | CRC    |                | length |    |    |    |    |
//!  +--------+--------+----------------+--------+----+----+----+----+----------------
//! ```
//!
//! The body's checksum is computed by the caller's own thread, before any lock; the header's covers the LSN, the
//! lengths and the body's checksum, so that a batch with one bad body can still be walked.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::checksum;
use crate::ids::Lsn;
use crate::limits::RECORD_BYTES_MAX;

/// The fixed part of a record. See the module for the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RecordHeader {
    /// CRC-32C of the 20 bytes that follow.
    pub header_crc: U32,
    /// CRC-32C of the body.
    pub body_crc: U32,
    /// The number of the record in the log that first held it.
    pub lsn: U64,
    /// Bytes of the body.
    pub body_length: U32,
    /// A [`RecordKind`].
    pub kind: u8,
    /// [`FLAG_ATOMIC_MORE`] and [`FLAG_COMMAND`].
    pub flags: u8,
    /// Which part of a message this is, from 0.
    pub part: u8,
    /// Of how many parts; 1 for a message in one record.
    pub parts: u8,
}

/// Bytes of a [`RecordHeader`].
pub const RECORD_HEADER_BYTES: usize = size_of::<RecordHeader>();
const _: () = assert!(RECORD_HEADER_BYTES == 24);

/// The next record belongs to the same atomic group: recovery keeps all of a group or none.
pub const FLAG_ATOMIC_MORE: u8 = 1;
/// A message that was sent to an address, not published to subscribers.
pub const FLAG_COMMAND: u8 = 2;

/// What a record says. The numbers are the format and are never given a second meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// A message, of this node or, under an [`RecordKind::Accepted`] header, of a peer.
    Message = 1,
    /// The records that follow were accepted from a peer as one run.
    Accepted = 2,
    /// Inbox messages whose handlers all succeeded.
    Handled = 3,
    /// What peers said they have on stable storage.
    Acked = 4,
    /// One handler failed once.
    Attempt = 5,
    /// One of several handlers of a message succeeded.
    HandlerDone = 6,
    /// A handler failed for the last time.
    DeadLetter = 7,
    /// Inbox messages for which there is no handler.
    Parked = 8,
    /// Who this node is.
    Node = 9,
    /// The log was opened.
    Opened = 10,
    /// What is known of a peer.
    Peer = 11,
    /// A stream to a peer or to an address, with its cursors.
    Stream = 12,
    /// A stream came to its end, or was aborted.
    StreamClosed = 13,
    /// How far a peer's stream was accepted.
    Inbound = 14,
    /// The peer of that slot subscribes, or no longer does.
    Subscriber = 15,
    /// This node wants, or no longer wants, topics of an address.
    Intent = 16,
    /// The node that answers at an address.
    AddressBound = 17,
    /// A peer was forgotten.
    PeerRemoved = 18,
    /// Which streams a set id stands for.
    DestinationSet = 19,
    /// The state from here to the end mark is complete.
    CheckpointBegin = 20,
    /// The checkpoint is complete.
    CheckpointEnd = 21,
    /// A record of a segment about to be freed, with all that is still to be known of it.
    Carried = 22,
    /// No more messages will be owed to a stream.
    StreamEnded = 23,
    /// An address was forgotten, with the wishes and the queue kept for it.
    AddressRemoved = 24,
    /// The openings that the log went through.
    Openings = 25,
    /// How far the log of a peer reaches.
    Seen = 26,
    /// A change of a map or a queue, in a log of its own: a node's log has none.
    Entry = 27,
    /// Somebody changed by hand what is in the inbox.
    Administered = 28,
    /// The lives of a peer's log before the one of its record.
    PeerLives = 29,
    /// Somebody decided by hand how another node is treated.
    Decided = 30,
    /// A peer is paused, or no longer is.
    PeerPaused = 31,
    /// How much a peer may have waiting for it, and for how long.
    PeerQuota = 32,
    /// How a peer stands that has a quota.
    PeerStanding = 33,
}

impl RecordKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [RecordKind; 33] = [
        RecordKind::Message,
        RecordKind::Accepted,
        RecordKind::Handled,
        RecordKind::Acked,
        RecordKind::Attempt,
        RecordKind::HandlerDone,
        RecordKind::DeadLetter,
        RecordKind::Parked,
        RecordKind::Node,
        RecordKind::Opened,
        RecordKind::Peer,
        RecordKind::Stream,
        RecordKind::StreamClosed,
        RecordKind::Inbound,
        RecordKind::Subscriber,
        RecordKind::Intent,
        RecordKind::AddressBound,
        RecordKind::PeerRemoved,
        RecordKind::DestinationSet,
        RecordKind::CheckpointBegin,
        RecordKind::CheckpointEnd,
        RecordKind::Carried,
        RecordKind::StreamEnded,
        RecordKind::AddressRemoved,
        RecordKind::Openings,
        RecordKind::Seen,
        RecordKind::Entry,
        RecordKind::Administered,
        RecordKind::PeerLives,
        RecordKind::Decided,
        RecordKind::PeerPaused,
        RecordKind::PeerQuota,
        RecordKind::PeerStanding,
    ];

    /// The kind of that number, if it is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<RecordKind> {
        Self::ALL.get(usize::from(number).wrapping_sub(1)).copied()
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordDefect {
    /// Fewer bytes than the header or the body needs.
    #[error("the record is cut off")]
    Truncated,
    /// The header is not what was written.
    #[error("the checksum of the record's header does not fit")]
    HeaderChecksum,
    /// The body is not what was written.
    #[error("the checksum of the record's body does not fit")]
    BodyChecksum,
    /// A record larger than any that is written.
    #[error("the record claims {0} bytes")]
    Oversized(u32),
    /// A kind this version does not know.
    #[error("record kind {0} is unknown")]
    UnknownKind(u8),
}

/// A record whose header was verified, and whose body was if [`RecordView::verify_body`] said so.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// The verified header.
    pub header: &'a RecordHeader,
    /// The bytes after it.
    pub body: &'a [u8],
    /// What the record says.
    pub kind: RecordKind,
}

impl RecordHeader {
    /// The header of a record, its own checksum computed.
    #[must_use]
    #[inline]
    pub fn new(lsn: Lsn, kind: RecordKind, flags: u8, body_length: usize, body_crc: u32) -> RecordHeader {
        assert!(RECORD_HEADER_BYTES + body_length <= RECORD_BYTES_MAX + RECORD_BYTES_MAX / 2);
        let mut header = RecordHeader {
            header_crc: U32::ZERO,
            body_crc: U32::new(body_crc),
            lsn: U64::new(lsn.0),
            body_length: U32::new(body_length as u32),
            kind: kind as u8,
            flags,
            part: 0,
            parts: 1,
        };
        header.header_crc = U32::new(header.compute_crc());
        header
    }

    /// The header of a record that was verified before.
    #[inline]
    pub fn again(bytes: &[u8]) -> Result<&RecordHeader, RecordDefect> {
        let (header, _) = RecordHeader::ref_from_prefix(bytes).map_err(|_| RecordDefect::Truncated)?;
        if header.record_bytes() > bytes.len() {
            return Err(RecordDefect::Truncated);
        }
        Ok(header)
    }

    /// The header at the start of `bytes` as it was before one bit of it was flipped; nothing if more is wrong.
    ///
    /// At this length two headers under good CRC-32Cs differ in six bits at least (Koopman, 32-bit cyclic redundancy
    /// codes for Internet applications, 2002), so there is only one that is one bit away. Still, it is a guess
    /// until the checksum of its batch fits with it.
    #[must_use]
    pub fn with_one_bit_mended(bytes: &[u8]) -> Option<RecordHeader> {
        let (found, _) = RecordHeader::ref_from_prefix(bytes).ok()?;
        (0..RECORD_HEADER_BYTES * 8).find_map(|bit| {
            let mut header = *found;
            header.as_mut_bytes()[bit / 8] ^= 1 << (bit % 8);
            RecordHeader::parse(header.as_bytes()).ok().copied()
        })
    }

    fn compute_crc(&self) -> u32 {
        checksum(&self.as_bytes()[4..])
    }

    /// Bytes of the whole record.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.body_length.get() as usize
    }

    /// The header at the start of `bytes`, verified; nothing is said of the body yet.
    pub fn parse(bytes: &[u8]) -> Result<&RecordHeader, RecordDefect> {
        let (header, _) = RecordHeader::ref_from_prefix(bytes).map_err(|_| RecordDefect::Truncated)?;
        if header.header_crc.get() != header.compute_crc() {
            return Err(RecordDefect::HeaderChecksum);
        }
        // A carried record wraps a whole one, so the bound here is wider than that of a message.
        if header.record_bytes() > RECORD_BYTES_MAX + RECORD_BYTES_MAX / 2 {
            return Err(RecordDefect::Oversized(header.body_length.get()));
        }
        Ok(header)
    }
}

impl<'a> RecordView<'a> {
    /// The record at the start of `bytes`, its header verified and its length within them.
    pub fn parse(bytes: &'a [u8]) -> Result<RecordView<'a>, RecordDefect> {
        let header = RecordHeader::parse(bytes)?;
        let kind = RecordKind::from_number(header.kind).ok_or(RecordDefect::UnknownKind(header.kind))?;
        let body = bytes.get(RECORD_HEADER_BYTES..header.record_bytes()).ok_or(RecordDefect::Truncated)?;
        Ok(RecordView { header, body, kind })
    }

    /// As [`RecordView::parse`], and the body verified too.
    pub fn parse_verified(bytes: &'a [u8]) -> Result<RecordView<'a>, RecordDefect> {
        let view = Self::parse(bytes)?;
        view.verify_body()?;
        Ok(view)
    }

    /// Whether the body is what was written.
    pub fn verify_body(&self) -> Result<(), RecordDefect> {
        if checksum(self.body) == self.header.body_crc.get() {
            Ok(())
        } else {
            Err(RecordDefect::BodyChecksum)
        }
    }

    /// The number of the record in the log that first held it.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        Lsn(self.header.lsn.get())
    }

    /// Bytes of the whole record.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.header.record_bytes()
    }
}

/// Appends one record to `out`.
pub fn append(out: &mut Vec<u8>, lsn: Lsn, kind: RecordKind, flags: u8, body: &[u8]) {
    let header = RecordHeader::new(lsn, kind, flags, body.len(), checksum(body));
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(body);
}

/// Walks whole records by their verified headers. Ends at the first defect, which it yields.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    offset: usize,
    failed: bool,
}

impl<'a> Records<'a> {
    /// The records that fill `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Records<'a> {
        Records { rest: bytes, offset: 0, failed: false }
    }

    /// Where in the bytes the next record begins.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordDefect>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.failed {
            return None;
        }
        let view = RecordView::parse(self.rest);
        match &view {
            Ok(record) => {
                self.rest = &self.rest[record.bytes()..];
                self.offset += record.bytes();
            }
            Err(_) => self.failed = true,
        }
        Some(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, Lsn(7), RecordKind::Message, FLAG_ATOMIC_MORE, body);
        out
    }

    #[test]
    fn one_flipped_bit_of_a_header_is_mended_and_two_are_not() {
        let whole = one(b"body");
        let header = RecordHeader::parse(&whole).unwrap();
        let flipped = |bits: &[usize]| {
            let mut bytes = whole.clone();
            bits.iter().for_each(|bit| bytes[bit / 8] ^= 1 << (bit % 8));
            RecordHeader::with_one_bit_mended(&bytes)
        };
        for bit in 0..RECORD_HEADER_BYTES * 8 {
            assert_eq!(flipped(&[bit]).as_ref(), Some(header), "{bit}");
            let other = (bit + 77) % (RECORD_HEADER_BYTES * 8);
            assert_eq!(flipped(&[bit, other]), None, "{bit} {other}");
        }
    }

    #[test]
    fn the_bytes_of_a_record_are_pinned() {
        let bytes = one(b"abc");
        assert_eq!(bytes.len(), 27);
        assert_eq!(&bytes[4..8], &0x364b_3fb7_u32.to_le_bytes(), "CRC-32C of abc");
        assert_eq!(&bytes[8..24], &[7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 1, 0, 1]);
        assert_eq!(&bytes[24..], b"abc");
    }

    #[test]
    fn every_single_bit_flip_is_detected() {
        let good = one(b"some body");
        assert!(RecordView::parse_verified(&good).is_ok());
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(RecordView::parse_verified(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_prefix_is_truncated() {
        let good = one(b"some body");
        for length in 0..good.len() {
            assert_eq!(RecordView::parse_verified(&good[..length]).err(), Some(RecordDefect::Truncated));
        }
    }

    #[test]
    fn a_walk_ends_at_the_first_defect() {
        let mut bytes = one(b"a");
        bytes.extend(one(b"b"));
        let second = bytes.len() / 2;
        bytes[second + 9] ^= 1;
        let seen: Vec<_> = Records::new(&bytes).map(|r| r.map(|r| r.body.to_vec())).collect();
        assert_eq!(seen, vec![Ok(b"a".to_vec()), Err(RecordDefect::HeaderChecksum)]);
    }

    #[test]
    fn kinds_are_their_numbers() {
        for (index, kind) in RecordKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index + 1);
            assert_eq!(RecordKind::from_number(*kind as u8), Some(*kind));
        }
        assert_eq!(RecordKind::from_number(0), None);
        assert_eq!(RecordKind::from_number(34), None);
    }
}
