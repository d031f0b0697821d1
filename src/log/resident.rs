//! Which records are in memory: the batches written last, and what was read back for those who are behind.

use std::collections::VecDeque;

use super::chunk::Chunk;
use crate::ids::Lsn;
use crate::limits::{READ_CHUNKS_MAX, RECENT_CHUNKS_MAX};

/// The chunks in memory. Every batch that is not durable yet is among them, for it can be read from nowhere else.
#[derive(Debug, Default)]
pub struct Resident {
    recent: VecDeque<Chunk>,
    read: VecDeque<Chunk>,
}

impl Resident {
    /// The chunk that holds a record.
    #[must_use]
    pub fn find(&self, lsn: Lsn) -> Option<&Chunk> {
        if self.recent.front().is_some_and(|oldest| oldest.first() <= lsn) {
            let at = self.recent.partition_point(|chunk| chunk.end() <= lsn);
            return self.recent.get(at);
        }
        self.read.iter().find(|chunk| chunk.first() <= lsn && lsn < chunk.end())
    }

    /// How many chunks there are: those written last, and those read back.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.recent.len(), self.read.len())
    }

    /// A batch was sealed.
    pub fn sealed(&mut self, chunk: Chunk) {
        assert!(self.recent.back().is_none_or(|last| last.end() == chunk.first()));
        self.recent.push_back(chunk);
    }

    /// Everything up to `durable` can be read back: of that, only the latest few stay, and none if nobody is `near` who
    /// would want them. Memory that is written again soon is still in the processor's cache.
    pub fn evict(&mut self, durable: Lsn, near: bool) {
        let kept = if near { RECENT_CHUNKS_MAX } else { 0 };
        while self.recent.len() > kept
            && self.recent.front().is_some_and(|chunk| chunk.end().0 - 1 <= durable.0)
        {
            self.recent.pop_front();
        }
    }

    /// Batches were read back. The one read longest ago makes room.
    pub fn read_back(&mut self, chunk: Chunk) {
        if self.read.len() == READ_CHUNKS_MAX {
            self.read.pop_front();
        }
        self.read.push_back(chunk);
    }

    /// Whether a record is in memory because it was read back.
    #[must_use]
    pub fn is_read_back(&self, lsn: Lsn) -> bool {
        self.recent.front().is_none_or(|oldest| lsn < oldest.first())
    }

    /// Records that nobody needs any more need no memory either.
    pub fn forget_before(&mut self, lsn: Lsn) {
        self.read.retain(|chunk| chunk.end() > lsn);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::extent::{Extent, ExtentKind};
    use super::*;

    /// Ten records, of which nobody looks at the bytes.
    fn chunk(first: Lsn) -> Chunk {
        let extent = Extent { first, count: 10, kind: ExtentKind::Control, offset: 0, bytes: 0 };
        Chunk::sealed(Bytes::new(), first, first.plus(10), vec![extent])
    }

    /// Ten chunks, from record 1 on.
    fn resident() -> Resident {
        let mut resident = Resident::default();
        (0..10).for_each(|index| resident.sealed(chunk(Lsn(1 + 10 * index))));
        resident
    }

    #[test]
    fn what_is_durable_leaves_if_nobody_is_near_and_what_is_not_stays() {
        let mut resident = resident();
        resident.evict(Lsn(55), true);
        assert!(resident.find(Lsn(1)).is_some(), "there are no more than may stay");
        resident.evict(Lsn(55), false);
        assert!(resident.find(Lsn(50)).is_none());
        assert!(resident.find(Lsn(51)).is_some(), "its batch is not durable as a whole");
    }

    #[test]
    fn only_the_latest_stay_for_those_who_are_near() {
        let mut resident = resident();
        (10..30).for_each(|index| resident.sealed(chunk(Lsn(1 + 10 * index))));
        resident.evict(Lsn(300), true);
        let oldest = Lsn(301 - 10 * RECENT_CHUNKS_MAX as u64);
        assert!(resident.find(oldest).is_some() && resident.find(Lsn(oldest.0 - 1)).is_none());
    }

    #[test]
    fn what_was_read_back_is_told_from_what_has_stayed() {
        let mut resident = resident();
        resident.evict(Lsn(50), false);
        resident.read_back(chunk(Lsn(11)));
        assert!(resident.find(Lsn(11)).is_some() && resident.is_read_back(Lsn(11)));
        assert!(resident.find(Lsn(51)).is_some() && !resident.is_read_back(Lsn(51)));
        resident.evict(Lsn(100), false);
        assert!(resident.is_read_back(Lsn(11)), "with nothing else there too");
    }
}
