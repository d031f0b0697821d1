//! A peer as the log keeps it.

use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::ids::{Epoch, Incarnation, NodeId, PeerSlot};

/// A peer as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// The short name by which other records speak of the peer.
    pub slot: PeerSlot,
    /// Its identity.
    pub node: NodeId,
    /// The life of its log when it was last met.
    pub incarnation: Incarnation,
    /// The opening of its log when it was last met.
    pub epoch: Epoch,
    /// That opening's nonce.
    pub nonce: u64,
    /// The secret that proves, from the second meeting on, that it is the same node.
    pub secret: [u8; 16],
    /// Whether both sides are known to have the secret.
    pub secret_confirmed: bool,
    /// Where it says that it can be reached; empty if it does not say.
    pub address: String,
    /// The name it gave itself.
    pub name: String,
    /// It was forgotten. What is left of it names its messages in the inbox, and proves it if it comes back.
    pub removed: bool,
}

pub(super) fn peer(reader: &mut BodyReader<'_>) -> Result<PeerRecord, BodyDefect> {
    Ok(PeerRecord {
        slot: PeerSlot(reader.u32()?),
        node: reader.node()?,
        incarnation: Incarnation(reader.u64()?),
        epoch: Epoch(reader.u64()?),
        nonce: reader.u64()?,
        secret: reader.key()?,
        secret_confirmed: reader.flag("secret confirmed")?,
        address: reader.text()?.to_owned(),
        name: reader.text()?.to_owned(),
        removed: reader.flag("removed")?,
    })
}

pub(super) fn put_peer(out: &mut BodyWriter, peer: &PeerRecord) {
    out.u32(peer.slot.0).node(peer.node).u64(peer.incarnation.0).u64(peer.epoch.0).u64(peer.nonce);
    out.bytes(&peer.secret).flag(peer.secret_confirmed).text(&peer.address).text(&peer.name);
    out.flag(peer.removed);
}
