//! One unit on the wire.
//!
//! ```text
//!  0       2      3       4        8          12           16
//!  +-------+------+-------+--------+----------+------------+------
//!  | magic | kind | flags | bytes  | body CRC | header CRC | body
//!  | "rs"  |      |       | of body|          |            |
//!  +-------+------+-------+--------+----------+------------+------
//! ```
//!
//! The header's checksum is verified before its length is believed, the length against the limit before anything is
//! kept, and the body's checksum before anything in it is read. Of a run the body's checksum covers only the run
//! header: each record brings two checksums of its own.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::checksum;
use crate::ids::{Position, StreamId};
use crate::limits::FRAME_BYTES_MAX;

/// The first bytes of every frame.
pub const FRAME_MAGIC: [u8; 2] = *b"rs";

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FrameHeader {
    /// [`FRAME_MAGIC`].
    pub magic: [u8; 2],
    /// A [`FrameKind`].
    pub kind: u8,
    /// 0.
    pub flags: u8,
    /// Bytes after this header.
    pub length: U32,
    /// CRC-32C of the body; of a run, of its [`RunHeader`].
    pub body_crc: U32,
    /// CRC-32C of everything before it.
    pub header_crc: U32,
}

/// Bytes of a [`FrameHeader`].
pub const FRAME_HEADER_BYTES: usize = size_of::<FrameHeader>();
const _: () = assert!(FRAME_HEADER_BYTES == 16);

/// What stands before the records of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RunHeader {
    /// The sender's stream.
    pub stream: U64,
    /// The place in it of the first record.
    pub first_position: U64,
    /// Records; at least 1.
    pub count: U32,
    /// 0.
    pub reserved: U32,
}

/// Bytes of a [`RunHeader`].
pub const RUN_HEADER_BYTES: usize = size_of::<RunHeader>();
const _: () = assert!(RUN_HEADER_BYTES == 24);

/// What a frame says. The numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum FrameKind {
    /// Who I am. The first frame of both sides.
    Hello = 1,
    /// The dialling side proves that it is who it said.
    Proof = 2,
    /// The accepting side believes it, and has written it down.
    Established = 3,
    /// How far I have accepted each of your streams.
    Resume = 4,
    /// All topics that I want from you.
    Interest = 5,
    /// I have written down what you want.
    InterestConfirmed = 6,
    /// Consecutive records of one stream.
    Run = 7,
    /// What I have accepted on stable storage, and how much more you may send.
    Ack = 8,
    /// Nothing follows on this stream after that position.
    StreamEnd = 9,
    /// Positions of a stream that I no longer have.
    Gap = 10,
    /// I live.
    Heartbeat = 11,
    /// I end this session, and why.
    Goodbye = 12,
}

impl FrameKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [FrameKind; 12] = [
        FrameKind::Hello,
        FrameKind::Proof,
        FrameKind::Established,
        FrameKind::Resume,
        FrameKind::Interest,
        FrameKind::InterestConfirmed,
        FrameKind::Run,
        FrameKind::Ack,
        FrameKind::StreamEnd,
        FrameKind::Gap,
        FrameKind::Heartbeat,
        FrameKind::Goodbye,
    ];

    /// The kind of that number, if it is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<FrameKind> {
        Self::ALL.get(usize::from(number).wrapping_sub(1)).copied()
    }
}

/// Why bytes are not a frame. Each of these ends the session, for what follows cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameDefect {
    /// Something that does not speak this protocol.
    #[error("this is not the resolute protocol (first bytes {0:02x?})")]
    NotOurs([u8; 4]),
    /// The header is not what was sent.
    #[error("the checksum of a frame's header does not fit")]
    HeaderChecksum,
    /// The body is not what was sent.
    #[error("the checksum of a frame's body does not fit")]
    BodyChecksum,
    /// A kind this version does not know.
    #[error("frame kind {0} is unknown")]
    UnknownKind(u8),
    /// Longer than what was agreed on.
    #[error("a frame of {0} bytes is longer than what is agreed on")]
    Oversized(u32),
    /// A run too short to hold its own header.
    #[error("a run is shorter than its own header")]
    ShortRun,
}

/// A frame whose checksums fit. Those of a run's records are still to be verified.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    /// What it says.
    pub kind: FrameKind,
    /// The bytes after the header.
    pub body: &'a [u8],
}

impl FrameHeader {
    fn new(kind: FrameKind, length: usize, body_crc: u32) -> FrameHeader {
        assert!(length <= FRAME_BYTES_MAX);
        let mut header = FrameHeader {
            magic: FRAME_MAGIC,
            kind: kind as u8,
            flags: 0,
            length: U32::new(length as u32),
            body_crc: U32::new(body_crc),
            header_crc: U32::ZERO,
        };
        header.header_crc = U32::new(checksum(&header.as_bytes()[..FRAME_HEADER_BYTES - 4]));
        header
    }

