//! The openings that this log went through, and what others remember of them.
//!
//! A peer remembers at which opening it met this node last. If this log never had that opening, it is an older copy of
//! the one the peer met: what it publishes now would get numbers that were given before.

use std::collections::BTreeMap;

use crate::format::control::LIST_ENTRIES_MAX;
use crate::ids::Epoch;
use crate::limits::OPENINGS_KEPT;

const _: () = assert!(OPENINGS_KEPT <= LIST_ENTRIES_MAX, "they are one record");

/// The newest [`OPENINGS_KEPT`] openings of a log, each with its nonce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Openings {
    nonces: BTreeMap<Epoch, u64>,
}

impl Openings {
    /// There was such an opening.
    pub fn add(&mut self, epoch: Epoch, nonce: u64) {
        self.nonces.insert(epoch, nonce);
        while self.nonces.len() > OPENINGS_KEPT {
            self.nonces.pop_first();
        }
    }

    /// Whether this log had that opening. Of one older than all that are kept it is not known, and it is taken for true.
    #[must_use]
    pub fn may_include(&self, epoch: Epoch, nonce: u64) -> bool {
        let is_older = self.nonces.first_key_value().is_none_or(|(oldest, _)| epoch < *oldest);
        is_older || self.nonces.get(&epoch) == Some(&nonce)
    }

    /// All that are kept, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<(Epoch, u64)> {
        self.nonces.iter().map(|(epoch, nonce)| (*epoch, *nonce)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openings(range: std::ops::RangeInclusive<u64>) -> Openings {
        let mut openings = Openings::default();
        range.for_each(|epoch| openings.add(Epoch(epoch), epoch * 10));
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
        assert_eq!(openings.list()[0], (Epoch(3), 30));
    }
}
