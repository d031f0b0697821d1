//! What people decide by hand about other nodes.

use resolute::engine::deciding::Order;
use resolute::engine::effect::RequestId;
use resolute::engine::request::Request;
use resolute::format::control::{Control, Decided, IntentState};

use super::model::Entry;
use super::net::Weather;
use super::node::{Mood, Node};
use super::set_back::roll;
use super::world::World;

fn decide(world: &mut World, node: usize, order: Order) -> RequestId {
    world.request(node, Request::Decide { who: "zoe".to_owned(), order })
}

/// A publisher, and those who subscribe to `a` of it and are waited for.
fn subscribers(count: usize) -> World {
    let mut world = World::new(1, 1 + count, Weather::FAIR);
    world.handler(0, "b", "h", Mood::Fine);
    for node in 1..=count {
        world.handler(node, "a", "h", Mood::Fine);
        world.subscribe(node, "n0", "a");
    }
    world.run_ms(500);
    world
}

#[test]
fn nothing_goes_to_a_peer_that_is_paused_until_it_is_resumed() {
    let mut world = subscribers(2);
    world.subscribe(0, "n1", "b");
    world.run_ms(500);
    let id = decide(&mut world, 0, Order::Pause { peer: "n1".to_owned() });
    world.run_ms(100);
    assert!(world.is_done(0, id));
    for _ in 0..5 {
        assert!(world.publish(0, &["a"], 10).is_some());
    }
    assert!(world.publish(1, &["b"], 10).is_some());
    world.run_ms(500);
    let came = |world: &World| [0, 1, 2].map(|node| world.accepted_numbers(node).len());
    assert_eq!(came(&world), [1, 0, 5], "what comes of it is taken, and others are sent theirs");
    // It stays so over a crash, also when nothing but a checkpoint says so, and whoever was paused comes back to it.
    world.handler(2, "c", "h", Mood::Fine);
    world.subscribe(2, "n0", "c");
    world.run_ms(500);
    roll(&mut world, 0, "c");
    world.crash(0);
    world.start(0);
    world.run_ms(15_000);
    let [of_other, of_paused, of_third] = came(&world);
    assert!((of_other, of_paused) == (1, 0) && of_third > 100);
    assert!(world.is_in_session(0, world.nodes[1].identity.unwrap()));
    // By its node id, which is a name as good as any.
    let peer = world.nodes[1].identity.unwrap().to_string();
    let id = decide(&mut world, 0, Order::Resume { peer });
    world.run_ms(500);
    assert!(world.is_done(0, id));
    world.settle();
    assert_eq!(came(&world), [1, 5, of_third]);
}

#[test]
fn who_decided_what_is_written_down_and_nothing_of_what_was_refused() {
    let mut world = subscribers(1);
    let orders = [
        Order::Pause { peer: "n1".to_owned() },
        Order::Pause { peer: "nowhere".to_owned() },
        Order::Resume { peer: "n0".to_owned() },
        Order::Subscribe { address: "n1".to_owned(), topics: vec!["b".to_owned()] },
        Order::Forget { peer: "nobody".to_owned() },
        Order::Unsubscribe { address: "n1".to_owned(), topics: vec!["b".to_owned()] },
        Order::Forget { peer: "n1".to_owned() },
    ];
    let ids = orders.map(|order| decide(&mut world, 0, order));
    world.run_ms(100);
    let up = world.nodes[0].up.as_ref().unwrap();
    let done = ids.map(|id| (up.done.contains(&id), up.refused.contains(&id)));
    let (yes, no) = ((true, false), (false, true));
    assert_eq!(done, [yes, no, no, yes, no, yes, yes]);
    let log = &world.model.logs[&world.nodes[0].identity.unwrap()];
    let decided = log.entries.values().filter_map(|entry| match entry {
        Entry::Control(Control::Decided(decision)) => Some(decision),
        _ => None,
    });
    let decided: Vec<_> =
        decided.map(|d| (d.what, d.who.as_str(), d.about.as_str(), d.topics.as_slice())).collect();
    let b = ["b".to_owned()];
    assert_eq!(
        decided,
        [
            (Decided::Paused, "zoe", "n1", &[][..]),
            (Decided::Subscribed, "zoe", "n1", &b),
            (Decided::Unsubscribed, "zoe", "n1", &b),
            (Decided::Forgotten, "zoe", "n1", &[]),
        ]
    );
    assert!(up.engine.state().paused.is_empty(), "who is forgotten is no longer paused");
}

// What was left of peers that somebody had a node forget counted as peers that it knows, and gave way to nobody.
#[test]
fn those_who_were_forgotten_by_hand_keep_nobody_out() {
    let mut nodes: Vec<Node> = (0..4).map(|index| Node::new(index, true)).collect();
    nodes[0].limits.peers = 2;
    let mut world = World::of(nodes, 1, Weather::FAIR);
    for node in 1..4 {
        world.handler(node, "a", "h", Mood::Fine);
    }
    for node in [1, 2] {
        world.subscribe(node, "n0", "a");
        world.run_ms(500);
        world.publish(0, &["a"], 10);
        world.run_ms(500);
        world.crash(node);
        world.run_ms(500);
        decide(&mut world, 0, Order::Forget { peer: format!("n{node}") });
        world.run_ms(500);
    }
    world.subscribe(3, "n0", "a");
    world.run_ms(5_000);
    assert!(world.is_in_session(0, world.nodes[3].identity.unwrap()));
}

