//! What people decide by hand about other nodes. Who decided it is written down before what it does.

use super::apply::topic_parts;
use super::effect::{Event, Refusal, RequestId};
use super::{Engine, Pending};
use crate::format::control::{AtLimit, Control, Decided, Decision, OwnQuota, PeerRecord};
use crate::ids::PeerSlot;

/// What somebody wants. A peer is named by an address at which it is known, or by its node id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing that a peer is owed is sent to it, until it is resumed. What comes of it is taken.
    Pause {
        /// The peer.
        peer: String,
    },
    /// It is sent again what it is owed.
    Resume {
        /// The peer.
        peer: String,
    },
    /// It may have so much waiting for it, and for so long.
    Limit {
        /// The peer.
        peer: String,
        /// Whether what is not set here is as the node was opened with, and not as it was.
        resets: bool,
        /// What is set.
        quota: OwnQuota,
    },
    /// It is forgotten, with all that it is owed and all that is wanted of it.
    Forget {
        /// The peer.
        peer: String,
    },
    /// Topics of the node at an address are wanted.
    Subscribe {
        /// The address.
        address: String,
        /// The topics.
        topics: Vec<String>,
    },
    /// They no longer are.
    Unsubscribe {
        /// The address.
        address: String,
        /// The topics.
        topics: Vec<String>,
    },
}

impl Order {
    /// As it is written down: what, about whom, and about which topics.
    fn words(&self) -> (Decided, &str, &[String]) {
        match self {
            Order::Pause { peer } => (Decided::Paused, peer, &[]),
            Order::Resume { peer } => (Decided::Resumed, peer, &[]),
            Order::Limit { peer, .. } => (Decided::Limited, peer, &[]),
            Order::Forget { peer } => (Decided::Forgotten, peer, &[]),
            Order::Subscribe { address, topics } => (Decided::Subscribed, address, topics),
            Order::Unsubscribe { address, topics } => (Decided::Unsubscribed, address, topics),
        }
    }
}

impl Engine {
    pub(super) fn decide(&mut self, id: RequestId, who: String, order: Order) {
        let first = self.pending.len();
        let (what, about, topics) = order.words();
        let decision = |part: &[String]| {
            let (who, about, topics) = (who.clone(), about.to_owned(), part.to_vec());
            Pending::Control(Control::Decided(Decision { at: self.now.wall, who, what, about, topics }))
        };
        // Of many topics there are several records.
        let parts = topic_parts(topics).map(decision).collect::<Vec<_>>();
        let parts = if parts.is_empty() { vec![decision(&[])] } else { parts };
        self.pending.extend(parts);
        let before = self.pending.len();
        match order {
            Order::Pause { peer } => self.pause(id, &peer, true),
            Order::Resume { peer } => self.pause(id, &peer, false),
            Order::Limit { peer, resets, quota } => self.limit(id, &peer, resets, quota),
            Order::Forget { peer } => self.remove_destination(id, &peer),
            Order::Subscribe { address, topics } => self.subscribe(id, &address, topics),
            Order::Unsubscribe { address, topics } => self.unsubscribe(id, &address, topics),
        }
        if self.pending.len() == before {
            // It was refused, and nothing is done.
            self.pending.truncate(first);
        }
    }

    fn pause(&mut self, id: RequestId, peer: &str, paused: bool) {
        let may_be = |slot: &PeerSlot| *slot != PeerSlot::SELF && !self.meeting.is_leaving(*slot);
        let Some(slot) = self.slot_named(peer).filter(may_be) else {
            self.events.push_back(Event::Refused(id, Refusal::UnknownAddress));
            return;
        };
        let control = Control::PeerPaused { slot, paused };
        if !self.take_allowance(super::allowance::record_bytes(&control)) {
            self.events.push_back(Event::Refused(id, Refusal::SegmentsTooSmall));
            return;
        }
        // Whoever is paused is waited for, and gives way to nobody.
        self.giving_way.strike_off(slot);
        self.pending.push_back(Pending::Control(control));
        self.pending.push_back(Pending::Done(id));
    }

    /// Somebody gives a peer another quota: in place of its own, or of the parts of that which are set.
    fn limit(&mut self, id: RequestId, peer: &str, resets: bool, set: OwnQuota) {
        let may_be = |slot: &PeerSlot| *slot != PeerSlot::SELF && !self.meeting.is_leaving(*slot);
        let Some(slot) = self.slot_named(peer).filter(may_be) else {
            self.events.push_back(Event::Refused(id, Refusal::UnknownAddress));
            return;
        };
        let written = self.quotas.written_quota(slot).or_else(|| self.state.quotas.get(&slot));
        let before = written.copied().filter(|_| !resets).unwrap_or_default();
        let quota = OwnQuota {
            backlog_bytes: set.backlog_bytes.or(before.backlog_bytes),
            at_limit: set.at_limit.or(before.at_limit),
            lease_ms: set.lease_ms.or(before.lease_ms),
        };
        let in_all = quota.over(self.config.quota);
        // One that is open for a moment does not know with what its user opens it.
        let may_have_lease = !self.config.dials && quota.lease_ms.is_none();
        if in_all.at_limit == AtLimit::Evict && in_all.lease_ms == 0 && !may_have_lease {
            self.events.push_back(Event::Refused(id, Refusal::NoLease));
            return;
        }
        let control = Control::PeerQuota { slot, quota };
        if !self.take_allowance(super::allowance::record_bytes(&control)) {
            self.events.push_back(Event::Refused(id, Refusal::SegmentsTooSmall));
            return;
        }
        self.giving_way.strike_off(slot);
        self.quotas.writes_quota(slot, quota);
        self.pending.push_back(Pending::Control(control));
        self.pending.push_back(Pending::Done(id));
    }

    /// The peer that is known by that address, or has that node id. Of several that gave themselves the address, the one that was met
    /// last: one whose directory was deleted leaves another behind.
    pub(super) fn slot_named(&self, name: &str) -> Option<PeerSlot> {
        // A subscriber that nobody ever dialled is known by the address that it gave itself.
        let is_it = |peer: &&PeerRecord| {
            let latest = self.known_peer_at(peer.slot);
            let is_named = peer.address == name || peer.node.to_string() == name;
            !peer.removed && is_named && latest.is_some_and(|latest| latest.node == peer.node)
        };
        self.slot_at(name).or_else(|| self.state.peers.values().rev().find(is_it).map(|peer| peer.slot))
    }
}
