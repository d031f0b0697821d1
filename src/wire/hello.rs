//! The first frame of both sides: who is speaking, and which versions it can speak.
//!
//! ```text
//!  0         2         4      20            28      36      44          60         64        72
//!  +---------+---------+------+-------------+-------+-------+-----------+----------+---------+-----------
//!  | version | version | node | incarnation | epoch | nonce | challenge | frame    | credit  | extensions
//!  | min     | max     | id   |             |       |       |           | bytes max| bytes   |
//!  +---------+---------+------+-------------+-------+-------+-----------+----------+---------+-----------
//!  extensions:  1 byte tag, 2 bytes length, then the value, for each
//! ```
//!
//! The two versions stand first in every version there will be, and nothing after them is read before they were
//! compared: a later layout is refused for what it is and not for how its bytes look. A tag whose high bit is set
//! must be understood or the session refused; any other that is unknown is skipped.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::met::Met;
use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::format::frame::{self, FrameKind};
use crate::ids::{Epoch, Incarnation, NodeId};
use crate::limits::{ADDRESS_BYTES_MAX, FRAME_BYTES_MAX, HANDSHAKE_FRAME_BYTES_MAX, NAME_BYTES_MAX};

/// The version of the protocol that this program speaks; it knows no other.
pub const PROTOCOL_VERSION: u16 = 1;

/// A tag with this bit must be understood.
pub const CRITICAL: u8 = 0x80;

/// What may stand in the extensions. The numbers are the protocol. All of these may be skipped by a node that does
/// not know them.
pub mod extension {
    /// The name the node gave itself.
    pub const NAME: u8 = 1;
    /// Where it says that it can be reached.
    pub const ADDRESS: u8 = 2;
    /// The address at which it dialled.
    pub const DIALLED: u8 = 3;
    /// At which opening of the other's log it met the other last, from the side that accepts.
    pub const MET: u8 = 4;
}

/// The fixed part of a hello. See the module for the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HelloFixed {
    version_min: U16,
    version_max: U16,
    node: U128,
    incarnation: U64,
    epoch: U64,
    nonce: U64,
    challenge: [u8; 16],
    frame_bytes_max: U32,
    credit_bytes: U64,
}

const HELLO_FIXED_BYTES: usize = size_of::<HelloFixed>();
const _: () = assert!(HELLO_FIXED_BYTES == 72);
const _: () = assert!(
    HELLO_FIXED_BYTES + 4 * 3 + NAME_BYTES_MAX + 2 * ADDRESS_BYTES_MAX + Met::BYTES
        <= HANDSHAKE_FRAME_BYTES_MAX,
    "the largest hello must be let in"
);

/// Who a node is, as it says itself. Nothing in it is proved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version of the protocol that it speaks.
    pub version_min: u16,
    /// The newest.
    pub version_max: u16,
    /// Its identity.
    pub node: NodeId,
    /// The life of its log.
    pub incarnation: Incarnation,
    /// The opening of its log.
    pub epoch: Epoch,
    /// That opening's nonce.
    pub nonce: u64,
    /// Random, new for every connection: what the other side's proof must answer to.
    pub challenge: [u8; 16],
    /// The longest frame, its header not counted, that it takes; at least [`FRAME_BYTES_MAX`].
    pub frame_bytes_max: u32,
    /// Bytes of runs that it may be sent before its first ack.
    pub credit_bytes: u64,
    /// The name it gave itself; at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Where it says that it can be reached; empty if it does not say. At most [`ADDRESS_BYTES_MAX`] bytes.
    pub address: String,
    /// The address at which it dialled, as its user wrote it; empty from the side that accepts. At most
    /// [`ADDRESS_BYTES_MAX`] bytes.
    pub dialled: String,
    /// The last opening of the other's log that it knows; none from the side that dials, which does not know yet who
    /// answers, and none if they never met.
    pub met: Option<Met>,
}

