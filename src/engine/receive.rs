//! What peers say.

use super::allowance::{SEGMENTS_TOO_SMALL, topics_bytes};
use super::effect::{Event, Note, SessionId};
use super::handshake::{Refused, refused};
use super::session::{Phase, SendCursor};
use super::state::Seen;
use super::traffic::acknowledged;
use super::{Engine, Pending};
use crate::format::control::{Control, IntentState};
use crate::format::frame::{FrameDefect, FrameKind, FrameView};
use crate::ids::{Lsn, PeerSlot, Position, StreamId};
use crate::limits::{INBOUND_STREAMS_PER_PEER_MAX, INTERESTS_PENDING_MAX, PENDING_OF_PEERS_MAX};
use crate::time::Now;
use crate::wire::bodies::Body;
use crate::wire::goodbye::GoodbyeCode;

mod runs;

pub use runs::RunVerdict;

fn protocol<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err((GoodbyeCode::ProtocolError, reason.into()))
}

impl Engine {
    /// A frame that is not a run has come.
    pub fn handle_frame(&mut self, now: Now, id: SessionId, frame: &FrameView<'_>) {
        self.now = now;
        let Some(session) = self.sessions.get_mut(id).filter(|session| session.phase != Phase::Over) else {
            return;
        };
        (session.heard_at, session.framed_at) = (now.monotonic, now.monotonic);
        let outcome = if frame.kind == FrameKind::Hello {
            self.handle_hello(id, frame.body)
        } else {
            match Body::decode(frame.kind, frame.body) {
                Ok(body) => self.handle_body(id, body),
                Err(defect) => {
                    Err((GoodbyeCode::BadFrame, format!("a frame of kind {:?}: {defect}", frame.kind)))
                }
            }
        };
        if let Err((code, reason)) = outcome {
            self.end_session(id, code, &reason);
        }
    }

    /// Bytes came, whether or not they are a whole frame yet: over a slow link one takes longer than a silence may last. A
    /// handshake ends in time all the same.
    pub fn handle_received(&mut self, now: Now, id: SessionId) {
        self.now = now;
        if let Some(session) = self.sessions.get_mut(id) {
            session.heard_at = now.monotonic;
        }
    }

    /// Bytes came that are no frame.
    pub fn handle_bad_frame(&mut self, now: Now, id: SessionId, defect: &FrameDefect) {
        self.now = now;
        self.end_session(id, GoodbyeCode::BadFrame, &defect.to_string());
    }

    fn handle_body(&mut self, id: SessionId, body: Body) -> Result<(), Refused> {
        match body {
            Body::Proof { mac, proposed, met } => return self.handle_proof(id, mac, proposed, met),
            Body::Established { mac } => return self.handle_established(id, mac),
            Body::Goodbye { code, reason } => {
                self.handle_goodbye(id, code, reason);
                return Ok(());
            }
            Body::Heartbeat => return Ok(()),
            _ => {}
        }
        let known = self.sessions.get(id).filter(|session| session.is_known());
        let Some((slot, phase)) = known.and_then(|session| Some((session.peer?, session.phase))) else {
            return protocol("nothing may be said before both sides know each other");
        };
        match body {
            Body::Resume { durable, cursors } if phase == Phase::AwaitResume => {
                self.handle_resume(id, slot, durable, &cursors)
            }
            _ if phase == Phase::AwaitResume => protocol("the peer must say first how far it is"),
            Body::Interest { generation, topics } => self.handle_interest(id, slot, generation, topics),
            Body::InterestConfirmed { generation } => {
                self.handle_interest_confirmed(id, slot, generation);
                Ok(())
            }
            Body::Ack { credit, durable, cursors } => self.handle_ack(id, slot, (credit, durable), &cursors),
            Body::StreamEnd { stream, .. } => {
                self.handle_stream_end(slot, stream);
                Ok(())
            }
            Body::Gap { stream, first, count } => self.handle_gap(slot, stream, first, count),
            _ => protocol("a frame out of its place"),
        }
    }