// What was wanted of who is being forgotten counted as wanted already, and went with it (seed 332).
#[test]
fn who_is_wanted_again_at_once_is_wanted() {
    for node in ["n1", "alias1"] {
        let mut world = subscribers(1);
        world.subscribe(0, "n1", "b");
        world.subscribe(0, "alias1", "c");
        world.run_ms(500);
        let topics = vec!["b".to_owned()];
        let orders = [
            Order::Forget { peer: node.to_owned() },
            Order::Subscribe { address: "n1".to_owned(), topics: topics.clone() },
        ];
        let orders = orders.map(|order| Request::Decide { who: "zoe".to_owned(), order });
        let ids = world.request_at_once(0, orders.into());
        world.run_ms(5_000);
        assert!(world.is_done(0, ids[1]));
        let state = world.nodes[0].up.as_ref().unwrap().engine.state();
        let wanted = state.addresses.get("n1").and_then(|known| known.intents.get("b"));
        assert_eq!(wanted, Some(&IntentState::Confirmed));
        world.settle();
    }
}

// Whoever was being forgotten was paused all the same, and its slot stayed so.
#[test]
fn who_is_being_forgotten_is_not_paused() {
    let mut world = subscribers(1);
    let orders = [Order::Forget { peer: "n1".to_owned() }, Order::Pause { peer: "n1".to_owned() }];
    let orders = orders.map(|order| Request::Decide { who: "zoe".to_owned(), order });
    let ids = world.request_at_once(0, orders.into());
    world.run_ms(100);
    let up = world.nodes[0].up.as_ref().unwrap();
    assert!(up.refused.contains(&ids[1]) && up.engine.state().paused.is_empty());
}

// All of its topics were in one record, which was too long for any batch.
#[test]
fn as_many_topics_as_there_may_be_are_decided_about() {
    let mut world = subscribers(1);
    let topics: Vec<String> = (0..1_900).map(|number| format!("{number:0>255}")).collect();
    for order in [
        Order::Subscribe { address: "n1".to_owned(), topics: topics.clone() },
        Order::Unsubscribe { address: "n1".to_owned(), topics },
    ] {
        let id = decide(&mut world, 0, order);
        world.run_ms(2_000);
        assert!(world.is_done(0, id));
    }
    world.settle();
}

// Who was being dialled then was known at its address again (seeds 3962, 4100).
#[test]
fn an_address_that_is_forgotten_stays_so_though_it_is_being_dialled() {
    for us in (0..6_000).step_by(150) {
        let mut world = World::new(1, 2, Weather::FAIR);
        world.subscribe(0, "n1", "b");
        world.run_ms(500);
        world.break_between(0, 1);
        let shakes_hands = |world: &World| {
            let mut sessions = world.nodes[0].up.as_ref().unwrap().engine.sessions().iter();
            sessions.any(|session| session.dialled.is_some() && session.peer.is_none())
        };
        while !shakes_hands(&world) {
            world.run_us(100);
        }
        world.run_us(us);
        let id = decide(&mut world, 0, Order::Forget { peer: "n1".to_owned() });
        world.run_ms(10_000);
        assert!(world.is_done(0, id));
        let state = world.nodes[0].up.as_ref().unwrap().engine.state();
        assert!(!state.addresses.contains_key("n1"), "after {us} us: {:?}", state.addresses);
    }
}

// A replay that came by a later checkpoint before the copy of its message forgot whose message that was (seed 5590).
#[test]
fn whose_a_message_is_stays_known_though_its_publisher_was_forgotten_and_came_back() {
    let mut world = World::new(1, 3, Weather::FAIR);
    world.handler(2, "a", "h", Mood::Fine);
    world.subscribe(2, "n0", "a");
    // Nobody handles it there.
    world.subscribe(0, "n1", "b");
    world.run_ms(1_000);
    world.publish(1, &["b"], 10);
    world.run_ms(500);
    decide(&mut world, 0, Order::Forget { peer: "n1".to_owned() });
    decide(&mut world, 1, Order::Forget { peer: "n0".to_owned() });
    world.run_ms(1_000);
    world.subscribe(0, "n1", "b");
    world.run_ms(5_000);
    // One message stays in the second segment, so that it is there when the first is freed.
    while world.nodes[0].up.as_ref().unwrap().engine.segments().count() < 2 {
        world.publish(0, &["a"], 60_000);
        world.run_ms(5);
    }
    world.publish(1, &["b"], 10);
    world.run_ms(500);
    roll(&mut world, 0, "a");
    world.crash(0);
    world.start(0);
    world.settle();
}