/// Why a hello is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloDefect {
    /// There is no version that both sides speak.
    #[error("the peer speaks protocol versions {} to {}, and this program speaks {ours}", .theirs.0, .theirs.1)]
    VersionUnsupported {
        /// The oldest and the newest of the peer.
        theirs: (u16, u16),
        /// The only one of this program.
        ours: u16,
    },
    /// The peer insists on something that this version does not know.
    #[error("the peer insists on extension {0:#04x}, which is unknown here")]
    UnknownCritical(u8),
    /// One extension twice: there is no telling which one counts.
    #[error("extension {0:#04x} is there twice")]
    Repeated(u8),
    /// A text beyond its limit.
    #[error("extension {tag:#04x} has {bytes} bytes, and {most} is the most")]
    LongText {
        /// The extension.
        tag: u8,
        /// Its length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// The peer takes only frames so short that what this version sends does not fit.
    #[error("the peer takes frames of {0} bytes, and {FRAME_BYTES_MAX} is the least")]
    ShortFrames(u32),
    /// The bytes make no sense.
    #[error("the hello cannot be read")]
    Body(#[from] BodyDefect),
}

impl Hello {
    /// The newest version that both sides speak. Only for a hello that was decoded, so there is one.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version_max.min(PROTOCOL_VERSION)
    }

    /// The body. Panics if a text is beyond its limit: names and addresses are checked where they are configured.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = BodyWriter::new();
        out.fixed(&HelloFixed {
            version_min: U16::new(self.version_min),
            version_max: U16::new(self.version_max),
            node: U128::new(self.node.0),
            incarnation: U64::new(self.incarnation.0),
            epoch: U64::new(self.epoch.0),
            nonce: U64::new(self.nonce),
            challenge: self.challenge,
            frame_bytes_max: U32::new(self.frame_bytes_max),
            credit_bytes: U64::new(self.credit_bytes),
        });
        put_text(&mut out, extension::NAME, &self.name, NAME_BYTES_MAX);
        put_text(&mut out, extension::ADDRESS, &self.address, ADDRESS_BYTES_MAX);
        put_text(&mut out, extension::DIALLED, &self.dialled, ADDRESS_BYTES_MAX);
        if let Some(met) = &self.met {
            out.u8(extension::MET).u16(Met::BYTES as u16);
            met.put(&mut out);
        }
        out.finish()
    }

    /// Appends the whole frame. Panics as [`Hello::encode`] does.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        frame::append(out, FrameKind::Hello, &self.encode());
    }

    /// Reads a body, the versions first.
    pub fn decode(body: &[u8]) -> Result<Hello, HelloDefect> {
        check_versions(body)?;
        let mut reader = BodyReader::new(body);
        let fixed: &HelloFixed = reader.fixed()?;
        // Version 1 has no way to send less: an interest or a run would have to be cut. A later version that sends
        // longer frames must still ask only this much of a peer of version 1.
        if (fixed.frame_bytes_max.get() as usize) < FRAME_BYTES_MAX {
            return Err(HelloDefect::ShortFrames(fixed.frame_bytes_max.get()));
        }
        let mut hello = Hello {
            version_min: fixed.version_min.get(),
            version_max: fixed.version_max.get(),
            node: NodeId(fixed.node.get()),
            incarnation: Incarnation(fixed.incarnation.get()),
            epoch: Epoch(fixed.epoch.get()),
            nonce: fixed.nonce.get(),
            challenge: fixed.challenge,
            frame_bytes_max: fixed.frame_bytes_max.get(),
            credit_bytes: fixed.credit_bytes.get(),
            name: String::new(),
            address: String::new(),
            dialled: String::new(),
            met: None,
        };
        hello.read_extensions(reader)?;
        Ok(hello)
    }

    fn read_extensions(&mut self, mut reader: BodyReader<'_>) -> Result<(), HelloDefect> {
        while !reader.is_empty() {
            let tag = reader.u8()?;
            let length = reader.u16()?;
            let value = reader.bytes(usize::from(length))?;
            if tag == extension::MET {
                self.read_met(value)?;
                continue;
            }
            let (field, most) = match tag {
                extension::NAME => (&mut self.name, NAME_BYTES_MAX),
                extension::ADDRESS => (&mut self.address, ADDRESS_BYTES_MAX),
                extension::DIALLED => (&mut self.dialled, ADDRESS_BYTES_MAX),
                unknown if unknown & CRITICAL != 0 => return Err(HelloDefect::UnknownCritical(unknown)),
                _ => continue,
            };
            if value.len() > most {
                return Err(HelloDefect::LongText { tag, bytes: value.len(), most });
            }
            // An empty text is written by leaving it out, so a field that is not empty was there before.
            if value.is_empty() {
                return Err(BodyDefect::Value("text").into());
            }
            if !field.is_empty() {
                return Err(HelloDefect::Repeated(tag));
            }
            field.push_str(std::str::from_utf8(value).map_err(|_| BodyDefect::NotUtf8)?);
        }
        Ok(())
    }

    fn read_met(&mut self, value: &[u8]) -> Result<(), HelloDefect> {
        let mut reader = BodyReader::new(value);
        let met = Met::read(&mut reader)?;
        reader.end()?;
        match self.met.replace(met) {
            None => Ok(()),
            Some(_) => Err(HelloDefect::Repeated(extension::MET)),
        }
    }
}

fn check_versions(body: &[u8]) -> Result<(), HelloDefect> {
    let mut reader = BodyReader::new(body);
    let theirs = (reader.u16()?, reader.u16()?);
    if (theirs.0..=theirs.1).contains(&PROTOCOL_VERSION) {
        Ok(())
    } else {
        Err(HelloDefect::VersionUnsupported { theirs, ours: PROTOCOL_VERSION })
    }
}

