//! What was written down of peers and is not yet applied: two connections to one node may be made at once, and what
//! the first one agreed on counts for the second.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, Pending};
use crate::format::control::{Control, PeerRecord};
use crate::ids::{NodeId, PeerSlot};
use crate::limits::SESSIONS_UNESTABLISHED_MAX;

/// Peers between their first hello and the batch that holds their record.
#[derive(Debug, Default)]
pub struct Meeting {
    written: BTreeMap<NodeId, PeerRecord>,
    leaving: BTreeSet<PeerSlot>,
    /// Addresses at which it is known who answers.
    bound: BTreeMap<String, PeerSlot>,
    /// Addresses that are being forgotten.
    left: BTreeSet<String>,
    /// What we proposed to nodes that we never met: the same on every connection, or each side might end up with
    /// another one.
    proposed: BTreeMap<NodeId, [u8; 16]>,
    last_slot: PeerSlot,
}

impl Meeting {
    /// Goes on after the highest slot ever given.
    #[must_use]
    pub fn new(last_slot: PeerSlot) -> Meeting {
        Meeting { last_slot, ..Meeting::default() }
    }

    pub(super) fn next_slot(&mut self) -> PeerSlot {
        self.last_slot = PeerSlot(self.last_slot.0 + 1);
        self.last_slot
    }

    pub(super) fn wrote(&mut self, record: PeerRecord) {
        self.proposed.remove(&record.node);
        self.written.insert(record.node, record);
    }

    /// How many were written down whose slots are higher than that.
    pub(super) fn written_above(&self, slot: PeerSlot) -> usize {
        self.written.values().filter(|peer| peer.slot > slot).count()
    }

    pub(super) fn leaves(&mut self, slot: PeerSlot) {
        self.written.retain(|_, peer| peer.slot != slot);
        self.leaving.insert(slot);
    }

    /// Whether a peer is being forgotten, or its slot given to another.
    pub(super) fn is_leaving(&self, slot: PeerSlot) -> bool {
        self.leaving.contains(&slot)
    }

    pub(super) fn leaves_address(&mut self, address: &str) {
        self.left.insert(address.to_owned());
    }

    /// Whether an address is being forgotten.
    pub(super) fn has_left(&self, address: &str) -> bool {
        self.left.contains(address)
    }

    pub(super) fn binds(&mut self, address: &str, slot: PeerSlot) {
        self.bound.insert(address.to_owned(), slot);
    }

    pub(super) fn is_bound(&self, slot: PeerSlot) -> bool {
        self.addresses_of(slot).next().is_some()
    }

    /// Addresses at which it is known since that this peer answers.
    pub(super) fn addresses_of(&self, slot: PeerSlot) -> impl Iterator<Item = &String> {
        self.bound.iter().filter(move |(_, bound)| **bound == slot).map(|(address, _)| address)
    }

    /// Everything that was written down is applied. Gives back the addresses that are forgotten now.
    pub(super) fn all_applied(&mut self) -> BTreeSet<String> {
        self.written.clear();
        self.leaving.clear();
        self.bound.clear();
        std::mem::take(&mut self.left)
    }

    /// Secrets that were proposed and are not known to both sides yet.
    pub(super) fn proposals(&self) -> usize {
        self.proposed.len()
    }

    pub(super) fn propose(&mut self, node: NodeId, fresh: [u8; 16]) -> [u8; 16] {
        // Only meetings that go on at the same time must agree; what came of old ones is known, or nothing did.
        if self.proposed.len() >= SESSIONS_UNESTABLISHED_MAX && !self.proposed.contains_key(&node) {
            self.proposed.pop_first();
        }
        *self.proposed.entry(node).or_insert(fresh)
    }
}

impl Engine {
    /// The peer with that identity, as it was written down last.
    pub(super) fn known_peer(&self, node: NodeId) -> Option<PeerRecord> {
        let Meeting { written, leaving, .. } = &self.meeting;
        let applied = || self.state.peer_of(node).filter(|peer| !leaving.contains(&peer.slot));
        written.get(&node).or_else(applied).cloned()
    }

    /// The secret that proves that a node is the one we met, and whether it has it on stable storage: also of one that
    /// was removed, or anyone could come back in its name.
    pub(super) fn secret_of(&self, node: NodeId) -> Option<([u8; 16], bool)> {
        let removed = || self.state.peers.values().rfind(|peer| peer.node == node).cloned();
        let known = self.known_peer(node).or_else(removed)?;
        Some((known.secret, known.secret_confirmed))
    }

    /// A peer is about to be removed. If nothing was agreed under its secret, it may come with another one: it may have
    /// forgotten this node.
    pub(super) fn release_secret(&mut self, slot: PeerSlot) {
        let known = self.known_peer_at(slot).filter(|peer| peer.secret_confirmed);
        if let Some(peer) = known.filter(|_| self.agreed_nothing(slot)) {
            let record = PeerRecord { secret_confirmed: false, ..peer };
            self.pending.push_back(Pending::Control(Control::Peer(record)));
        }
    }

    /// The peer of that slot, as it was written down last.
    pub(super) fn known_peer_at(&self, slot: PeerSlot) -> Option<PeerRecord> {
        let written = self.meeting.written.values().find(|peer| peer.slot == slot);
        written.or_else(|| self.state.peers.get(&slot)).cloned()
    }
}
