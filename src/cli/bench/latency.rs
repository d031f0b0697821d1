//! Latencies, counted and not kept.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A histogram from 1 us to 60 s, exact to one part in a thousand.
#[derive(Clone, Debug)]
pub struct Latencies {
    nanos: Histogram<u64>,
}

impl Latencies {
    pub fn new() -> Latencies {
        // Invariant: the bounds are constants that the histogram takes.
        let nanos = Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("bounds of a histogram");
        Latencies { nanos }
    }

    pub fn record(&mut self, latency: Duration) {
        self.nanos.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn add(&mut self, other: &Latencies) {
        // Invariant: both have the same bounds.
        self.nanos.add(&other.nanos).expect("histograms of one kind");
    }

    /// The latency below which that part of the messages stayed, in microseconds.
    pub fn percentile_us(&self, part: f64) -> f64 {
        self.nanos.value_at_quantile(part) as f64 / 1e3
    }

    pub fn max_us(&self) -> f64 {
        self.nanos.max() as f64 / 1e3
    }
}
