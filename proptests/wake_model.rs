//! No wake-up is lost, in any order in which whoever leaves mail and the engine going to sleep can meet.
//!
//! The file under test is compiled a second time, with loom's atomics in the place of the real ones; loom then runs
//! every order that the memory model allows.

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

mod sync {
    pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[path = "../src/io/sleep_flag.rs"]
#[allow(dead_code)]
mod sleep_flag;

use sleep_flag::SleepFlag;
use sync::Ordering;

/// What is left, by whom, and how often the bell was rung.
struct World {
    sleeping: SleepFlag,
    staged: AtomicUsize,
    rung: AtomicUsize,
}

fn leave(world: &World) {
    // The lock around what is left is the happens-before that the real one has too; the look is what races.
    world.staged.fetch_add(1, Ordering::AcqRel);
    if world.sleeping.take() {
        world.rung.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn what_is_left_while_the_engine_goes_to_sleep_is_seen_or_rung_for() {
    loom::model(|| {
        let world = Arc::new(World {
            sleeping: SleepFlag::new(),
            staged: AtomicUsize::new(0),
            rung: AtomicUsize::new(0),
        });
        let others: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || leave(&world))
            })
            .collect();
        world.sleeping.arm();
        let seen = world.staged.load(Ordering::Acquire);
        for other in others {
            other.join().unwrap();
        }
        let missed = 2 - seen;
        // One ring wakes for all that was left before it.
        assert!(
            missed == 0 || world.rung.load(Ordering::Acquire) > 0,
            "the engine sleeps and {missed} are left"
        );
    });
}
