//! A set of LSNs, kept as ranges: what stands in a row costs one entry.

use std::collections::BTreeMap;

use crate::ids::{Lsn, LsnRange};

/// A set of LSNs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LsnSet {
    ranges: BTreeMap<Lsn, u64>,
    count: u64,
}

impl LsnSet {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether `lsn` is one of them.
    #[must_use]
    pub fn contains(&self, lsn: Lsn) -> bool {
        self.ranges.range(..=lsn).next_back().is_some_and(|(first, count)| lsn < first.plus(*count))
    }

    /// Adds a range; what was there already stays.
    pub fn insert(&mut self, range: LsnRange) {
        self.remove(range);
        self.count += range.count;
        let (mut first, mut count) = (range.first, range.count);
        if let Some((before, length)) = self.ranges.range(..first).next_back()
            && before.plus(*length) == first
        {
            (first, count) = (*before, count + length);
        }
        if let Some(length) = self.ranges.remove(&range.end()) {
            count += length;
        }
        self.ranges.insert(first, count);
    }

    /// Takes a range out; what was not there is passed over.
    pub fn remove(&mut self, range: LsnRange) {
        let end = range.end();
        while let Some((first, count)) =
            self.ranges.range(..end).next_back().map(|(first, count)| (*first, *count))
            && first.plus(count) > range.first
        {
            self.ranges.remove(&first);
            self.count -= count;
            if first.plus(count) > end {
                self.ranges.insert(end, first.plus(count).since(end));
                self.count += first.plus(count).since(end);
            }
            if first < range.first {
                self.ranges.insert(first, range.first.since(first));
                self.count += range.first.since(first);
            }
        }
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = LsnRange> + '_ {
        self.ranges.iter().map(|(first, count)| LsnRange { first: *first, count: *count })
    }

    /// The ranges, or parts of them, from `lsn` on.
    pub fn iter_from(&self, lsn: Lsn) -> impl Iterator<Item = LsnRange> + '_ {
        let cut = self.ranges.range(..lsn).next_back().and_then(|(first, count)| {
            let end = first.plus(*count);
            (end > lsn).then(|| LsnRange { first: lsn, count: end.since(lsn) })
        });
        cut.into_iter()
            .chain(self.ranges.range(lsn..).map(|(first, count)| LsnRange { first: *first, count: *count }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, count: u64) -> LsnRange {
        LsnRange { first: Lsn(first), count }
    }

    #[test]
    fn neighbours_become_one_and_holes_make_two() {
        let mut set = LsnSet::default();
        set.insert(range(1, 3));
        set.insert(range(7, 2));
        set.insert(range(4, 3));
        assert_eq!((set.iter().collect::<Vec<_>>(), set.count()), (vec![range(1, 8)], 8));
        set.remove(range(3, 2));
        assert_eq!((set.iter().collect::<Vec<_>>(), set.count()), (vec![range(1, 2), range(5, 4)], 6));
        assert!(
            set.contains(Lsn(2)) && !set.contains(Lsn(3)) && set.contains(Lsn(8)) && !set.contains(Lsn(9))
        );
        assert_eq!(set.iter_from(Lsn(2)).collect::<Vec<_>>(), [range(2, 1), range(5, 4)]);
    }

    #[test]
    fn it_agrees_with_a_plain_set() {
        let (mut set, mut plain, mut seed) = (LsnSet::default(), std::collections::BTreeSet::new(), 7_u64);
        for _ in 0..2000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (first, count) = ((seed >> 33) % 60, (seed >> 50) % 9 + 1);
            if seed >> 63 == 0 {
                set.insert(range(first, count));
                plain.extend(first..first + count);
            } else {
                set.remove(range(first, count));
                plain.retain(|lsn| !(first..first + count).contains(lsn));
            }
            let flat: Vec<u64> = set.iter().flat_map(|r| r.first.0..r.end().0).collect();
            assert_eq!(flat, plain.iter().copied().collect::<Vec<_>>());
            assert_eq!(set.count(), plain.len() as u64);
        }
    }
}
