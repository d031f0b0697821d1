//! The clocks. No other file reads one: the pure part is told what time it is, once a turn.
#![forbid(unsafe_code)]

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::time::{Monotonic, Now, Wall};

/// What the clocks say now: CLOCK_MONOTONIC for timers, CLOCK_REALTIME for stamps.
///
/// A wall clock set to before 1970 reads as 1970.
#[must_use]
pub fn now() -> Now {
    Now {
        monotonic: Monotonic(nanoseconds(ClockId::CLOCK_MONOTONIC)),
        wall: Wall(nanoseconds(ClockId::CLOCK_REALTIME)),
    }
}

/// CLOCK_REALTIME alone, for a stamp.
#[must_use]
pub fn wall() -> Wall {
    Wall(nanoseconds(ClockId::CLOCK_REALTIME))
}

/// Processor time that the threads of this process have used, those that have ended too: CLOCK_PROCESS_CPUTIME_ID.
#[must_use]
pub fn process_cpu() -> Duration {
    Duration::from_nanos(nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID))
}

fn nanoseconds(clock: ClockId) -> u64 {
    // Invariant: these clocks exist in every Linux, and nothing else can fail here.
    let time = clock_gettime(clock).expect("the clocks of the system and of this process can be read");
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let below_a_second = u64::try_from(time.tv_nsec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(below_a_second)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn monotonic_time_goes_on_while_we_sleep() {
        let before = now().monotonic;
        std::thread::sleep(Duration::from_millis(5));
        assert!(now().monotonic >= before.plus_millis(5));
    }

    #[test]
    fn processor_time_goes_on_while_we_work() {
        let before = process_cpu();
        while process_cpu() < before + Duration::from_millis(1) {
            std::hint::spin_loop();
        }
        assert!(process_cpu() > before);
    }

    #[test]
    fn wall_time_is_the_time_since_1970() {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        assert!(now().wall.0.abs_diff(since_1970) < 10_000_000_000);
    }
}
