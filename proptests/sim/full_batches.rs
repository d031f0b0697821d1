//! Batches that publishers filled to the last byte: what rides along with them finds no room.

use super::net::Weather;
use super::node::Mood;
use super::world::{Event, World};

/// Takes the next event of that kind out of its order, once there is one.
fn take(world: &mut World, is_it: impl Fn(&Event) -> bool) -> Event {
    for _ in 0..10_000 {
        if let Some(when) = world.queue.iter().find(|(_, event)| is_it(event)).map(|(when, _)| *when) {
            return world.queue.remove(&when).unwrap();
        }
        world.run_us(10);
    }
    panic!("it never happens");
}

#[test]
fn marks_that_find_no_room_in_a_batch_come_with_the_next() {
    let mut world = World::new(1, 1, Weather::FAIR);
    world.handler(0, "a", "h", Mood::Fine);
    world.subscribe(0, "n0", "a");
    // Nobody handles these.
    world.subscribe(0, "n0", "b");
    world.run_ms(500);
    assert!(world.publish(0, &["a"], 10).is_some());
    let handled = take(&mut world, |event| matches!(event, Event::Outcomes(0, ..)));
    let engine = |world: &World| {
        let engine = &world.nodes[0].up.as_ref().unwrap().engine;
        (engine.is_write_idle(), engine.state().inbox.waiting())
    };
    assert_eq!(engine(&world), (true, 1));
    let others = world.fill_batch(0, "b");
    world.happen(handled);
    assert_eq!(engine(&world), (false, others), "the mark is behind the full batch");
    // Whoever serves is not asked again, so only the mark itself makes it handled.
    world.run_ms(1000);
    assert_eq!(engine(&world), (true, 0));
    world.settle();
}