    fn handle_goodbye(&mut self, id: SessionId, code: GoodbyeCode, reason: String) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.phase = Phase::Over;
        session.frames.clear();
        let node = session.node();
        self.sessions.keep(id, 0);
        let reason = format!("the peer said goodbye: {code}: {reason}");
        self.events.push_back(Event::Note(Note::ended(node, code, reason)));
        self.sessions.closes.push_back(super::effect::Close { session: id, code });
    }

    /// How far the peer has accepted our streams: there each goes on.
    fn handle_resume(
        &mut self,
        id: SessionId,
        slot: PeerSlot,
        durable: Lsn,
        cursors: &[(StreamId, Position)],
    ) -> Result<(), Refused> {
        self.check_not_stale(slot, durable)?;
        self.confirm_secret(slot);
        // The peer may say next that a stream of its is over, which is then forgotten here: it is remembered how far the log
        // reaches that says so. Of a peer of whom nothing was accepted there is nothing to remember.
        let streams = (slot, StreamId(0))..=(slot, StreamId(u64::MAX));
        if self.state.inbound.range(streams).next().is_some() {
            self.hear(slot, durable);
        }
        let mut frames = Vec::new();
        let mut ends = Vec::new();
        for (stream, _) in cursors.iter().filter(|(id, _)| !self.state.streams.contains_key(id)) {
            Body::StreamEnd { stream: *stream, last: Position(0) }.append_to(&mut ends);
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.phase = Phase::Established;
            session.cursors.clear();
        }
        self.refresh_cursors();
        let node = self.state.node_of(slot);
        let starts: Vec<StreamId> =
            self.sessions.get(id).map_or(vec![], |s| s.cursors.keys().copied().collect());
        for id_of_stream in starts {
            let accepted =
                cursors.iter().find(|(id, _)| *id == id_of_stream).map_or(Position(0), |(_, at)| *at);
            let (acked, next, ended) = match self.state.streams.get(&id_of_stream) {
                Some(stream) => (stream.acked, stream.next, stream.ended),
                None => continue,
            };
            let last = Position(next.0 - 1);
            let accepted =
                if ended { self.known_of_ended(node, id_of_stream, accepted, last) } else { accepted };
            if accepted >= next {
                return protocol(format!(
                    "the peer has position {accepted} of stream {id_of_stream}, which has {next} next"
                ));
            }
            if accepted < acked {
                let (stream, first, count) = (id_of_stream, accepted.plus(1), acked.since(accepted));
                Body::Gap { stream, first, count }.append_to(&mut frames);
                self.events.push_back(Event::Note(Note::Gap { node, is_ours: true, stream, first, count }));
            }
            if accepted > acked {
                let kept = (&self.state, &mut self.acks, &mut self.traffic);
                acknowledged(kept, id_of_stream, accepted);
                self.hear(slot, durable);
            }
            let cursor = SendCursor { next: accepted.max(acked).plus(1), after: self.last_applied() };
            if let Some(session) = self.sessions.get_mut(id) {
                session.cursors.insert(id_of_stream, cursor);
            }
        }
        if let Some(session) = self.sessions.get_mut(id).filter(|_| !frames.is_empty()) {
            session.say_behind_resume(Lsn(0), frames);
        }
        // A crash may yet bring back a stream whose end is not durable, and the peer would no longer know how far it
        // accepted it.
        let applied = Lsn(self.state.index.end().0 - 1);
        if let Some(session) = self.sessions.get_mut(id).filter(|_| !ends.is_empty()) {
            session.say_behind_resume(applied, ends);
        }
        Ok(())
    }

    /// All that the peer wants: what is new and what is no longer wanted is written down, and then confirmed.
    fn handle_interest(
        &mut self,
        id: SessionId,
        slot: PeerSlot,
        generation: u64,
        topics: Vec<String>,
    ) -> Result<(), Refused> {
        // One that says its wishes faster than they are written down, or does not take the answers, is no peer of ours.
        let session = self.sessions.get(id).map_or(0, |session| session.frames.len());
        let pending =
            self.pending.iter().filter(|p| matches!(p, Pending::Frame { session, .. } if *session == id));
        if session + pending.count() > INTERESTS_PENDING_MAX {
            return protocol("wishes come faster than they are written down");
        }
        let new: std::collections::BTreeSet<String> = topics.into_iter().collect();
        let old = self.wanted.get(&slot).cloned().unwrap_or_default();
        let more = topics_bytes(new.difference(&old));
        if !new.is_subset(&old) && !self.take_allowance(more) {
            return refused(GoodbyeCode::TooManySessions, SEGMENTS_TOO_SMALL);
        }
        self.wanted.insert(slot, new.clone());
        for (added, of, without) in [(true, &new, &old), (false, &old, &new)] {
            let topics: Vec<String> = of.difference(without).cloned().collect();
            for part in super::apply::topic_parts(&topics) {
                let control = Control::Subscriber { slot, added, topics: part.to_vec() };
                self.pending.push_back(Pending::Control(control));
            }
        }
        let mut frame = Vec::new();
        Body::InterestConfirmed { generation }.append_to(&mut frame);
        self.pending.push_back(Pending::Frame { session: id, frame });
        Ok(())
    }

    /// The peer has written down what we want of it.
    fn handle_interest_confirmed(&mut self, id: SessionId, slot: PeerSlot, generation: u64) {
        let Some(session) = self.sessions.get(id) else { return };
        if session.interest_due || session.interest_generation != generation {
            return;
        }
        let mut settled = Vec::new();
        for (address, known) in self.state.addresses_of(slot) {
            let latest = self.intents(address);
            // A wish that changed meanwhile is not the one that was said; it is said when it is applied.
            for (topic, state) in
                known.intents.iter().filter(|(topic, state)| latest.get(*topic) == Some(state))
            {
                match state {
                    IntentState::Wanted => {
                        settled.push((address.clone(), topic.clone(), IntentState::Confirmed))
                    }
                    IntentState::Removing => {
                        settled.push((address.clone(), topic.clone(), IntentState::Removed))
                    }
                    _ => {}
                }
            }
        }
        for (address, topic, state) in settled {
            self.write_intent(&address, &topic, state);
        }
    }

    /// What is acknowledged is forgotten here, so it is remembered how far the log reaches that has it now.
    fn hear(&mut self, slot: PeerSlot, durable: Lsn) {
        let new = Seen { incarnation: self.incarnation_of(slot), lsn: durable };
        self.heard.entry(slot).or_insert(new).take_in(new);
    }

    fn handle_ack(
        &mut self,
        id: SessionId,
        slot: PeerSlot,
        (credit, durable): (u64, Lsn),
        cursors: &[(StreamId, Position)],
    ) -> Result<(), Refused> {
        let mut is_heard = false;
        let Some(session) = self.sessions.get_mut(id) else { return Ok(()) };
        session.allowed = session.allowed.max(credit);
        for (stream, position) in cursors {
            // A stream that is gone is acknowledged late, and nobody cares.
            let Some(cursor) = session.cursors.get(stream) else { continue };
            if *position >= cursor.next {
                return protocol(format!(
                    "position {position} of stream {stream} is acknowledged and was never sent"
                ));
            }
            acknowledged((&self.state, &mut self.acks, &mut self.traffic), *stream, *position);
            is_heard = true;
        }
        if is_heard {
            self.hear(slot, durable);
        }
        Ok(())
    }

    /// A peer has so many streams and no more.
    fn check_stream_count(&self, slot: PeerSlot, stream: StreamId) -> Result<(), Refused> {
        let theirs = (slot, StreamId(0))..(PeerSlot(slot.0 + 1), StreamId(0));
        let staged =
            self.staged.range(theirs.clone()).filter(|(key, _)| !self.state.inbound.contains_key(key));
        let streams = self.state.inbound.range(theirs).count() + staged.count();
        let key = (slot, stream);
        let is_open = self.state.inbound.contains_key(&key) || self.staged.contains_key(&key);
        if !is_open && streams >= INBOUND_STREAMS_PER_PEER_MAX {
            return protocol("more streams than a peer may have");
        }
        Ok(())
    }

    /// A stream whose end is written down and not applied yet takes nothing more.
    fn check_not_ended(&self, slot: PeerSlot, stream: StreamId) -> Result<(), Refused> {
        if self.ended.contains(&(slot, stream)) {
            return protocol(format!("stream {stream} has ended"));
        }
        // Once the end of another one is applied, it may be this one that is forgotten for it.
        let key = (slot, stream);
        let is_open = self.state.inbound.contains_key(&key) || self.staged.contains_key(&key);
        let is_finished = !is_open && self.state.finished_of(slot).any(|(finished, _)| finished == stream);
        if is_finished && self.ended.iter().any(|(of, _)| *of == slot) {
            return protocol(format!("stream {stream} goes on while another one ends"));
        }
        Ok(())
    }

    /// The peer's stream is gone there: what is known of it here may go too.
    fn handle_stream_end(&mut self, slot: PeerSlot, stream: StreamId) {
        let inbound = self.state.inbound.get(&(slot, stream)).copied();
        // Its last run may have come a moment ago, and be in no batch yet.
        let is_known = inbound.is_some() || self.staged.contains_key(&(slot, stream));
        if is_known && self.ended.insert((slot, stream)) {
            let accepted = Position(self.expected(slot, stream).0 - 1);
            let lost = inbound.unwrap_or_default().lost;
            let control = Control::Inbound { slot, stream, accepted, lost, ended: true };
            self.pending.push_back(Pending::Control(control));
        }
    }

    /// Positions that we lost and the peer no longer has. It is written down, and counted.
    fn handle_gap(
        &mut self,
        slot: PeerSlot,
        stream: StreamId,
        first: Position,
        count: u64,
    ) -> Result<(), Refused> {
        self.check_not_ended(slot, stream)?;
        self.check_stream_count(slot, stream)?;
        if self.pending.len() > PENDING_OF_PEERS_MAX {
            return protocol("gaps come faster than they are written down");
        }
        let inbound = self.state.inbound_of(slot, stream);
        if first != self.expected(slot, stream) {
            return protocol(format!(
                "a gap at position {first} of stream {stream}, where another was expected"
            ));
        }
        let accepted = first.plus(count - 1);
        let control = Control::Inbound { slot, stream, accepted, lost: inbound.lost + count, ended: false };
        self.pending.push_back(Pending::Control(control));
        self.staged.insert((slot, stream), accepted);
        let node = self.state.node_of(slot);
        self.events.push_back(Event::Note(Note::Gap { node, is_ours: false, stream, first, count }));
        Ok(())
    }

    /// The position that a stream's next run must begin with.
    pub(super) fn expected(&self, slot: PeerSlot, stream: StreamId) -> Position {
        let staged = self.staged.get(&(slot, stream)).copied();
        let applied = self.state.inbound_of(slot, stream).accepted;
        staged.unwrap_or_default().max(applied).plus(1)
    }

    /// Whether runs may be staged at all: not in the middle of a checkpoint, and not onto a full disk.
    #[must_use]
    pub fn accepts_runs(&self) -> bool {
        !self.failed && !self.is_in_checkpoint() && !self.is_disk_full() && self.pending.is_empty()
    }
}
