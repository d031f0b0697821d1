//! A table of peers that is full of those who came once.

use std::collections::{BTreeMap, BTreeSet};

use resolute::engine::effect::{RequestId, SessionId};
use resolute::engine::request::Request;
use resolute::engine::state::{Address, Identity, Inbound, Seen, State};
use resolute::engine::stream::Stream;
use resolute::format::control::{IntentState, PeerRecord, StreamOwner};
use resolute::format::frame::{FrameKind, FrameView};
use resolute::ids::{Epoch, Incarnation, Lsn, NodeId, PeerSlot, Position, StreamId};
use resolute::limits::{PEERS_MAX, PEERS_REST_MS};
use resolute::time::Wall;
use resolute::wire::bodies::Body;
use resolute::wire::hello::Hello;
use resolute::wire::met::Met;
use resolute::wire::proof::{Role, prove};

use super::visitors::{
    SECRET, dialled, enter, establish_with, is_open, knock, leave, proof, prove_with, say, wish,
};
use crate::bad_input::stranger::{body_frame, hello, hello_frame};
use crate::fuzz_targets::targets::node::Node;

/// Another secret than strangers propose.
const OTHER: [u8; 16] = [7; 16];

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

fn newcomer(number: u128) -> Hello {
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
    // It is no longer known, but its secret proves that it is who it was. It leaves room for one more.
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
    assert!(enter(&mut node, &newcomer(3)).is_some());
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

// It was known from before that the user asked: one of those who may go was not looked at again.
#[test]
fn who_is_waited_for_since_it_was_found_stays() {
    for is_applied in [true, false] {
        let mut state = full();
        for (number, address) in [(2, "tcp://b:1"), (3, "tcp://c:1")] {
            state.peers.get_mut(&PeerSlot(number)).unwrap().address = address.to_owned();
        }
        let mut node = Node::that_goes_on_from(state);
        node.replay();
        assert!(enter(&mut node, &newcomer(1)).is_some(), "all who may go are found");
        let own = newcomer(2);
        let second = knock(&mut node);
        say(&mut node, second, &hello_frame(&own));
        let asked = Request::Subscribe { address: "tcp://b:1".to_owned(), topics: vec!["a".into()] };
        node.engine.handle_request(node.now(), RequestId(1), asked);
        if is_applied {
            node.turn();
            node.write_all();
        }
        let proof = proof(&node, second, own.node);
        say(&mut node, second, &proof);
        assert_eq!(node_at(&node, 2), NodeId(2), "the user waits for it");
        assert_eq!(node_at(&node, 3), own.node, "it is the oldest that may go now");
        node.assert_replayed();
    }
}

/// A node that knows the one which `full` makes, and has nothing to do with it.
fn who_knows_it(number: u32) -> State {
    let mut state = State::default();
    state.identity = Identity { id: NodeId(number.into()), incarnation: Incarnation(7), created: Wall(1) };
    let other = PeerRecord {
        node: NodeId(1 << 64),
        incarnation: Incarnation(1),
        nonce: 1,
        address: "tcp://a:2".to_owned(),
        ..peer(1)
    };
    state.peers = BTreeMap::from([(PeerSlot(1), other)]);
    state.last_slot = PeerSlot(1);
    state
}

/// What two nodes say to each other over one connection, until nothing more is said.
fn talk(one: (&mut Node, SessionId), other: (&mut Node, SessionId)) {
    let mut ends = [one, other];
    let mut is_quiet = false;
    for (node, id) in &mut ends {
        let connection = node.connections.iter_mut().find(|connection| connection.id == *id).unwrap();
        connection.all_said = Some(connection.said.clone());
    }
    while !is_quiet {
        is_quiet = true;
        for from in [0, 1] {
            let (node, id) = &mut ends[from];
            let connection = node.connections.iter_mut().find(|connection| connection.id == *id);
            let said = connection.and_then(|connection| connection.all_said.replace(Vec::new()));
            let said = said.unwrap_or_default();
            is_quiet &= said.is_empty();
            let (node, id) = &mut ends[1 - from];
            say(node, *id, &said);
        }
    }
}

// One that gave way kept the secret that only it knew, and refused whoever had forgotten it, for ever.
#[test]
fn who_forgot_a_peer_may_come_to_it() {
    let mut state = full();
    state.peers.get_mut(&PeerSlot(1)).unwrap().address = "tcp://d:1".to_owned();
    let mut node = Node::that_goes_on_from(state);
    let stranger = enter(&mut node, &newcomer(1)).unwrap();
    assert_eq!(node_at(&node, 1), newcomer(1).node, "the peer gave way");
    leave(&mut node, stranger);
    let mut peer = Node::that_goes_on_from(who_knows_it(1));
    peer.replay();
    // Now the user wants something of it.
    wish(&mut node, "tcp://d:1");
    let out = dialled(&mut node);
    let into = knock(&mut peer);
    talk((&mut node, out), (&mut peer, into));
    assert!(is_open(&node, out) && is_open(&peer, into));
    let state = peer.engine.state();
    assert_eq!(state.subscribers, BTreeMap::from([(PeerSlot(1), BTreeSet::from(["a".to_owned()]))]));
    let known = node.engine.state().peer_of(NodeId(1)).unwrap().secret;
    assert_eq!((state.peers[&PeerSlot(1)].secret, state.peers[&PeerSlot(1)].secret_confirmed), (known, true));
    assert_ne!(known, SECRET);
    peer.assert_replayed();
}

#[test]
fn a_peer_of_whom_nothing_came_may_come_with_another_secret_which_counts_from_then_on() {
    let mut node = Node::new();
    node.replay();
    let first = enter(&mut node, &hello(5)).unwrap();
    let rival = knock(&mut node);
    assert!(!prove_with(&mut node, rival, &hello(5), OTHER, Some(OTHER)), "it is connected");
    assert!(is_open(&node, first));
    leave(&mut node, first);
    let again = knock(&mut node);
    assert!(!prove_with(&mut node, again, &hello(5), OTHER, None), "it proposes nothing");
    let again = knock(&mut node);
    say(&mut node, again, &hello_frame(&hello(5)));
    let challenge = node.engine.sessions().get(again).unwrap().challenge;
    let own = node.engine.state().identity.id;
    let mac = prove(&OTHER, &challenge, NodeId(5), own, Role::Dialler);
    let met = Some(Met { incarnation: Incarnation(1), epoch: Epoch(1), nonce: 1, seen: Lsn(0) });
    say(&mut node, again, &body_frame(&Body::Proof { mac, proposed: Some(OTHER), met }));
    assert!(!is_open(&node, again), "it knows this node, and so the secret");
    let again = knock(&mut node);
    assert!(prove_with(&mut node, again, &hello(5), OTHER, Some(OTHER)));
    assert_eq!(node.engine.state().peers.len(), 1, "it is the same peer");
    leave(&mut node, again);
    let old = knock(&mut node);
    assert!(!prove_with(&mut node, old, &hello(5), SECRET, None));
    node.assert_replayed();
}

/// Something that is agreed with the peer of slot 1, or that waits for it, in words and as it is known.
type Agreement = (&'static str, fn(&mut State));

fn agreements() -> Vec<Agreement> {
    fn stream(state: &mut State, owner: StreamOwner, next: u64, acked: u64) {
        state.streams =
            BTreeMap::from([(StreamId(1), Stream::new(owner, Position(next), Position(acked), false))]);
        state.last_stream = StreamId(1);
    }
    fn address(state: &mut State, address: &str, bound: Option<PeerSlot>, intent: Option<IntentState>) {
        let intents = intent.map(|intent| ("a".to_owned(), intent)).into_iter().collect();
        state.addresses = BTreeMap::from([(address.to_owned(), Address { bound, intents })]);
    }
    vec![
        ("it subscribed", |state| {
            state.subscribers = BTreeMap::from([(PeerSlot(1), BTreeSet::from(["a".to_owned()]))]);
        }),
        ("it has acknowledged", |state| stream(state, StreamOwner::Peer(PeerSlot(1)), 2, 1)),
        ("it is owed something", |state| stream(state, StreamOwner::Peer(PeerSlot(1)), 2, 0)),
        ("it is waited for", |state| {
            stream(state, StreamOwner::Address("tcp://a:2".to_owned()), 2, 0);
        }),
        ("it is wanted", |state| address(state, "tcp://a:2", None, Some(IntentState::Wanted))),
        ("it sent something", |state| {
            let inbound = Inbound { accepted: Position(1), lost: 0 };
            state.inbound = BTreeMap::from([((PeerSlot(1), StreamId(1)), inbound)]);
        }),
        ("something of it was seen", |state| {
            let seen = Seen { incarnation: Incarnation(1), lsn: Lsn(0) };
            state.seen = BTreeMap::from([(PeerSlot(1), seen)]);
        }),
        ("it answered at an address", |state| address(state, "tcp://b:1", Some(PeerSlot(1)), None)),
        ("it confirmed a wish", |state| {
            address(state, "tcp://b:1", Some(PeerSlot(1)), Some(IntentState::Confirmed));
        }),
        ("it was removed", |state| state.peers.get_mut(&PeerSlot(1)).unwrap().removed = true),
    ]
}

#[test]
fn where_something_was_agreed_the_secret_is_required_of_who_says_it_knows_nobody() {
    let own = Hello { incarnation: Incarnation(1), nonce: 1, ..hello(1 << 64) };
    for (what, agree) in agreements() {
        let mut state = who_knows_it(1);
        agree(&mut state);
        let mut node = Node::that_goes_on_from(state);
        let impostor = knock(&mut node);
        assert!(!prove_with(&mut node, impostor, &own, OTHER, Some(OTHER)), "{what}");
        assert_eq!(node.engine.state().peers[&PeerSlot(1)].secret, SECRET, "{what}");
        let true_one = knock(&mut node);
        assert!(prove_with(&mut node, true_one, &own, SECRET, None), "{what}");
    }
    let mut node = Node::that_goes_on_from(who_knows_it(1));
    let stranger = knock(&mut node);
    assert!(prove_with(&mut node, stranger, &own, OTHER, Some(OTHER)), "nothing was agreed");
}

// What was agreed a moment ago, and is in no batch yet, counts.
#[test]
fn an_address_that_was_just_found_protects_the_secret() {
    let mut node = Node::new();
    let first = enter(&mut node, &hello(5)).unwrap();
    leave(&mut node, first);
    wish(&mut node, "tcp://b:1");
    let out = dialled(&mut node);
    say(&mut node, out, &hello_frame(&hello(5)));
    let impostor = knock(&mut node);
    say(&mut node, impostor, &hello_frame(&hello(5)));
    let own = node.engine.state().identity.id;
    let challenge = |node: &Node, id| node.engine.sessions().get(id).unwrap().challenge;
    let mac = prove(&SECRET, &challenge(&node, out), NodeId(5), own, Role::Acceptor);
    let place = node.connections.iter().position(|connection| connection.id == out).unwrap();
    node.hear(place, &body_frame(&Body::Established { mac }));
    node.hang_up(place);
    let mac = prove(&OTHER, &challenge(&node, impostor), NodeId(5), own, Role::Dialler);
    say(&mut node, impostor, &body_frame(&Body::Proof { mac, proposed: Some(OTHER), met: None }));
    assert!(!is_open(&node, impostor));
    assert_eq!(node.engine.state().addresses["tcp://b:1"].bound, Some(PeerSlot(1)));
    assert_eq!(node.engine.state().peers[&PeerSlot(1)].secret, SECRET);
}

#[test]
fn a_wish_that_was_just_said_protects_the_secret() {
    let mut node = Node::new();
    let first = enter(&mut node, &hello(5)).unwrap();
    let at = |node: &Node, id| node.connections.iter().position(|connection| connection.id == id).unwrap();
    let impostor = knock(&mut node);
    say(&mut node, impostor, &hello_frame(&hello(5)));
    let wish = body_frame(&Body::Interest { generation: 1, topics: vec!["a".into()] });
    let place = at(&node, first);
    node.hear(place, &wish);
    node.hang_up(place);
    let challenge = node.engine.sessions().get(impostor).unwrap().challenge;
    let own = node.engine.state().identity.id;
    let mac = prove(&OTHER, &challenge, NodeId(5), own, Role::Dialler);
    say(&mut node, impostor, &body_frame(&Body::Proof { mac, proposed: Some(OTHER), met: None }));
    assert!(!is_open(&node, impostor));
    assert_eq!(node.engine.state().peers[&PeerSlot(1)].secret, SECRET);
}

// It could not be helped by hand either: the secrets of those who were removed are kept.
#[test]
fn who_was_removed_and_had_nothing_may_come_with_another_secret() {
    for has_something in [false, true] {
        let mut node = Node::new();
        node.replay();
        let own = Hello { address: "tcp://b:1".to_owned(), ..hello(5) };
        let first = enter(&mut node, &own).unwrap();
        if has_something {
            say(&mut node, first, &body_frame(&Body::Interest { generation: 1, topics: vec!["a".into()] }));
        }
        let removal = Request::RemoveDestination { address: "tcp://b:1".to_owned() };
        node.engine.handle_request(node.now(), RequestId(1), removal);
        node.turn();
        node.write_all();
        assert!(!is_open(&node, first) && node.engine.state().peer_of(NodeId(5)).is_none());
        let again = knock(&mut node);
        let came = prove_with(&mut node, again, &own, OTHER, Some(OTHER));
        assert_eq!(came, !has_something);
        if has_something {
            let again = knock(&mut node);
            assert!(prove_with(&mut node, again, &own, SECRET, None), "who has the secret comes back");
        }
        node.assert_replayed();
    }
}
