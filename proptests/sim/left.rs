//! What a death leaves of the writes that it falls into.

use std::collections::BTreeSet;

use resolute::ids::BatchNumber;
use resolute::log::place::BatchPlace;

use super::disk::{Death, Files, SECTOR};
use super::faults::{Fault, Tally};

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
