//! How long to wait before the next try.

use super::config::Retry;
use super::entropy::Entropy;
use crate::limits::{DIAL_BACKOFF_MAX_MS, DIAL_BACKOFF_MIN_MS};

/// The pause after the `attempts`-th failure of a handler, in milliseconds: exponential, and up to a fifth less by
/// jitter, so that what failed together does not come back together.
#[must_use]
pub fn retry_pause_ms(retry: &Retry, attempts: u32, entropy: &mut Entropy) -> u64 {
    assert!(attempts > 0);
    let exponent = i32::try_from(attempts - 1).unwrap_or(i32::MAX);
    let pause = (retry.initial_ms as f64 * retry.factor.powi(exponent)).min(retry.max_ms as f64);
    jitter(pause, entropy)
}

/// The pause after so many failed attempts to connect in a row, in milliseconds.
#[must_use]
pub fn dial_pause_ms(failures: u32, entropy: &mut Entropy) -> u64 {
    let doubled = DIAL_BACKOFF_MIN_MS.checked_shl(failures.min(16)).unwrap_or(DIAL_BACKOFF_MAX_MS);
    jitter(doubled.min(DIAL_BACKOFF_MAX_MS) as f64, entropy)
}

fn jitter(pause: f64, entropy: &mut Entropy) -> u64 {
    (pause * (1.0 - 0.2 * entropy.fraction())) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_stay_there() {
        let (retry, mut entropy) = (Retry::default(), Entropy::new([1; 32]));
        for (attempts, longest) in [(1, 500), (2, 750), (3, 1125), (13, 60_000), (10_000, 60_000)] {
            let pause = retry_pause_ms(&retry, attempts, &mut entropy);
            assert!((longest * 4 / 5..=longest).contains(&pause), "{attempts}: {pause}");
        }
        assert!(dial_pause_ms(0, &mut entropy) <= DIAL_BACKOFF_MIN_MS);
        assert!(dial_pause_ms(99, &mut entropy) >= DIAL_BACKOFF_MAX_MS * 4 / 5);
    }
}
