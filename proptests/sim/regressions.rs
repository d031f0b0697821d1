//! Each defect that the simulator found, as the shortest history that shows it.

use super::net::Weather;
use super::steps::{self, Step};

// Each dial proposed a secret of its own, and after a crash the two nodes could never connect again.
#[test]
fn two_dials_at_a_first_meeting_agree_on_one_secret() {
    let mut world = steps::world(4247718821464542595, Weather::FAIR);
    world.steps(&[
        Step::Subscribe { node: 1, address: "n0", topic: 0 },
        Step::Run { us: 7743 },
        Step::Send { node: 2, address: "alias1" },
        Step::Subscribe { node: 0, address: "n2", topic: 0 },
        Step::Run { us: 1164 },
        Step::Subscribe { node: 1, address: "n2", topic: 0 },
        Step::Break { a: 0, b: 2 },
        Step::Unsubscribe { node: 1, address: "n0", topic: 0 },
        Step::Send { node: 0, address: "n0" },
        Step::Unsubscribe { node: 0, address: "n0", topic: 0 },
        Step::Crash { node: 0, down_ms: 3 },
        Step::Send { node: 1, address: "alias2" },
        Step::Run { us: 6715 },
        Step::Crash { node: 1, down_ms: 0 },
    ]);
    world.settle();
}