    /// The header at the start of `bytes`, verified, with its kind and the length of the body; `None` if more
    /// bytes are needed to tell.
    pub fn parse(bytes: &[u8]) -> Result<Option<(&FrameHeader, FrameKind)>, FrameDefect> {
        let seen = bytes.len().min(FRAME_MAGIC.len());
        if bytes[..seen] != FRAME_MAGIC[..seen] {
            let mut first = [0; 4];
            let shown = bytes.len().min(4);
            first[..shown].copy_from_slice(&bytes[..shown]);
            return Err(FrameDefect::NotOurs(first));
        }
        let Ok((header, _)) = FrameHeader::ref_from_prefix(bytes) else { return Ok(None) };
        if header.header_crc.get() != checksum(&header.as_bytes()[..FRAME_HEADER_BYTES - 4]) {
            return Err(FrameDefect::HeaderChecksum);
        }
        let kind = FrameKind::from_number(header.kind).ok_or(FrameDefect::UnknownKind(header.kind))?;
        if header.length.get() as usize > FRAME_BYTES_MAX {
            return Err(FrameDefect::Oversized(header.length.get()));
        }
        Ok(Some((header, kind)))
    }
}

impl<'a> FrameView<'a> {
    /// The frame at the start of `bytes` and its whole length; `None` if more bytes are needed.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(FrameView<'a>, usize)>, FrameDefect> {
        let Some((header, kind)) = FrameHeader::parse(bytes)? else { return Ok(None) };
        let end = FRAME_HEADER_BYTES + header.length.get() as usize;
        let Some(body) = bytes.get(FRAME_HEADER_BYTES..end) else { return Ok(None) };
        let covered = if kind == FrameKind::Run {
            body.get(..RUN_HEADER_BYTES).ok_or(FrameDefect::ShortRun)?
        } else {
            body
        };
        if checksum(covered) != header.body_crc.get() {
            return Err(FrameDefect::BodyChecksum);
        }
        Ok(Some((FrameView { kind, body }, end)))
    }

    /// The run header and the records, if this is a run.
    #[must_use]
    pub fn run(&self) -> Option<(&'a RunHeader, &'a [u8])> {
        if self.kind != FrameKind::Run {
            return None;
        }
        RunHeader::ref_from_prefix(self.body).ok()
    }
}

/// Appends one frame that is not a run.
pub fn append(out: &mut Vec<u8>, kind: FrameKind, body: &[u8]) {
    assert!(kind != FrameKind::Run);
    out.extend_from_slice(FrameHeader::new(kind, body.len(), checksum(body)).as_bytes());
    out.extend_from_slice(body);
}

/// Appends the two headers of a run; `records_bytes` of records are to follow.
pub fn append_run_headers(
    out: &mut Vec<u8>,
    stream: StreamId,
    first_position: Position,
    count: u32,
    records_bytes: usize,
) {
    let run = RunHeader {
        stream: U64::new(stream.0),
        first_position: U64::new(first_position.0),
        count: U32::new(count),
        reserved: U32::ZERO,
    };
    let header = FrameHeader::new(FrameKind::Run, RUN_HEADER_BYTES + records_bytes, checksum(run.as_bytes()));
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(run.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, FrameKind::Goodbye, b"why");
        out
    }

    #[test]
    fn a_frame_reads_back() {
        let bytes = frame();
        let (view, length) = FrameView::parse(&bytes).unwrap().unwrap();
        assert_eq!((view.kind, view.body, length), (FrameKind::Goodbye, b"why".as_slice(), bytes.len()));
    }

    #[test]
    fn a_run_reads_back() {
        let mut bytes = Vec::new();
        append_run_headers(&mut bytes, StreamId(4), Position(5), 1, 3);
        bytes.extend_from_slice(b"rec");
        let (view, _) = FrameView::parse(&bytes).unwrap().unwrap();
        let (run, records) = view.run().unwrap();
        assert_eq!(
            (run.stream.get(), run.first_position.get(), run.count.get(), records),
            (4, 5, 1, b"rec".as_slice())
        );
    }

    #[test]
    fn a_cut_frame_asks_for_more() {
        let bytes = frame();
        for length in 0..bytes.len() {
            assert!(FrameView::parse(&bytes[..length]).unwrap().is_none(), "{length}");
        }
    }

    #[test]
    fn every_single_bit_flip_is_detected() {
        let good = frame();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameView::parse(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn an_http_request_is_told_at_once() {
        assert_eq!(FrameView::parse(b"GET / HTTP/1.1").err(), Some(FrameDefect::NotOurs(*b"GET ")));
    }

    #[test]
    fn a_huge_length_is_refused_before_its_body_comes() {
        let mut header = FrameHeader::new(FrameKind::Hello, 0, 0);
        header.length = U32::new(u32::MAX);
        header.header_crc = U32::new(checksum(&header.as_bytes()[..12]));
        assert_eq!(FrameView::parse(header.as_bytes()).err(), Some(FrameDefect::Oversized(u32::MAX)));
    }
}
