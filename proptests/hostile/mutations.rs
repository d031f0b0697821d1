//! Frames that somebody with the source at hand would send: most have good checksums, and something in them that cannot be.

use resolute::format::frame::{self, FRAME_HEADER_BYTES, FrameKind};
use resolute::format::record::{RecordKind, append};
use resolute::ids::{Lsn, Position, StreamId};
use resolute::wire::bodies::Body;
use resolute::wire::goodbye::GoodbyeCode;

use crate::bad_input::stranger::{body_frame, hello, hello_frame, run_frame};
use crate::fuzz_targets::targets::mend;
use crate::sim::rng::Rng;

/// One good frame of each kind, and a few more runs.
pub fn samples() -> Vec<Vec<u8>> {
    let cursors = vec![(StreamId(1), Position(3)), (StreamId(9), Position(0))];
    let bodies = [
        Body::Proof { mac: [1; 32], proposed: Some([2; 16]), met: None },
        Body::Established { mac: [3; 32] },
        Body::Resume { durable: Lsn(1), cursors: cursors.clone() },
        Body::Interest { generation: 1, topics: vec!["a".into(), "b".into()] },
        Body::InterestConfirmed { generation: 1 },
        Body::Ack { credit: 4 << 20, durable: Lsn(1), cursors },
        Body::StreamEnd { stream: StreamId(1), last: Position(3) },
        Body::Gap { stream: StreamId(2), first: Position(1), count: 7 },
        Body::Heartbeat,
        Body::Goodbye { code: GoodbyeCode::Closing, reason: "x".into() },
    ];
    let mut samples: Vec<Vec<u8>> = bodies.iter().map(body_frame).collect();
    samples.push(hello_frame(&hello(1)));
    samples.extend([run_frame(1, 1, 1), run_frame(2, 1, 3), run_frame(1, 2, 1), run_frame(3, 0, 0)]);
    samples
}

/// A frame that is bad in one way or another, or good and perhaps out of its place.
pub fn bad_frame(rng: &mut Rng, samples: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = samples[rng.below(samples.len() as u64) as usize].clone();
    match rng.below(10) {
        0 => return noise(rng, 200),
        1 => return of_noise(rng),
        2 => flip(rng, &mut frame),
        3 => frame.truncate(rng.below(frame.len() as u64) as usize),
        4 => {
            let length = [0, 1, 4096, 4097, 1 << 20, (1 << 20) + 1, u32::MAX][rng.below(7) as usize];
            frame[4..8].copy_from_slice(&length.to_le_bytes());
            mend::frame_header(&mut frame);
        }
        5 => {}
        _ => {
            change(rng, &mut frame[FRAME_HEADER_BYTES..]);
            mend::frames(&mut frame);
        }
    }
    frame
}

fn noise(rng: &mut Rng, most: u64) -> Vec<u8> {
    (0..rng.below(most)).map(|_| rng.number() as u8).collect()
}

/// Any kind with any body.
fn of_noise(rng: &mut Rng) -> Vec<u8> {
    let kind = FrameKind::ALL[rng.below(12) as usize];
    let mut out = Vec::new();
    if kind == FrameKind::Run {
        let mut records = Vec::new();
        let kind = RecordKind::ALL[rng.below(RecordKind::ALL.len() as u64) as usize];
        append(&mut records, Lsn(rng.number()), kind, rng.number() as u8, &noise(rng, 100));
        let (stream, first) = (StreamId(rng.below(4)), Position(any_number(rng)));
        frame::append_run_headers(&mut out, stream, first, any_number(rng) as u32, records.len());
        out.extend(records);
    } else {
        frame::append(&mut out, kind, &noise(rng, 200));
    }
    out
}

/// Small ones, and those at the edges.
fn any_number(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => rng.below(4),
        1 => u64::MAX - rng.below(4),
        2 => (1 << 62) + 2 - rng.below(4),
        _ => rng.number(),
    }
}

fn flip(rng: &mut Rng, bytes: &mut [u8]) {
    let bit = rng.below(8 * bytes.len() as u64) as usize;
    bytes[bit / 8] ^= 1 << (bit % 8);
}

fn change(rng: &mut Rng, body: &mut [u8]) {
    if body.is_empty() {
        return;
    }
    for _ in 0..rng.between(1, 3) {
        let at = rng.below(body.len() as u64) as usize;
        if rng.chance(50) && at + 8 <= body.len() {
            body[at..at + 8].copy_from_slice(&any_number(rng).to_le_bytes());
        } else {
            body[at] = rng.number() as u8;
        }
    }
}
