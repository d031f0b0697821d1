//! No wake-up is lost, in any order in which a publisher and the engine going to sleep can meet.
//!
//! The file under test is compiled a second time, with loom's atomics in the place of the real ones; loom then runs
//! every order that the memory model allows.

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

mod sync {
    pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[path = "../src/io/wake_flags.rs"]
#[allow(dead_code)]
mod wake_flags;

use sync::Ordering;
use wake_flags::WakeFlags;

/// What is left, by whom, and how often the bell was rung.
struct World {
    flags: WakeFlags,
    staged: AtomicUsize,
    rung: AtomicUsize,
}

fn leave(world: &World, take: impl Fn(&WakeFlags) -> bool) {
    // The lock around what is left is the happens-before that the real one has too; the look is what races.
    world.staged.fetch_add(1, Ordering::AcqRel);
    if take(&world.flags) {
        world.rung.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn what_is_left_while_the_engine_goes_to_sleep_is_seen_or_rung_for() {
    loom::model(|| {
        let world = Arc::new(World {
            flags: WakeFlags::new(),
            staged: AtomicUsize::new(0),
            rung: AtomicUsize::new(0),
        });
        let publishers: Vec<_> = (0..2)
            .map(|publisher| {
                let world = Arc::clone(&world);
                thread::spawn(move || match publisher {
                    0 => leave(&world, WakeFlags::take_records),
                    _ => leave(&world, WakeFlags::take_mail),
                })
            })
            .collect();
        world.flags.arm(true);
        let seen = world.staged.load(Ordering::Acquire);
        for publisher in publishers {
            publisher.join().unwrap();
        }
        let missed = 2 - seen;
        assert!(world.rung.load(Ordering::Acquire) >= missed, "the engine sleeps and {missed} are left");
    });
}
