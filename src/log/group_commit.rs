//! What is on its way to the disk, and what its arrival releases.
//!
//! ```text
//! durable <= submitted <= appended
//! ```
//!
//! Two writes are in flight and complete in any order; a record is durable only when its write and every write
//! before it are done.

use std::collections::VecDeque;

use crate::format::batch::{BatchFacts, BatchHeader};
use crate::ids::{BatchNumber, Epoch, Lsn, SegmentNumber};
use crate::limits::WRITES_IN_FLIGHT_MAX;

/// How a log goes on: what the next batch's header says of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// Random, one for each log.
    pub log_id: u64,
    /// This opening.
    pub epoch: Epoch,
    /// This opening's nonce.
    pub nonce: u64,
    /// The number of the next batch.
    pub next_batch: BatchNumber,
    /// The header CRC of the last one.
    pub previous_header_crc: u32,
    /// The LSN of the next record.
    pub next_lsn: Lsn,
}

#[derive(Debug)]
struct InFlight {
    batch: BatchNumber,
    end: Lsn,
    written: bool,
}

/// The group commit of one log. See the module.
#[derive(Debug)]
pub struct GroupCommit {
    position: LogPosition,
    in_flight: VecDeque<InFlight>,
    durable_batch: BatchNumber,
    durable: Lsn,
    failed: bool,
}

impl GroupCommit {
    /// Goes on at `position`; everything before it is durable.
    #[must_use]
    pub fn new(position: LogPosition) -> GroupCommit {
        GroupCommit {
            position,
            in_flight: VecDeque::with_capacity(WRITES_IN_FLIGHT_MAX),
            durable_batch: BatchNumber(position.next_batch.0 - 1),
            durable: Lsn(position.next_lsn.0 - 1),
            failed: false,
        }
    }

    /// Whether one more write may begin.
    #[must_use]
    pub fn may_submit(&self) -> bool {
        !self.failed && self.in_flight.len() < WRITES_IN_FLIGHT_MAX
    }

    /// Whether nothing is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The highest record that is on stable storage with all before it: the durable mark.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// The highest record whose write has begun: all up to it is applied.
    #[must_use]
    pub fn submitted_up_to(&self) -> Lsn {
        Lsn(self.position.next_lsn.0 - 1)
    }

    /// The highest batch that is on stable storage with all before it.
    #[must_use]
    pub fn durable_batch(&self) -> BatchNumber {
        self.durable_batch
    }

    /// What the next batch's header is to say.
    #[must_use]
    pub fn facts(&self, segment: SegmentNumber, closing: bool) -> BatchFacts {
        BatchFacts {
            log_id: self.position.log_id,
            epoch: self.position.epoch,
            nonce: self.position.nonce,
            batch_number: self.position.next_batch,
            durable_batch: self.durable_batch,
            segment,
            previous_header_crc: self.position.previous_header_crc,
            closing,
        }
    }

    /// The write of a sealed batch begins.
    pub fn submitted(&mut self, header: &BatchHeader) {
        assert!(self.may_submit());
        assert!(header.number() == self.position.next_batch && header.first_lsn() == self.position.next_lsn);
        self.in_flight.push_back(InFlight { batch: header.number(), end: header.end_lsn(), written: false });
        self.position.next_batch = header.number().plus(1);
        self.position.next_lsn = header.end_lsn();
        self.position.previous_header_crc = header.header_crc.get();
    }

    /// The write of a batch is done. Returns the durable mark if it rose.
    pub fn written(&mut self, batch: BatchNumber) -> Option<Lsn> {
        let write = self.in_flight.iter_mut().find(|write| write.batch == batch);
        // Invariant: only a batch that was submitted completes, and only once.
        let write = write.expect("a write that was never submitted has completed");
        assert!(!write.written);
        write.written = true;
        if self.failed {
            return None;
        }
        let before = self.durable;
        while let Some(first) = self.in_flight.front()
            && first.written
        {
            self.durable_batch = first.batch;
            self.durable = Lsn(first.end.0 - 1);
            self.in_flight.pop_front();
        }
        assert!(self.durable < self.position.next_lsn);
        (self.durable > before).then_some(self.durable)
    }

    /// A write failed. Nothing that is not durable by now ever will be in this opening: a failed write is never
    /// tried again, for the kernel may already have dropped what it could not write.
    pub fn fail(&mut self) {
        self.failed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::batch::seal;

    fn commit() -> GroupCommit {
        GroupCommit::new(LogPosition {
            log_id: 1,
            epoch: Epoch(1),
            nonce: 1,
            next_batch: BatchNumber(1),
            previous_header_crc: 0,
            next_lsn: Lsn(1),
        })
    }

    fn submit(commit: &mut GroupCommit, records: u32) -> BatchHeader {
        let mut buffer = vec![0; 8192];
        let facts = commit.facts(SegmentNumber(1), false);
        let header = seal(&mut buffer, 0, commit.position.next_lsn, records, &[], &facts);
        commit.submitted(&header);
        header
    }

    #[test]
    fn a_write_that_overtakes_releases_nothing_until_the_one_before_it_is_done() {
        let mut commit = commit();
        submit(&mut commit, 3);
        submit(&mut commit, 2);
        assert!(!commit.may_submit());
        assert_eq!(commit.written(BatchNumber(2)), None);
        assert_eq!(commit.durable(), Lsn(0));
        assert!(!commit.may_submit(), "its buffer is done, but its place in the order is not");
        assert_eq!(commit.written(BatchNumber(1)), Some(Lsn(5)));
        assert!(commit.is_idle());
    }

    #[test]
    fn each_batch_names_the_one_before_it_and_what_was_durable() {
        let mut commit = commit();
        let first = submit(&mut commit, 1);
        let second = submit(&mut commit, 1);
        assert_eq!(second.previous_header_crc, first.header_crc);
        assert_eq!(second.durable_batch.get(), 0);
        commit.written(BatchNumber(1));
        assert_eq!(submit(&mut commit, 1).durable_batch.get(), 1);
    }

    #[test]
    fn after_a_failed_write_nothing_becomes_durable() {
        let mut commit = commit();
        submit(&mut commit, 1);
        submit(&mut commit, 1);
        commit.fail();
        assert_eq!(commit.written(BatchNumber(1)), None);
        assert_eq!(commit.durable(), Lsn(0));
        assert!(!commit.may_submit());
    }
}
