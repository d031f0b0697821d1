//! How much may wait for one subscriber, and how much one sender may have waiting.

use resolute::engine::deciding::Order;
use resolute::engine::effect::{Note, RequestId};
use resolute::engine::request::Request;
use resolute::format::control::{AtLimit, Control, Decided, OwnQuota, Quota};

use super::faults::Fault;
use super::model::Entry;
use super::net::Weather;
use super::node::{Mood, Node};
use super::set_back::roll;
use super::world::World;

const BACKLOG: u64 = 1 << 20;
const LEASE_MS: u64 = 600_000;

/// Node 0 publishes; node 1 wants `a`, and 2 wants `a` and `b`.
fn world(quota: Quota) -> World {
    let mut nodes: Vec<Node> = (0..3).map(|index| Node::new(index, true)).collect();
    nodes[0].quota = quota;
    let mut world = World::of(nodes, 1, Weather::FAIR);
    for (node, topic) in [(1, "a"), (2, "a"), (2, "b")] {
        world.handler(node, topic, "h", Mood::Fine);
        world.subscribe(node, "n0", topic);
    }
    world.run_ms(1_000);
    world
}

fn quota(at_limit: AtLimit, lease_ms: u64) -> Quota {
    Quota { backlog_bytes: BACKLOG, at_limit, lease_ms }
}

/// How many of so many messages of 10 kB are published.
fn publish(world: &mut World, topic: &str, count: usize) -> usize {
    let mut published = 0;
    for _ in 0..count {
        published += usize::from(world.publish(0, &[topic], 10_000).is_some());
        world.run_ms(20);
    }
    published
}

fn limit(world: &mut World, peer: &str, quota: OwnQuota) -> RequestId {
    world.tally.count(Fault::Limited);
    let order = Order::Limit { peer: peer.to_owned(), resets: false, quota };
    world.request(0, Request::Decide { who: "zoe".to_owned(), order })
}

fn owed(world: &World) -> u64 {
    world.nodes[0].up.as_ref().unwrap().engine.state().owed()
}

fn evictions(world: &World) -> usize {
    world.notes.iter().filter(|(_, note)| matches!(note, Note::Evicted { .. })).count()
}

fn lost(world: &World) -> u64 {
    let theirs = world.notes.iter().filter_map(|(node, note)| match note {
        Note::Gap { is_ours: false, count, .. } if *node == 1 => Some(*count),
        _ => None,
    });
    theirs.sum()
}

#[test]
fn nothing_is_published_for_who_has_as_much_waiting_as_it_may_until_it_took_some() {
    let mut world = world(quota(AtLimit::Refuse, 0));
    world.crash(1);
    let published = publish(&mut world, "a", 200);
    assert!((100..=120).contains(&published), "{published} of some 104 messages");
    assert_eq!(publish(&mut world, "b", 10), 10, "nobody else is concerned");
    world.crash(0);
    world.start(0);
    world.run_ms(1_000);
    assert!(publish(&mut world, "a", 20) <= 1, "after a restart, too");
    world.start(1);
    world.run_ms(5_000);
    assert_eq!(publish(&mut world, "a", 10), 10);
    world.settle();
    assert_eq!(lost(&world), 0);
}

#[test]
fn who_is_parked_misses_what_is_published_meanwhile_and_is_told_how_much() {
    let mut world = world(quota(AtLimit::Park, 0));
    world.crash(1);
    let published = publish(&mut world, "a", 200);
    assert_eq!(published, 200, "nothing is refused");
    world.crash(0);
    world.start(0);
    world.run_ms(1_000);
    assert_eq!(publish(&mut world, "a", 10), 10);
    world.start(1);
    world.run_ms(10_000);
    assert_eq!(publish(&mut world, "a", 10), 10);
    world.settle();
    let came = world.accepted_numbers(1).len() as u64;
    assert!((100..=140).contains(&came), "{came}");
    assert_eq!(came + lost(&world), 220);
    assert_eq!(world.accepted_numbers(2).len(), 220, "nobody else misses anything");
}

