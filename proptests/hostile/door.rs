//! Those who stand at the door and do not come in.

use std::time::Duration;

use resolute::format::frame::FrameKind;
use resolute::limits::{HANDSHAKE_WINDOW_BYTES_MAX, SESSIONS_UNESTABLISHED_MAX};
use resolute::wire::bodies::Body;

use super::memory::allow_descriptors;
use crate::bad_input::House;
use crate::bad_input::stranger::{End, Stranger, body_frame, hello};
use crate::scene::{alone, resident_bytes, until};

/// How many connections come to stand open in all.
const CROWD: usize = 2_000;

// As many as were borne kept everyone else out until their handshakes took too long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_half_open_connections_keep_nobody_out() {
    if !alone("hostile::door::thousands_of_half_open_connections_keep_nobody_out") {
        return;
    }
    allow_descriptors();
    let house = House::build().await;
    let before = resident_bytes();
    // Those that the node sent away are kept too, on our side: they are what an attacker has for nothing.
    let mut crowd: Vec<Stranger> = Vec::new();
    for _ in 0..CROWD / 100 {
        crowd.extend((0..100).map(|_| house.knock()));
        crowd.iter_mut().rev().take(50).for_each(|stranger| stranger.send(b"rs"));
        // Someone new comes in while they stand there.
        let mut newcomer = house.knock();
        newcomer.establish(7);
        house.stands().await;
    }
    let grown = resident_bytes().saturating_sub(before);
    println!("measured: {} KiB more for {CROWD} half-open connections", grown >> 10);
    assert!(grown < 32 << 20, "{grown}");
    let open = crowd.iter_mut().filter_map(|s| (s.end(Duration::from_millis(1)) == End::Open).then_some(()));
    assert!(open.count() <= SESSIONS_UNESTABLISHED_MAX);
    house.leave().await;
}

// How little one of them may keep is shown where the window is; here, that so many of them at once stay within that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_strangers_that_send_much_gets_little_memory() {
    if !alone("hostile::door::a_crowd_of_strangers_that_send_much_gets_little_memory") {
        return;
    }
    let house = House::build().await;
    let much = body_frame(&Body::Heartbeat).repeat(1 << 16);
    let before = resident_bytes();
    let mut crowd: Vec<Stranger> = (0..SESSIONS_UNESTABLISHED_MAX - 6).map(|_| house.knock()).collect();
    crowd.iter_mut().for_each(|stranger| stranger.send(&much));
    house.stands().await;
    let grown = resident_bytes().saturating_sub(before);
    println!("measured: {} KiB more for {} strangers that sent 1 MiB each", grown >> 10, crowd.len());
    let most = crowd.len() * HANDSHAKE_WINDOW_BYTES_MAX + (16 << 20);
    assert!(grown < most as u64, "{grown} of {most}");
    until("room again", async || {
        let mut newcomer = house.knock();
        newcomer.try_meet(&hello(1)).is_ok()
    })
    .await;
    house.leave().await;
}

// Whoever has said who it is goes last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_say_nothing_are_sent_away_before_those_who_do() {
    let house = House::build().await;
    let mut speaking: Vec<Stranger> = (0..10).map(|_| house.knock()).collect();
    let theirs: Vec<_> = speaking.iter_mut().zip(10..).map(|(s, node)| s.meet(&hello(node))).collect();
    let crowd: Vec<Stranger> = (0..2 * SESSIONS_UNESTABLISHED_MAX).map(|_| house.knock()).collect();
    house.stands().await;
    for ((stranger, theirs), node) in speaking.iter_mut().zip(&theirs).zip(10..) {
        stranger.say(&Stranger::proof(&hello(node), theirs, [9; 16]));
        stranger.until(FrameKind::Established);
    }
    drop(crowd);
    house.leave().await;
}
