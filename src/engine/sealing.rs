//! From a filled batch to a durable one, and from one segment to the next.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::apply::Applied;
use super::staging::Stager;
use super::{Engine, Unspoken};
use crate::format::batch::OwedRun;
use crate::ids::{BatchNumber, SegmentNumber};
use crate::limits::BATCH_BYTES_MAX;
use crate::log::batch_builder::BatchBuilder;
use crate::log::chunk::Chunk;
pub use crate::log::sealing::{SealPermit, Sealed};
use crate::time::Now;

impl Engine {
    /// Whether a batch may be sealed now.
    #[must_use]
    pub fn may_seal(&self) -> SealPermit {
        if self.failed { SealPermit::No } else { SealPermit::of(&self.commit, &self.segments) }
    }

    /// Whether the disk is so full that only what frees it may still be logged.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.segments.is_in_reserve()
    }

    /// Whether that is because the log has as much of the disk as it may take.
    #[must_use]
    pub fn is_at_quota(&self) -> bool {
        self.is_disk_full() && self.segments.is_limited()
    }

    /// Whether this segment is full and the next one is not there: what is staged now is not written before it is, and if the
    /// disk has no room, never.
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
    pub fn seal(
        &mut self,
        builder: BatchBuilder,
        buffer: &mut [u8],
        owed: &mut Vec<OwedRun>,
        closing: bool,
    ) -> Sealed {
        assert!(self.commit.may_submit());
        let facts = self.commit.facts(self.segments.active().number, closing);
        let batch = builder.seal(buffer, owed, &facts);
        self.commit.submitted(&batch.header);
        let place = self.segments.place(batch.header.batch_bytes.get());
        self.spare_reserve();
        Sealed { batch, place }
    }

    /// The batch as it is being written: its records take effect.
    pub fn handle_sealed(&mut self, sealed: &Sealed, bytes: Bytes) {
        let header = &sealed.batch.header;
        let chunk = Chunk::sealed(bytes, header.first_lsn(), header.end_lsn(), sealed.batch.extents.clone());
        // Invariant: these records were made by this engine for this state.
        let applied = self.state.apply_batch(sealed.place, &chunk, &mut self.applied);
        applied.expect("a record of our own making makes no sense");
        self.traffic.sealed(&chunk);
        let logged = chunk.bytes().len() as u64;
        self.resident.sealed(chunk);
        self.has_unapplied = false;
        if self.pending.is_empty() {
            self.dispatch.all_applied();
            self.staged.clear();
            self.staged_seen.clear();
            self.ended.clear();
            let left = self.meeting.all_applied();
            self.end_dials_to(&left);
            self.quotas.all_applied();
            self.requests.all_applied();
            self.look_who_may_go_if_full();
        }
        self.take_in_applied();
        self.check_backlogs(logged);
    }

    /// The next batch is the first of a new segment: it begins with a checkpoint of all that was applied.
    pub fn begin_segment(&mut self, stager: &mut Stager<'_>) {
        assert!(stager.builder.is_empty());
        self.segments.roll(stager.builder.next_lsn());
        self.state.prune();
        self.checkpoint = self.state.checkpoint().into();
        self.stage(stager);
    }

    /// The write of a batch is done.
    pub fn handle_written(&mut self, now: Now, batch: BatchNumber) {
        self.now = now;
        if let Some(durable) = self.commit.written(batch) {
            let near = self.is_serving() || self.sessions.iter().any(|session| session.opened);
            self.resident.evict(durable, near);
            self.release(durable);
        }
    }

    /// The write of a batch failed. It is never tried again; the node stops accepting, and all who wait are told.
    pub fn handle_write_failed(&mut self, now: Now) {
        self.now = now;
        self.failed = true;
        self.commit.fail();
        self.end_all_sessions();
        self.refuse_requests();
    }

    /// The file of the next segment is there.
    pub fn handle_prepared(&mut self, number: SegmentNumber) {
        self.segments.prepared(number);
    }

    /// There was no room for the next segment's file; it is asked for again when a segment was freed, or in a while.
    pub fn handle_disk_full(&mut self, now: Now) {
        self.now = now;
        self.segments.prepare_failed();
        self.freeing.disk_is_full(now.monotonic);
    }

    fn take_in_applied(&mut self) {
        let applied = std::mem::take(&mut self.applied);
        let (mut refresh, mut is_less_owed, mut hurried) = (false, false, BTreeSet::new());
        for one in &applied {
            match *one {
                Applied::Run { slot, stream, last, lsn, bytes } => {
                    // Not the one that goes on now: another may have taken its place meanwhile.
                    let session = self.staged_of.pop_front().flatten();
                    self.unspoken.push_back(Unspoken { lsn, slot, stream, last, bytes, session });
                }
                Applied::Lost { slot, stream, last, lsn } => {
                    self.unspoken.push_back(Unspoken { lsn, slot, stream, last, bytes: 0, session: None });
                }
                Applied::Streams => {
                    self.refresh_cursors();
                    refresh = true;
                }
                Applied::Addresses => {
                    self.wishes_at = self.last_applied();
                    refresh = true;
                }
                Applied::Inbox(range) => self.dispatch.came_late(range),
                Applied::Retried(range) => self.dispatch.retried(range),
                Applied::Hurried(lsn) => drop(hurried.insert(lsn)),
                Applied::Administered(count) => {
                    self.requests.administered(count);
                    is_less_owed = true;
                }
                // What was acknowledged before it was parked is room, too.
                Applied::Acked | Applied::Standing => is_less_owed = true,
                Applied::Quotas => {
                    self.quotas.look_again();
                    is_less_owed = true;
                }
            }
        }
        if refresh {
            self.dials.refresh(&self.state, &self.config, self.now.monotonic);
            self.check_confirmed();
            self.quotas.look_again();
        }
        if refresh || is_less_owed {
            self.release_backlogs();
        }
        self.dispatch.hurry(hurried, self.now.monotonic);
        self.check_subscribers();
        self.applied = applied;
        self.applied.clear();
    }

    /// Whether no batch can be written, nothing is on its way that would change that, and the disk is full.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.commit.is_idle() && self.may_seal() == SealPermit::No && self.segments.is_disk_full()
    }

    /// Whether no write is on its way.
    #[must_use]
    pub fn is_write_idle(&self) -> bool {
        self.commit.is_idle()
    }

    /// The files of the log.
    #[must_use]
    pub fn segments(&self) -> &crate::log::segments::Segments {
        &self.segments
    }

    /// The segment that the log waits for, if it does.
    #[must_use]
    pub fn segment_wanted_now(&self) -> Option<SegmentNumber> {
        let waits = self.segments.must_roll() && !self.segments.may_roll();
        waits.then(|| self.segments.active().number.plus(1))
    }

    /// The node closes: no more is accepted, and peers are told.
    pub fn handle_close(&mut self, now: Now) {
        self.now = now;
        self.closing = true;
        self.end_all_sessions();
    }

    /// Everything is logged and durable, and nothing is on its way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.commit.is_idle() && !self.wants_to_stage()
    }

    /// Whether a batch of the largest size still fits the segment that is written.
    #[must_use]
    pub fn has_room_for_closing(&self) -> bool {
        !self.failed && self.segments.room() >= BATCH_BYTES_MAX as u64
    }
}
