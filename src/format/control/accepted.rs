//! The header of a run that was accepted.

use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::ids::{Incarnation, Lsn, PeerSlot, Position, StreamId};

/// The record before a run of records of another node, which follow it as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Who sent them.
    pub slot: PeerSlot,
    /// The life of its log in which it numbered them: with its node and their LSNs, their message ids.
    pub incarnation: Incarnation,
    /// Its stream.
    pub stream: StreamId,
    /// The place in it of the first one.
    pub first_position: Position,
    /// How many follow; at least 1.
    pub count: u32,
    /// Their bytes.
    pub bytes: u32,
    /// The last of them in the sender's log.
    pub last_lsn: Lsn,
}

impl Accepted {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = BodyWriter::new();
        out.u32(self.slot.0).u64(self.incarnation.0).u64(self.stream.0);
        out.u64(self.first_position.0).u32(self.count).u32(self.bytes).u64(self.last_lsn.0);
        out.finish()
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Accepted, BodyDefect> {
        let mut reader = BodyReader::new(body);
        let accepted = Accepted {
            slot: PeerSlot(reader.u32()?),
            incarnation: Incarnation(reader.u64()?),
            stream: StreamId(reader.u64()?),
            first_position: Position(reader.u64()?),
            count: reader.u32()?,
            bytes: reader.u32()?,
            last_lsn: Lsn(reader.u64()?),
        };
        reader.end()?;
        if accepted.count == 0 { Err(BodyDefect::Value("count")) } else { Ok(accepted) }
    }
}
