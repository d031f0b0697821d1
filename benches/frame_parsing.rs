//! How fast do received bytes become verified messages, and does it matter where the reads end?
//!
//! What a sender's credit allows at once, in run frames: as long as they may be, with every read a whole frame or as much
//! as comes in one segment of TCP; and with one message in each frame, as from a sender that has no more.
#![allow(missing_docs)] // what criterion generates has none

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use resolute::format::frame::append_run_headers;
use resolute::format::message::{MessageHead, MessageParts};
use resolute::format::record::{RECORD_HEADER_BYTES, RecordHeader, RecordKind};
use resolute::ids::{Lsn, Position, StreamId};
use resolute::limits::{CREDIT_BYTES, FRAME_BYTES_MAX, RUN_BYTES_MAX};
use resolute::time::Wall;
use resolute::wire::frame_buffer::ReceiveWindow;
use resolute::wire::records::verify_run;
use zerocopy::IntoBytes;

const SIZES: [usize; 2] = [128, 1024];

/// A prime, as large as what one segment of TCP brings over Ethernet: reads end everywhere in a frame.
const ODD_READ_BYTES: usize = 1447;

/// What a peer sent.
struct Received {
    bytes: Vec<u8>,
    messages: u64,
    /// Where each read ends.
    reads: Vec<usize>,
}

impl Received {
    /// As many runs of `count` messages as the credit allows, each read as a whole.
    fn new(size: usize, count: u64) -> Received {
        let record = record(size);
        let frames = CREDIT_BYTES / (count * record.len() as u64);
        let (mut bytes, mut reads) = (Vec::new(), Vec::new());
        for frame in 0..frames {
            let (first, length) = (Position(1 + frame * count), record.len() * count as usize);
            append_run_headers(&mut bytes, StreamId(1), first, count as u32, length);
            (0..count).for_each(|_| bytes.extend_from_slice(&record));
            reads.push(bytes.len());
        }
        Received { bytes, messages: frames * count, reads }
    }

    /// Runs as long as a run may be.
    fn full(size: usize) -> Received {
        Received::new(size, (RUN_BYTES_MAX / record(size).len()) as u64)
    }

    /// The same bytes, read a little at a time.
    fn cut(self) -> Received {
        let ends = (ODD_READ_BYTES..self.bytes.len()).step_by(ODD_READ_BYTES);
        let reads = ends.chain(std::iter::once(self.bytes.len())).collect();
        Received { reads, ..self }
    }

    /// Reads and verifies all of it; how many messages it was.
    fn parse(&self, window: &mut ReceiveWindow) -> u64 {
        let (mut messages, mut at) = (0, 0);
        for end in &self.reads {
            let mut read = &self.bytes[at..*end];
            while !read.is_empty() {
                read = &read[window.push(read)..];
                while let Some(frame) = window.next_frame().expect("a frame") {
                    let (run, records) = frame.run().expect("a run");
                    messages += u64::from(verify_run(run, records).expect("sound records").count);
                }
            }
            at = *end;
        }
        messages
    }
}

/// One message as it lies in a log and in a run.
fn record(size: usize) -> Vec<u8> {
    let head = MessageHead::with_topics(Wall(1), ["signup"]).expect("topics");
    let payload = vec![b'x'; size];
    let parts = MessageParts::new(&head, &payload).expect("a message");
    let header = RecordHeader::new(Lsn(1), RecordKind::Message, 0, parts.body_bytes(), parts.crc());
    let bytes = [header.as_bytes(), &parts.pieces().concat()].concat();
    assert_eq!(bytes.len(), RECORD_HEADER_BYTES + parts.body_bytes());
    bytes
}

fn frame_parsing(c: &mut Criterion) {
    for unit in ["messages", "bytes"] {
        let mut group = c.benchmark_group(format!("frame_parsing_{unit}"));
        group.sample_size(20);
        for size in SIZES {
            for (name, received) in [
                ("whole", Received::full(size)),
                ("cut", Received::full(size).cut()),
                ("one_a_frame", Received::new(size, 1)),
            ] {
                let mut window = ReceiveWindow::new(FRAME_BYTES_MAX);
                group.throughput(match unit {
                    "messages" => Throughput::Elements(received.messages),
                    _ => Throughput::BytesDecimal(received.bytes.len() as u64),
                });
                group.bench_function(BenchmarkId::new(name, size), |b| {
                    b.iter(|| assert_eq!(black_box(&received).parse(&mut window), received.messages));
                });
                assert!(window.unread().is_empty());
            }
        }
        group.finish();
    }
}

criterion_group!(benches, frame_parsing);
criterion_main!(benches);
