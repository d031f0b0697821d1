//! A record that is carried forward, with all that is still to be known of it.

use super::list::{cursors, put_cursors};
use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::ids::{Incarnation, Lsn, PeerSlot, Position, StreamId};

/// A record of a segment about to be freed, and all places where it is still wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried<'a> {
    /// The number by which this log knows it.
    pub lsn: Lsn,
    /// Whose record it is; [`PeerSlot::SELF`] if it was published here.
    pub slot: PeerSlot,
    /// The life of the log that first held it.
    pub incarnation: Incarnation,
    /// Whether it is still in the inbox.
    pub in_inbox: bool,
    /// The streams to which it is still owed, and its places in them.
    pub owed: Vec<(StreamId, Position)>,
    /// The whole original record.
    pub record: &'a [u8],
}

impl<'a> Carried<'a> {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = BodyWriter::new();
        out.u64(self.lsn.0).u32(self.slot.0).u64(self.incarnation.0).flag(self.in_inbox);
        put_cursors(&mut out, &self.owed);
        out.bytes(self.record);
        out.finish()
    }

    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Carried<'a>, BodyDefect> {
        let mut reader = BodyReader::new(body);
        Ok(Carried {
            lsn: Lsn(reader.u64()?),
            slot: PeerSlot(reader.u32()?),
            incarnation: Incarnation(reader.u64()?),
            in_inbox: reader.flag("in inbox")?,
            owed: cursors(&mut reader)?,
            record: reader.rest(),
        })
    }
}
