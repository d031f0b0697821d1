//! Time as the pure part knows it: two numbers, read by `io/clock.rs` once a turn and handed in.

/// Nanoseconds since some point before this process: for timers. It never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// This point, `millis` milliseconds later.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Monotonic {
        Monotonic(self.0.saturating_add(millis.saturating_mul(1_000_000)))
    }
}

/// Nanoseconds since 1970-01-01 UTC: for stamps that people read. It may jump.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Wall(pub u64);

impl Wall {
    /// This time, `millis` milliseconds later.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Wall {
        Wall(self.0.saturating_add(millis.saturating_mul(1_000_000)))
    }
}

/// What the clocks said at the start of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// For timers.
    pub monotonic: Monotonic,
    /// For stamps.
    pub wall: Wall,
}
