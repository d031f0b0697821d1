//! The log of a store: what is written when, and what is freed. What it does is asked for by `poll_*`, what happened is said by
//! `handle_*`, as with a node's engine.

use std::collections::VecDeque;

use bytes::Bytes;

use super::compaction::Compaction;
use super::contents::{Contents, EntryDefect};
use crate::format::batch::OwedRun;
use crate::format::entry::Entry;
use crate::format::record::RecordKind;
use crate::ids::{BatchNumber, Lsn, SegmentNumber};
use crate::limits::{BATCH_BYTES_MAX, DISK_FULL_RETRY_MS, STORE_SLACK_BYTES};
use crate::log::batch_builder::BatchBuilder;
use crate::log::chunk::ChunkDefect;
use crate::log::group_commit::GroupCommit;
use crate::log::index::{LogIndex, Span};
use crate::log::sealing::{SealPermit, Sealed};
use crate::log::segments::Segments;
use crate::time::Monotonic;

/// What the shell is to do, or to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// All up to that record is on stable storage.
    Durable(Lsn),
    /// The file of that segment is to be made.
    Prepare(SegmentNumber),
    /// The file of that segment is no longer needed.
    Free(SegmentNumber),
}

/// The log of a store that is open.
#[derive(Debug)]
pub struct StoreLog {
    commit: GroupCommit,
    segments: Segments,
    index: LogIndex,
    compaction: Option<Compaction>,
    /// Segments before that one are looked through, worth it or not.
    compact_before: SegmentNumber,
    events: VecDeque<StoreEvent>,
    retry_at: Option<Monotonic>,
    failed: bool,
}

impl StoreLog {
    /// A log as it was found, with its batches.
    #[must_use]
    pub fn new(commit: GroupCommit, segments: Segments, index: LogIndex) -> StoreLog {
        StoreLog {
            commit,
            segments,
            index,
            compaction: None,
            compact_before: SegmentNumber(0),
            events: VecDeque::new(),
            retry_at: None,
            failed: false,
        }
    }

