//! What is remembered of a peer's log, and whether the peer was told all of it: one of two that were set back to older copies
//! is found out by that.

use super::Engine;
use super::effect::SessionId;
use super::handshake::{Refused, refused};
use super::state::Seen;
use crate::format::control::PeerRecord;
use crate::ids::{Lsn, NodeId, PeerSlot};
use crate::wire::goodbye::GoodbyeCode;
use crate::wire::met::Met;

impl Engine {
    /// A peer that speaks for an earlier opening than we met, or for another one of the same number, has an older copy
    /// of its log. What it and we think was delivered is then not the same, and would be lost or come twice.
    pub(super) fn check_not_set_back(&self, node: NodeId, id: SessionId) -> Result<(), Refused> {
        let Some(hello) = self.sessions.get(id).and_then(|session| session.hello.as_ref()) else {
            return Ok(());
        };
        let Some(known) = self.known_peer(node).filter(|known| known.incarnation == hello.incarnation) else {
            return Ok(());
        };
        let is_another = known.epoch == hello.epoch && known.nonce != hello.nonce;
        if hello.epoch < known.epoch || is_another {
            return refused(GoodbyeCode::ProtocolError, "the peer's log was set back to an older copy");
        }
        Ok(())
    }

    /// A peer that met this node at an opening which this log never had, or was sent a record by it that was never written
    /// there, met another log: this one is an older copy of it.
    pub(super) fn check_own_log(&self, met: Option<Met>) -> Result<(), Refused> {
        let Some(met) = met.filter(|met| met.incarnation == self.state.identity.incarnation) else {
            return Ok(());
        };
        // Each opening, and each record, was durable before anyone heard of it, so no crash can have taken it.
        let openings = &self.state.openings;
        if openings.may_include(met.epoch, met.nonce)
            && openings.may_reach(met.epoch, met.seen, self.state.index.end())
        {
            return Ok(());
        }
        refused(GoodbyeCode::ProtocolError, "this node's log was set back to an older copy")
    }

    /// What is remembered of a node's log.
    pub(super) fn met(&self, node: NodeId) -> Option<Met> {
        let PeerRecord { slot, incarnation, epoch, nonce, .. } = self.known_peer(node)?;
        let of_this_life =
            |seen: Option<&Seen>| seen.filter(|seen| seen.incarnation == incarnation).map(|seen| seen.lsn);
        let known =
            [&self.state.seen, &self.staged_seen, &self.heard].map(|seen| of_this_life(seen.get(&slot)));
        Some(Met { incarnation, epoch, nonce, seen: known.into_iter().flatten().max().unwrap_or_default() })
    }

    /// What is remembered of the log of who said hello, which is now told.
    pub(super) fn tell_met(&mut self, id: SessionId) -> Option<Met> {
        let node = self.sessions.get(id)?.node()?;
        let met = self.met(node);
        let session = self.sessions.get_mut(id)?;
        session.told_seen = met.map_or(Lsn(0), |met| met.seen);
        met
    }

    /// Until a session is known, one before it goes on, and more may come on that. If it speaks for another opening of the
    /// peer's log, the peer must be told of it before it is believed that both remember the same: with the next session.
    pub(super) fn check_was_told_all(&self, id: SessionId) -> Result<(), Refused> {
        let Some(session) = self.sessions.get(id) else { return Ok(()) };
        let Some(hello) = &session.hello else { return Ok(()) };
        let known = self.known_peer(hello.node).filter(|known| known.incarnation == hello.incarnation);
        let (Some(known), Some(met)) = (known, self.met(hello.node)) else { return Ok(()) };
        let other = self.sessions.of_peer(known.slot).filter(|other| other.id != id);
        let is_same_log = other.is_some_and(|other| other.opening() == session.opening());
        if met.seen <= session.told_seen || is_same_log {
            return Ok(());
        }
        refused(GoodbyeCode::ProtocolError, "more came on the session before than this one was told of")
    }

    /// How far a peer says that its log reaches never goes back. Who says less than it did on another session said this before
    /// it began that one, and has ended this one since: what was accepted meanwhile would be taken for lost.
    pub(super) fn check_not_stale(&self, slot: PeerSlot, durable: Lsn) -> Result<(), Refused> {
        let met = self.met(self.state.node_of(slot));
        if met.is_none_or(|met| durable >= met.seen) {
            return Ok(());
        }
        refused(GoodbyeCode::Duplicate, "the peer has said more on another session since")
    }
}
