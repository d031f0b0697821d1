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
