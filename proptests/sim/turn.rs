//! One turn of a node: what was received, what is to be logged, what is to be done.

use std::collections::BTreeMap;

use resolute::engine::effect::{
    Dispatch, Event as EngineEvent, Note, Outcome, Outcomes, SessionId, Transmit,
};
use resolute::engine::receive::RunVerdict;
use resolute::engine::sealing::SealPermit;
use resolute::engine::staging::Stager;
use resolute::format::batch::BatchView;
use resolute::format::checksum::checksum;
use resolute::format::control::Quota;
use resolute::format::frame::{FrameKind, FrameView};
use resolute::format::message::MessageView;
use resolute::format::record::Records;
use resolute::ids::{Lsn, LsnRange};
use resolute::limits::{FRAME_BYTES_MAX, HANDSHAKE_FRAME_BYTES_MAX};
use resolute::log::batch_builder::BatchBuilder;
use resolute::time::Now;

use super::checks;
use super::faults::Fault;
use super::model::number_of;
use super::net::ConnectionId;
use super::node::{Mood, Node, Up};
use super::tally::Reached;
use super::world::{Event, World};

impl World {
    pub fn turn(&mut self, node: usize) {
        let Some(mut up) = self.nodes[node].up.take() else { return };
        let now = self.clock(node);
        up.engine.handle_time(now);
        // A turn is done when nothing that it did lets it do more.
        for round in 0.. {
            assert!(round < 1000, "a turn that never ends");
            self.report(node, &mut up);
            let received = self.receive(node, &mut up);
            checks::grants(&mut up);
            let sealed = self.seal(node, &mut up);
            self.transmit(node, &mut up);
            checks::grants(&mut up);
            self.dispatch(node, &mut up);
            self.read(node, &mut up);
            if !received && !sealed {
                break;
            }
            up.engine.handle_time(now);
        }
        self.report(node, &mut up);
        checks::bounds(&up);
        checks::marks(&mut up);
        self.nodes[node].durable = up.engine.durable();
        let wake = up.engine.next_wake().map_or(u64::MAX, |at| at.0);
        // What did not happen in this turn waits for something else than time.
        assert!(wake > self.now, "n{node} wants to be woken at once, again and again");
        if wake < u64::MAX && (wake < up.wake_at || up.wake_at <= self.now) {
            up.wake_at = wake;
            let life = self.nodes[node].life;
            // Clocks are coarse: never earlier than asked for, and never at once again.
            self.at(wake.max(self.now + 1000), Event::Wake(node, life));
        }
        let dial_again = up.engine.state().identity.id.0 as u64;
        self.trace = self.trace.rotate_left(7) ^ up.engine.durable().0 ^ self.now ^ dial_again;
        self.nodes[node].up = Some(up);
    }

    fn report(&mut self, node: usize, up: &mut Up) {
        let life = self.nodes[node].life;
        while let Some(event) = up.engine.poll_event() {
            match event {
                EngineEvent::Durable(lsn) => assert_eq!(lsn, up.engine.durable()),
                EngineEvent::Done(id, messages) => {
                    assert!(up.done.insert(id), "{id:?} is done twice");
                    self.check_done(node, up, id, messages);
                    Reached::by_request(&up.asked[&id]).into_iter().for_each(|kind| self.tally.count(kind));
                }
                EngineEvent::Refused(id, _) => drop(up.refused.insert(id)),
                EngineEvent::Prepare(number) => {
                    self.nodes[node].disk.names.made = Some(number);
                    self.after_us(1000, 20_000, Event::Prepared(node, life, number))
                }
                EngineEvent::Free(number) => {
                    checks::freed(up);
                    self.nodes[node].disk.free(number);
                    self.tally.count(Reached::SegmentFreed);
                    self.nodes[node].was_freed = true;
                }
                EngineEvent::Dial(address) => self.after_us(100, 3000, Event::Dialled(node, life, address)),
                EngineEvent::Note(note) => self.note(node, note, up.builder.next_lsn()),
            }
        }
    }

