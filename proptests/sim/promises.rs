//! What a node told others is so after a crash, too.

use resolute::engine::request::Request;
use resolute::limits::CREDIT_BYTES;

use super::net::Weather;
use super::world::World;

#[test]
fn a_wish_that_was_confirmed_is_known_after_a_crash_of_the_publisher() {
    for seed in 0..40 {
        let mut world = World::new(seed, 2, Weather::FAIR);
        // They know each other already, and writes take longer than what is said takes on its way.
        world.subscribe(1, "n0", "another");
        world.run_ms(500);
        world.write_us = 10_000;
        let (address, topics) = ("n0".to_owned(), vec!["a".to_owned()]);
        let wish = Request::Subscribe { address: address.clone(), topics: topics.clone() };
        let confirmed = world.request_at_once(1, vec![wish, Request::Confirmed { address, topics }])[1];
        let is_told = (0..100_000).any(|_| {
            world.run_us(10);
            world.is_done(1, confirmed)
        });
        assert!(is_told, "seed {seed}");
        world.crash(0);
        world.start(0);
        assert!(world.publish(0, &["a"], 10).is_some(), "seed {seed}: it is forgotten");
        world.settle();
    }
}

#[test]
fn nothing_is_granted_while_the_disk_is_full() {
    let mut world = World::new(5, 2, Weather::FAIR);
    world.subscribe(1, "n0", "a");
    world.subscribe(1, "n1", "own");
    world.run_ms(500);
    let granted = |world: &World| {
        let engine = &world.nodes[1].up.as_ref().unwrap().engine;
        engine.sessions().iter().find(|session| session.is_known()).map(|session| session.granted)
    };
    assert_eq!(granted(&world), Some(CREDIT_BYTES));
    world.disks_full = true;
    let is_full = |world: &World| world.nodes[1].up.as_ref().unwrap().engine.is_disk_full();
    for _ in 0..400 {
        world.publish(1, &["own"], 60_000);
        world.run_ms(5);
    }
    assert!(is_full(&world));
    // Whoever comes now is told that it may send nothing.
    world.break_between(0, 1);
    world.run_ms(20_000);
    assert!(is_full(&world));
    assert_eq!(granted(&world), Some(0));
    assert!(world.publish(0, &["a"], 100).is_some(), "the disk of the other has room");
    world.run_ms(1_000);
    assert!(world.accepted_numbers(1).is_empty());
    world.settle();
    assert_eq!(world.accepted_numbers(1).len(), 1);
}
