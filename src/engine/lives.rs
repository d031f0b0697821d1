//! The lives of a log. One that went back to an older state, because it was restored from a backup, begins a new one: what it
//! would say from there on under its old name was said before, and was something else.
//!
//! A peer then has positions of the old streams that this log does not know. So nothing more is owed on them: they have ended,
//! what they still owe drains, and what is published from now on goes out on new ones. Their numbers lie far behind all that
//! the log can have given out since the backup was made, in this or in another life that began there.
//!
//! A peer remembers which lives it has met. Who speaks for one that was followed by another has a copy that was left behind.

use super::Engine;
use super::allowance::{SEGMENTS_TOO_SMALL, record_bytes};
use super::config::Config;
use super::effect::{Event, Note, SessionId};
use super::handshake::{Refused, refused};
use super::state::{Identity, State};
use crate::format::control::{Control, PeerRecord};
use crate::ids::{Incarnation, NodeId, Position, StreamId};
use crate::limits::PEER_LIVES_KEPT;
use crate::wire::goodbye::GoodbyeCode;

/// Of the random bits of an incarnation so many are left out, and still no two lives meet.
const LEFT_OUT_BITS: u32 = 16;

/// The stream after which a life numbers its own, if the last one before it was `last`.
#[must_use]
pub(super) fn streams_before(last: StreamId, life: Incarnation) -> StreamId {
    StreamId(last.0.saturating_add(life.0 >> LEFT_OUT_BITS))
}

/// The record with which the log begins a new life, if it is to.
pub(super) fn begins(config: &Config, state: &State) -> Option<Control> {
    let Identity { id, created, .. } = state.identity;
    let incarnation = config.fresh_incarnation;
    config.begins_life.then_some(Control::Node { id, incarnation, created })
}

impl State {
    /// The log went back, and begins the life that its identity names by now.
    pub(super) fn begin_life(&mut self) {
        self.last_stream = streams_before(self.last_stream, self.identity.incarnation);
        // No message behind this is owed to what a set stood for.
        self.sets.clear();
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in ids {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.ended = true;
            }
            self.close_if_done(id);
        }
    }

    /// What is known of a peer is about to be replaced.
    pub(super) fn note_life(&mut self, new: &PeerRecord) {
        let Some(known) = self.peers.get(&new.slot) else { return };
        if known.node != new.node {
            self.lives.remove(&new.slot);
            self.finished.remove(&new.slot);
        } else if known.incarnation != new.incarnation {
            let lives = self.lives.entry(new.slot).or_default();
            lives.retain(|life| *life != new.incarnation);
            lives.push(known.incarnation);
            let many = lives.len().saturating_sub(PEER_LIVES_KEPT);
            lives.drain(..many);
        }
    }
}

impl Engine {
    /// Who speaks for another life of a node's log than the one that was met last must not speak for one that was followed by
    /// others, nor come while that one speaks.
    pub(super) fn check_life(&self, node: NodeId, id: SessionId) -> Result<(), Refused> {
        let Some(hello) = self.sessions.get(id).and_then(|session| session.hello.as_ref()) else {
            return Ok(());
        };
        let Some(known) = self.known_peer(node).filter(|known| known.incarnation != hello.incarnation) else {
            return Ok(());
        };
        // What is written down and not yet applied has replaced this one.
        let applied = self.state.peers.get(&known.slot).map(|peer| peer.incarnation);
        let earlier = self.state.lives.get(&known.slot).into_iter().flatten().copied().chain(applied);
        if earlier.into_iter().any(|life| life == hello.incarnation) {
            let why = "this node was restored from a backup, and the one that speaks is another copy of it";
            return refused(GoodbyeCode::Clone, why);
        }
        let other = self.sessions.of_peer(known.slot).filter(|other| other.id != id && other.is_known());
        let life = other.and_then(|other| other.hello.as_ref()).map(|hello| hello.incarnation);
        if life.is_some_and(|life| life != hello.incarnation) {
            let why = "another copy of this node is connected: one of the two was restored from a backup";
            return refused(GoodbyeCode::Clone, why);
        }
        Ok(())
    }

    /// How much of a stream that has ended a peer has, as far as this log knows of it: `last` is its last position. Of an
    /// earlier life the peer may have more.
    pub(super) fn known_of_ended(
        &mut self,
        node: NodeId,
        stream: StreamId,
        accepted: Position,
        last: Position,
    ) -> Position {
        if accepted > last {
            let count = accepted.since(last);
            self.events.push_back(Event::Note(Note::Ahead { node, stream, count }));
        }
        accepted.min(last)
    }

    /// A peer is met in another life of its log than before: that is remembered, if there is room for it.
    pub(super) fn met_in_life(&mut self, known: &PeerRecord, new: Incarnation) -> Result<(), Refused> {
        if known.incarnation == new {
            return Ok(());
        }
        let more = Control::PeerLives { slot: known.slot, lives: vec![known.incarnation] };
        if !self.take_allowance(record_bytes(&more)) {
            return refused(GoodbyeCode::TooManySessions, SEGMENTS_TOO_SMALL);
        }
        self.events.push_back(Event::Note(Note::NewLife { node: known.node }));
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ids::PeerSlot;

    pub fn peer(node: u128, life: u64) -> PeerRecord {
        PeerRecord {
            slot: PeerSlot(1),
            node: NodeId(node),
            incarnation: Incarnation(life),
            epoch: crate::ids::Epoch(1),
            nonce: 2,
            secret: [3; 16],
            secret_confirmed: true,
            address: String::new(),
            name: String::new(),
            removed: false,
        }
    }

    #[test]
    fn a_peer_s_lives_are_remembered_until_another_has_its_slot() {
        let mut state = State::default();
        let mut meet = |node, life| {
            let peer = peer(node, life);
            state.note_life(&peer);
            state.peers.insert(PeerSlot(1), peer);
            state.lives.get(&PeerSlot(1)).cloned().unwrap_or_default()
        };
        assert_eq!(meet(7, 10), []);
        assert_eq!(meet(7, 10), []);
        assert_eq!(meet(7, 11), [Incarnation(10)]);
        assert_eq!(meet(7, 12), [Incarnation(10), Incarnation(11)]);
        let many = (13..100).map(|life| meet(7, life)).last().unwrap();
        assert_eq!((many.len(), many.last()), (PEER_LIVES_KEPT, Some(&Incarnation(98))));
        assert_eq!(meet(8, 1), []);
    }

    #[test]
    fn the_streams_of_two_lives_that_began_alike_have_other_numbers() {
        let lives = [0xfedc_ba98_7654_3210, 0x0123_4567_89ab_cdef].map(Incarnation);
        let first = lives.map(|life| streams_before(StreamId(5), life));
        assert!(first[0].0.abs_diff(first[1].0) > 1 << 40 && first.iter().all(|first| first.0 > 1 << 40));
        assert_eq!(streams_before(StreamId(u64::MAX), lives[0]), StreamId(u64::MAX));
    }
}
