//! What the batches that went to the disk came to: how large they were, and how long the disk took.

use std::collections::VecDeque;

use crate::ids::BatchNumber;
use crate::log::sealing::Sealed;
use crate::time::Monotonic;

/// Writes whose times are remembered.
const RECENT: usize = 64;

/// Sums since the node was opened, which only grow, and how long the last writes took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitSums {
    /// Batches whose write is done.
    pub batches: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes on the disk.
    pub bytes: u64,
    /// From where each was given to the kernel to where it was durable, added up: nanoseconds.
    pub nanoseconds: u64,
    /// The longest of that among the last 64: nanoseconds.
    pub slowest_recent_nanoseconds: u64,
    /// How long the oldest write has been on its way that is not done: nanoseconds. 0 if none is.
    pub oldest_in_flight_nanoseconds: u64,
}

/// A write that is on its way.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    number: BatchNumber,
    since: Monotonic,
    records: u64,
    bytes: u64,
}

/// Counts writes of batches: a few additions for each, however many messages it has.
#[derive(Debug, Default)]
pub struct Commits {
    sums: CommitSums,
    in_flight: Vec<InFlight>,
    recent: VecDeque<u64>,
}

impl Commits {
    /// A batch is given to the kernel.
    pub fn submitted(&mut self, at: Monotonic, sealed: &Sealed) {
        let header = &sealed.batch.header;
        let (records, bytes) = (u64::from(header.record_count.get()), u64::from(sealed.place.bytes));
        self.in_flight.push(InFlight { number: header.number(), since: at, records, bytes });
    }

    /// Its write is done, in whatever order.
    pub fn written(&mut self, at: Monotonic, number: BatchNumber) {
        let Some(index) = self.in_flight.iter().position(|write| write.number == number) else { return };
        let InFlight { since, records, bytes, .. } = self.in_flight.swap_remove(index);
        let took = at.0.saturating_sub(since.0);
        self.sums.batches += 1;
        self.sums.records += records;
        self.sums.bytes += bytes;
        self.sums.nanoseconds += took;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(took);
    }

    /// How it stands.
    #[must_use]
    pub fn sums(&self, now: Monotonic) -> CommitSums {
        let oldest = self.in_flight.iter().map(|write| now.0.saturating_sub(write.since.0)).max();
        CommitSums {
            slowest_recent_nanoseconds: self.recent.iter().copied().max().unwrap_or(0),
            oldest_in_flight_nanoseconds: oldest.unwrap_or(0),
            ..self.sums
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_timed_from_submission_to_completion_in_any_order() {
        let mut commits = Commits::default();
        let write = |number, since| InFlight {
            number: BatchNumber(number),
            since: Monotonic(since),
            records: 3,
            bytes: 4096,
        };
        commits.in_flight = vec![write(1, 100), write(2, 150)];
        assert_eq!(commits.sums(Monotonic(180)).oldest_in_flight_nanoseconds, 80);
        commits.written(Monotonic(200), BatchNumber(2));
        commits.written(Monotonic(300), BatchNumber(1));
        commits.written(Monotonic(400), BatchNumber(1));
        let expected = CommitSums {
            batches: 2,
            records: 6,
            bytes: 8192,
            nanoseconds: 250,
            slowest_recent_nanoseconds: 200,
            oldest_in_flight_nanoseconds: 0,
        };
        assert_eq!(commits.sums(Monotonic(500)), expected);
        for number in 3..3 + RECENT as u64 {
            commits.in_flight.push(write(number, 500));
            commits.written(Monotonic(501), BatchNumber(number));
        }
        assert_eq!(commits.sums(Monotonic(600)).slowest_recent_nanoseconds, 1, "only the last ones count");
    }
}
