//! Histories of random steps, and a few that are told in full.

use super::net::Weather;
use super::node::Mood;
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
