//! Whether the engine sleeps, and the order in which both sides look at that.
//!
//! Whoever leaves something does so first, and then asks [`SleepFlag::take`] whether to ring. The engine, before it
//! sleeps, first says so ([`SleepFlag::arm`]), and then looks once more whether something was left. Each side has a full
//! fence between its two steps, so that at least one of them sees the other's. A model of this file goes through every
//! order in which the two can meet.

use super::sync::{AtomicBool, Ordering, fence};

/// The flag. See the module.
#[derive(Debug, Default)]
pub struct SleepFlag {
    asleep: AtomicBool,
}

impl SleepFlag {
    /// The engine is awake.
    #[must_use]
    pub fn new() -> SleepFlag {
        SleepFlag { asleep: AtomicBool::new(false) }
    }

    /// Something was left: whether the engine sleeps and was not rung for already.
    #[must_use]
    pub fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        // Mostly it is down, and a look costs less than a swap.
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// The engine is about to sleep, and looks once more after this.
    pub fn arm(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The engine is awake.
    pub fn disarm(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}
