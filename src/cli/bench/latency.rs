//! Latencies, counted and not kept.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The largest latency that is told from larger ones, in nanoseconds: an hour. Opening a large log may take minutes.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// A histogram from 1 us to an hour, exact to one part in a thousand. As text it is its latencies, in nanoseconds, and how
/// often each was recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Latencies {
    nanos: Histogram<u64>,
}

impl Latencies {
    pub fn new() -> Latencies {
        // Invariant: the bounds are constants that the histogram takes.
        let nanos = Histogram::new_with_bounds(1_000, LATENCY_MAX_NS, 3).expect("bounds of a histogram");
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

impl From<Vec<(u64, u64)>> for Latencies {
    fn from(counts: Vec<(u64, u64)>) -> Latencies {
        let mut latencies = Latencies::new();
        counts.into_iter().for_each(|(nanos, count)| latencies.nanos.saturating_record_n(nanos, count));
        latencies
    }
}

impl From<Latencies> for Vec<(u64, u64)> {
    fn from(latencies: Latencies) -> Vec<(u64, u64)> {
        let recorded = latencies.nanos.iter_recorded();
        recorded.map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_of_another_process_are_as_good_as_our_own() {
        let mut ours = Latencies::new();
        for micros in (1..10_000).chain([90_000_000]) {
            ours.record(Duration::from_micros(micros * 7));
        }
        let text = serde_json::to_string(&ours).unwrap();
        let mut sum: Latencies = serde_json::from_str(&text).unwrap();
        sum.add(&ours);
        for part in [0.0, 0.5, 0.99, 0.999] {
            assert_eq!(sum.percentile_us(part), ours.percentile_us(part), "{part}");
        }
        assert_eq!(sum.max_us(), ours.max_us());
        assert_eq!(sum.nanos.len(), 2 * 10_000);
    }
}
