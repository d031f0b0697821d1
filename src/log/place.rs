//! Where a batch lies.

use crate::ids::SegmentNumber;

/// The place of one batch in the files of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchPlace {
    /// The segment.
    pub segment: SegmentNumber,
    /// Bytes before it in the file.
    pub offset: u64,
    /// Its bytes, a multiple of the block.
    pub bytes: u32,
}

impl BatchPlace {
    /// Where in the file the next batch begins.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.offset + self.bytes as u64
    }
}
