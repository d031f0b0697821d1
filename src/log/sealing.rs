//! Whether a batch may be written now, and what one is that was made whole.

use super::batch_builder::SealedBatch;
use super::group_commit::GroupCommit;
use super::place::BatchPlace;
use super::segments::Segments;

/// What may go into the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealPermit {
    /// Nothing can be written now.
    No,
    /// The batch goes into the segment that is written.
    Here,
    /// It does too, and is the last one there: the next segment must be begun in the same critical section.
    HereThenRoll,
}

impl SealPermit {
    /// Whether a batch may be sealed now.
    #[must_use]
    pub fn of(commit: &GroupCommit, segments: &Segments) -> SealPermit {
        if !commit.may_submit() || segments.must_wait_for_idle() && !commit.is_idle() {
            return SealPermit::No;
        }
        match (segments.must_roll(), segments.may_roll()) {
            (false, _) => SealPermit::Here,
            (true, true) => SealPermit::HereThenRoll,
            (true, false) => SealPermit::No,
        }
    }
}

/// A batch that was sealed, and its place in the log.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The batch.
    pub batch: SealedBatch,
    /// Where it goes.
    pub place: BatchPlace,
}
