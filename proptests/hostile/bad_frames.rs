//! Bad frames in numbers, in every place of a conversation.

use std::sync::atomic::Ordering;

use resolute::limits::HANDSHAKE_FRAME_BYTES_MAX;
use resolute::wire::hello::Hello;

use super::mutations::{bad_frame, samples};
use crate::bad_input::stranger::{End, hello, hello_frame};
use crate::bad_input::{House, SOON};
use crate::scene::{alone, resident_bytes, seeds, status};
use crate::sim::rng::Rng;

/// Frames of a normal run.
const FRAMES: u64 = 3_000;
/// Connections between two looks at the honest peer.
const CONNECTIONS_AT_ONCE: u64 = 100;
/// Whose names strangers go by: the table of peers is not what is tried here.
const STRANGERS: u64 = 8;
const GROWTH_MAX: u64 = 64 << 20;

/// A conversation that goes wrong somewhere; how many bad frames were sent.
fn converse(house: &House, rng: &mut Rng, samples: &[Vec<u8>]) -> u64 {
    let mut stranger = house.knock();
    let node = 1 + u128::from(rng.below(STRANGERS));
    match rng.below(4) {
        0 => {}
        1 => drop(stranger.try_meet(&hello(node))),
        _ => drop(stranger.try_establish(&hello(node))),
    }
    // Most end the session; what comes behind is sent all the same.
    let frames = rng.between(1, 12);
    let bytes: Vec<u8> = (0..frames).flat_map(|_| bad_frame(rng, samples)).collect();
    stranger.send(&bytes);
    if rng.chance(30) {
        stranger.hush();
        let end = stranger.end(SOON);
        assert_ne!(end, End::Open, "nothing follows, and the node waits for it");
    }
    stranger.vanish();
    frames
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_brings_a_node_down_or_grows_it_or_disturbs_an_honest_peer() {
    if !alone("hostile::bad_frames::no_frame_brings_a_node_down_or_grows_it_or_disturbs_an_honest_peer") {
        return;
    }
    let asked = std::env::var("RESOLUTE_HOSTILE_FRAMES").ok();
    let frames: u64 = asked.map_or(FRAMES, |text| text.parse().expect("RESOLUTE_HOSTILE_FRAMES is a number"));
    let house = House::build().await;
    let mut rngs: Vec<Rng> = seeds("hostile::bad_frames").into_iter().map(Rng::new).collect();
    let (samples, mut sent, mut before) = (samples(), 0, None);
    let (honest, arrived) = house.goes_on();
    while sent < frames {
        for turn in 0..CONNECTIONS_AT_ONCE {
            let which = turn as usize % rngs.len();
            sent += converse(&house, &mut rngs[which], &samples);
        }
        house.stands().await;
        assert!(!honest.is_finished(), "an honest message does not arrive");
        // What a node takes once, it takes for the first strangers.
        let first = *before.get_or_insert_with(resident_bytes);
        let grown = resident_bytes().saturating_sub(first);
        assert!(grown < GROWTH_MAX, "{} MiB more after {sent} frames", grown >> 20);
    }
    let grown = resident_bytes().saturating_sub(before.unwrap_or(0));
    let arrived = arrived.load(Ordering::Relaxed);
    println!(
        "measured: {sent} bad frames, {} KiB more than after the first {CONNECTIONS_AT_ONCE}; {arrived} honest messages meanwhile",
        grown >> 10
    );
    assert!(arrived > 10, "{arrived} honest messages arrived beside {sent} bad frames");
    honest.abort();
    assert_eq!(status(&house.web).await.failure, None);
    house.stands().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_with_absurd_limits_is_refused_or_changes_nothing() {
    if !alone("hostile::bad_frames::a_hello_with_absurd_limits_is_refused_or_changes_nothing") {
        return;
    }
    let house = House::build().await;
    let before = resident_bytes();
    let absurd = [
        Hello { credit_bytes: u64::MAX, ..hello(1) },
        Hello { credit_bytes: 0, ..hello(2) },
        Hello { frame_bytes_max: u32::MAX, ..hello(3) },
        Hello { version_max: u16::MAX, ..hello(4) },
        Hello { epoch: resolute::ids::Epoch(u64::MAX), nonce: u64::MAX, ..hello(5) },
        Hello { incarnation: resolute::ids::Incarnation(0), epoch: resolute::ids::Epoch(0), ..hello(6) },
        Hello { name: "ü".repeat(64), address: "x".repeat(255), dialled: "y".repeat(255), ..hello(7) },
        hello(0),
        hello(u128::MAX),
    ];
    for own in &absurd {
        // What it asks for is its own affair: the node keeps no more for it.
        for _ in 0..2 {
            let mut stranger = house.knock();
            assert!(stranger.try_establish(own).is_ok(), "{own:?}");
            house.stands().await;
        }
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more for absurd limits");
    for (own, word) in [
        (Hello { frame_bytes_max: 0, ..hello(1) }, "takes frames of 0 bytes"),
        (
            Hello { frame_bytes_max: HANDSHAKE_FRAME_BYTES_MAX as u32, ..hello(1) },
            "takes frames of 4096 bytes",
        ),
    ] {
        let mut stranger = house.knock();
        stranger.send(&hello_frame(&own));
        match stranger.end(SOON) {
            End::Goodbye(_, reason) => assert!(reason.contains(word), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    house.leave().await;
}

#[test]
fn most_mutated_frames_have_good_checksums() {
    let (mut rng, samples) = (Rng::new(1), samples());
    let is_frame =
        |bytes: &[u8]| resolute::format::frame::FrameView::parse(bytes).is_ok_and(|found| found.is_some());
    let good = (0..1000).filter(|_| is_frame(&bad_frame(&mut rng, &samples))).count();
    assert!((500..700).contains(&good), "{good}");
}
