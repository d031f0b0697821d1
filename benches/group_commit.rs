//! What does a message cost on its way through a group commit, without the disk, and how does that fall when more share a
//! batch?
//!
//! Two batches are filled, sealed and in flight at once, and the second overtakes the first. What a publisher does before
//! it takes the lock, to check and checksum its message, is not in the time.
#![allow(missing_docs)] // what criterion generates has none

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use resolute::format::batch::{BatchHeader, OwedRun};
use resolute::format::message::{MessageHead, MessageParts};
use resolute::ids::{BatchNumber, Epoch, Lsn, SegmentNumber, SetId};
use resolute::limits::{BATCH_BYTES_MAX, WRITES_IN_FLIGHT_MAX};
use resolute::log::batch_builder::BatchBuilder;
use resolute::log::group_commit::{GroupCommit, LogPosition};
use resolute::time::Wall;

const PAYLOAD: [u8; 128] = [b'x'; 128];

const _: () = assert!(WRITES_IN_FLIGHT_MAX == 2, "as many as are in flight below");

/// A log whose writes are done when it says so.
struct Log<'a> {
    commit: GroupCommit,
    parts: MessageParts<'a>,
    next: Lsn,
    owed: Vec<OwedRun>,
}

impl<'a> Log<'a> {
    fn new(head: &'a MessageHead) -> Log<'a> {
        let parts = MessageParts::new(head, &PAYLOAD).expect("a message");
        let commit = GroupCommit::new(LogPosition {
            log_id: 1,
            epoch: Epoch(1),
            nonce: 1,
            next_batch: BatchNumber(1),
            previous_header_crc: 0,
            next_lsn: Lsn(1),
        });
        Log { commit, parts, next: Lsn(1), owed: Vec::new() }
    }

    /// Fills a batch with up to `count_max` messages, and begins its write.
    fn submit(&mut self, buffer: &mut [u8], count_max: u64) -> BatchHeader {
        let mut builder = BatchBuilder::new(self.next);
        for _ in 0..count_max {
            // As staging asks: for what a record has beside its payload, generously.
            if !builder.has_room(PAYLOAD.len() + 64) {
                break;
            }
            builder.push_message(buffer, &self.parts, 0, SetId(1));
        }
        self.next = builder.next_lsn();
        let facts = self.commit.facts(SegmentNumber(1), false);
        let sealed = builder.seal(buffer, &mut self.owed, &facts);
        self.commit.submitted(&sealed.header);
        sealed.header
    }

    /// Two batches, from empty to durable; how many messages that were.
    fn commit_two(&mut self, buffers: &mut [Vec<u8>; 2], count_max: u64) -> u64 {
        let before = self.commit.durable();
        let [first, second] = buffers;
        let first = self.submit(first, count_max);
        let second = self.submit(second, count_max);
        assert!(!self.commit.may_submit());
        assert_eq!(self.commit.written(second.number()), None, "what overtakes releases nothing");
        assert_eq!(self.commit.written(first.number()), Some(Lsn(self.next.0 - 1)));
        self.commit.durable().since(before)
    }
}

fn group_commit(c: &mut Criterion) {
    let mut buffers = [vec![0; BATCH_BYTES_MAX], vec![0; BATCH_BYTES_MAX]];
    let head = MessageHead::with_topics(Wall(1), ["signup"]).expect("topics");
    let mut group = c.benchmark_group("group_commit");
    let full = Log::new(&head).commit_two(&mut buffers, u64::MAX) / 2;
    assert!(full > 1024, "{full} messages fill a batch");
    for (name, count) in [("1", 1), ("64", 64), ("1024", 1024), ("full", full)] {
        let mut log = Log::new(&head);
        group.throughput(Throughput::Elements(2 * count));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| assert_eq!(log.commit_two(black_box(&mut buffers), count), 2 * count));
        });
    }
    group.finish();
}

criterion_group!(benches, group_commit);
criterion_main!(benches);
