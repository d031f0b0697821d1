//! What is said to peers: control first, then runs, the sessions taking turns.

use bytes::Bytes;

use super::Engine;
use super::effect::{Event, Note, SessionId, Transmit};
use super::session::{Phase, SendCursor};
use crate::format::control::IntentState;
use crate::format::frame::{FRAME_HEADER_BYTES, RUN_HEADER_BYTES, append_run_headers};
use crate::ids::{Lsn, PeerSlot, StreamId};
use crate::limits::{CREDIT_BYTES, RUN_BYTES_MAX, SEND_BYTES_IN_FLIGHT_MAX};
use crate::time::Now;
use crate::wire::bodies::Body;

/// Bytes of a run's frame beside its records.
pub(super) const RUN_OVERHEAD: usize = FRAME_HEADER_BYTES + RUN_HEADER_BYTES;

/// What one session sends next.
struct NextRun {
    stream: StreamId,
    lsn: Lsn,
    count: u64,
}

impl Engine {
    /// A new round over all sessions begins.
    pub fn begin_transmitting(&mut self) {
        self.sending = self.sessions.round().into();
    }

    /// The next bytes that may be spoken now. After one run of a session the others have their turn.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        while let Some(id) = self.sending.pop_front() {
            if let Some(transmit) = self.next_transmit(id) {
                assert!(transmit.after <= self.commit.durable(), "nothing is said that is not durable");
                self.sending.push_back(id);
                return Some(transmit);
            }
        }
        None
    }

    /// The socket took bytes.
    pub fn handle_sent(&mut self, now: Now, id: SessionId, bytes: usize) {
        self.now = now;
        if let Some(session) = self.sessions.get_mut(id) {
            session.in_flight -= bytes.min(session.in_flight);
            session.said_at = now.monotonic;
        }
    }

    fn next_transmit(&mut self, id: SessionId) -> Option<Transmit> {
        let (durable, now) = (self.commit.durable(), self.now.monotonic);
        let session = self.sessions.get_mut(id)?;
        if session.in_flight >= SEND_BYTES_IN_FLIGHT_MAX {
            return None;
        }
        let speakable = session.frames.front().is_some_and(|said| said.after <= durable);
        let control = if speakable { session.frames.pop_front() } else { None };
        let (after, pieces) = match control {
            Some(said) => {
                session.opened |= said.opens;
                (said.after, vec![Bytes::from(said.frame)])
            }
            None => {
                let frame = self.acks_of(id).map(|frame| (Lsn(0), frame));
                let frame = frame.or_else(|| self.interest_of(id));
                let frame = frame.map(|(after, frame)| (after, vec![frame]));
                frame.or_else(|| self.owed_of_session(id))?
            }
        };
        let session = self.sessions.get_mut(id)?;
        session.said_at = now;
        session.in_flight += pieces.iter().map(Bytes::len).sum::<usize>();
        Some(Transmit { session: id, after, pieces })
    }

    /// What is durable here and was not yet said so, and how much more the peer may send.
    fn acks_of(&mut self, id: SessionId) -> Option<Bytes> {
        let session = self.sessions.get(id).filter(|s| s.phase == Phase::Established && s.opened)?;
        let credit = self.credit_after(session.peer, session.accepted_bytes).unwrap_or(session.granted);
        let durable = self.commit.durable();
        let session = self.sessions.get_mut(id)?;
        let grants = credit >= session.granted + CREDIT_BYTES / 4;
        if session.acks.is_empty() && !grants {
            return None;
        }
        session.granted = session.granted.max(credit);
        // Of a stream that ended meanwhile nobody needs to know any more. Of others a peer has a bounded number.
        let slot = session.peer?;
        session.acks.retain(|stream, _| self.state.inbound.contains_key(&(slot, *stream)));
        let cursors = std::mem::take(&mut session.acks).into_iter().collect();
        let mut frame = Vec::new();
        Body::Ack { credit: session.granted, durable, cursors }.append_to(&mut frame);
        Some(frame.into())
    }

    /// Bytes of runs that a peer may have sent in all, where so many need no room any more; `None` while the inbox is
    /// full, or the disk: what comes then has to be set aside.
    pub(super) fn credit_after(&self, peer: Option<PeerSlot>, accepted_bytes: u64) -> Option<u64> {
        let (inbox, most) = (&self.state.inbox, self.config.sender_bytes_max);
        // As long as it is not known who it is, it may be one of whom there is too much already.
        let has_room_for = match peer {
            Some(slot) => inbox.bytes_of(slot) < most,
            None => inbox.most_of_one() < most,
        };
        let has_room = inbox.bytes() < self.config.inbox_bytes_max && has_room_for && !self.is_disk_full();
        has_room.then_some(accepted_bytes + CREDIT_BYTES)
    }

    /// All that we want of the peer, once it is so after a crash too: who said that it wants something no longer, and then wants it
    /// still, would go without what was published meanwhile.
    fn interest_of(&mut self, id: SessionId) -> Option<(Lsn, Bytes)> {
        let Engine { state, sessions, commit, wishes_at: after, .. } = self;
        let after = *after;
        let session =
            sessions.get_mut(id).filter(|s| s.phase == Phase::Established && s.opened && s.interest_due)?;
        if after > commit.durable() {
            return None;
        }
        let slot = session.peer?;
        session.interest_due = false;
        session.interest_generation += 1;
        let wanted = |state: &IntentState| matches!(state, IntentState::Wanted | IntentState::Confirmed);
        let intents = state.addresses_of(slot).flat_map(|(_, known)| &known.intents);
        let topics: std::collections::BTreeSet<String> =
            intents.filter(|(_, state)| wanted(state)).map(|(topic, _)| topic.clone()).collect();
        let mut frame = Vec::new();
        let topics = topics.into_iter().collect();
        Body::Interest { generation: session.interest_generation, topics }.append_to(&mut frame);
        Some((after, frame.into()))
    }

    /// What the peer is owed, or was; nothing while it is paused.
    fn owed_of_session(&mut self, id: SessionId) -> Option<(Lsn, Vec<Bytes>)> {
        let slot = self.sessions.get(id)?.peer?;
        if self.state.paused.contains(&slot) {
            return None;
        }
        let gap = self.gap_of(id).map(|(after, frame)| (after, vec![frame]));
        gap.or_else(|| Some((Lsn(0), self.run_of(id)?)))
    }

    /// What was taken out of a stream, where that comes next: the receiver must not wait for it.
    fn gap_of(&mut self, id: SessionId) -> Option<(Lsn, Bytes)> {
        let session = self.sessions.get(id).filter(|s| s.phase == Phase::Established && s.opened)?;
        let durable = self.commit.durable();
        let gaps = session.cursors.iter().filter(|(_, cursor)| cursor.after <= durable);
        let mut gaps = gaps.filter_map(|(stream, cursor)| {
            let (count, said) = self.state.streams.get(stream)?.gap_at(cursor.next)?;
            (said <= durable).then_some((*stream, *cursor, count, said))
        });
        let (stream, cursor, count, said) = gaps.next()?;
        let first = cursor.next;
        let session = self.sessions.get_mut(id)?;
        session.cursors.insert(stream, SendCursor { next: first.plus(count), ..cursor });
        let (node, mut frame) = (session.node(), Vec::new());
        Body::Gap { stream, first, count }.append_to(&mut frame);
        if let Some(node) = node {
            self.events.push_back(Event::Note(Note::TakenOut { node, stream, first, count }));
        }
        Some((said, frame.into()))
    }

    /// The next run of the session's streams: what lies first in the log goes first, so that a peer of several
    /// streams gets everything in the order in which it was published.
    fn run_of(&mut self, id: SessionId) -> Option<Vec<Bytes>> {
        let session = self.sessions.get(id).filter(|s| s.phase == Phase::Established && s.opened)?;
        let credit = session.allowed.saturating_sub(session.sent) as usize;
        let (cursor, NextRun { stream, lsn, count }) = self.next_run(id)?;
        if credit <= RUN_OVERHEAD {
            return None;
        }
        let slices = self.fetch(lsn, count, RUN_BYTES_MAX.min(credit - RUN_OVERHEAD))?;
        let bytes = RUN_OVERHEAD + slices.bytes;
        if bytes > credit {
            return None;
        }
        let mut head = Vec::with_capacity(RUN_OVERHEAD);
        append_run_headers(&mut head, stream, cursor.next, slices.count as u32, slices.bytes);
        let session = self.sessions.get_mut(id)?;
        session.sent += bytes as u64;
        session.cursors.insert(stream, SendCursor { next: cursor.next.plus(slices.count), ..cursor });
        let mut pieces = vec![Bytes::from(head)];
        pieces.extend(slices.pieces);
        Some(pieces)
    }

    fn next_run(&self, id: SessionId) -> Option<(SendCursor, NextRun)> {
        let session = self.sessions.get(id)?;
        let durable = self.commit.durable();
        let (mut best, mut bound): (Option<(SendCursor, NextRun)>, Lsn) = (None, durable.plus(1));
        for (stream, cursor) in &session.cursors {
            let Some(run) = self.state.streams.get(stream).and_then(|s| s.at(cursor.next)) else { continue };
            if run.lsn > durable {
                continue;
            }
            if cursor.after > durable {
                // Nothing overtakes what waits.
                bound = bound.min(run.lsn);
                continue;
            }
            if run.position > cursor.next {
                // The gap before it is said first, once its record is durable. Nothing overtakes what waits.
                bound = bound.min(run.lsn);
                continue;
            }
            let next = NextRun { stream: *stream, lsn: run.lsn, count: run.count };
            match &mut best {
                Some((_, first)) if first.lsn < next.lsn => bound = bound.min(next.lsn),
                best => {
                    bound =
                        best.as_ref().map_or(bound, |(_, other)| bound.min(other.lsn.max(next.lsn.plus(1))));
                    *best = Some((*cursor, next));
                }
            }
        }
        let (cursor, next) = best.filter(|(_, next)| next.lsn < bound)?;
        let count = next.count.min(bound.since(next.lsn));
        Some((cursor, NextRun { count, ..next }))
    }
}
