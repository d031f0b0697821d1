//! Streams of peers that have ended. What was accepted on them is remembered: a publisher that is restored from a backup owes on
//! them once more what it owed when that was made, and would be believed.

use super::state::{Inbound, State};
use crate::ids::{PeerSlot, StreamId};
use crate::limits::STREAMS_FINISHED_KEPT;

impl State {
    /// A peer's stream has ended. The one that has been over for longest may be forgotten for it.
    pub(super) fn finish(&mut self, slot: PeerSlot, stream: StreamId, inbound: Inbound) {
        self.inbound.remove(&(slot, stream));
        if self.peers.get(&slot).is_none_or(|peer| peer.removed) {
            return;
        }
        let finished = self.finished.entry(slot).or_default();
        finished.retain(|(other, _)| *other != stream);
        finished.push((stream, inbound));
        let many = finished.len().saturating_sub(STREAMS_FINISHED_KEPT);
        finished.drain(..many);
    }

    /// A peer sends once more on a stream that had ended: it goes on where it was.
    pub(super) fn resume_finished(&mut self, slot: PeerSlot, stream: StreamId) -> &mut Inbound {
        let before = self.inbound_of(slot, stream);
        if let Some(finished) = self.finished.get_mut(&slot) {
            finished.retain(|(other, _)| *other != stream);
            if finished.is_empty() {
                self.finished.remove(&slot);
            }
        }
        self.inbound.entry((slot, stream)).or_insert(before)
    }

    /// How far a peer's stream was accepted, also if it had ended.
    pub(super) fn inbound_of(&self, slot: PeerSlot, stream: StreamId) -> Inbound {
        let finished =
            || self.finished_of(slot).find(|(other, _)| *other == stream).map(|(_, inbound)| inbound);
        self.inbound.get(&(slot, stream)).copied().or_else(finished).unwrap_or_default()
    }

    /// The streams of a peer that have ended and are remembered.
    pub(super) fn finished_of(&self, slot: PeerSlot) -> impl Iterator<Item = (StreamId, Inbound)> {
        self.finished.get(&slot).into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::lives::tests::peer;
    use crate::ids::Position;

    const SLOT: PeerSlot = PeerSlot(1);

    fn met() -> State {
        State { peers: [(SLOT, peer(7, 1))].into(), ..State::default() }
    }

    fn up_to(position: u64) -> Inbound {
        Inbound { accepted: Position(position), lost: 0 }
    }

    #[test]
    fn the_streams_that_ended_last_are_remembered() {
        let mut state = met();
        let many = STREAMS_FINISHED_KEPT as u64 + 3;
        (1..=many).for_each(|id| state.finish(SLOT, StreamId(id), up_to(10 * id)));
        let kept: Vec<u64> = state.finished_of(SLOT).map(|(stream, _)| stream.0).collect();
        assert_eq!(kept, (4..=many).collect::<Vec<_>>());
        assert_eq!(state.inbound_of(SLOT, StreamId(many)), up_to(10 * many));
        assert_eq!(state.inbound_of(SLOT, StreamId(1)), Inbound::default());
        // One that ends once more has ended last.
        *state.resume_finished(SLOT, StreamId(4)) = up_to(41);
        assert_eq!(state.inbound_of(SLOT, StreamId(4)), up_to(41));
        state.finish(SLOT, StreamId(4), up_to(42));
        assert_eq!(state.finished_of(SLOT).last(), Some((StreamId(4), up_to(42))));
        assert!(state.inbound.is_empty());
    }

    #[test]
    fn of_who_is_not_known_nothing_is_remembered() {
        let mut state = met();
        state.finish(PeerSlot(2), StreamId(1), up_to(1));
        state.finish(SLOT, StreamId(1), up_to(1));
        state.remove_peer(SLOT, 0);
        assert!(state.finished.is_empty());
    }
}
