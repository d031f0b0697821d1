//! How long does the processor take for one message, without a disk: to put it into a batch, and to verify it in a run?
#![allow(missing_docs)] // what criterion generates has none

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use resolute::format::frame::RunHeader;
use resolute::format::message::{MessageHead, MessageParts};
use resolute::ids::{Lsn, SetId};
use resolute::limits::BATCH_BYTES_MAX;
use resolute::log::batch_builder::BatchBuilder;
use resolute::time::Wall;
use resolute::wire::records::verify_run;

const SIZES: [usize; 2] = [128, 1024];

fn head() -> MessageHead {
    MessageHead::with_topics(Wall(1), ["signup"]).expect("topics")
}

/// Fills the batch with messages until it is full; how many went in.
fn fill(buffer: &mut [u8], head: &MessageHead, payload: &[u8]) -> u64 {
    let mut builder = BatchBuilder::new(Lsn(1));
    while builder.has_room(payload.len() + 64) {
        let parts = MessageParts::new(head, payload).expect("a message");
        builder.push_message(buffer, &parts, 0, SetId(1));
    }
    builder.next_lsn().0 - 1
}

fn encode(c: &mut Criterion) {
    let (mut buffer, head) = (vec![0; BATCH_BYTES_MAX], head());
    let mut group = c.benchmark_group("encode_and_checksum");
    for size in SIZES {
        let payload = vec![b'x'; size];
        group.throughput(Throughput::Elements(fill(&mut buffer, &head, &payload)));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| fill(black_box(&mut buffer), &head, black_box(&payload)));
        });
    }
    group.finish();
}

fn verify(c: &mut Criterion) {
    let (mut buffer, head) = (vec![0; BATCH_BYTES_MAX], head());
    let mut group = c.benchmark_group("verify_run");
    for size in SIZES {
        let payload = vec![b'x'; size];
        let mut builder = BatchBuilder::new(Lsn(1));
        while builder.record_bytes() + size + 64 <= 200 << 10 {
            let parts = MessageParts::new(&head, &payload).expect("a message");
            builder.push_message(&mut buffer, &parts, 0, SetId(1));
        }
        let count = builder.next_lsn().0 - 1;
        let first = resolute::format::batch::BATCH_HEADER_BYTES;
        let records = &buffer[first..first + builder.record_bytes()];
        let run = RunHeader {
            stream: 1.into(),
            first_position: 1.into(),
            count: (count as u32).into(),
            reserved: 0.into(),
        };
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| verify_run(black_box(&run), black_box(records)).expect("a run"));
        });
    }
    group.finish();
}

criterion_group!(benches, encode, verify);
criterion_main!(benches);
