//! Stories of messages that are carried forward, and not only once.

use resolute::ids::Lsn;

use super::net::Weather;
use super::node::Mood;
use super::world::World;

/// Where the record of a message of node 0 lies.
fn bearer(world: &World, lsn: Lsn) -> Lsn {
    world.nodes[0].up.as_ref().unwrap().engine.state().index.bearer(lsn)
}

/// What nobody waits for long fills the log, until that message is carried elsewhere.
fn until_carried(world: &mut World, lsn: Lsn) {
    let before = bearer(world, lsn);
    for _ in 0..4_000 {
        world.publish(0, &["traffic"], 60_000);
        world.run_ms(3);
        if bearer(world, lsn) > before {
            return;
        }
    }
    panic!("{lsn} was never carried");
}

// Wanted by the node itself and by a peer that is away; carried; handled here; carried for the peer alone; and then it comes. The
// place of what is owed to one must outlive that the other wants it no longer.
#[test]
fn what_is_handled_here_and_owed_there_is_carried_until_it_is_fetched() {
    for seed in 0..2 {
        let mut world = World::new(seed, 3, Weather::FAIR);
        world.serve(0, false);
        world.subscribe(0, "n0", "both");
        world.subscribe(1, "n0", "both");
        world.subscribe(2, "n0", "traffic");
        world.handler(0, "both", "one", Mood::Fine);
        world.handler(1, "both", "one", Mood::Fine);
        world.handler(2, "traffic", "one", Mood::Fine);
        world.run_ms(1_000);
        world.crash(1);
        let first = world.publish(0, &["both"], 10_000).unwrap();
        for _ in 1..40 {
            world.publish(0, &["both"], 10_000);
            world.run_ms(1);
        }
        world.run_ms(100);
        let own = world.nodes[0].identity.unwrap();
        let entries = &world.model.logs[&own].inbox;
        let lsn = *entries.iter().find(|(_, number)| **number == first).unwrap().0;
        until_carried(&mut world, lsn);
        world.serve(0, true);
        world.run_ms(1_000);
        let waiting = |world: &World| world.nodes[0].up.as_ref().unwrap().engine.state().inbox.waiting();
        assert_eq!(waiting(&world), 0);
        until_carried(&mut world, lsn);
        // And a crash must not bring back what was forgotten.
        if seed % 2 == 0 {
            world.crash(0);
            world.run_ms(100);
            world.start(0);
        }
        world.run_ms(100);
        world.start(1);
        world.settle();
    }
}

// Where the log has as much as it may, and one of two who were away comes back, what the other is owed must be carried before
// anything is free: into more than the log may have.
#[test]
fn at_its_limit_a_log_is_freed_although_much_of_it_is_owed_to_somebody_else() {
    for seed in 0..2 {
        let mut world = World::new(seed, 3, Weather::FAIR);
        world.subscribe(1, "n0", "a");
        world.subscribe(2, "n0", "b");
        world.handler(1, "a", "one", Mood::Fine);
        world.handler(2, "b", "one", Mood::Fine);
        world.run_ms(1_000);
        world.crash(0);
        world.nodes[0].disk_bytes_max = 4 * world.nodes[0].disk.segment_bytes;
        world.start(0);
        world.run_ms(20_000);
        world.crash(1);
        world.crash(2);
        let engine = |world: &World| !world.nodes[0].up.as_ref().unwrap().engine.is_at_quota();
        let mut published = 0;
        while engine(&world) {
            let topic = if published % 5 < 2 { "a" } else { "b" };
            published += u64::from(world.publish(0, &[topic], 50_000).is_some());
            world.run_ms(1);
            assert!(published < 10_000, "it has no limit");
        }
        // What is left of the last segment is for those who free the log.
        world.start(2);
        world.run_ms(60_000);
        assert!(engine(&world), "seed {seed}: nothing was freed, with {published} published");
        assert!(world.publish(0, &["b"], 50_000).is_some());
        if seed == 1 {
            world.crash(0);
            world.start(0);
        }
        world.start(1);
        world.settle();
        assert!(world.nodes[0].disk.segments() <= 4 + 2);
    }
}
