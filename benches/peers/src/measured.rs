//! One measurement.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::device::Meter;

/// How messages are given to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As many on their way as do this peer good.
    Full,
    /// Each one durable before the next.
    OneAtATime,
}

/// What is published.
#[derive(Clone, Debug)]
pub struct Load {
    pub payload: bytes::Bytes,
    pub time: Duration,
    pub pace: Pace,
}

impl Load {
    pub fn new(size: usize, time: Duration, pace: Pace) -> Load {
        Load { payload: noise(size), time, pace }
    }
}

/// A payload that does not compress: a peer that compresses would otherwise write less than it was given.
fn noise(size: usize) -> bytes::Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// The result of one measurement. Every message in it was acknowledged within its time.
#[derive(Clone, Debug)]
pub struct Measured {
    pub messages: u64,
    pub seconds: f64,
    /// Of the device, for each message; none where they cannot be counted.
    pub flushes_per_message: Option<f64>,
    /// Messages on their way at once.
    pub in_flight: u64,
    /// Of one at a time only: in a window it says how long the window is.
    pub p50_us: Option<f64>,
    /// How it was driven, in words.
    pub how: String,
    /// Which other ways were slower, in words; empty if there were none.
    pub slower: String,
}

impl Measured {
    pub fn stop(meter: Meter<'_>, messages: u64, in_flight: u64, how: String) -> Measured {
        let (elapsed, flushes) = meter.stop();
        Measured {
            messages,
            seconds: elapsed.as_secs_f64(),
            flushes_per_message: flushes.map(|flushes| flushes / messages.max(1) as f64),
            in_flight,
            p50_us: None,
            how,
            slower: String::new(),
        }
    }

    pub fn with_latencies(self, latencies: &Latencies) -> Measured {
        Measured { p50_us: latencies.p50_us(), ..self }
    }

    pub fn per_second(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// Whether acknowledged messages can have been on the disk.
    ///
    /// One flush makes all durable that wait for it, and no more wait than are on their way. So a peer that flushes before
    /// it acknowledges makes at least one flush for each full window, and one a message where the window is one. A peer
    /// that leaves it to a timer makes orders of magnitude fewer. A tenth is allowed for what was taken off as idle.
    pub fn is_durable(&self) -> Option<bool> {
        self.flushes_per_message.map(|flushes| flushes * self.in_flight as f64 >= 0.9)
    }
}

/// Latencies, without keeping each.
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Latencies {
        // Invariant: 3 digits from 1 ns to 100 s are bounds that the histogram takes.
        Latencies(Histogram::new_with_bounds(1, 100_000_000_000, 3).expect("bounds of a histogram"))
    }

    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_nanos() as u64);
    }

    pub fn add(&mut self, other: &Latencies) {
        // Invariant: both have the same bounds.
        self.0.add(&other.0).expect("histograms of one kind");
    }

    fn p50_us(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(0.5) as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(flushes_per_message: f64, in_flight: u64) -> Measured {
        Measured {
            messages: 1000,
            seconds: 1.0,
            flushes_per_message: Some(flushes_per_message),
            in_flight,
            p50_us: None,
            how: String::new(),
            slower: String::new(),
        }
    }

    #[test]
    fn a_flush_for_each_window_is_durable_and_a_flush_now_and_then_is_not() {
        assert_eq!(measured(1.0, 1).is_durable(), Some(true));
        assert_eq!(measured(0.5, 1).is_durable(), Some(false));
        assert_eq!(measured(1.0 / 4096.0, 4096).is_durable(), Some(true));
        assert_eq!(measured(1.0 / 100_000.0, 4096).is_durable(), Some(false));
        assert_eq!(Measured { flushes_per_message: None, ..measured(0.0, 1) }.is_durable(), None);
    }
}
