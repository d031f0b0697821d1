//! How much of a log is on stable storage at some moment: what a backup of it holds.
//!
//! ```text
//! first            …            last
//! [ sealed ][ sealed ][ sealed ][ batches ┊ what is being written, what lay there before ]
//!                                         ▲ end
//! ```
//!
//! A segment is sealed once a batch of a later one is durable: rolling waits for every write into it, and nothing is
//! written into it again. A log that ends at `end` is one that a crash at that moment could have left, with nothing torn.

use super::index::LogIndex;
use super::tail::Tail;
use crate::ids::{Lsn, SegmentNumber};

/// The durable part of a log. See the module for the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurablePart {
    /// Its oldest segment.
    pub first: SegmentNumber,
    /// The one that its last batch lies in.
    pub last: SegmentNumber,
    /// Where in that the last batch ends, in bytes.
    pub end: u64,
    /// The last record.
    pub last_lsn: Lsn,
}

impl DurablePart {
    /// The segments before the last, oldest first.
    pub fn sealed(&self) -> impl DoubleEndedIterator<Item = SegmentNumber> + use<> {
        (self.first.0..self.last.0).map(SegmentNumber)
    }
}

impl LogIndex {
    /// What is durable of a log whose durable mark is `durable`; none if nothing is.
    #[must_use]
    pub fn durable_part(&self, durable: Lsn) -> Option<DurablePart> {
        let (first, last) = (self.first_place()?, self.last_place_up_to(durable)?);
        Some(DurablePart { first: first.segment, last: last.segment, end: last.end(), last_lsn: durable })
    }
}

impl Tail {
    /// What is durable of a log that was read back, once its tail is; none if it is fresh.
    #[must_use]
    pub fn durable_part(&self) -> Option<DurablePart> {
        let (first, last) = (self.segments.first()?, self.segments.last()?);
        assert!(last.number == self.active, "a log goes on in the segment of its last batch");
        Some(DurablePart {
            first: first.number,
            last: last.number,
            end: self.append_at,
            last_lsn: Lsn(self.next_lsn.0 - 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::place::BatchPlace;

    fn place(segment: u64, offset: u64) -> BatchPlace {
        BatchPlace { segment: SegmentNumber(segment), offset, bytes: 4096 }
    }

    #[test]
    fn a_log_ends_behind_its_last_durable_batch_and_what_lies_in_earlier_segments_is_sealed() {
        let mut index = LogIndex::default();
        assert_eq!(index.durable_part(Lsn(0)), None);
        for (first, place) in [(10, place(3, 0)), (12, place(3, 4096)), (14, place(4, 0)), (16, place(5, 0))]
        {
            index.push(Lsn(first), 2, place);
        }
        let part = |last, end, last_lsn| {
            Some(DurablePart {
                first: SegmentNumber(3),
                last: SegmentNumber(last),
                end,
                last_lsn: Lsn(last_lsn),
            })
        };
        assert_eq!(index.durable_part(Lsn(9)), None);
        assert_eq!(index.durable_part(Lsn(11)), part(3, 4096, 11));
        assert_eq!(index.durable_part(Lsn(13)), part(3, 8192, 13), "the next segment holds nothing durable");
        let durable = index.durable_part(Lsn(15));
        assert_eq!(durable, part(4, 4096, 15));
        assert_eq!(durable.unwrap().sealed().collect::<Vec<_>>(), [SegmentNumber(3)]);
        index.free_through(SegmentNumber(3));
        assert_eq!(index.durable_part(Lsn(17)).unwrap().first, SegmentNumber(4));
    }
}
