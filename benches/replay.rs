//! How fast is a log read back, without the disk: found sound to its last record, and its state as it was?
//!
//! A segment of the usual size, full of messages of 128 bytes. They are owed to one peer; or were acknowledged, each batch
//! in the next one; or are owed to two peers by turns, so that no two neighbours are owed alike.
#![allow(missing_docs)] // what criterion generates has none

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use resolute::engine::routing::Routing;
use resolute::engine::state::State;
use resolute::format::batch::BatchView;
use resolute::format::control::Control;
use resolute::format::message::{MessageHead, MessageParts};
use resolute::ids::{BatchNumber, Epoch, Lsn, PeerSlot, Position, SegmentNumber, SetId, StreamId};
use resolute::limits::{BATCH_BYTES_MAX, RECOVERY_WINDOW_BYTES, SEGMENT_BYTES_DEFAULT};
use resolute::log::batch_builder::BatchBuilder;
use resolute::log::chunk::Chunk;
use resolute::log::extent::extents_of;
use resolute::log::group_commit::{GroupCommit, LogPosition};
use resolute::log::recovery::{Scan, SegmentFile};
use resolute::time::Wall;
use zerocopy::IntoBytes;

const PAYLOAD: [u8; 128] = [b'x'; 128];
const SEGMENT: SegmentNumber = SegmentNumber(1);

/// What became of the messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Story {
    OwedToOne,
    Acked,
    OwedByTurns,
}

impl Story {
    const ALL: [(Story, &str); 3] = [
        (Story::OwedToOne, "owed_to_one_peer"),
        (Story::Acked, "acked"),
        (Story::OwedByTurns, "owed_to_two_by_turns"),
    ];

    /// Each of these is wanted by a peer of its own, whose stream has the same number as its slot.
    fn topics(self) -> &'static [&'static str] {
        if self == Story::OwedByTurns { &["signup", "login"] } else { &["signup"] }
    }
}

/// A segment that was written to its end.
struct Log {
    segment: Vec<u8>,
    /// Bytes of batches in it.
    bytes: usize,
    messages: u64,
    owed: u64,
}

/// The writing of one.
struct Writer {
    story: Story,
    commit: GroupCommit,
    routing: Routing,
    builder: BatchBuilder,
    log: Log,
}

impl Writer {
    fn new(story: Story) -> Writer {
        let commit = GroupCommit::new(LogPosition {
            log_id: 1,
            epoch: Epoch(1),
            nonce: 1,
            next_batch: BatchNumber(1),
            previous_header_crc: 0,
            next_lsn: Lsn(1),
        });
        let (routing, builder) = (Routing::of(&State::default()), BatchBuilder::new(Lsn(1)));
        let segment = vec![0; SEGMENT_BYTES_DEFAULT as usize];
        Writer { story, commit, routing, builder, log: Log { segment, bytes: 0, messages: 0, owed: 0 } }
    }

    /// The rest of the segment: batches lie where they were filled.
    fn free(&mut self) -> &mut [u8] {
        &mut self.log.segment[self.log.bytes..]
    }

    fn put(&mut self, controls: &[Control]) {
        let Writer { builder, log, .. } = self;
        controls
            .iter()
            .for_each(|control| drop_lsn(builder.push_control(&mut log.segment[log.bytes..], control)));
    }

    /// The checkpoint that every segment begins with, and who wants what; the sets that messages are owed to.
    fn begin(&mut self) -> Vec<SetId> {
        let mut records = State::default().checkpoint();
        for (topic, slot) in self.story.topics().iter().zip(1..) {
            let topics = vec![(*topic).to_owned()];
            self.routing
                .stage(Control::Subscriber { slot: PeerSlot(slot), added: true, topics }, &mut records);
        }
        let topics = self.story.topics().iter();
        let sets = topics
            .map(|topic| {
                self.routing.route(std::iter::once(*topic), &mut records).expect("nobody is held back").set
            })
            .collect();
        self.put(&records);
        sets
    }

    /// Fills one batch and writes it.
    fn batch(&mut self, sets: &[SetId]) {
        if self.story == Story::Acked && self.log.messages > 0 {
            self.put(&[Control::Acked(vec![(StreamId(1), Position(self.log.messages))])]);
            self.log.owed = 0;
        }
        let head = MessageHead::with_topics(Wall(1), ["signup"]).expect("topics");
        let parts = MessageParts::new(&head, &PAYLOAD).expect("a message");
        while self.builder.has_room(PAYLOAD.len() + 64) {
            let set = sets[self.log.messages as usize % sets.len()];
            let Writer { builder, log, .. } = self;
            builder.push_message(&mut log.segment[log.bytes..], &parts, 0, set);
            self.log.messages += 1;
            self.log.owed += 1;
        }
        self.write();
    }

    fn write(&mut self) {
        let next = self.builder.next_lsn();
        let builder = std::mem::replace(&mut self.builder, BatchBuilder::new(next));
        let facts = self.commit.facts(SEGMENT, false);
        let header = builder.seal(self.free(), &mut Vec::new(), &facts).header;
        self.commit.submitted(&header);
        self.commit.written(header.number());
        self.log.bytes += header.batch_bytes.get() as usize;
    }
}

fn drop_lsn(_: Lsn) {}

fn written(story: Story) -> Log {
    let mut writer = Writer::new(story);
    let sets = writer.begin();
    while writer.free().len() >= BATCH_BYTES_MAX {
        writer.batch(&sets);
    }
    writer.log
}

/// The batch as it lies, up to the end of its records: a copy, as recovery makes one for the engine.
fn chunk(view: &BatchView<'_>) -> Chunk {
    let mut extents = Vec::new();
    extents_of(view, 0, &mut extents).expect("records that make sense");
    let bytes = Bytes::from([view.header.as_bytes(), view.records].concat());
    Chunk::sealed(bytes, view.header.first_lsn(), view.header.end_lsn(), extents)
}

/// Reads the log as an opening does, and applies it.
fn replay(log: &Log) -> State {
    let files = vec![SegmentFile { number: SEGMENT, file_bytes: log.segment.len() as u64 }];
    let (mut scan, mut state, mut applied) =
        (Scan::new(files, RECOVERY_WINDOW_BYTES), State::default(), Vec::new());
    while let Some(window) = scan.wanted() {
        let bytes = &log.segment[window.offset as usize..][..window.bytes];
        scan.show(bytes, &mut |place, view| {
            applied.clear();
            state.apply_batch(place, &chunk(view), &mut applied)
        })
        .expect("records that make sense");
    }
    let tail = scan.finish().expect("a sound log");
    assert_eq!(tail.append_at, log.bytes as u64, "all of it was read");
    state
}

fn replays(c: &mut Criterion) {
    for (story, name) in Story::ALL {
        let log = written(story);
        assert!(log.bytes + BATCH_BYTES_MAX > log.segment.len(), "the segment is full");
        let mut group = c.benchmark_group(format!("replay_{name}"));
        group.sample_size(10);
        for (unit, throughput) in [
            ("messages", Throughput::Elements(log.messages)),
            ("bytes", Throughput::BytesDecimal(log.bytes as u64)),
        ] {
            group.throughput(throughput);
            group.bench_function(BenchmarkId::from_parameter(unit), |b| {
                b.iter(|| {
                    let state = replay(black_box(&log));
                    let next: u64 = state.streams.values().map(|stream| stream.next.0 - 1).sum();
                    assert_eq!((next, state.owed()), (log.messages, log.owed));
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, replays);
criterion_main!(benches);
