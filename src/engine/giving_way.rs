//! Whom a full table of peers forgets, so that strangers who came once keep nobody out for ever.
//!
//! A peer with whom nothing is agreed gives way: it is not connected, it wants nothing and is owed nothing, nothing came of it
//! and no address leads to it. The newcomer gets its slot, so one record says both, and the table is as large as before.
//! Those of the lowest slots go first: they were met longest ago.
//!
//! To find them is a look at all peers, all streams and all addresses. It is done once for all that can be found, and at most
//! once in [`PEERS_REST_MS`]. With a session one is struck off; what the user asked for since is looked at when it is to go.
//!
//! One that gave way here knows this node all the same, and that it is met for the first time again must not surprise it. So
//! whoever might have been forgotten here is believed that it has forgotten this node.

use std::collections::BTreeSet;

use super::Engine;
use super::allowance::{SEGMENTS_TOO_SMALL, record_bytes};
use super::handshake::{Refused, refused};
use crate::format::control::{Control, IntentState, PeerRecord, StreamOwner};
use crate::ids::{PeerSlot, Position, StreamId};
use crate::limits::{PEER_BYTES, PEERS_REST_MS};
use crate::time::Monotonic;
use crate::wire::goodbye::GoodbyeCode;

/// Peers that may give way.
#[derive(Debug, Default)]
pub struct GivingWay {
    slots: BTreeSet<PeerSlot>,
    /// When it may be looked for more.
    look_again_at: Option<Monotonic>,
}

impl GivingWay {
    /// Something may be agreed with this one now, or is being forgotten.
    pub(super) fn strike_off(&mut self, slot: PeerSlot) {
        self.slots.remove(&slot);
    }
}

impl Engine {
    /// The slot of a node that is met for the first time, if there is room for it.
    pub(super) fn slot_for(&mut self, newcomer: &PeerRecord) -> Result<PeerSlot, Refused> {
        let is_full = self.peers_soon() >= self.config.limits.peers;
        if !is_full && self.take_allowance(PEER_BYTES) {
            return Ok(self.meeting.next_slot());
        }
        let Some(oldest) = self.oldest_that_may_go() else {
            let known = "this node knows as many peers as it can";
            return refused(GoodbyeCode::TooManySessions, if is_full { known } else { SEGMENTS_TOO_SMALL });
        };
        // What each may come to was counted when it was met.
        let bytes = |peer: &PeerRecord| record_bytes(&Control::Peer(peer.clone()));
        let more = bytes(newcomer).saturating_sub(bytes(&oldest));
        if more > 0 && !self.take_allowance(more) {
            return refused(GoodbyeCode::TooManySessions, SEGMENTS_TOO_SMALL);
        }
        self.giving_way.strike_off(oldest.slot);
        self.meeting.leaves(oldest.slot);
        Ok(oldest.slot)
    }

    fn oldest_that_may_go(&mut self) -> Option<PeerRecord> {
        self.look_who_may_go();
        while let Some(slot) = self.giving_way.slots.first().copied() {
            let oldest = self.state.peers.get(&slot).filter(|peer| self.may_be_forgotten(peer));
            if oldest.is_some() {
                return oldest.cloned();
            }
            self.giving_way.strike_off(slot);
        }
        None
    }

    /// Peers when all that is written down is applied.
    fn peers_soon(&self) -> usize {
        self.state.peers_known() + self.meeting.written_above(self.state.last_slot)
    }

    /// Looks for those who may give way, if it is time.
    fn look_who_may_go(&mut self) {
        let now = self.now.monotonic;
        let rests = self.giving_way.look_again_at.is_some_and(|at| at > now);
        // What is decided and not yet applied may concern any of them.
        let is_settled = self.pending.is_empty() && !self.has_unapplied;
        if self.giving_way.slots.is_empty() && !rests && is_settled {
            self.giving_way.slots = self.who_may_go();
            self.giving_way.look_again_at = Some(now.plus_millis(PEERS_REST_MS));
        }
    }

    /// The same when all is applied, so that it is known when the next newcomer asks.
    pub(super) fn look_who_may_go_if_full(&mut self) {
        if self.state.peers_known() >= self.config.limits.peers {
            self.look_who_may_go();
        }
    }

    fn who_may_go(&self) -> BTreeSet<PeerSlot> {
        let state = &self.state;
        let mut waited_for: BTreeSet<&str> = state.addresses.keys().map(String::as_str).collect();
        let mut stay: BTreeSet<PeerSlot> = self.sessions.iter().filter_map(|session| session.peer).collect();
        for stream in state.streams.values() {
            match &stream.owner {
                StreamOwner::Peer(slot) => drop(stay.insert(*slot)),
                StreamOwner::Address(address) => drop(waited_for.insert(address)),
            }
        }
        stay.extend(state.addresses.values().filter_map(|known| known.bound));
        stay.extend(state.subscribers.keys().chain(state.seen.keys()).chain(self.heard.keys()));
        stay.extend(state.inbound.keys().chain(self.staged.keys()).map(|(slot, _)| *slot));
        // One whose messages are in the inbox has been seen.
        let may_go = |peer: &&PeerRecord| {
            !peer.removed && !stay.contains(&peer.slot) && !waited_for.contains(peer.address.as_str())
        };
        state.peers.values().filter(may_go).map(|peer| peer.slot).collect()
    }

    /// The same for one peer, with what is decided and not yet applied.
    pub(super) fn may_be_forgotten(&self, peer: &PeerRecord) -> bool {
        let (state, slot) = (&self.state, peer.slot);
        let owed = |owner: &StreamOwner| match owner {
            StreamOwner::Peer(owner) => *owner == slot,
            StreamOwner::Address(address) => *address == peer.address,
        };
        // What costs nothing to ask comes first.
        !peer.removed
            && !state.addresses.contains_key(&peer.address)
            && !self.requests.are_written_for(&peer.address)
            && !self.meeting.is_bound(slot)
            && !state.subscribers.contains_key(&slot)
            && !state.paused.contains(&slot)
            && !state.quotas.contains_key(&slot)
            && self.agreed_nothing(slot)
            && self.sessions.iter().all(|session| session.peer != Some(slot))
            && state.addresses_of(slot).next().is_none()
            && !state.streams.values().any(|stream| owed(&stream.owner))
    }

    /// Whether nothing that was ever agreed with a peer rests on its secret: it may have been forgotten there.
    pub(super) fn agreed_nothing(&self, slot: PeerSlot) -> bool {
        let state = &self.state;
        let streams = (slot, StreamId(0))..(PeerSlot(slot.0 + 1), StreamId(0));
        let confirmed = |state: &IntentState| *state != IntentState::Wanted;
        let acked = |owner: &StreamOwner| matches!(owner, StreamOwner::Peer(owner) if *owner == slot);
        !state.seen.contains_key(&slot)
            && !self.heard.contains_key(&slot)
            && !self.staged_seen.contains_key(&slot)
            && self.wanted.get(&slot).is_none_or(BTreeSet::is_empty)
            && state.inbound.range(streams.clone()).next().is_none()
            && self.staged.range(streams).next().is_none()
            && !state.addresses_of(slot).any(|(address, known)| {
                known.intents.values().chain(self.intents(address).values()).any(confirmed)
            })
            && !state.streams.values().any(|stream| acked(&stream.owner) && stream.acked > Position(0))
    }
}
