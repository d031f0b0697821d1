//! What must be found after a crash at one moment.

use std::collections::BTreeMap;

use resolute::engine::state::State;
use resolute::format::batch::BatchHeader;
use resolute::ids::{BatchNumber, Lsn, SegmentNumber};
use resolute::log::tail::Tail;

use super::super::node::assert_same;

/// A batch that was given to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub header_crc: u32,
    pub next_lsn: Lsn,
}

impl Written {
    pub fn new(header: &BatchHeader) -> Written {
        Written { header_crc: header.header_crc.get(), next_lsn: header.end_lsn() }
    }
}

/// The end of a log, as a recovery found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub last: BatchNumber,
    pub next_lsn: Lsn,
    pub header_crc: u32,
}

impl End {
    pub fn of(tail: &Tail) -> End {
        let last = BatchNumber(tail.next_batch.0 - 1);
        End { last, next_lsn: tail.next_lsn, header_crc: tail.last_header_crc }
    }
}

pub struct Expected<'a> {
    /// What the node may have spoken of.
    pub durable: Lsn,
    pub durable_batch: BatchNumber,
    /// All batches of this log.
    pub written: &'a BTreeMap<BatchNumber, Written>,
    /// The states behind the last durable batch and behind each that was written since.
    pub states: &'a BTreeMap<BatchNumber, State>,
    /// The oldest segment that the node has.
    pub head: SegmentNumber,
}

impl Expected<'_> {
    /// The log ends behind one of its own batches, no earlier than at what was spoken of. All before that batch is as it
    /// was written, for each header has the checksum of the one before it.
    pub fn check_end(&self, end: &End) {
        assert!(end.last >= self.durable_batch, "batch {} is gone, which was durable", self.durable_batch);
        assert!(end.next_lsn > self.durable, "{} would be given again, and was spoken of", end.next_lsn);
        let written = self.written.get(&end.last);
        let found = Written { header_crc: end.header_crc, next_lsn: end.next_lsn };
        assert_eq!(written, Some(&found), "the log ends with a batch that was never written to it");
    }

    /// The state is what it was behind that batch.
    pub fn check_state(&self, end: &End, state: &State) {
        let Some(before) = self.states.get(&end.last) else {
            panic!("no state is known behind batch {}, which is not durable", end.last);
        };
        if before == state {
            return;
        }
        // A segment that was freed may be there still, or be gone already.
        let [before, after] = [before, state].map(|state| {
            let mut state = state.clone();
            state.index.free_through(SegmentNumber(self.head.0 - 1));
            state
        });
        if before != after {
            // Sums of bytes may differ, by where the log begins.
            assert_same(&before, &after, true);
        }
    }
}
