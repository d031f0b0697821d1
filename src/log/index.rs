//! Where each record lies: one entry for each batch, and one for each record that was carried forward.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::place::BatchPlace;
use crate::ids::{Lsn, SegmentNumber};
use crate::limits::BATCH_BYTES_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    first: Lsn,
    place: BatchPlace,
}

/// Batches that lie one behind the other and can be read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first record of the first batch.
    pub first: Lsn,
    /// The segment.
    pub segment: SegmentNumber,
    /// Where in it the first batch begins.
    pub offset: u64,
    /// Bytes of all of them.
    pub bytes: u32,
}

/// The index of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogIndex {
    batches: VecDeque<Entry>,
    end: Lsn,
    /// A carried record's own LSN, and that of the record in which it now lies.
    carried: BTreeMap<Lsn, Lsn>,
    /// The records in which carried ones lie: it is asked again and again where the first of them is.
    bearers: BTreeSet<Lsn>,
}

impl LogIndex {
    /// A batch was added at the end.
    pub fn push(&mut self, first: Lsn, count: u64, place: BatchPlace) {
        assert!(self.batches.is_empty() || first == self.end, "LSNs are dense");
        self.batches.push_back(Entry { first, place });
        self.end = first.plus(count);
    }

    /// The first record of the log that still lies where it was written.
    #[must_use]
    pub fn first(&self) -> Lsn {
        self.batches.front().map_or(self.end, |entry| entry.first)
    }

    /// Where the oldest batch lies.
    #[must_use]
    pub fn first_place(&self) -> Option<BatchPlace> {
        self.batches.front().map(|entry| entry.place)
    }

    /// Where the last batch lies that begins with `lsn` or before it.
    #[must_use]
    pub fn last_place_up_to(&self, lsn: Lsn) -> Option<BatchPlace> {
        let after = self.batches.partition_point(|entry| entry.first <= lsn);
        after.checked_sub(1).map(|at| self.batches[at].place)
    }

    /// The record after the last.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// A record was carried forward, wrapped into another.
    pub fn carried(&mut self, lsn: Lsn, into: Lsn) {
        if let Some(before) = self.carried.insert(lsn, into) {
            self.bearers.remove(&before);
        }
        self.bearers.insert(into);
    }

    /// A carried record is wanted nowhere any more.
    pub fn forget_carried(&mut self, lsn: Lsn) {
        if let Some(bearer) = self.carried.remove(&lsn) {
            self.bearers.remove(&bearer);
        }
    }

    /// In which record `lsn` now lies: in itself, or in the one that carries it.
    #[must_use]
    pub fn bearer(&self, lsn: Lsn) -> Lsn {
        self.carried.get(&lsn).copied().unwrap_or(lsn)
    }

    /// Whether `lsn` lies wrapped in another record.
    #[must_use]
    pub fn is_carried(&self, lsn: Lsn) -> bool {
        self.carried.contains_key(&lsn)
    }

    /// The first record at or after `lsn` that lies wrapped in another.
    #[must_use]
    pub fn next_carried(&self, lsn: Lsn) -> Option<Lsn> {
        self.carried.range(lsn..).next().map(|(lsn, _)| *lsn)
    }

    /// Whether a carried record lies in the segments below `end` of LSNs.
    #[must_use]
    pub fn is_any_borne_before(&self, end: Lsn) -> bool {
        self.bearers.first().is_some_and(|bearer| *bearer < end)
    }

    /// The first carried record at or after `from` whose bearer lies in the segments below `end` of LSNs: it must be
    /// carried again. Whoever looks for one after another goes on behind the last, and looks at each of them once in all.
    #[must_use]
    pub fn next_carried_in(&self, from: Lsn, end: Lsn) -> Option<Lsn> {
        self.carried.range(from..).find(|(_, bearer)| **bearer < end).map(|(lsn, _)| *lsn)
    }

