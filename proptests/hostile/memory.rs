//! Many peers that proved who they are, and what they all may keep a node from forgetting.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use resolute::format::frame::FrameKind;
use resolute::limits::{KEPT_BYTES_MAX, READ_BYTES_MIN, WINDOWS_KEPT_MAX};
use resolute::wire::bodies::Body;

use super::visitors::{enter, is_open, leave, say};
use crate::bad_input::House;
use crate::bad_input::stranger::{End, Stranger, body_frame, hello, run_of};
use crate::fuzz_targets::targets::node::Node;
use crate::scene::{alone, close, resident_bytes, status, until};

#[test]
fn of_those_who_keep_much_the_one_that_waits_longest_for_its_frame_is_ended() {
    let mut node = Node::new();
    let [small, slow, quick] = [1, 2, 3].map(|number| enter(&mut node, &hello(number)).unwrap());
    node.engine.handle_kept(node.now(), small, READ_BYTES_MIN);
    node.engine.handle_kept(node.now(), slow, KEPT_BYTES_MAX / 2);
    node.pass_ms(10);
    say(&mut node, quick, &body_frame(&Body::Heartbeat));
    node.engine.handle_kept(node.now(), quick, KEPT_BYTES_MAX / 2 - READ_BYTES_MIN);
    node.turn();
    assert!([small, slow, quick].iter().all(|id| is_open(&node, *id)), "there is room for all of it");
    node.engine.handle_kept(node.now(), quick, KEPT_BYTES_MAX / 2);
    node.turn();
    assert_eq!([small, slow, quick].map(|id| is_open(&node, id)), [true, false, true]);
    assert_eq!(node.engine.sessions().kept(), KEPT_BYTES_MAX / 2 + READ_BYTES_MIN);
    leave(&mut node, quick);
    assert_eq!(node.engine.sessions().kept(), READ_BYTES_MIN, "what goes gives back what was kept of it");
}

/// The next so many strangers come in and say that.
async fn crowd(house: &House, of: std::ops::Range<u128>, bytes: &[u8]) -> Vec<Stranger> {
    let mut crowd = Vec::new();
    for node in of {
        let mut stranger = house.knock();
        stranger.establish(node);
        stranger.send(bytes);
        crowd.push(stranger);
        if node % 50 == 0 {
            house.stands().await;
        }
    }
    house.stands().await;
    crowd
}

/// Both ends of each connection are in this process.
pub fn allow_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

// Each took a window of more than a mebibyte for as long as it said something now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_peers_with_half_a_frame_each_gets_a_bounded_memory() {
    if !alone("hostile::memory::a_crowd_of_peers_with_half_a_frame_each_gets_a_bounded_memory") {
        return;
    }
    const CROWD: usize = 600;
    allow_descriptors();
    let house = House::build().await;
    let mut frame = Vec::new();
    resolute::format::frame::append(&mut frame, FrameKind::Interest, &vec![0; 1 << 20]);
    let before = resident_bytes();
    let mut crowd = crowd(&house, 1..CROWD as u128 + 1, &frame[..frame.len() - 1]).await;
    let grown = resident_bytes().saturating_sub(before);
    println!("measured: {} MiB more for {CROWD} frames of a mebibyte", grown >> 20);
    // A window has room for the next read too, and what is given back is not all used again.
    assert!(grown < 2 * KEPT_BYTES_MAX as u64, "{} MiB", grown >> 20);
    let open = crowd.iter_mut().filter_map(|s| (s.end(Duration::from_millis(1)) == End::Open).then_some(()));
    assert!(open.count() > CROWD / 3, "no more than must be are sent away");
    // A frame as long as that of an honest peer beside them gets through.
    let mut stranger = house.knock();
    stranger.establish(1 << 32);
    stranger.send(&long_run());
    stranger.say(&Body::Interest { generation: 1, topics: vec!["b".into()] });
    stranger.until(FrameKind::InterestConfirmed);
    house.stands().await;
    close(&house.email).await;
    close(&house.web).await;
}

/// Nearly as long as a frame may be.
fn long_run() -> Vec<u8> {
    run_of(1, 1, 1, &[0; 240_000])
}

// Each kept the memory of the longest frame that it ever sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_once_sent_a_long_frame_keeps_no_memory_for_it() {
    if !alone("hostile::memory::who_once_sent_a_long_frame_keeps_no_memory_for_it") {
        return;
    }
    const CROWD: usize = 600;
    allow_descriptors();
    let house = House::build().await;
    let before = resident_bytes();
    let crowd = crowd(&house, 1..CROWD as u128 + 1, &long_run()).await;
    let all = CROWD as u64;
    until("all are accepted", async || status(&house.web).await.incoming == all).await;
    let grown = resident_bytes().saturating_sub(before);
    println!("measured: {} MiB more for {CROWD} peers that sent a long frame", grown >> 20);
    let most = WINDOWS_KEPT_MAX * long_run().len() + CROWD * 2 * READ_BYTES_MIN + (48 << 20);
    assert!(grown < most as u64, "{} of {} MiB", grown >> 20, most >> 20);
    drop(crowd);
    close(&house.email).await;
    close(&house.web).await;
}
