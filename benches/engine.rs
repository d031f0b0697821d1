//! What does the engine cost for one message, from a sealed batch to the peer's acknowledgement, without disk and socket?
//! And is it asked once a turn, never once a message?
//!
//! Two engines in memory, whose writes are done at once. The second question is asserted: at most one call and one effect
//! for 64 messages.
#![allow(missing_docs)] // what criterion generates has none

use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use resolute::engine::Engine;
use resolute::engine::config::{Config, Limits, Retry};
use resolute::engine::effect::{Event, Outcomes, RequestId, SessionId};
use resolute::engine::receive::RunVerdict;
use resolute::engine::request::Request;
use resolute::engine::routing::Routing;
use resolute::engine::sealing::SealPermit;
use resolute::engine::staging::Stager;
use resolute::engine::state::State;
use resolute::format::control::Quota;
use resolute::format::frame::FrameView;
use resolute::format::message::{MessageHead, MessageParts};
use resolute::ids::{BatchNumber, Epoch, Incarnation, Lsn, NodeId, SegmentNumber};
use resolute::limits::{BATCH_BYTES_MAX, FRAME_BYTES_MAX, INBOX_BYTES_DEFAULT, SEGMENT_BYTES_MAX};
use resolute::log::batch_builder::BatchBuilder;
use resolute::log::group_commit::{GroupCommit, LogPosition};
use resolute::log::segments::{Segment, Segments};
use resolute::time::{Monotonic, Now, Wall};
use resolute::wire::frame_buffer::next_frame;

const MESSAGES: u64 = 10_000;
const ADDRESS: &str = "tcp://a:1";

/// A node whose disk is infinitely fast.
struct Node {
    engine: Engine,
    routing: Routing,
    builder: BatchBuilder,
    buffer: Vec<u8>,
    session: Option<SessionId>,
    /// Calls of the engine and effects that it asked for.
    asked: u64,
}

fn config(id: u128, address: &str) -> Config {
    Config {
        fresh_id: NodeId(id),
        fresh_incarnation: Incarnation(1),
        begins_life: false,
        epoch: Epoch(1),
        nonce: id as u64,
        name: String::new(),
        dials: true,
        advertised: address.to_owned(),
        own_addresses: vec![address.to_owned()],
        retry: Retry::default(),
        inbox_bytes_max: INBOX_BYTES_DEFAULT,
        sender_bytes_max: u64::MAX,
        quota: Quota::UNLIMITED,
        limits: Limits::default(),
        seed: [id as u8; 32],
    }
}

fn now() -> Now {
    Now { monotonic: Monotonic(1), wall: Wall(1) }
}

impl Node {
    fn new(id: u128, address: &str) -> Node {
        let position = LogPosition {
            log_id: 1,
            epoch: Epoch(1),
            nonce: id as u64,
            next_batch: BatchNumber(1),
            previous_header_crc: 0,
            next_lsn: Lsn(1),
        };
        let first = Segment { number: SegmentNumber(1), first_lsn: Lsn(1) };
        let segments = Segments::new(SEGMENT_BYTES_MAX, vec![first], SEGMENT_BYTES_MAX, 0);
        let commit = GroupCommit::new(position);
        let engine = Engine::new(config(id, address), State::default(), commit, segments, now());
        let routing = Routing::of(engine.state());
        let builder = BatchBuilder::new(Lsn(1));
        Node { engine, routing, builder, buffer: vec![0; BATCH_BYTES_MAX], session: None, asked: 0 }
    }

    /// Logs what is staged and what the engine adds to it.
    fn log(&mut self) {
        let Node { engine, routing, builder, buffer, asked, .. } = self;
        loop {
            let permit = engine.may_seal();
            let mut stager = Stager { builder, buffer, routing };
            engine.stage(&mut stager);
            if builder.is_empty() {
                return;
            }
            let full = std::mem::replace(builder, BatchBuilder::new(builder.next_lsn()));
            let mut batch = std::mem::replace(buffer, vec![0; BATCH_BYTES_MAX]);
            let sealed = engine.seal(full, &mut batch, &mut Vec::new(), false);
            let bytes = Bytes::from(batch).slice(..sealed.place.bytes as usize);
            engine.handle_sealed(&sealed, bytes);
            if permit == SealPermit::HereThenRoll {
                let mut stager = Stager { builder, buffer, routing };
                engine.begin_segment(&mut stager);
            }
            engine.handle_written(now(), sealed.batch.header.number());
            *asked += 5;
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            self.asked += 1;
            match event {
                Event::Prepare(number) => self.engine.handle_prepared(number),
                Event::Free(_) | Event::Durable(_) | Event::Done(..) | Event::Note(_) | Event::Dial(_) => {}
                Event::Refused(_, refusal) => panic!("{refusal}"),
            }
        }
    }

