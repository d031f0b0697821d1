//! A node in memory whose writes take as long as the fuzzer likes, and which is told anything by anyone.

use std::collections::VecDeque;

use bytes::Bytes;
use resolute::engine::Engine;
use resolute::engine::config::{Config, Limits, Retry};
use resolute::engine::effect::{Event, Outcomes, SessionId};
use resolute::engine::receive::RunVerdict;
use resolute::engine::routing::Routing;
use resolute::engine::sealing::SealPermit;
use resolute::engine::staging::Stager;
use resolute::engine::state::State;
use resolute::format::control::Quota;
use resolute::format::frame::FrameView;
use resolute::format::message::{MessageHead, MessageParts};
use resolute::ids::{BatchNumber, Epoch, Incarnation, Lsn, NodeId, SegmentNumber};
use resolute::limits::{
    BATCH_BYTES_MAX, CREDIT_BYTES, FRAME_BYTES_MAX, HANDSHAKE_FRAME_BYTES_MAX, INBOUND_STREAMS_PER_PEER_MAX,
    SEGMENT_BYTES_MIN, SESSIONS_UNESTABLISHED_MAX,
};
use resolute::log::batch_builder::BatchBuilder;
use resolute::log::chunk::Chunk;
use resolute::log::group_commit::{GroupCommit, LogPosition};
use resolute::log::segments::{Segment, Segments};
use resolute::time::{Monotonic, Now, Wall};
use resolute::wire::frame_buffer::next_frame;

pub const ADDRESS: &str = "tcp://a:1";
pub const INBOX_BYTES: u64 = 1 << 20;

/// What one peer's connection came to.
pub struct Connection {
    pub id: SessionId,
    /// Frames that find no room.
    waiting: Vec<u8>,
    /// Whether the node's bytes are taken.
    pub takes: bool,
    /// Bytes that are not.
    untaken: usize,
    /// What was said last.
    pub said: Vec<u8>,
    /// All that was said since this was taken, if it is wanted.
    pub all_said: Option<Vec<u8>>,
}

pub struct Node {
    pub engine: Engine,
    pub connections: Vec<Connection>,
    /// Addresses that the node wants to be connected with.
    pub dials: VecDeque<String>,
    routing: Routing,
    builder: BatchBuilder,
    buffer: Vec<u8>,
    /// Batches that are being written.
    writing: VecDeque<BatchNumber>,
    /// What a replay of the log brings back, if that is wanted.
    replayed: Option<State>,
    nanos: u64,
}

impl Node {
    pub fn new() -> Node {
        Node::that_goes_on_from(State::default())
    }

    /// Its log begins with all that is known there.
    pub fn that_goes_on_from(state: State) -> Node {
        let config = Config {
            fresh_id: NodeId(1 << 64),
            fresh_incarnation: Incarnation(1),
            begins_life: false,
            epoch: Epoch(1),
            nonce: 1,
            name: "n".to_owned(),
            dials: true,
            advertised: ADDRESS.to_owned(),
            own_addresses: vec![ADDRESS.to_owned()],
            retry: Retry::default(),
            inbox_bytes_max: INBOX_BYTES,
            sender_bytes_max: INBOX_BYTES,
            quota: Quota::UNLIMITED,
            limits: Limits::default(),
            seed: [1; 32],
        };
        let position = LogPosition {
            log_id: 1,
            epoch: Epoch(1),
            nonce: 1,
            next_batch: BatchNumber(1),
            previous_header_crc: 0,
            next_lsn: Lsn(1),
        };
        let first = Segment { number: SegmentNumber(1), first_lsn: Lsn(1) };
        let segments = Segments::new(SEGMENT_BYTES_MIN, vec![first], SEGMENT_BYTES_MIN, 0);
        let engine = Engine::new(config, state, GroupCommit::new(position), segments, now(1));
        let mut node = Node {
            routing: Routing::of(engine.state()),
            engine,
            connections: Vec::new(),
            dials: VecDeque::new(),
            builder: BatchBuilder::new(Lsn(1)),
            buffer: vec![0; BATCH_BYTES_MAX],
            writing: VecDeque::new(),
            replayed: None,
            nanos: 1,
        };
        node.turn();
        node.write_all();
        node
    }

    /// From now on the log is replayed as it is written, from the state as it is.
    pub fn replay(&mut self) {
        self.replayed = Some(self.engine.state().clone());
    }

