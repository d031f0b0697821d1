//! A table of peers that is full of those who came once.

use std::collections::{BTreeMap, BTreeSet};

use resolute::engine::state::{Address, Identity, Inbound, Seen, State};
use resolute::engine::stream::Stream;
use resolute::format::control::{PeerRecord, StreamOwner};
use resolute::format::frame::{FrameKind, FrameView};
use resolute::ids::{Epoch, Incarnation, Lsn, NodeId, PeerSlot, Position, StreamId};
use resolute::limits::{PEERS_MAX, PEERS_REST_MS};
use resolute::time::Wall;
use resolute::wire::bodies::Body;

use super::visitors::{SECRET, dialled, enter, establish_with, is_open, leave, say, wish};
use crate::bad_input::stranger::{hello, hello_frame};
use crate::fuzz_targets::targets::node::Node;

fn peer(number: u32) -> PeerRecord {
    PeerRecord {
        slot: PeerSlot(number),
        node: NodeId(number.into()),
        incarnation: Incarnation(7),
        epoch: Epoch(1),
        nonce: 99,
        secret: SECRET,
        secret_confirmed: true,
        address: String::new(),
        name: "stranger".to_owned(),
        removed: false,
    }
}

/// As many peers as there may be, none of whom owns anything.
fn full() -> State {
    let mut state = State::default();
    state.identity = Identity { id: NodeId(1 << 64), incarnation: Incarnation(1), created: Wall(1) };
    state.peers = (1..=PEERS_MAX as u32).map(|number| (PeerSlot(number), peer(number))).collect();
    state.last_slot = PeerSlot(PEERS_MAX as u32);
    state
}

fn newcomer(number: u128) -> resolute::wire::hello::Hello {
    hello((1 << 32) + number)
}

fn node_at(node: &Node, slot: u32) -> NodeId {
    node.engine.state().node_of(PeerSlot(slot))
}

// Strangers who shook hands once kept everyone else out for ever.
#[test]
fn who_came_once_and_owns_nothing_gives_way_to_newcomers_the_oldest_first() {
    let mut node = Node::that_goes_on_from(full());
    node.replay();
    for number in 1..=3_u32 {
        let own = newcomer(number.into());
        assert!(enter(&mut node, &own).is_some(), "newcomer {number} is refused");
        assert_eq!(node_at(&node, number), own.node);
        assert_eq!(node.engine.state().peers.len(), PEERS_MAX);
    }
    node.assert_replayed();
}

#[test]
fn who_owns_nothing_gives_way_too_where_segments_are_too_small_for_one_more() {
    let mut state = full();
    // With so long names, 8 MiB hold no more of them.
    state.peers.retain(|slot, _| slot.0 <= 8_850);
    for peer in state.peers.values_mut() {
        (peer.name, peer.address) = ("x".repeat(128), "y".repeat(255));
    }
    let mut node = Node::that_goes_on_from(state);
    let peers = |node: &Node| node.engine.state().peers.len();
    let came = (0..100).find(|number| {
        let before = peers(&node);
        assert!(enter(&mut node, &newcomer(*number)).is_some(), "{number}");
        node.pass_ms(PEERS_REST_MS);
        peers(&node) == before
    });
    assert_eq!(node_at(&node, 1), newcomer(came.unwrap()).node, "the oldest gave way");
}

#[test]
fn who_owns_something_or_is_connected_or_waited_for_stays() {
    let mut state = full();
    state.subscribers = BTreeMap::from([(PeerSlot(1), BTreeSet::from(["a".to_owned()]))]);
    let stream = |slot| Stream::new(StreamOwner::Peer(PeerSlot(slot)), Position(2), Position(1), slot == 2);
    state.streams = BTreeMap::from([(StreamId(1), stream(1)), (StreamId(2), stream(2))]);
    state.last_stream = StreamId(2);
    state.inbound =
        BTreeMap::from([((PeerSlot(3), StreamId(1)), Inbound { accepted: Position(1), lost: 0 })]);
    state.seen = BTreeMap::from([(PeerSlot(4), Seen { incarnation: Incarnation(7), lsn: Lsn(1) })]);
    state.addresses = BTreeMap::from([(
        "tcp://b:1".to_owned(),
        Address { bound: Some(PeerSlot(5)), intents: BTreeMap::new() },
    )]);
    // It is no longer known, but its secret proves that it is who it was.
    state.peers.get_mut(&PeerSlot(6)).unwrap().removed = true;
    // The user dials it, and nobody answered yet.
    state.peers.get_mut(&PeerSlot(7)).unwrap().address = "tcp://c:1".to_owned();
    state.streams.insert(
        StreamId(3),
        Stream::new(StreamOwner::Address("tcp://c:1".to_owned()), Position(1), Position(0), false),
    );
    state.last_stream = StreamId(3);
    let mut node = Node::that_goes_on_from(state);
    node.replay();
    // These are connected: one comes before it is looked for those who may go, one after.
    enter(&mut node, &hello(8)).unwrap();
    assert!(enter(&mut node, &newcomer(1)).is_some());
    let tenth = enter(&mut node, &hello(10)).unwrap();
    assert!(enter(&mut node, &newcomer(2)).is_some());
    let taken = |node: &Node| -> Vec<u32> {
        (1..=20).filter(|slot| node_at(node, *slot) != NodeId((*slot).into())).collect()
    };
    assert_eq!(taken(&node), [9, 11]);
    assert!(is_open(&node, tenth));
    node.assert_replayed();
}

#[test]
fn where_nobody_can_give_way_newcomers_are_refused_until_somebody_can() {
    let mut state = full();
    let seen = |slot: &PeerSlot| (*slot, Seen { incarnation: Incarnation(7), lsn: Lsn(1) });
    state.seen = state.peers.keys().filter(|slot| slot.0 != 70).map(seen).collect();
    let mut node = Node::that_goes_on_from(state);
    let connected = enter(&mut node, &hello(70)).unwrap();
    assert_eq!(enter(&mut node, &newcomer(1)), None);
    assert!(is_open(&node, connected));
    leave(&mut node, connected);
    assert_eq!(enter(&mut node, &newcomer(1)), None, "all of them are looked at once in a while");
    node.pass_ms(PEERS_REST_MS);
    assert!(enter(&mut node, &newcomer(1)).is_some());
    assert_eq!(node_at(&node, 70), newcomer(1).node);
}

// A node that had given way and came back was told that nobody met it, for ever: it did not propose what both had known.
#[test]
fn who_gave_way_may_come_back() {
    let mut node = Node::new();
    wish(&mut node, "tcp://b:1");
    let first = dialled(&mut node);
    say(&mut node, first, &hello_frame(&hello(5)));
    let secret = node.engine.sessions().get(first).unwrap().secret.unwrap();
    establish_with(&mut node, first, NodeId(5), secret);
    assert!(is_open(&node, first));
    leave(&mut node, first);
    // The other has forgotten it meanwhile, and says that it never met it.
    node.pass_ms(1_000);
    let again = dialled(&mut node);
    say(&mut node, again, &hello_frame(&hello(5)));
    let said = &node.connections.iter().find(|connection| connection.id == again).unwrap().said;
    let (frame, _) = FrameView::parse(said).unwrap().unwrap();
    assert_eq!(frame.kind, FrameKind::Proof);
    let Ok(Body::Proof { proposed, .. }) = Body::decode(frame.kind, frame.body) else { panic!() };
    assert_eq!(proposed, Some(secret));
    establish_with(&mut node, again, NodeId(5), secret);
    assert!(is_open(&node, again));
}
