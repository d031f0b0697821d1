//! Stories of messages that somebody has written anew.

use resolute::engine::request::Request;
use resolute::format::control::{AtLimit, Place, Quota, Verb};
use resolute::ids::{Lsn, LsnRange, StreamId};

use super::net::Weather;
use super::node::{Mood, Node};
use super::world::World;

/// A node that has parked one message of its own; that message.
fn one_parked() -> (World, Lsn) {
    let mut world = World::new(1, 1, Weather::FAIR);
    world.subscribe(0, "n0", "a");
    world.run_ms(2_000);
    world.publish(0, &["a"], 10);
    world.run_ms(1_000);
    let parked = world.nodes[0].up.as_ref().unwrap().engine.state().inbox.parked().iter().next().unwrap();
    (world, parked.first)
}

/// The numbers of what is in the inbox of a node.
fn inbox(world: &World, node: usize) -> Vec<u64> {
    let up = world.nodes[node].up.as_ref().unwrap();
    let log = &world.model.logs[&up.engine.state().identity.id];
    let is_there = |lsn: &Lsn| up.engine.state().inbox.contains(*lsn);
    log.inbox.iter().filter(|(lsn, _)| is_there(lsn)).map(|(_, number)| *number).collect()
}

#[test]
fn what_is_removed_in_the_same_turn_is_not_written_anew() {
    let (mut world, lsn) = one_parked();
    let rewrite = world.rewrite_of(0, (Place::Parked, None, lsn), "a", 10);
    let ranges = vec![LsnRange { first: lsn, count: 1 }];
    let (who, verb, place) = ("zoe".to_owned(), Verb::Remove, Place::Parked);
    world.request_at_once(0, vec![Request::Change { who, verb, place, stream: None, ranges }, rewrite]);
    world.run_ms(1_000);
    assert_eq!(inbox(&world, 0), [0; 0]);
    world.settle();
}

#[test]
fn what_is_written_anew_twice_in_one_turn_is_there_once() {
    let (mut world, lsn) = one_parked();
    let first = world.rewrite_of(0, (Place::Parked, None, lsn), "a", 10);
    let number = world.numbers;
    let second = world.rewrite_of(0, (Place::Parked, None, lsn), "a", 10);
    world.request_at_once(0, vec![first, second]);
    world.run_ms(1_000);
    assert_eq!(inbox(&world, 0), [number]);
    world.settle();
}

#[test]
fn what_is_owed_to_who_is_parked_stays_as_it_is() {
    let mut nodes: Vec<Node> = (0..2).map(|index| Node::new(index, true)).collect();
    nodes[0].quota = Quota { backlog_bytes: 1 << 20, at_limit: AtLimit::Park, lease_ms: 0 };
    let mut world = World::of(nodes, 1, Weather::FAIR);
    world.handler(1, "a", "h", Mood::Fine);
    world.subscribe(1, "n0", "a");
    world.run_ms(1_000);
    world.crash(1);
    for _ in 0..150 {
        world.publish(0, &["a"], 10_000);
        world.run_ms(20);
    }
    let owed = |world: &World| -> Vec<(StreamId, Lsn)> {
        let state = world.nodes[0].up.as_ref().unwrap().engine.state();
        let of = |(id, stream): (&StreamId, &resolute::engine::stream::Stream)| {
            stream.runs().iter().map(|run| (*id, run.lsn)).collect::<Vec<_>>()
        };
        state.streams.iter().flat_map(of).collect()
    };
    let before = owed(&world);
    let (stream, lsn) = before[0];
    let rewrite = world.rewrite_of(0, (Place::Outgoing, Some(stream), lsn), "a", 10);
    world.request(0, rewrite);
    world.run_ms(1_000);
    assert_eq!(owed(&world), before);
    world.start(1);
    world.settle();
    let came = world.accepted_numbers(1).len();
    assert!((100..150).contains(&came), "{came} came before it was parked");
}
