//! Whom a stream is owed to.

use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::ids::PeerSlot;

/// Whom a stream is owed to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamOwner {
    /// A node that is known.
    Peer(PeerSlot),
    /// Whoever answers at an address where nobody has answered yet.
    Address(String),
}

pub(super) fn owner(reader: &mut BodyReader<'_>) -> Result<StreamOwner, BodyDefect> {
    match reader.u8()? {
        0 => Ok(StreamOwner::Peer(PeerSlot(reader.u32()?))),
        1 => Ok(StreamOwner::Address(reader.text()?.to_owned())),
        _ => Err(BodyDefect::Value("owner")),
    }
}

pub(super) fn put_owner(out: &mut BodyWriter, owner: &StreamOwner) {
    match owner {
        StreamOwner::Peer(slot) => out.u8(0).u32(slot.0),
        StreamOwner::Address(address) => out.u8(1).text(address),
    };
}
