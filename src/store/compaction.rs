//! The oldest segment while it is looked through: what it holds that is still so is written again.

use bytes::Bytes;

use super::contents::{Contents, EntryDefect};
use crate::format::entry::Entry;
use crate::format::record::{RECORD_HEADER_BYTES, RecordKind, Records};
use crate::ids::Lsn;
use crate::limits::CARRY_BYTES_PER_BATCH;
use crate::log::batch_builder::BatchBuilder;
use crate::log::chunk::{Chunk, ChunkDefect};
use crate::log::index::{LogIndex, Span};

/// Records that are looked at before others get the lock again.
const LOOKED_AT_MAX: u64 = 4096;

/// One passage through the oldest segment.
#[derive(Debug)]
pub struct Compaction {
    /// The first record after the segment.
    end: Lsn,
    /// The first that was not looked at yet.
    next: Lsn,
    /// A piece of the segment, read back.
    chunk: Option<Chunk>,
    is_reading: bool,
    /// All was looked at; what was known then is in records up to this one.
    until: Option<Lsn>,
}

impl Compaction {
    /// Of the segment with the records from `first` to before `end`.
    pub(super) fn new(first: Lsn, end: Lsn) -> Compaction {
        let until = (first >= end).then_some(end);
        Compaction { end, next: first, chunk: None, is_reading: false, until }
    }

    /// Whether a piece is there that was not looked at yet.
    pub(super) fn can_stage(&self) -> bool {
        self.chunk.is_some()
    }

    /// Whether nothing of the segment is wanted any more: what is still so was written again, and that, and all that made the
    /// rest be no longer so, is durable.
    pub(super) fn is_over(&self, durable: Lsn) -> bool {
        self.until.is_some_and(|until| until <= durable)
    }

    /// The piece that is to be read next.
    pub(super) fn poll_read(&mut self, index: &LogIndex, durable: Lsn) -> Option<Span> {
        if self.is_reading || self.chunk.is_some() || self.until.is_some() {
            return None;
        }
        self.is_reading = true;
        Some(index.span(self.next, durable))
    }

    /// A piece was read.
    pub(super) fn handle_read(&mut self, span: &Span, bytes: Bytes) -> Result<(), ChunkDefect> {
        self.is_reading = false;
        self.chunk = Some(Chunk::read_back(bytes, span.first)?);
        Ok(())
    }

    /// Writes again what is still so, some with each batch.
    pub(super) fn stage<C: Contents>(
        &mut self,
        builder: &mut BatchBuilder,
        buffer: &mut [u8],
        contents: &mut C,
    ) -> Result<(), EntryDefect> {
        let Some(chunk) = &self.chunk else { return Ok(()) };
        let chunk_end = chunk.end().min(self.end);
        let slices = chunk.slice(self.next, LOOKED_AT_MAX.min(chunk_end.since(self.next)), usize::MAX);
        let mut copied = 0;
        for record in slices.pieces.iter().flat_map(|piece| Records::new(piece)) {
            let lsn = self.next;
            let record = record.map_err(|defect| EntryDefect::Record { lsn, defect })?;
            let entry = Entry::decode(record.body).map_err(|defect| EntryDefect::Body { lsn, defect })?;
            if contents.is_live(lsn, &entry) {
                let bytes = RECORD_HEADER_BYTES + record.body.len();
                if copied + bytes > CARRY_BYTES_PER_BATCH && copied > 0 || !builder.has_room(bytes) {
                    return Ok(());
                }
                let copy = builder.push_record(buffer, RecordKind::Entry, record.body);
                contents.apply(copy, &entry)?;
                copied += bytes;
            }
            self.next = lsn.plus(1);
        }
        if self.next == chunk_end {
            self.chunk = None;
        }
        if self.next == self.end {
            self.until = Some(Lsn(builder.next_lsn().0 - 1));
        }
        Ok(())
    }
}