#[test]
fn who_is_unseen_for_its_lease_is_evicted_and_comes_back_by_itself() {
    let mut world = world(quota(AtLimit::Refuse, LEASE_MS));
    world.crash(1);
    assert_eq!(publish(&mut world, "a", 10), 10);
    world.run_ms(LEASE_MS / 2);
    // What was counted before a restart counts.
    world.crash(0);
    world.start(0);
    world.run_ms(LEASE_MS / 4);
    assert_eq!((evictions(&world), owed(&world)), (0, 10));
    world.run_ms(LEASE_MS / 2);
    assert_eq!((evictions(&world), owed(&world)), (1, 0));
    let log = &world.model.logs[&world.nodes[0].identity.unwrap()];
    let decisions = log.entries.values().filter_map(|entry| match entry {
        Entry::Control(Control::Decided(decision)) => Some((decision.what, decision.about.as_str())),
        _ => None,
    });
    assert_eq!(decisions.collect::<Vec<_>>(), [(Decided::Evicted, "n1")]);
    assert_eq!(publish(&mut world, "a", 5), 5);
    assert_eq!(owed(&world), 0, "it wants nothing");
    world.start(1);
    world.run_ms(5_000);
    assert_eq!(lost(&world), 10);
    assert_eq!(publish(&mut world, "a", 5), 5);
    world.settle();
    assert_eq!(world.accepted_numbers(1).len(), 5);
    world.run_ms(3 * LEASE_MS);
    assert_eq!(evictions(&world), 1, "who is there is not evicted");
}

#[test]
fn with_a_lease_at_the_limit_only_who_has_as_much_waiting_as_it_may_is_evicted() {
    let mut world = world(quota(AtLimit::Evict, LEASE_MS));
    world.crash(1);
    assert_eq!(publish(&mut world, "a", 10), 10);
    world.run_ms(2 * LEASE_MS);
    assert_eq!((evictions(&world), owed(&world)), (0, 10));
    let published = publish(&mut world, "a", 200);
    assert_eq!(evictions(&world), 1);
    assert!(published >= 195, "{published}: it was refused only until it was evicted");
    world.start(1);
    world.settle();
    assert!(lost(&world) >= 100, "{}", lost(&world));
}

#[test]
fn a_quota_of_its_own_counts_for_one_subscriber_and_outlives_a_restart() {
    let mut world = world(Quota::UNLIMITED);
    let own = OwnQuota { backlog_bytes: Some(BACKLOG / 4), ..OwnQuota::default() };
    let id = limit(&mut world, "n1", own);
    world.run_ms(100);
    assert!(world.is_done(0, id));
    let id = limit(&mut world, "n1", OwnQuota { at_limit: Some(AtLimit::Evict), ..OwnQuota::default() });
    world.run_ms(100);
    assert!(world.nodes[0].up.as_ref().unwrap().refused.contains(&id), "it has no lease");
    // Then nothing but a checkpoint says so.
    roll(&mut world, 0, "b");
    world.crash(2);
    assert_eq!(publish(&mut world, "b", 60), 60, "n2 has no such quota");
    world.crash(1);
    world.crash(0);
    world.start(0);
    world.run_ms(1_000);
    let published = publish(&mut world, "a", 60);
    assert!((25..=40).contains(&published), "{published} of some 26 messages");
    // A larger one counts at once.
    let own = OwnQuota { backlog_bytes: Some(BACKLOG), ..OwnQuota::default() };
    limit(&mut world, "n1", own);
    world.run_ms(100);
    assert_eq!(publish(&mut world, "a", 20), 20);
    world.start(1);
    world.start(2);
    world.settle();
    assert_eq!(lost(&world), 0);
}

#[test]
fn an_address_where_nobody_answers_has_no_more_waiting_than_a_subscriber() {
    let mut world = world(quota(AtLimit::Park, 0));
    let sent = (0..200).filter(|_| {
        let is_sent = world.send(0, "alias9", 10_000).is_some();
        world.run_ms(20);
        is_sent
    });
    let sent = sent.count();
    assert!((100..=120).contains(&sent), "{sent}");
}

