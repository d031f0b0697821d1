//! What a node told others is so after a crash, too.

use resolute::engine::request::Request;

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
