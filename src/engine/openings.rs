//! The openings that this log went through, and what others remember of them.
//!
//! A peer remembers at which opening it met this node last, and the last record that came from there. If this log never had
//! that opening, or ended it before that record, it is an older copy of the one the peer met: what it publishes now would get
//! numbers that were given before.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use crate::format::control::LIST_ENTRIES_MAX;
use crate::ids::{Epoch, Lsn};
use crate::limits::OPENINGS_KEPT;

const _: () = assert!(OPENINGS_KEPT <= LIST_ENTRIES_MAX, "they are one record");

/// The newest [`OPENINGS_KEPT`] openings of a log, each with its nonce and the record that says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Openings {
    known: BTreeMap<Epoch, (u64, Lsn)>,
}

impl Openings {
    /// There was such an opening, and record `lsn` was its first.
    pub fn add(&mut self, epoch: Epoch, nonce: u64, lsn: Lsn) {
        self.known.insert(epoch, (nonce, lsn));
        while self.known.len() > OPENINGS_KEPT {
            self.known.pop_first();
        }
    }

    /// Whether this log had that opening. Of one older than all that are kept it is not known, and it is taken for true.
    #[must_use]
    pub fn may_include(&self, epoch: Epoch, nonce: u64) -> bool {
        let is_older = self.known.first_key_value().is_none_or(|(oldest, _)| epoch < *oldest);
        is_older || self.known.get(&epoch).is_some_and(|(known, _)| *known == nonce)
    }

    /// Whether record `seen` can have been written by that opening or one before it, in a log whose next record is `end`.
    #[must_use]
    pub fn may_reach(&self, epoch: Epoch, seen: Lsn, end: Lsn) -> bool {
        let next = self.known.range((Excluded(epoch), Unbounded)).next();
        seen < next.map_or(end, |(_, (_, first))| *first)
    }

    /// All that are kept, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<(Epoch, u64, Lsn)> {
        self.known.iter().map(|(epoch, (nonce, lsn))| (*epoch, *nonce, *lsn)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openings(range: std::ops::RangeInclusive<u64>) -> Openings {
        let mut openings = Openings::default();
        range.for_each(|epoch| openings.add(Epoch(epoch), epoch * 10, Lsn(epoch * 100)));
        openings
    }

    #[test]
    fn an_opening_with_another_nonce_or_of_the_future_was_never_had() {
        let openings = openings(3..=5);
        assert!(openings.may_include(Epoch(4), 40));
        assert!(!openings.may_include(Epoch(4), 41));
        assert!(!openings.may_include(Epoch(6), 60));
    }

    #[test]
    fn of_one_before_the_oldest_nothing_is_known() {
        assert!(openings(3..=5).may_include(Epoch(2), 77));
        assert!(Openings::default().may_include(Epoch(1), 1));
    }

    #[test]
    fn only_the_newest_are_kept() {
        let openings = openings(1..=OPENINGS_KEPT as u64 + 2);
        assert_eq!(openings.list().len(), OPENINGS_KEPT);
        assert_eq!(openings.list()[0], (Epoch(3), 30, Lsn(300)));
    }

    #[test]
    fn what_the_next_opening_wrote_over_was_never_there() {
        let openings = openings(3..=5);
        let end = Lsn(510);
        assert!(openings.may_reach(Epoch(4), Lsn(499), end));
        assert!(!openings.may_reach(Epoch(4), Lsn(500), end));
        assert!(openings.may_reach(Epoch(5), Lsn(509), end));
        assert!(!openings.may_reach(Epoch(5), Lsn(510), end), "this is not written yet");
        assert!(!openings.may_reach(Epoch(1), Lsn(300), end), "nor by one that is forgotten");
        assert!(openings.may_reach(Epoch(1), Lsn(0), end));
    }
}
