//! The batch that is due next, and whether what lies somewhere is it.

use super::sighting::Sighting;
use crate::format::batch::{BATCH_HEADER_BYTES, BatchHeader, BatchView};
use crate::ids::{BatchNumber, Epoch, Lsn, SegmentNumber};

/// What the next batch of a log must be, after those that were read.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    head: SegmentNumber,
    last: Option<BatchHeader>,
}

/// What lies where a batch is due.
#[derive(Debug)]
pub enum Look<'a> {
    /// The batch that is due, verified to its last record.
    Whole(BatchView<'a>),
    /// Anything else of this log, or nothing.
    Else(Found),
    /// A header that a later version wrote.
    Newer(u16),
    /// A batch of the log with this id.
    Foreign(u64),
}

/// What lies where a batch is due, and is not that batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Zeros or bytes that say nothing.
    Nothing,
    /// A batch of an earlier life of the file: its number was passed long ago. It does not count.
    Stale,
    /// The header of the batch that is due; but the batch is not whole.
    Torn(BatchHeader),
    /// A header was here and is damaged.
    Broken,
    /// A header with the number that is due, and yet it does not follow the batch before.
    Misfit(BatchHeader),
    /// A header with a number that comes after the one that is due.
    Ahead(BatchHeader),
}

impl Due {
    /// The first batch that is left of a log whose oldest segment is `head`.
    #[must_use]
    pub fn first(head: SegmentNumber) -> Due {
        Due { head, last: None }
    }

    /// The batch after `header`.
    #[must_use]
    pub fn after(self, header: &BatchHeader) -> Due {
        Due { head: self.head, last: Some(*header) }
    }

    /// The header of the last batch, if there was one.
    #[must_use]
    pub fn last(&self) -> Option<&BatchHeader> {
        self.last.as_ref()
    }

    /// Whether the first batch of the log is due, not that of what is left of it.
    #[must_use]
    pub fn is_origin(&self) -> bool {
        self.last.is_none() && self.head == SegmentNumber(1)
    }

    /// The number that is due. 0 where it is not known, so that every batch counts as a later one.
    #[must_use]
    pub fn number(&self) -> BatchNumber {
        match &self.last {
            Some(last) => last.number().plus(1),
            None => BatchNumber(u64::from(self.is_origin())),
        }
    }

    /// What lies at the start of `bytes`, which are all of the segment from there or at least the largest batch.
    #[must_use]
    pub fn look<'a>(&self, segment: SegmentNumber, bytes: &'a [u8]) -> Look<'a> {
        let header = match Sighting::of(bytes) {
            Sighting::Nothing => return Look::Else(Found::Nothing),
            Sighting::Broken => return Look::Else(Found::Broken),
            Sighting::Newer(version) => return Look::Newer(version),
            Sighting::Header(header) => header,
        };
        if self.is_foreign(&header) {
            return Look::Foreign(header.log_id.get());
        }
        if self.fits(segment, &header) {
            return match BatchView::parse_verified(bytes) {
                Ok(view) => Look::Whole(view),
                Err(_) => Look::Else(Found::Torn(header)),
            };
        }
        Look::Else(match header.number().cmp(&self.number()) {
            std::cmp::Ordering::Less => Found::Stale,
            std::cmp::Ordering::Equal => Found::Misfit(header),
            std::cmp::Ordering::Greater => Found::Ahead(header),
        })
    }

    /// Whether a header belongs to another log.
    #[must_use]
    pub fn is_foreign(&self, header: &BatchHeader) -> bool {
        self.last.is_some_and(|last| last.log_id != header.log_id)
    }

    /// Whether `header` may stand in `segment` as the batch that is due.
    fn fits(&self, segment: SegmentNumber, header: &BatchHeader) -> bool {
        if header.segment() != segment || header.durable_batch.get() >= header.batch_number.get() {
            return false;
        }
        let Some(last) = &self.last else {
            // What the first batch that is left follows was freed, so its number and its chain can only be taken.
            let begins = header.batch_number.get() == 1 && header.previous_header_crc.get() == 0;
            let goes_on = header.batch_number.get() > 1;
            return segment == self.head && if self.is_origin() { begins } else { goes_on };
        };
        let same_opening = header.epoch == last.epoch && header.nonce == last.nonce;
        header.number() == self.number()
            && header.previous_header_crc == last.header_crc
            && header.first_lsn() == last.end_lsn()
            && (same_opening || header.epoch.get() > last.epoch.get())
    }

    /// The opening in which the last batch was written, and its nonce; 0 and 0 before the first.
    #[must_use]
    pub fn last_opening(&self) -> (Epoch, u64) {
        self.last.map_or((Epoch(0), 0), |last| (Epoch(last.epoch.get()), last.nonce.get()))
    }

    /// The LSN of the next record.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.last.map_or(Lsn(1), |last| last.end_lsn())
    }
}