    /// A replay of the log brings back what is known now.
    pub fn assert_replayed(&self) {
        assert!(self.replayed.as_ref() == Some(self.engine.state()), "a replay brings back another state");
    }

    pub fn now(&self) -> Now {
        now(self.nanos)
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.nanos += ms * 1_000_000;
    }

    /// Someone connects; the node may not want it.
    pub fn accept(&mut self) {
        if let Some(id) = self.engine.handle_accepted(self.now()) {
            self.connections.push(Connection {
                id,
                waiting: Vec::new(),
                takes: true,
                untaken: 0,
                said: Vec::new(),
                all_said: None,
            });
        }
    }

    /// The node has reached the address that it wants most.
    pub fn connect(&mut self) {
        if let Some(address) = self.dials.pop_front() {
            let id = self.engine.handle_connected(self.now(), &address);
            self.connections.push(Connection {
                id,
                waiting: Vec::new(),
                takes: true,
                untaken: 0,
                said: Vec::new(),
                all_said: None,
            });
        }
    }

    pub fn hang_up(&mut self, at: usize) {
        let connection = self.connections.remove(at);
        self.engine.handle_disconnected(self.now(), connection.id, "hung up");
    }

    /// As publishers do it, in one critical section.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) {
        let closed = self.engine.is_in_checkpoint() || self.engine.is_disk_full();
        if closed || !self.builder.has_room(payload.len() + 4096) {
            return;
        }
        let mut records = Vec::new();
        let route = self.routing.route(std::iter::once(topic), &mut records).expect("nobody is held back");
        for record in &records {
            self.builder.push_control(&mut self.buffer, record);
        }
        if route.routed > 0 {
            let head = MessageHead::with_topics(Wall(1), [topic]).expect("a topic");
            let parts = MessageParts::new(&head, payload).expect("a message");
            self.builder.push_message(&mut self.buffer, &parts, 0, route.set);
        }
    }

    /// Bytes come from the peer.
    pub fn hear(&mut self, at: usize, bytes: &[u8]) {
        let now = self.now();
        let connection = &mut self.connections[at];
        self.engine.handle_received(now, connection.id);
        connection.waiting.extend_from_slice(bytes);
        self.take_frames(at);
        let Connection { id, waiting, .. } = &self.connections[at];
        self.engine.handle_kept(now, *id, waiting.len());
    }

    /// Frames as far as they are whole and find room.
    fn take_frames(&mut self, at: usize) -> bool {
        let (now, id) = (self.now(), self.connections[at].id);
        let bytes = std::mem::take(&mut self.connections[at].waiting);
        let mut taken = 0;
        loop {
            let known = self.engine.sessions().get(id).is_some_and(|session| session.is_known());
            let most = if known { FRAME_BYTES_MAX } else { HANDSHAKE_FRAME_BYTES_MAX };
            match next_frame(&bytes[taken..], most) {
                Ok(None) => break,
                Ok(Some((frame, length))) => {
                    if !self.take(now, id, &frame) {
                        break;
                    }
                    taken += length;
                }
                Err(defect) => {
                    self.engine.handle_bad_frame(now, id, &defect);
                    taken = bytes.len();
                    break;
                }
            }
        }
        self.connections[at].waiting = bytes[taken..].to_vec();
        taken > 0
    }

    /// Whether there was room for it.
    fn take(&mut self, now: Now, id: SessionId, frame: &FrameView<'_>) -> bool {
        let Some((run, records)) = frame.run() else {
            self.engine.handle_frame(now, id, frame);
            return true;
        };
        if !self.engine.accepts_runs() || !self.builder.has_room(records.len() + 256) {
            return false;
        }
        if let RunVerdict::Accept { accepted, skip } = self.engine.handle_run(now, id, run, records) {
            self.builder.push_run(&mut self.buffer, &accepted, &records[skip..]);
            self.engine.run_staged(&accepted, skip);
        }
        true
    }

    /// All that the node does before it sleeps, but for waiting for its disk.
    pub fn turn(&mut self) {
        self.engine.handle_time(self.now());
        loop {
            let heard = (0..self.connections.len()).filter(|at| self.take_frames(*at)).count();
            if !self.seal() && heard == 0 {
                break;
            }
        }
        self.speak();
        self.events();
        while self.engine.poll_read().is_some() {}
        self.check();
    }

    fn seal(&mut self) -> bool {
        let permit = self.engine.may_seal();
        if permit == SealPermit::No {
            return false;
        }
        let Node { engine, routing, builder, buffer, .. } = self;
        engine.stage(&mut Stager { builder, buffer, routing });
        if builder.is_empty() {
            return false;
        }
        let full = std::mem::replace(builder, BatchBuilder::new(builder.next_lsn()));
        let mut batch = std::mem::replace(buffer, vec![0; BATCH_BYTES_MAX]);
        let sealed = engine.seal(full, &mut batch, &mut Vec::new(), false);
        let bytes = Bytes::from(batch).slice(..sealed.place.bytes as usize);
        if let Some(replayed) = &mut self.replayed {
            let first = sealed.batch.header.first_lsn();
            let chunk =
                Chunk::read_back(bytes.clone(), first).expect("a batch is read back as it was written");
            replayed.apply_batch(sealed.place, &chunk, &mut Vec::new()).expect("it makes sense");
        }
        engine.handle_sealed(&sealed, bytes);
        if permit == SealPermit::HereThenRoll {
            engine.begin_segment(&mut Stager { builder, buffer, routing });
        }
        self.writing.push_back(sealed.batch.header.number());
        true
    }

    /// One of the writes is done, and not always the first.
    pub fn write_one(&mut self, which: usize) {
        if !self.writing.is_empty() {
            let which = which % self.writing.len();
            let number = self.writing.remove(which).expect("it is there");
            self.engine.handle_written(self.now(), number);
        }
    }

    pub fn write_all(&mut self) {
        while !self.writing.is_empty() {
            self.write_one(0);
            self.turn();
        }
    }

    fn speak(&mut self) {
        let now = self.now();
        self.engine.begin_transmitting();
        while let Some(transmit) = self.engine.poll_transmit() {
            assert!(transmit.after <= self.engine.durable(), "nothing is said that is not durable");
            let said = transmit.pieces.concat();
            let mut at = 0;
            while at < said.len() {
                let frame = FrameView::parse(&said[at..]).expect("nodes send frames");
                at += frame.expect("and whole ones").1;
            }
            let mut connection = self.connections.iter_mut().find(|known| known.id == transmit.session);
            match &mut connection {
                Some(connection) if !connection.takes => connection.untaken += said.len(),
                _ => self.engine.handle_sent(now, transmit.session, said.len()),
            }
            if let Some(connection) = connection {
                if let Some(all) = &mut connection.all_said {
                    all.extend_from_slice(&said);
                }
                connection.said = said;
            }
        }
        while let Some(close) = self.engine.poll_close() {
            self.connections.retain(|connection| connection.id != close.session);
            self.engine.handle_disconnected(now, close.session, "closed as asked");
        }
    }

    /// The peer takes what was said to it, or from now on does not.
    pub fn takes(&mut self, at: usize, takes: bool) {
        let now = self.now();
        let connection = &mut self.connections[at];
        connection.takes = takes;
        if takes {
            let untaken = std::mem::take(&mut connection.untaken);
            self.engine.handle_sent(now, connection.id, untaken);
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Prepare(number) => self.engine.handle_prepared(number),
                Event::Dial(address) => self.dials.push_back(address),
                _ => {}
            }
        }
    }

    /// Handlers are through with everything.
    pub fn handle(&mut self) {
        let now = self.now();
        self.engine.handle_serving(now, true);
        let mut outcomes = Outcomes::default();
        while let Some(dispatch) = self.engine.poll_dispatch(u64::MAX) {
            outcomes.handled.push(dispatch.range);
        }
        self.engine.handle_outcomes(now, outcomes);
    }

    /// What holds whatever peers say.
    fn check(&self) {
        let state = self.engine.state();
        for session in self.engine.sessions().iter() {
            assert!(session.received <= session.granted, "more was taken than was granted");
            assert!(session.accepted_bytes <= session.received, "more was given back than was taken");
            assert!(session.granted <= session.accepted_bytes + CREDIT_BYTES);
            assert!(session.acks.len() <= 2 * INBOUND_STREAMS_PER_PEER_MAX);
        }
        for slot in state.peers.keys() {
            let streams = state.inbound.keys().filter(|(from, _)| from == slot);
            assert!(streams.count() <= INBOUND_STREAMS_PER_PEER_MAX);
        }
        let unknown = self.engine.sessions().iter().filter(|session| session.peer.is_none());
        assert!(unknown.count() <= 2 * SESSIONS_UNESTABLISHED_MAX);
    }
}

fn now(nanos: u64) -> Now {
    Now { monotonic: Monotonic(nanos), wall: Wall(1 << 60) }
}
