//! Stories of messages that somebody takes out of what is owed.

use resolute::engine::request::Request;
use resolute::format::control::{Place, StreamOwner, Verb};
use resolute::ids::LsnRange;

use super::conservation::owed;
use super::faults::Faults;
use super::net::Weather;
use super::node::Mood;
use super::rng::Rng;
use super::world::World;

/// Takes out of what a node owes whatever a die says.
fn take_out(world: &mut World, node: usize, rng: &mut Rng) {
    let state = world.nodes[node].up.as_ref().unwrap().engine.state();
    let some = owed(state, |_| true).into_iter().filter(|_| rng.chance(60));
    let ranges: Vec<LsnRange> = some.map(|first| LsnRange { first, count: 1 }).collect();
    if !ranges.is_empty() {
        let (who, place) = ("zoe".to_owned(), Place::Outgoing);
        world.request(node, Request::Change { who, verb: Verb::Remove, place, stream: None, ranges });
    }
}

// Whoever is told of a gap goes on behind it. If the publisher then no longer knows that anything was taken out, it takes that for
// accepted, and it is neither there nor owed.
#[test]
fn nobody_is_told_of_a_gap_that_a_crash_may_fill_again() {
    let mut gaps = 0;
    for seed in 0..8 {
        let mut world = World::new(seed, 2, Weather::FAIR);
        world.faults = Faults { cut: 100, ..Faults::NONE };
        let mut rng = Rng::new(seed);
        world.nodes[1].inbox_bytes_max = 1 << 20;
        world.crash(1);
        world.run_ms(100);
        world.start(1);
        world.handler(1, "a", "fine", Mood::Fine);
        world.run_ms(1_000);
        world.subscribe(1, "n0", "a");
        world.run_ms(1_000);
        // More than it is granted before it handles something: what is taken out comes next.
        world.serve(1, false);
        for _ in 0..40 {
            while world.publish(0, &["a"], 200_000).is_none() {
                world.run_us(500);
            }
        }
        world.run_ms(1_000);
        take_out(&mut world, 0, &mut rng);
        world.run_us(rng.below(1_500));
        world.crash(0);
        world.run_ms(100);
        world.serve(1, true);
        world.start(0);
        world.run_ms(20_000);
        world.settle();
        let state = world.nodes[1].up.as_ref().unwrap().engine.state();
        gaps += state.inbound.values().map(|inbound| inbound.lost).sum::<u64>();
    }
    println!("{gaps} messages were taken out before they were sent");
    assert!(gaps > 0);
}

// Streams that end, queues of addresses that become a peer's, and the node itself behind one.
#[test]
fn what_waits_for_an_address_is_taken_out_like_everything_else() {
    for seed in 0..10 {
        let mut world = World::new(seed, 2, Weather::FAIR);
        let mut rng = Rng::new(seed);
        for _ in 0..5 {
            world.send(0, "n1", 10);
            world.send(0, "n0", 10);
        }
        take_out(&mut world, 0, &mut rng);
        world.run_ms(2_000);
        for _ in 0..5 {
            world.send(0, "n1", 10);
            world.send(0, "nowhere", 10);
        }
        world.run_us(rng.below(2_000));
        take_out(&mut world, 0, &mut rng);
        world.run_ms(20_000);
        world.settle();
    }
}

// Who reads the log when the messages are gone from it would count less.
#[test]
fn the_count_of_what_was_taken_out_outlives_its_messages() {
    let mut world = World::new(1, 2, Weather::FAIR);
    world.handler(1, "a", "fine", Mood::Fine);
    world.subscribe(1, "n0", "a");
    world.run_ms(500);
    for _ in 0..5 {
        world.send(0, "nowhere", 10);
    }
    let segments = |world: &World| world.nodes[0].up.as_ref().unwrap().engine.segments().count();
    while segments(&world) < 2 {
        world.publish(0, &["a"], 60_000);
        world.run_ms(4);
    }
    let state = world.nodes[0].up.as_ref().unwrap().engine.state();
    let nowhere = |owner: &StreamOwner| *owner == StreamOwner::Address("nowhere".to_owned());
    let ranges = owed(state, nowhere).into_iter().map(|first| LsnRange { first, count: 1 }).collect();
    let (who, place) = ("zoe".to_owned(), Place::Outgoing);
    world.request(0, Request::Change { who, verb: Verb::Remove, place, stream: None, ranges });
    while !world.nodes[0].was_freed {
        world.run_ms(4);
    }
    world.run_ms(1_000);
    world.crash(0);
    world.start(0);
    assert_eq!(world.nodes[0].up.as_ref().unwrap().engine.state().dropped, 5);
    world.settle();
}
