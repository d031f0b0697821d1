//! What a death leaves of the writes that it falls into.

use std::collections::BTreeSet;

use resolute::ids::BatchNumber;
use resolute::log::place::BatchPlace;

use super::disk::{Death, Files, SECTOR};
use super::faults::Fault;
use super::tally::Tally;

/// A write that was not done when its node died.
pub struct Cut {
    pub batch: BatchNumber,
    pub place: BatchPlace,
    pub bytes: Vec<u8>,
    /// What was there before.
    pub was: Vec<u8>,
    /// The kernel had it; otherwise nobody but the node knew of it.
    pub is_begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Whole,
    Torn,
    Nothing,
}

impl Cut {
    pub fn holds(&self, offset: usize) -> bool {
        (self.place.offset as usize..self.place.end() as usize).contains(&offset)
    }

    fn left(&self, files: &Files) -> Left {
        let is = &files[&self.place.segment][self.place.offset as usize..][..self.bytes.len()];
        let differ =
            |other: &[u8]| is.chunks(SECTOR).zip(other.chunks(SECTOR)).any(|(is, other)| is != other);
        match (differ(&self.bytes), differ(&self.was)) {
            (false, _) => Left::Whole,
            (true, true) => Left::Torn,
            (true, false) => Left::Nothing,
        }
    }
}

/// Counts what was left of the writes, the oldest of which is the first. `overtook` are those that were done before one that
/// is older.
pub fn count(cuts: &[Cut], overtook: &BTreeSet<BatchNumber>, death: Death, files: &Files, tally: &mut Tally) {
    let mut oldest_hurt = None;
    for cut in cuts {
        match cut.left(files) {
            Left::Whole if oldest_hurt.is_some() => tally.count(Fault::Hole),
            Left::Whole => continue,
            Left::Torn => tally.count(Fault::WritesTorn),
            Left::Nothing if death == Death::PowerCut && cut.is_begun => tally.count(Fault::WritesLost),
            Left::Nothing => {}
        }
        oldest_hurt.get_or_insert(cut.batch);
    }
    let is_behind_it = |oldest: BatchNumber| overtook.iter().any(|batch| *batch > oldest);
    if oldest_hurt.is_some_and(is_behind_it) {
        tally.count(Fault::Hole);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use resolute::ids::SegmentNumber;

    use super::*;

    /// Two writes of a sector each, of which the file holds what is said, after a kill.
    fn counted(holds: [u8; 2], overtook: &[u64]) -> Tally {
        let cut = |index: u64| Cut {
            batch: BatchNumber(index + 1),
            place: BatchPlace {
                segment: SegmentNumber(1),
                offset: index * SECTOR as u64,
                bytes: SECTOR as u32,
            },
            bytes: vec![1; SECTOR],
            was: vec![0; SECTOR],
            is_begun: true,
        };
        let file = holds.iter().flat_map(|byte| [*byte; SECTOR]).collect::<Vec<u8>>();
        let files = BTreeMap::from([(SegmentNumber(1), Arc::new(file))]);
        let overtook = overtook.iter().map(|batch| BatchNumber(*batch)).collect();
        let mut tally = Tally::default();
        count(&[cut(0), cut(1)], &overtook, Death::PowerCut, &files, &mut tally);
        tally
    }

    #[test]
    fn a_hole_is_what_is_there_behind_what_is_not() {
        let kinds =
            |tally: Tally| [Fault::Hole, Fault::WritesLost, Fault::WritesTorn].map(|kind| tally.of(kind));
        assert_eq!(kinds(counted([1, 1], &[])), [0, 0, 0], "both are there");
        assert_eq!(kinds(counted([1, 0], &[])), [0, 1, 0], "the younger is not");
        assert_eq!(kinds(counted([0, 1], &[])), [1, 1, 0]);
        assert_eq!(kinds(counted([0, 0], &[])), [0, 2, 0]);
        assert_eq!(kinds(counted([0, 0], &[3])), [1, 2, 0], "one that was done before lies behind them");
        assert_eq!(kinds(counted([1, 1], &[3])), [0, 0, 0]);
    }
}