    /// `next` is the record that the node writes next.
    fn note(&mut self, node: usize, note: Note, next: Lsn) {
        if std::env::var_os("SIM_NOTES").is_some() {
            println!("{:>9} us  n{node}: {note:?}", self.now / 1000);
        }
        // Nodes count alike, whatever befalls them: only strangers send more than they may, and a network that gives frames out
        // twice, of which the sender knows nothing.
        let overran = matches!(&note, Note::Ended { reason, .. } if reason.contains("were granted"));
        let come_twice = self.tally.of(Fault::Duplicated) + self.tally.of(Fault::Replayed) > 0;
        let limits = matches!(&note, Note::BacklogFull { .. } | Note::Evicted { .. });
        let is_anyone_limited =
            self.nodes[node].quota != Quota::UNLIMITED || self.tally.of(Fault::Limited) > 0;
        assert!(!limits || is_anyone_limited, "node {node} keeps back what nobody limited: {note:?}");
        assert!(!overran || come_twice, "node {node} ended the session of an honest peer: {note:?}");
        // Only one of the two sides needed the memory; the other is told.
        let crowded =
            |reason: &str| reason.contains("others need the memory") && !reason.contains("said goodbye");
        match &note {
            Note::Ended { reason, .. } if crowded(reason) => self.tally.count(Fault::Crowded),
            Note::Established { node: peer, .. } => {
                if self.has_forgotten(node, *peer) {
                    self.tally.count(Fault::CameBack);
                }
                let own = self.nodes[node].identity.filter(|_| !self.nodes[node].is_clone);
                own.into_iter().for_each(|own| self.model.meets(own, *peer, next));
            }
            _ => {}
        }
        Reached::by_note(&note).into_iter().for_each(|kind| self.tally.count(kind));
        self.hear(node, &note);
        self.notes.push((node, note));
    }

    /// Looks at what arrived, frame by frame.
    fn receive(&mut self, node: usize, up: &mut Up) -> bool {
        let mut any = false;
        for (id, side) in self.net.of_node(node, self.nodes[node].life) {
            while self.receive_held(id, side, up) || self.receive_one(id, side, up) {
                any = true;
            }
            let end = &self.net.connections[&id].ends[side];
            let kept = end.window.unread().len() + end.held.bytes();
            up.engine.handle_kept(self.clock(node), end.session, kept);
        }
        any
    }

    /// The first frame that waits for room, if there is some now.
    fn receive_held(&mut self, id: ConnectionId, side: usize, up: &mut Up) -> bool {
        let now = self.clock(self.net.connections[&id].ends[side].node);
        let end = &mut self.net.connections.get_mut(&id).unwrap().ends[side];
        let Some(held) = end.held.front() else { return false };
        let (frame, _) = FrameView::parse(&held).unwrap().unwrap();
        let is_taken = take(up, now, end.session, &frame);
        if is_taken {
            end.held.pop();
        }
        is_taken
    }

    fn receive_one(&mut self, id: ConnectionId, side: usize, up: &mut Up) -> bool {
        let now = self.clock(self.net.connections[&id].ends[side].node);
        let end = &mut self.net.connections.get_mut(&id).unwrap().ends[side];
        let known = up.engine.sessions().get(end.session).is_some_and(|session| session.is_known());
        end.window.set_frame_bytes_max(if known { FRAME_BYTES_MAX } else { HANDSHAKE_FRAME_BYTES_MAX });
        let limit = if known { FRAME_BYTES_MAX } else { HANDSHAKE_FRAME_BYTES_MAX };
        let (frame, bytes) = match resolute::wire::frame_buffer::next_frame(end.window.unread(), limit) {
            Ok(Some(found)) => found,
            Ok(None) => {
                let (first, _) = end.backlog.as_slices();
                if first.is_empty() {
                    return false;
                }
                let pushed = end.window.push(first);
                end.backlog.drain(..pushed);
                return true;
            }
            Err(defect) => {
                up.engine.handle_bad_frame(now, end.session, &defect);
                end.backlog.clear();
                let unread = end.window.unread().len();
                end.window.consume(unread);
                return false;
            }
        };
        // On a full disk frames make way for those that make room.
        let waits = end.held.are_before(frame.kind);
        if waits || !take(up, now, end.session, &frame) {
            let whole = &end.window.unread()[..bytes];
            if !(waits || up.engine.is_disk_full()) || !end.held.push(whole) {
                return false;
            }
            self.tally.count(Fault::SetAside);
        }
        end.window.consume(bytes);
        true
    }

