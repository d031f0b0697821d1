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