    /// The highest record that is on stable storage with all before it.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.commit.durable()
    }

    /// Whether a write failed: nothing more is written in this opening.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// The files of the log.
    #[must_use]
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// Whether a batch may be sealed now.
    #[must_use]
    pub fn may_seal(&self) -> SealPermit {
        if self.failed { SealPermit::No } else { SealPermit::of(&self.commit, &self.segments) }
    }

    /// Whether the disk is so full that only what takes away may still be written.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.segments.is_in_reserve()
    }

    /// Whether this segment is full and the next one is not there.
    #[must_use]
    pub fn awaits_segment(&self) -> bool {
        self.segments.must_roll() && !self.segments.may_roll()
    }

    /// Whether that may be so behind the next batch.
    #[must_use]
    pub fn may_await_segment(&self) -> bool {
        self.segments.room() < 3 * BATCH_BYTES_MAX as u64 && !self.segments.may_roll()
    }

    /// Makes the batch whole, in its buffer. `closing` says that nothing follows.
    pub fn seal(&mut self, builder: BatchBuilder, buffer: &mut [u8], closing: bool) -> Sealed {
        let facts = self.commit.facts(self.segments.active().number, closing);
        let batch = builder.seal(buffer, &mut Vec::<OwedRun>::new(), &facts);
        self.commit.submitted(&batch.header);
        let place = self.segments.place(batch.header.batch_bytes.get());
        let (first, end) = (batch.header.first_lsn(), batch.header.end_lsn());
        self.index.push(first, end.since(first), place);
        Sealed { batch, place }
    }

    /// What a segment begins with. The batch is the first of one that was just rolled to, or of a fresh log.
    pub fn begin_segment<C: Contents>(&mut self, builder: &mut BatchBuilder, buffer: &mut [u8]) {
        assert!(builder.is_empty());
        if !self.segments.is_blank() {
            self.segments.roll(builder.next_lsn());
        }
        builder.push_record(buffer, RecordKind::Entry, &Entry::Store(C::KIND).encode());
    }

    /// The write of a batch is done.
    pub fn handle_written(&mut self, batch: BatchNumber) {
        if let Some(durable) = self.commit.written(batch) {
            self.events.push_back(StoreEvent::Durable(durable));
        }
    }

    /// Something failed that the log rests on. Nothing is tried again.
    pub fn handle_failed(&mut self) {
        self.failed = true;
        self.commit.fail();
    }

    /// The file of the next segment is there.
    pub fn handle_prepared(&mut self, number: SegmentNumber) {
        self.segments.prepared(number);
    }

    /// There was no room for the next segment's file; it is asked for again in a while.
    pub fn handle_disk_full(&mut self, now: Monotonic) {
        self.segments.prepare_failed();
        self.retry_at = Some(now.plus_millis(DISK_FULL_RETRY_MS));
    }

    /// When something is due.
    #[must_use]
    pub fn next_wake(&self) -> Option<Monotonic> {
        self.retry_at
    }

    /// Time has passed.
    pub fn handle_time(&mut self, now: Monotonic) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.segments.retry_prepare();
        }
    }

    /// What is to be done or told next.
    pub fn poll_event(&mut self) -> Option<StoreEvent> {
        if !self.failed
            && let Some(number) = self.segments.poll_prepare()
        {
            return Some(StoreEvent::Prepare(number));
        }
        self.events.pop_front()
    }

    /// The segment that the log waits for, if it does.
    #[must_use]
    pub fn segment_wanted_now(&self) -> Option<SegmentNumber> {
        self.awaits_segment().then(|| self.segments.active().number.plus(1))
    }

    /// Looks whether the oldest segment can go, or is to be looked through: most of the log is dead if it is so much larger
    /// than the records by which the store has what it has.
    pub fn consider_freeing(&mut self, live_bytes: u64) {
        if self.failed {
            return;
        }
        if self.may_free() {
            self.compaction = None;
            let number = self.segments.free_head();
            self.index.free_through(number);
            self.events.push_back(StoreEvent::Free(number));
            self.segments.retry_prepare();
        }
        let log_bytes = self.segments.count() as u64 * self.segments.segment_bytes();
        let is_worth_it = log_bytes > live_bytes + STORE_SLACK_BYTES.max(live_bytes / 2);
        if self.compaction.is_none()
            && (is_worth_it || self.is_asked_to_compact())
            && let Some(end) = self.segments.head_end().filter(|end| end.0 <= self.commit.durable().0 + 1)
        {
            self.compaction = Some(Compaction::new(self.index.first(), end));
        }
    }

    /// Whether the oldest segment can go.
    #[must_use]
    pub fn may_free(&self) -> bool {
        let durable = self.commit.durable();
        !self.failed && self.compaction.as_ref().is_some_and(|compaction| compaction.is_over(durable))
    }

    /// All segments but the one that is written are looked through, as soon as may be.
    pub fn compact(&mut self) {
        self.compact_before = self.segments.active().number;
    }

    /// Whether one of those is still there.
    #[must_use]
    pub fn is_asked_to_compact(&self) -> bool {
        self.segments.head().number < self.compact_before
    }

    /// Whether there is something to write again.
    #[must_use]
    pub fn wants_to_stage(&self) -> bool {
        self.compaction.as_ref().is_some_and(Compaction::can_stage)
    }

    /// Writes again what is to be kept of the oldest segment, as far as there is room.
    ///
    /// # Errors
    /// What was read back makes no sense.
    pub fn stage<C: Contents>(
        &mut self,
        builder: &mut BatchBuilder,
        buffer: &mut [u8],
        contents: &mut C,
    ) -> Result<(), EntryDefect> {
        self.compaction.as_mut().map_or(Ok(()), |compaction| compaction.stage(builder, buffer, contents))
    }

    /// The piece of the log that is to be read next.
    pub fn poll_read(&mut self) -> Option<Span> {
        if self.failed {
            return None;
        }
        self.compaction.as_mut()?.poll_read(&self.index, self.commit.durable())
    }

    /// A piece of the log was read.
    ///
    /// # Errors
    /// It is not what was written.
    pub fn handle_read(&mut self, span: &Span, bytes: Bytes) -> Result<(), ChunkDefect> {
        self.compaction.as_mut().map_or(Ok(()), |compaction| compaction.handle_read(span, bytes))
    }

    /// Whether no write is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.commit.is_idle()
    }

    /// Whether a batch of the largest size still fits the segment that is written.
    #[must_use]
    pub fn has_room_for_closing(&self) -> bool {
        !self.failed && self.segments.room() >= BATCH_BYTES_MAX as u64
    }
}