    /// Stages, seals and begins the write, if there is something to write.
    fn seal(&mut self, node: usize, up: &mut Up) -> bool {
        let permit = up.engine.may_seal();
        if permit == SealPermit::No {
            return false;
        }
        stage(up, false);
        if up.builder.is_empty() {
            return false;
        }
        let next = BatchBuilder::new(up.builder.next_lsn());
        let builder = std::mem::replace(&mut up.builder, next);
        let sealed = up.engine.seal(builder, &mut up.buffer, &mut up.owed, false);
        let header = sealed.batch.header;
        let bytes = up.buffer[..header.batch_bytes.get() as usize].to_vec();
        self.trace = self.trace.rotate_left(7) ^ u64::from(checksum(&bytes));
        let own = up.engine.state().identity.id;
        let is_clone = self.nodes[node].is_clone;
        if !is_clone {
            let forgotten = self.model.sealed(own, &BatchView::parse_verified(&bytes).unwrap());
            (0..forgotten).for_each(|_| self.tally.count(Fault::GaveWay));
            self.tally.sealed(own, &BatchView::parse_verified(&bytes).unwrap());
            checks::removals(up, &BatchView::parse_verified(&bytes).unwrap());
        }
        self.nodes[node].disk.begin_write(header.number(), sealed.place, &bytes);
        up.engine.handle_sealed(&sealed, bytes.into());
        if !is_clone {
            checks::state(&self.model, up);
            self.model.books.entry(own).or_default().write(self.now, up.engine.state());
            self.check_conserved(node, up.engine.state());
        }
        up.snapshots.insert(header.number(), up.engine.state().clone());
        if permit == SealPermit::HereThenRoll {
            stage(up, true);
        }
        let life = self.nodes[node].life;
        self.after_us(50, self.write_us, Event::Written(node, life, header.number()));
        let in_flight = self.nodes[node].disk.in_flight.len();
        if self.nodes[node].dies_writing.is_some_and(|least| in_flight >= least) {
            self.nodes[node].dies_writing = None;
            self.after_us(0, self.write_us, Event::Dies(node, life));
        }
        true
    }

    fn transmit(&mut self, node: usize, up: &mut Up) {
        let life = self.nodes[node].life;
        loop {
            up.engine.begin_transmitting();
            while let Some(transmit) = up.engine.poll_transmit() {
                if !self.nodes[node].is_clone {
                    checks::transmit(&self.model, up, &transmit);
                }
                let Some((id, side)) = self.net.find(node, life, transmit.session) else { continue };
                self.carry(id, side, &transmit);
            }
            let Some(close) = up.engine.poll_close() else { break };
            if let Some((id, side)) = self.net.find(node, life, close.session) {
                self.hang_up(id, side);
            }
            up.engine.handle_disconnected(self.clock(node), close.session, "closed as asked");
        }
    }

    /// Puts bytes on their way, as bad as the weather is.
    fn carry(&mut self, id: ConnectionId, side: usize, transmit: &Transmit) {
        let bytes = transmit.pieces.concat();
        self.trace = self.trace.rotate_left(7) ^ u64::from(checksum(&bytes));
        let connection = &self.net.connections[&id];
        let pair = (connection.ends[side].node, connection.ends[1 - side].node);
        if self.stuck.contains(&pair) {
            return;
        }
        self.after_us(10, 500, Event::Took(id, side, bytes.len()));
        let is_run = FrameView::parse(&bytes).unwrap().unwrap().0.kind == FrameKind::Run;
        let mut frames = vec![bytes];
        // What was held back comes behind whatever is said next, if only a heartbeat: nothing is lost on the way.
        if let Some(held) = self.net.held.remove(&(id, side)) {
            frames.push(held);
        } else if is_run {
            let history = self.net.history.entry(pair).or_default();
            history.push(frames[0].clone());
            if history.len() > 20 {
                history.remove(5);
            }
            let any = history[self.rng.below(history.len() as u64) as usize].clone();
            if self.rng.chance(self.weather.duplicated) {
                self.tally.count(Fault::Duplicated);
                frames.push(frames[0].clone());
            }
            if self.rng.chance(self.weather.replayed) {
                self.tally.count(Fault::Replayed);
                frames.push(any);
            }
            if self.rng.chance(self.weather.reordered) {
                self.tally.count(Fault::Reordered);
                self.net.held.insert((id, side), frames.remove(0));
            }
        }
        let bytes = frames.concat();
        let pieces = self.rng.between(1, self.weather.pieces).min(bytes.len().max(1) as u64);
        let mut rest = &bytes[..];
        for left in (1..=pieces).rev() {
            let length = if left == 1 { rest.len() } else { self.rng.below(rest.len() as u64 + 1) as usize };
            let (piece, after) = rest.split_at(length);
            rest = after;
            let delay = self.rng.between(10, self.weather.delay_ms * 1000) * 1000;
            let end = &mut self.net.connections.get_mut(&id).unwrap().ends[side];
            end.last_arrival = (self.now + delay).max(end.last_arrival);
            let arrival = end.last_arrival;
            self.at(arrival, Event::Arrives(id, 1 - side, piece.to_vec()));
        }
    }

