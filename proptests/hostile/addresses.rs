//! Those who answer at an address and say that they are somebody else.

use resolute::engine::effect::SessionId;
use resolute::ids::{NodeId, PeerSlot};

use super::visitors::{SECRET, dialled, enter, establish_with, is_open, say, wish};
use crate::bad_input::stranger::{hello, hello_frame};
use crate::fuzz_targets::targets::node::Node;

const ADDRESS: &str = "tcp://b:1";
const HONEST: u128 = 5;

/// A node that wants something from an address, and a peer that it is in a session with.
fn dialling() -> (Node, SessionId) {
    let mut node = Node::new();
    let honest = enter(&mut node, &hello(HONEST)).unwrap();
    wish(&mut node, ADDRESS);
    (node, honest)
}

fn bound(node: &Node) -> Option<NodeId> {
    let state = node.engine.state();
    let slot: Option<PeerSlot> = state.addresses[ADDRESS].bound;
    slot.map(|slot| state.node_of(slot))
}

// Whoever knew of a session that goes on was believed to be its peer, and got all that was said to the peer at the address.
#[test]
fn who_says_to_be_a_peer_that_is_connected_must_prove_it() {
    let (mut node, honest) = dialling();
    let impostor = dialled(&mut node);
    say(&mut node, impostor, &hello_frame(&hello(HONEST)));
    assert_eq!(bound(&node), None);
    establish_with(&mut node, impostor, NodeId(HONEST), [8; 16]);
    assert_eq!(bound(&node), None);
    assert!(!is_open(&node, impostor) && is_open(&node, honest), "it harms nobody else");
}

#[test]
fn a_peer_that_is_connected_and_proves_to_be_at_an_address_is_bound_to_it() {
    let (mut node, honest) = dialling();
    let again = dialled(&mut node);
    say(&mut node, again, &hello_frame(&hello(HONEST)));
    establish_with(&mut node, again, NodeId(HONEST), SECRET);
    assert_eq!(bound(&node), Some(NodeId(HONEST)));
    assert!(
        is_open(&node, again) && !is_open(&node, honest),
        "the newer session takes the place of the other"
    );
}

// Whoever sent the node its own hello back was taken for the node itself.
#[test]
fn an_echo_is_not_the_node_itself() {
    let (mut node, honest) = dialling();
    let echo = dialled(&mut node);
    let (own, said) = (node.engine.state().identity, node.engine.sessions().get(echo).unwrap().challenge);
    let mut back = hello(own.id.0);
    (back.incarnation, back.nonce, back.challenge) = (own.incarnation, 1, said);
    say(&mut node, echo, &hello_frame(&back));
    assert_eq!(bound(&node), None);
    assert!(!is_open(&node, echo) && is_open(&node, honest));
}