    /// The batch that holds `lsn` and those right behind it, as far as they fit one buffer and are durable.
    #[must_use]
    pub fn span(&self, lsn: Lsn, durable: Lsn) -> Span {
        assert!(
            self.first() <= lsn && lsn <= durable,
            "{lsn} is not in the log: {}..={durable}",
            self.first()
        );
        let at = self.batches.partition_point(|entry| entry.first <= lsn) - 1;
        let Entry { first, place } = self.batches[at];
        let mut bytes = place.bytes;
        for index in at + 1..self.batches.len() {
            let entry = self.batches[index];
            let end = self.batches.get(index + 1).map_or(self.end, |next| next.first);
            let adjacent =
                entry.place.segment == place.segment && entry.place.offset == place.offset + u64::from(bytes);
            if !adjacent || end.0 - 1 > durable.0 || (bytes + entry.place.bytes) as usize > BATCH_BYTES_MAX {
                break;
            }
            bytes += entry.place.bytes;
        }
        Span { first, segment: place.segment, offset: place.offset, bytes }
    }

    /// The batches of a freed segment, and all before it, are gone.
    pub fn free_through(&mut self, segment: SegmentNumber) {
        while self.batches.front().is_some_and(|entry| entry.place.segment <= segment) {
            self.batches.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u64, offset: u64, bytes: u32) -> BatchPlace {
        BatchPlace { segment: SegmentNumber(segment), offset, bytes }
    }

    fn index() -> LogIndex {
        let mut index = LogIndex::default();
        index.push(Lsn(1), 10, place(1, 0, 4096));
        index.push(Lsn(11), 10, place(1, 4096, 4096));
        index.push(Lsn(21), 10, place(2, 0, 4096));
        index.push(Lsn(31), 10, place(2, 4096, BATCH_BYTES_MAX as u32));
        index
    }

    #[test]
    fn a_span_is_what_one_read_brings() {
        let index = index();
        let span = |lsn, durable| index.span(Lsn(lsn), Lsn(durable));
        assert_eq!(span(3, 40).bytes, 8192, "two batches side by side");
        assert_eq!(
            span(12, 40),
            Span { first: Lsn(11), segment: SegmentNumber(1), offset: 4096, bytes: 4096 }
        );
        assert_eq!(span(3, 15).bytes, 4096, "what is not durable is not read");
        assert_eq!(span(21, 40).bytes, 4096, "one buffer, no more");
    }

    #[test]
    fn a_freed_segment_takes_its_batches_along() {
        let mut index = index();
        index.free_through(SegmentNumber(1));
        assert_eq!(index.first(), Lsn(21));
    }

    #[test]
    fn a_carried_record_is_found_in_its_bearer_until_it_is_forgotten() {
        let mut index = index();
        index.carried(Lsn(3), Lsn(35));
        assert_eq!((index.bearer(Lsn(3)), index.bearer(Lsn(4))), (Lsn(35), Lsn(4)));
        assert!(index.is_any_borne_before(Lsn(36)) && !index.is_any_borne_before(Lsn(35)));
        index.carried(Lsn(3), Lsn(37));
        assert!(index.is_any_borne_before(Lsn(38)) && !index.is_any_borne_before(Lsn(37)));
        index.forget_carried(Lsn(3));
        assert!(!index.is_any_borne_before(Lsn(100)));
        assert_eq!(index.bearer(Lsn(3)), Lsn(3));
    }

    /// With a look at all of them for each of them, this would not end.
    #[test]
    fn a_search_that_goes_on_behind_the_last_one_looks_at_each_carried_record_once() {
        let (count, end) = (500_000, Lsn(1_000_000));
        let mut index = LogIndex::default();
        (0..count).for_each(|lsn| index.carried(Lsn(lsn), Lsn(lsn + count)));
        let (mut from, mut found) = (Lsn(0), 0);
        while let Some(lsn) = index.next_carried_in(from, end) {
            assert_eq!(lsn, from);
            index.carried(lsn, end.plus(found));
            (from, found) = (lsn.plus(1), found + 1);
        }
        assert_eq!((found, index.next_carried_in(Lsn(0), end)), (count, None));
    }
}