    /// What the node says now.
    fn speak(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        self.engine.begin_transmitting();
        while let Some(transmit) = self.engine.poll_transmit() {
            self.asked += 1;
            let bytes = transmit.pieces.iter().map(Bytes::len).sum();
            transmit.pieces.iter().for_each(|piece| said.extend_from_slice(piece));
            self.engine.handle_sent(now(), transmit.session, bytes);
        }
        said
    }

    /// Takes what the other said.
    fn hear(&mut self, said: &[u8]) {
        let Some(session) = self.session else { return };
        let mut at = 0;
        while let Some((frame, bytes)) = next_frame(&said[at..], FRAME_BYTES_MAX).expect("a frame") {
            self.asked += 1;
            self.take(session, &frame);
            at += bytes;
        }
        assert_eq!(at, said.len());
    }

    fn take(&mut self, session: SessionId, frame: &FrameView<'_>) {
        let Some((run, records)) = frame.run() else {
            return self.engine.handle_frame(now(), session, frame);
        };
        if let RunVerdict::Accept { accepted, skip } = self.engine.handle_run(now(), session, run, records) {
            if !self.builder.has_room(records.len() + 256) {
                self.log();
            }
            self.builder.push_run(&mut self.buffer, &accepted, &records[skip..]);
            self.engine.run_staged(&accepted, skip);
        }
    }

    /// Handlers that are through with everything at once.
    fn handle(&mut self) -> u64 {
        let mut outcomes = Outcomes::default();
        while let Some(dispatch) = self.engine.poll_dispatch(u64::MAX) {
            self.asked += 1;
            outcomes.handled.push(dispatch.range);
        }
        let count = outcomes.handled.iter().map(|range| range.count).sum();
        self.engine.handle_outcomes(now(), outcomes);
        count
    }
}

fn half_turn(from: &mut Node, to: &mut Node) -> u64 {
    from.log();
    from.events();
    to.hear(&from.speak());
    to.log();
    to.handle()
}

fn turn(a: &mut Node, b: &mut Node) -> u64 {
    half_turn(a, b) + half_turn(b, a)
}

/// Two nodes of which the second subscribes to `t` of the first.
fn pair() -> (Node, Node) {
    let (mut a, mut b) = (Node::new(1, ADDRESS), Node::new(2, "tcp://b:1"));
    for _ in 0..4 {
        turn(&mut a, &mut b);
    }
    let topics = vec!["t".to_owned()];
    b.engine.handle_request(now(), RequestId(1), Request::Subscribe { address: ADDRESS.into(), topics });
    b.session = Some(b.engine.handle_connected(now(), ADDRESS));
    a.session = a.engine.handle_accepted(now());
    b.engine.handle_serving(now(), true);
    for _ in 0..20 {
        turn(&mut a, &mut b);
    }
    assert_eq!(a.engine.state().subscribers.len(), 1, "b subscribes");
    (a, b)
}

fn publish(node: &mut Node, head: &MessageHead, payload: &[u8]) {
    let parts = MessageParts::new(head, payload).expect("a message");
    let mut records = Vec::new();
    let route = node.routing.route(std::iter::once("t"), &mut records).expect("nobody is held back");
    for record in &records {
        node.builder.push_control(&mut node.buffer, record);
    }
    if !node.builder.has_room(payload.len() + 64) {
        node.log();
    }
    node.builder.push_message(&mut node.buffer, &parts, 0, route.set);
}

fn engine(c: &mut Criterion) {
    let (mut a, mut b) = pair();
    let head = MessageHead::with_topics(Wall(1), ["t"]).expect("topics");
    let mut group = c.benchmark_group("engine");
    group.sample_size(20).measurement_time(Duration::from_secs(3)).throughput(Throughput::Elements(MESSAGES));
    group.bench_function("publish_to_acknowledged", |bencher| {
        bencher.iter(|| {
            let before = a.asked + b.asked;
            (0..MESSAGES).for_each(|_| publish(&mut a, &head, &[b'x'; 128]));
            let mut handled = 0;
            while handled < MESSAGES || a.engine.state().owed() > 0 {
                handled += turn(&mut a, &mut b);
            }
            let asked = a.asked + b.asked - before;
            assert!(asked <= 2 * MESSAGES / 64, "{asked} calls and effects for {MESSAGES} messages");
        });
    });
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