const _: () =
    assert!(BATCH_HEADER_BYTES <= crate::limits::BLOCK_BYTES, "a header is never split over two blocks");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::batch::{BatchFacts, seal};

    fn facts(number: u64) -> BatchFacts {
        BatchFacts {
            log_id: 7,
            epoch: Epoch(1),
            nonce: 5,
            batch_number: BatchNumber(number),
            durable_batch: BatchNumber(number - 1),
            segment: SegmentNumber(1),
            previous_header_crc: 0,
            closing: false,
        }
    }

    fn batch(facts: BatchFacts, first_lsn: u64) -> (Vec<u8>, BatchHeader) {
        let mut bytes = vec![0; 4096];
        let header = seal(&mut bytes, 0, Lsn(first_lsn), 0, &[], &facts);
        (bytes, header)
    }

    fn look(due: Due, facts: BatchFacts, first_lsn: u64) -> &'static str {
        match due.look(SegmentNumber(1), &batch(facts, first_lsn).0) {
            Look::Whole(_) => "whole",
            Look::Else(Found::Stale) => "stale",
            Look::Else(Found::Misfit(_)) => "misfit",
            Look::Else(Found::Ahead(_)) => "ahead",
            Look::Else(_) => "else",
            Look::Newer(_) => "newer",
            Look::Foreign(_) => "foreign",
        }
    }

    #[test]
    fn a_batch_is_due_only_if_everything_in_its_header_follows_the_one_before() {
        let (_, first) = batch(facts(1), 1);
        let due = Due::first(SegmentNumber(1)).after(&first);
        let good = BatchFacts { previous_header_crc: first.header_crc.get(), ..facts(2) };
        assert_eq!(look(due, good, 1), "whole");
        assert_eq!(look(due, BatchFacts { epoch: Epoch(2), nonce: 6, ..good }, 1), "whole");
        assert_eq!(look(due, BatchFacts { previous_header_crc: 1, ..good }, 1), "misfit");
        assert_eq!(look(due, good, 2), "misfit");
        assert_eq!(look(due, BatchFacts { epoch: Epoch(0), ..good }, 1), "misfit");
        assert_eq!(look(due, BatchFacts { nonce: 6, ..good }, 1), "misfit");
        assert_eq!(look(due, BatchFacts { segment: SegmentNumber(2), ..good }, 1), "misfit");
        assert_eq!(look(due, BatchFacts { durable_batch: BatchNumber(2), ..good }, 1), "misfit");
        assert_eq!(look(due, BatchFacts { batch_number: BatchNumber(1), ..good }, 1), "stale");
        assert_eq!(look(due, BatchFacts { batch_number: BatchNumber(3), ..good }, 1), "ahead");
        assert_eq!(look(due, BatchFacts { log_id: 8, ..good }, 1), "foreign");
    }

    #[test]
    fn the_first_batch_of_a_log_has_number_1_and_that_of_a_freed_one_has_not() {
        let first = Due::first(SegmentNumber(1));
        assert_eq!(look(first, facts(1), 1), "whole");
        assert_eq!(look(first, BatchFacts { previous_header_crc: 1, ..facts(1) }, 1), "misfit");
        assert_eq!(look(first, facts(2), 1), "ahead");
        let (bytes, _) =
            batch(BatchFacts { segment: SegmentNumber(2), previous_header_crc: 9, ..facts(7) }, 20);
        let freed = Due::first(SegmentNumber(2));
        assert!(matches!(freed.look(SegmentNumber(2), &bytes), Look::Whole(_)));
        assert!(!matches!(freed.look(SegmentNumber(3), &bytes), Look::Whole(_)));
    }
}