fn put_text(out: &mut BodyWriter, tag: u8, text: &str, most: usize) {
    assert!(text.len() <= most);
    if !text.is_empty() {
        out.u8(tag).text(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Lsn;

    fn hello() -> Hello {
        Hello {
            version_min: 1,
            version_max: 1,
            node: NodeId(2),
            incarnation: Incarnation(3),
            epoch: Epoch(4),
            nonce: 5,
            challenge: [6; 16],
            frame_bytes_max: FRAME_BYTES_MAX as u32,
            credit_bytes: 8,
            name: "n".to_owned(),
            address: String::new(),
            dialled: "tcp://a:1".to_owned(),
            met: None,
        }
    }

    fn with_extension(tag: u8, value: &[u8]) -> Vec<u8> {
        let mut body = hello().encode();
        body.push(tag);
        body.extend((value.len() as u16).to_le_bytes());
        body.extend(value);
        body
    }

    #[test]
    fn the_bytes_of_a_hello_are_pinned() {
        let mut expected = vec![1, 0, 1, 0];
        expected.extend(2_u128.to_le_bytes());
        expected.extend([3_u64.to_le_bytes(), 4_u64.to_le_bytes(), 5_u64.to_le_bytes()].concat());
        expected.extend([6; 16]);
        expected.extend([0, 0, 0x10, 0]);
        expected.extend(8_u64.to_le_bytes());
        expected.extend([1, 1, 0, b'n', 3, 9, 0]);
        expected.extend(b"tcp://a:1");
        assert_eq!(hello().encode(), expected);
    }

    #[test]
    fn a_hello_reads_back() {
        let met = Some(Met { incarnation: Incarnation(7), epoch: Epoch(8), nonce: 9, seen: Lsn(10) });
        let full = Hello { address: "tcp://ü:1".to_owned(), met, ..hello() };
        assert_eq!(Hello::decode(&full.encode()), Ok(full));
    }

    #[test]
    fn a_later_layout_is_refused_for_its_version_and_not_for_its_bytes() {
        let refused = |theirs| Err(HelloDefect::VersionUnsupported { theirs, ours: 1 });
        assert_eq!(Hello::decode(&[2, 0, 7, 0]), refused((2, 7)));
        assert_eq!(Hello::decode(&[0, 0, 0, 0, 0xff]), refused((0, 0)));
        assert_eq!(Hello::decode(&[3, 0, 1, 0]), refused((3, 1)));
        let both = Hello { version_max: 9, ..hello() };
        assert_eq!(Hello::decode(&both.encode()).map(|h| h.version()), Ok(1));
    }

    #[test]
    fn an_unknown_extension_is_skipped_unless_it_is_critical() {
        assert_eq!(Hello::decode(&with_extension(0x7f, b"later")), Ok(hello()));
        assert_eq!(Hello::decode(&with_extension(0xff, b"later")), Err(HelloDefect::UnknownCritical(0xff)));
    }

    #[test]
    fn an_extension_that_is_there_twice_is_refused() {
        assert_eq!(Hello::decode(&with_extension(extension::NAME, b"m")), Err(HelloDefect::Repeated(1)));
    }

    #[test]
    fn texts_have_limits() {
        let long = with_extension(extension::ADDRESS, &[b'x'; ADDRESS_BYTES_MAX + 1]);
        assert_eq!(Hello::decode(&long), Err(HelloDefect::LongText { tag: 2, bytes: 256, most: 255 }));
        let not_text = with_extension(extension::ADDRESS, &[0xff]);
        assert_eq!(Hello::decode(&not_text), Err(HelloDefect::Body(BodyDefect::NotUtf8)));
        let empty = with_extension(extension::ADDRESS, &[]);
        assert_eq!(Hello::decode(&empty), Err(HelloDefect::Body(BodyDefect::Value("text"))));
    }

    #[test]
    fn what_was_met_is_there_once_and_whole() {
        let met = Met { incarnation: Incarnation(7), epoch: Epoch(8), nonce: 9, seen: Lsn(10) };
        let mut body = Hello { met: Some(met), ..hello() }.encode();
        body.extend([extension::MET, Met::BYTES as u8, 0]);
        body.extend([0; Met::BYTES]);
        assert_eq!(Hello::decode(&body), Err(HelloDefect::Repeated(extension::MET)));
        let short = with_extension(extension::MET, &[0; Met::BYTES - 1]);
        assert_eq!(Hello::decode(&short), Err(HelloDefect::Body(BodyDefect::Truncated)));
        let long = with_extension(extension::MET, &[0; Met::BYTES + 1]);
        assert_eq!(Hello::decode(&long), Err(HelloDefect::Body(BodyDefect::TrailingBytes(1))));
    }

    #[test]
    fn a_peer_that_takes_only_short_frames_is_refused() {
        let short = Hello { frame_bytes_max: FRAME_BYTES_MAX as u32 - 1, ..hello() };
        assert_eq!(Hello::decode(&short.encode()), Err(HelloDefect::ShortFrames(FRAME_BYTES_MAX as u32 - 1)));
    }

    #[test]
    fn every_prefix_is_refused_but_the_ends_of_extensions() {
        let body = hello().encode();
        for length in 0..body.len() {
            let whole = length == HELLO_FIXED_BYTES || length == HELLO_FIXED_BYTES + 4;
            assert_eq!(Hello::decode(&body[..length]).is_ok(), whole, "{length}");
        }
    }
}
