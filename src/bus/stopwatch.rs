//! How long something took, for programs that say so. Only `io/clock.rs` reads a clock.

use std::time::Duration;

use crate::io::clock;
use crate::time::Monotonic;

/// A time that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    since: Monotonic,
}

impl Stopwatch {
    /// Begins to measure.
    #[must_use]
    pub fn start() -> Stopwatch {
        Stopwatch { since: clock::now().monotonic }
    }

    /// When it was started, as a number that other processes of the machine understand too.
    #[must_use]
    pub fn reading(&self) -> u64 {
        self.since.0
    }

    /// A stopwatch that was started when another one gave that reading, in this process or another.
    #[must_use]
    pub fn from_reading(reading: u64) -> Stopwatch {
        Stopwatch { since: Monotonic(reading) }
    }

    /// How long ago that was.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(clock::now().monotonic.0.saturating_sub(self.since.0))
    }

    /// What the wall clock says, beside which times of a node can be put.
    #[must_use]
    pub fn wall() -> std::time::SystemTime {
        std::time::UNIX_EPOCH + Duration::from_nanos(clock::wall().0)
    }

    /// Processor time that all threads of this process have used until now, those that have ended too.
    #[must_use]
    pub fn process_cpu() -> Duration {
        clock::process_cpu()
    }
}
