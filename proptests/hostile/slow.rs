//! Peers that take their time.

use std::time::Duration;

use resolute::limits::SESSION_TIMEOUT_MS;
use resolute::wire::goodbye::GoodbyeCode;

use crate::bad_input::stranger::{End, Stranger, hello, hello_frame, run_frame};
use crate::bad_input::{AFTER_THE_HANDSHAKE, House, assert_goodbye};
use crate::scene::{close, status, until};

/// Sends `bytes` one by one, each after such a pause, and ends when the node does not want more.
fn drip(mut stranger: Stranger, bytes: Vec<u8>, pause: Duration) -> std::thread::JoinHandle<(Stranger, End)> {
    std::thread::spawn(move || {
        for byte in bytes {
            stranger.send(&[byte]);
            match stranger.end(pause) {
                End::Open => {}
                end => return (stranger, end),
            }
        }
        (stranger, End::Open)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_of_a_byte_a_second_is_not_waited_for() {
    let house = House::build().await;
    // That it goes on saying something wins it no time.
    let in_time = AFTER_THE_HANDSHAKE.as_secs() as usize;
    let start = |node| hello_frame(&hello(node))[..in_time].to_vec();
    let slow: Vec<_> = (0..20).map(|node| drip(house.knock(), start(node), Duration::from_secs(1))).collect();
    for dripping in slow {
        house.stands().await;
        let (_, end) = tokio::task::spawn_blocking(|| dripping.join().unwrap()).await.unwrap();
        assert_goodbye(&end, GoodbyeCode::Timeout, "handshake");
    }
    house.leave().await;
}

// Only whole frames were taken for life, so over a slow link no long one ever got through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_takes_longer_than_a_silence_may_last_gets_through() {
    let house = House::build().await;
    let mut stranger = house.knock();
    stranger.establish(1);
    let run = run_frame(1, 1, 1);
    let pause = Duration::from_millis(SESSION_TIMEOUT_MS * 3 / 2 / run.len() as u64);
    let dripping = drip(stranger, run, pause);
    while !dripping.is_finished() {
        house.stands().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (stranger, end) = dripping.join().unwrap();
    assert_eq!(end, End::Open);
    until("accepted", async || status(&house.web).await.incoming == 1).await;
    drop(stranger);
    close(&house.email).await;
    close(&house.web).await;
}
