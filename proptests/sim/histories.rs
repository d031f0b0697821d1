//! Histories of random steps, and a few that are told in full.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestRunner};

use resolute::engine::request::Request;

use super::net::Weather;
use super::node::Mood;
use super::steps::{self, Step, step};
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
    // What the publisher wants of itself waits while nobody serves there, and is handled while it is carried forward.
    world.serve(0, false);
    world.subscribe(0, "n0", "own");
    world.handler(0, "own", "one", Mood::Moody(30));
    world.handler(0, "own", "two", Mood::Moody(30));
    world.run_ms(100);
    for _ in 0..40 {
        world.publish(0, &["own"], 20_000);
        world.run_ms(2);
    }
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
        if sent > 400 && world.rng.chance(10) {
            let serving = world.rng.chance(50);
            world.serve(0, serving);
        }
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

/// What a publisher wants of itself waits in the oldest segment, and is handled at the moment when it is carried
/// forward; then it dies.
fn handled_while_carried(seed: u64) {
    let mut world = World::new(seed, 2, Weather::FAIR);
    world.write_us = 15_000;
    world.serve(0, false);
    world.subscribe(0, "n0", "own");
    world.subscribe(1, "n0", "c");
    world.handler(0, "own", "one", Mood::Moody(40));
    world.handler(1, "c", "one", Mood::Fine);
    world.run_ms(500);
    for _ in 0..60 {
        world.publish(0, &["own"], 10_000);
        world.run_ms(3);
    }
    // A file is prepared ahead of need.
    while world.nodes[0].disk.segments() < 5 {
        world.publish(0, &["c"], 60_000);
        world.publish(0, &["c"], 60_000);
        world.run_ms(5);
    }
    world.serve(0, true);
    let crash_at = world.rng.between(1, 120);
    for ms in 0..150 {
        if ms == crash_at {
            world.crash(0);
            world.start(0);
        }
        world.publish(0, &["c"], 100);
        world.run_ms(1);
    }
    world.settle();
}

/// So many histories, half of them the same each time and half of them new. What was drawn is made small where it fails, printed
/// and kept.
fn draw<S: Strategy>(
    count: u32,
    name: &str,
    histories: &S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let seeds = crate::scene::seeds(&format!("sim::histories, {name}"));
    for seed in &seeds {
        let config = ProptestConfig {
            cases: (count / seeds.len() as u32).max(1),
            max_shrink_iters: 4000,
            rng_seed: RngSeed::Fixed(*seed),
            source_file: Some(file!()),
            ..ProptestConfig::default()
        };
        if let Err(found) = TestRunner::new(config).run(histories, &test) {
            panic!("{name}, with RESOLUTE_SEED={seed}: {found}");
        }
    }
}

/// As many as the environment asks for.
fn asked_for(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).map_or(otherwise, |count| count.parse().unwrap())
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice() {
    let histories = (any::<u64>(), vec(step(false, true), 1..60));
    draw(asked_for("SIM_CASES", 256), "short ones", &histories, |(seed, steps)| {
        let mut world = steps::world(seed, Weather::FAIR);
        world.steps(&steps);
        world.settle();
        Ok(())
    });
}

#[test]
fn what_is_carried_forward_is_neither_revived_nor_lost() {
    draw(asked_for("SIM_LONG", 4), "handled while carried", &any::<u64>(), |seed| {
        handled_while_carried(seed);
        Ok(())
    });
}

#[test]
fn the_log_is_freed_over_crashes() {
    draw(asked_for("SIM_LONG", 4), "long ones", &any::<u64>(), |seed| {
        for node in &much_traffic(seed, true).nodes {
            prop_assert!(
                node.disk.segments() <= 6,
                "n{} holds {} segments",
                node.index,
                node.disk.segments()
            );
        }
        Ok(())
    });
}

#[test]
fn directories_are_deleted_and_the_rest_goes_on() {
    draw(100, "with wipes", &(any::<u64>(), vec(step(true, true), 1..60)), |(seed, steps)| {
        let mut world = steps::world(seed, Weather::FAIR);
        world.steps(&steps);
        world.settle();
        Ok(())
    });
}

#[test]
fn runs_that_come_twice_or_again_change_nothing() {
    let histories = (any::<u64>(), vec(step(false, false), 1..60));
    draw(100, "over a foul network", &histories, |(seed, steps)| {
        let mut world = steps::world(seed, Weather::FOUL);
        // A stream that ended is forgotten, and so is how far it was accepted: none ends here.
        let steps: Vec<Step> = steps.into_iter().filter(|step| !matches!(step, Step::Send { .. })).collect();
        world.steps(&steps);
        world.weather = Weather::FAIR;
        world.settle();
        Ok(())
    });
}

#[test]
fn one_seed_gives_one_history() {
    draw(40, "twice each", &(any::<u64>(), vec(step(true, true), 1..30)), |(seed, steps)| {
        let traces = [0, 1].map(|_| {
            let mut world = steps::world(seed, Weather::FAIR);
            world.steps(&steps);
            world.run_ms(2000);
            (world.trace, world.now, world.numbers, world.notes)
        });
        prop_assert_eq!(&traces[0], &traces[1]);
        Ok(())
    });
}

#[test]
fn a_removed_destination_is_owed_nothing_and_may_come_again() {
    let mut world = World::new(3, 2, Weather::FAIR);
    world.handler(1, "a", "h", Mood::Fine);
    world.subscribe(1, "n0", "a");
    world.run_ms(500);
    world.publish(0, &["a"], 10);
    world.run_ms(500);
    world.crash(1);
    for _ in 0..5 {
        assert!(world.publish(0, &["a"], 10).is_some());
    }
    world.run_ms(100);
    let remove = |address: &str| Request::RemoveDestination { address: address.into() };
    let id = world.request(0, remove("n1"));
    world.run_ms(100);
    assert!(world.is_done(0, id));
    assert!(world.publish(0, &["a"], 10).is_none(), "nobody is left who wants it");
    world.crash(0);
    world.start(0);
    world.run_ms(100);
    let state = world.nodes[0].up.as_ref().unwrap().engine.state();
    assert_eq!((state.owed(), state.dropped), (0, 5));
    // Each side forgets the other before they meet as strangers.
    world.start(1);
    world.run_ms(3000);
    assert_eq!(world.accepted_numbers(1).len(), 1, "who was removed is refused");
    world.request(1, remove("n0"));
    world.run_ms(100);
    world.subscribe(1, "n0", "a");
    world.run_ms(15_000);
    for _ in 0..3 {
        assert!(world.publish(0, &["a"], 10).is_some());
    }
    world.settle();
    assert_eq!(world.accepted_numbers(1).len(), 4);
}

#[test]
fn a_full_disk_refuses_messages_and_goes_on_when_there_is_room() {
    let mut world = World::new(4, 2, Weather::FAIR);
    world.handler(1, "a", "h", Mood::Fine);
    world.subscribe(1, "n0", "a");
    world.run_ms(500);
    world.part(0, 1, true);
    world.disks_full = true;
    let mut refused = 0;
    for _ in 0..400 {
        refused += u64::from(world.publish(0, &["a"], 60_000).is_none());
        world.run_ms(5);
    }
    assert!(refused > 100, "{refused}");
    world.part(0, 1, false);
    world.run_ms(20_000);
    assert_eq!(
        world.nodes[0].up.as_ref().unwrap().engine.state().owed(),
        0,
        "what is owed goes out all the same"
    );
    world.disks_full = false;
    world.run_ms(3000);
    assert!(world.publish(0, &["a"], 60_000).is_some());
    world.settle();
}