#[test]
fn one_sender_does_not_take_the_room_of_others() {
    let mut nodes: Vec<Node> = (0..3).map(|index| Node::new(index, true)).collect();
    nodes[2].sender_bytes_max = BACKLOG;
    let mut world = World::of(nodes, 1, Weather::FAIR);
    // Nobody handles it there.
    for publisher in ["n0", "n1"] {
        world.subscribe(2, publisher, "a");
    }
    world.run_ms(1_000);
    for _ in 0..1_000 {
        world.publish(0, &["a"], 10_000);
        world.run_ms(5);
    }
    world.run_ms(10_000);
    let held = |world: &World| world.accepted_numbers(2).len();
    // What was granted before that may still come.
    let of_the_first = held(&world);
    assert!((104..700).contains(&of_the_first), "{of_the_first}");
    for _ in 0..3 {
        world.break_between(0, 2);
        world.run_ms(5_000);
    }
    assert_eq!(held(&world), of_the_first, "nor does it get more by connecting again");
    for _ in 0..50 {
        world.publish(1, &["a"], 10_000);
        world.run_ms(5);
    }
    world.run_ms(5_000);
    assert_eq!(held(&world), of_the_first + 50);
}

// Only an acknowledgement let go of who was parked, and none came.
#[test]
fn who_was_parked_is_not_once_its_quota_is_larger_though_nobody_acknowledges_anything() {
    let mut world = World::new(1, 2, Weather::FAIR);
    world.crash(0);
    world.nodes[0].quota = quota(AtLimit::Park, 0);
    world.start(0);
    world.handler(1, "a", "h", Mood::Fine);
    world.subscribe(1, "n0", "a");
    world.run_ms(1_000);
    world.crash(1);
    assert_eq!(publish(&mut world, "a", 200), 200);
    world.crash(0);
    world.nodes[0].quota = Quota::UNLIMITED;
    world.start(0);
    world.run_ms(1_000);
    let owed_before = owed(&world);
    assert_eq!(publish(&mut world, "a", 10), 10);
    assert_eq!(owed(&world), owed_before + 10);
    world.start(1);
    world.settle();
}

// Its absence was counted on, and what holds for all is no lease.
#[test]
fn who_is_forgotten_is_not_evicted_afterwards() {
    let mut world = world(Quota::UNLIMITED);
    limit(&mut world, "n1", OwnQuota { lease_ms: Some(LEASE_MS), ..OwnQuota::default() });
    world.run_ms(1_000);
    world.crash(1);
    world.run_ms(1_000);
    world.forget(0, 1, "n1");
    world.run_ms(2 * LEASE_MS);
    assert_eq!(evictions(&world), 0);
}

// Its stream goes on, and it was evicted once more whenever somebody came or went.
#[test]
fn who_is_known_at_an_address_is_evicted_once() {
    let mut world = world(quota(AtLimit::Refuse, LEASE_MS));
    world.subscribe(0, "n1", "c");
    world.run_ms(1_000);
    world.crash(1);
    assert_eq!(publish(&mut world, "a", 5), 5);
    for _ in 0..4 {
        world.run_ms(LEASE_MS);
        world.break_between(0, 2);
    }
    assert_eq!(evictions(&world), 1);
    // What is sent to it from then on has a lease of its own.
    assert!(world.send(0, "n1", 10).is_some());
    world.run_ms(3 * LEASE_MS);
    assert_eq!((evictions(&world), owed(&world)), (2, 0));
    world.start(1);
    world.settle();
    assert_eq!(lost(&world), 6);
}

#[test]
fn a_command_to_who_is_parked_is_refused_and_not_lost() {
    let mut world = world(quota(AtLimit::Park, 0));
    world.subscribe(0, "n1", "c");
    world.run_ms(1_000);
    world.crash(1);
    publish(&mut world, "a", 200);
    assert!(world.send(0, "n1", 10).is_none());
    world.start(1);
    world.run_ms(10_000);
    assert!(world.send(0, "n1", 10).is_some());
    world.settle();
}
