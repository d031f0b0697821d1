//! Histories of random steps, and a few that are told in full.

use proptest::collection::vec;
use proptest::prelude::*;

use super::net::Weather;
use super::node::Mood;
use super::steps::{self, step};
use super::world::World;

#[test]
fn what_is_published_is_handled_by_who_subscribed() {
    let mut world = World::new(1, 2, Weather::FAIR);
    world.handler(1, "a", "h", Mood::Fine);
    world.subscribe(1, "n0", "a");
    world.run_ms(1000);
    for _ in 0..10 {
        assert!(world.publish(0, &["a"], 100).is_some());
        world.run_ms(1);
    }
    world.settle();
    assert_eq!(world.accepted_numbers(1).len(), 10);
}

/// Two subscribers of much traffic, of which one stays away for most of it.
fn much_traffic(seed: u64, crashes: bool) -> World {
    let mut world = World::new(seed, 3, Weather::FAIR);
    for node in [1, 2] {
        world.handler(node, "a", "h", Mood::Moody(3));
        world.handler(node, "b", "never", Mood::Failing);
        world.subscribe(node, "n0", "a");
    }
    world.subscribe(1, "n0", "b");
    world.handler(0, "a", "own", Mood::Fine);
    world.run_ms(1000);
    world.publish(0, &["b"], 100);
    world.publish(0, &["a"], 100);
    world.crash(2);
    for _ in 0..5 {
        world.publish(0, &["a"], 20_000);
        world.send(0, "nowhere", 10_000);
    }
    world.run_ms(100);
    world.unsubscribe(2, "n0", "a");
    let mut sent = 0;
    world.part(0, 2, true);
    while sent < 700 {
        for _ in 0..4 {
            // Nobody but node 1 wants it, and only it is up.
            sent += u64::from(world.publish(0, &["c"], 60_000).is_some());
        }
        if sent == 0 {
            world.subscribe(1, "n0", "c");
            world.handler(1, "c", "h", Mood::Fine);
            world.run_ms(100);
        }
        world.run_ms(12);
        if crashes && world.rng.chance(2) {
            let node = world.rng.below(2) as usize;
            world.crash(node);
            world.start(node);
        }
    }
    world.settle();
    world
}

#[test]
fn the_log_is_freed_though_somebody_stays_away_and_nobody_answers() {
    let world = much_traffic(1, false);
    for node in &world.nodes {
        assert!(node.disk.segments() <= 5, "n{} holds {} segments", node.index, node.disk.segments());
    }
    assert!(world.nodes[0].was_freed && world.nodes[1].was_freed);
    assert_eq!(
        world.nodes[0].up.as_ref().unwrap().engine.state().owed(),
        5,
        "what nobody answers to stays owed"
    );
    assert_eq!(world.nodes[1].up.as_ref().unwrap().engine.state().inbox.dead(), 1);
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        cases: count,
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(std::env::var("SIM_CASES").map_or(100, |n| n.parse().unwrap())))]

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(seed in any::<u64>(), steps in vec(step(false, true), 1..60)) {
        let mut world = steps::world(seed, Weather::FAIR);
        world.steps(&steps);
        world.settle();
    }
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn the_log_is_freed_over_crashes(seed in any::<u64>()) {
        let world = much_traffic(seed, true);
        for node in &world.nodes {
            prop_assert!(node.disk.segments() <= 6, "n{} holds {} segments", node.index, node.disk.segments());
        }
    }
}
