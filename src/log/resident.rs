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