    fn dispatch(&mut self, node: usize, up: &mut Up) {
        let life = self.nodes[node].life;
        loop {
            let room = self.nodes[node].takes.saturating_sub(up.engine.dispatched());
            up.engine.hold_dispatch(room == 0);
            let Some(dispatch) = up.engine.poll_dispatch(room.min(16)) else { break };
            up.called.check(&self.model, up.serving, up.engine.state().identity.id, &dispatch);
            let mut outcomes = Outcomes::default();
            let mut lsn = dispatch.range.first;
            let mut count = 0;
            for piece in &dispatch.pieces {
                for record in Records::new(piece) {
                    let record = record.unwrap();
                    let own = up.engine.state().identity.id;
                    self.model.check_dispatch(own, dispatch.range, lsn, number_of(&record));
                    let topics: Vec<String> =
                        MessageView::parse(record.body).unwrap().topics().map(str::to_owned).collect();
                    self.handle(node, up, lsn, &topics, &dispatch, &mut outcomes);
                    lsn = lsn.plus(1);
                    count += 1;
                }
            }
            assert_eq!(count, dispatch.range.count);
            self.after_us(10, 30_000, Event::Outcomes(node, life, up.serving, outcomes));
        }
    }

    /// What the handlers of one message do with it.
    fn handle(
        &mut self,
        node: usize,
        up: &Up,
        lsn: resolute::ids::Lsn,
        topics: &[String],
        dispatch: &Dispatch,
        outcomes: &mut Outcomes,
    ) {
        let own = up.engine.state().identity.id;
        let one = LsnRange { first: lsn, count: 1 };
        let all: BTreeMap<String, Mood> = handlers_of(&self.nodes[node], topics);
        if all.is_empty() {
            outcomes.parked.push(one);
            return;
        }
        checks::progress(&self.model, own, lsn, dispatch);
        let progress = dispatch.progress.clone().unwrap_or_default();
        let mut outcome = Outcome { lsn, done: Vec::new(), failed: Vec::new() };
        for (name, mood) in all.iter().filter(|(name, _)| !progress.skip.contains(name)) {
            let moody =
                if self.is_calm { 0 } else { if let Mood::Moody(percent) = mood { *percent } else { 0 } };
            if self.rng.chance(moody / 4) {
                outcomes.returned.push(lsn);
                return;
            }
            if *mood == Mood::Failing || self.rng.chance(moody) {
                outcome.failed.push((name.clone(), "not in the mood".to_owned()));
            } else {
                outcome.done.push(name.clone());
                *self.runs.entry((own, lsn, name.clone())).or_default() += 1;
            }
        }
        if outcome.failed.is_empty() && dispatch.progress.is_none() {
            outcomes.handled.push(one);
        } else {
            outcomes.mixed.push(outcome);
        }
    }

    fn read(&mut self, node: usize, up: &mut Up) {
        let life = self.nodes[node].life;
        while let Some(span) = up.engine.poll_read() {
            let bytes = self.nodes[node].disk.read(&span);
            self.after_us(50, 1000, Event::Read(node, life, span, bytes));
        }
    }
}

pub fn handlers_of(node: &Node, topics: &[String]) -> BTreeMap<String, Mood> {
    topics
        .iter()
        .filter_map(|topic| node.handlers.get(topic))
        .flatten()
        .map(|(n, m)| (n.clone(), *m))
        .collect()
}

/// Gives a frame to the engine. A run that cannot be staged now is not taken.
fn take(up: &mut Up, now: Now, session: SessionId, frame: &FrameView<'_>) -> bool {
    let Some((run, records)) = frame.run() else {
        up.engine.handle_frame(now, session, frame);
        return true;
    };
    if !up.engine.accepts_runs() || !up.builder.has_room(records.len() + 256) {
        return false;
    }
    if let RunVerdict::Accept { accepted, skip } = up.engine.handle_run(now, session, run, records) {
        up.builder.push_run(&mut up.buffer, &accepted, &records[skip..]);
        up.engine.run_staged(&accepted, skip);
    }
    true
}

fn stage(up: &mut Up, begins_segment: bool) {
    let Up { engine, routing, builder, buffer, .. } = up;
    let mut stager = Stager { builder, buffer, routing };
    if begins_segment {
        engine.begin_segment(&mut stager);
    } else if engine.wants_to_stage() {
        engine.stage(&mut stager);
    }
}
