//! Peers that do not keep to what they were granted.

use std::time::Duration;

use resolute::limits::CREDIT_BYTES;
use resolute::wire::goodbye::GoodbyeCode;

use crate::bad_input::stranger::{End, run_frame, run_of};
use crate::bad_input::{House, SOON, assert_goodbye};
use crate::scene::{close, status};

const PAYLOAD_BYTES: usize = 200_000;

// Whoever sent on was listened to, whatever the inbox held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_more_than_it_was_granted_is_sent_away() {
    let house = House::with(|web| web.inbox_bytes(CREDIT_BYTES)).await;
    let mut stranger = house.knock();
    assert_eq!(stranger.establish(1).credit_bytes, CREDIT_BYTES);
    // The inbox is full after a window, and until then another one may be granted.
    let most = 2 * CREDIT_BYTES / PAYLOAD_BYTES as u64;
    let mut end = End::Open;
    for number in 1..=2 * most {
        stranger.send(&run_of(1, number, 1, &[0; PAYLOAD_BYTES]));
        end = stranger.end(Duration::from_millis(20));
        if end != End::Open {
            break;
        }
    }
    assert_goodbye(&end, GoodbyeCode::ProtocolError, "were granted");
    let incoming = status(&house.web).await.incoming;
    assert!((most / 2..=most).contains(&incoming), "{incoming}");
    house.stands().await;
    // Now that it is full, nobody is granted anything, and that is said at once.
    for node in [1, 2] {
        let mut stranger = house.knock();
        assert_eq!(stranger.establish(node).credit_bytes, 0);
        stranger.send(&run_frame(9, 1, 1));
        assert_goodbye(&stranger.end(SOON), GoodbyeCode::ProtocolError, "0 were granted");
    }
    assert_eq!(status(&house.web).await.incoming, incoming);
    house.stands().await;
    close(&house.email).await;
    close(&house.web).await;
}

// What is sent twice counts twice, for the sender and for the receiver.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_again_counts_against_the_grant_and_gives_it_back() {
    let house = House::build().await;
    let mut stranger = house.knock();
    stranger.establish(1);
    let run = run_of(1, 1, 1, &[0; PAYLOAD_BYTES]);
    // Five windows of what is known already, each within what was granted meanwhile.
    for _ in 0..5 * CREDIT_BYTES as usize / run.len() {
        stranger.send(&run);
        assert_eq!(stranger.end(Duration::from_millis(5)), End::Open);
    }
    assert_eq!(status(&house.web).await.incoming, 1);
    house.stands().await;
    close(&house.email).await;
    close(&house.web).await;
}
