//! Peers that do not keep to what they were granted.

use std::time::Duration;

use resolute::ids::Lsn;
use resolute::limits::CREDIT_BYTES;
use resolute::wire::goodbye::GoodbyeCode;

use super::visitors::{enter, knock, proof, say};
use crate::bad_input::stranger::{End, hello, hello_frame, run_frame, run_of};
use crate::bad_input::{House, SOON, assert_goodbye};
use crate::fuzz_targets::targets::node::Node;
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
        let theirs = stranger.try_establish_with(&hello(node), Lsn(2 * most)).unwrap();
        assert_eq!(theirs.credit_bytes, 0);
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

// It was: by what the session before it had sent and was not in a batch yet, which was given back to this one.
#[test]
fn a_session_that_takes_the_place_of_another_is_granted_no_more_for_what_that_one_sent() {
    let mut node = Node::new();
    let own = hello(5);
    let old = enter(&mut node, &own).unwrap();
    let new = knock(&mut node);
    say(&mut node, new, &hello_frame(&own));
    let proof = proof(&node, new, own.node);
    let at = |node: &Node, id| node.connections.iter().position(|one| one.id == id).unwrap();
    let (first, second) = (at(&node, old), at(&node, new));
    node.hear(first, &run_of(1, 1, 1, &[0; PAYLOAD_BYTES]));
    node.hear(second, &proof);
    node.turn();
    node.write_all();
    let session = node.engine.sessions().get(new).unwrap();
    assert!(session.is_known());
    assert_eq!((session.received, session.accepted_bytes, session.granted), (0, 0, CREDIT_BYTES));
    assert_eq!(node.engine.state().inbox.messages(), 1, "it was accepted all the same");
}
