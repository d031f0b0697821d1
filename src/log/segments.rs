//! The files of the log in their order: which is written, which comes next, which may go.

use std::collections::VecDeque;

use super::place::BatchPlace;
use super::tail::Tail;
use crate::ids::{Lsn, SegmentNumber};
use crate::limits::{BATCH_BYTES_MAX, LIMIT_GIVES_SEGMENTS, RESERVE_FRACTION};

/// One segment of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub number: SegmentNumber,
    /// Its first record.
    pub first_lsn: Lsn,
}

/// Where the next segment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Wanted,
    Preparing,
    Ready,
    /// There is no room on the disk for it.
    DiskFull,
}

/// The segments of one log. The last one is written.
#[derive(Clone, Debug)]
pub struct Segments {
    segment_bytes: u64,
    /// Bytes that all of them may have together.
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// Bytes of the file that is written: those of an older one may be others.
    active_bytes: u64,
    offset: u64,
    next: Next,
    /// The last try to make a next segment found no room. While it is tried again that still counts: a reserve that is
    /// open at every try is none.
    was_full: bool,
    /// That was because all may have no more than they have.
    is_limited: bool,
}

impl Segments {
    /// Segments as they were found: the last one, of `active_bytes`, goes on at `offset`; new ones have
    /// `segment_bytes`.
    #[must_use]
    pub fn new(segment_bytes: u64, segments: Vec<Segment>, active_bytes: u64, offset: u64) -> Segments {
        assert!(!segments.is_empty() && segments.is_sorted_by_key(|s| s.number) && offset <= active_bytes);
        Segments {
            segment_bytes,
            bytes_max: u64::MAX,
            segments: segments.into(),
            active_bytes,
            offset,
            next: Next::Wanted,
            was_full: false,
            is_limited: false,
        }
    }

    /// The segments in which the log goes on that recovery found, and the number of the one whose file must be made before
    /// anything is written: the first of a fresh log, or the next one if the last has no room for another batch, because
    /// the node died before the first batch of that.
    #[must_use]
    pub fn of_tail(segment_bytes: u64, tail: &Tail) -> (Segments, Option<SegmentNumber>) {
        let Some(active) = tail.segments.last() else {
            let first = Segment { number: tail.active, first_lsn: tail.next_lsn };
            return (Segments::new(segment_bytes, vec![first], segment_bytes, 0), Some(first.number));
        };
        let found = tail.segments.iter().map(|s| Segment { number: s.number, first_lsn: s.first_lsn });
        let mut segments = Segments::new(segment_bytes, found.collect(), active.file_bytes, tail.append_at);
        if !segments.is_exhausted() {
            return (segments, None);
        }
        segments.next = Next::Ready;
        segments.roll(tail.next_lsn);
        let begun = segments.active().number;
        (segments, Some(begun))
    }

    /// All segments together may have so many bytes from here on, each counted with the size of a new one: there is no room for one
    /// more that goes beyond it, but for what frees the log, which gets up to [`LIMIT_GIVES_SEGMENTS`].
    pub fn limit_to(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// Whether one more segment would go beyond what all may have.
    #[must_use]
    pub fn is_at_limit(&self) -> bool {
        self.is_at_limit_beside(0)
    }

    /// The same, with so many more that were freed and are still there.
    #[must_use]
    pub fn is_at_limit_beside(&self, freed: usize) -> bool {
        ((self.count() + freed) as u64 + 1).saturating_mul(self.segment_bytes) > self.bytes_max
    }

    /// Whether the last try to make a next segment was refused because all have as much as they may.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// Whether there are more already than all may have: no message is taken before some are freed.
    fn is_beyond_limit(&self) -> bool {
        (self.count() as u64).saturating_mul(self.segment_bytes) > self.bytes_max
    }

    /// Whether the segment that is written is full, reserve and all, and so what would free the log could not be written.
    fn limit_gives_way(&self) -> bool {
        let most = self.bytes_max.saturating_add(LIMIT_GIVES_SEGMENTS * self.segment_bytes);
        self.must_roll() && (self.count() as u64 + 1).saturating_mul(self.segment_bytes) <= most
    }

    /// Bytes left in the segment that is written.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.active_bytes - self.offset
    }

    /// Whether nothing was written yet into the segment that is written.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.offset == 0
    }

    /// Whether the first batch of a segment is next: it waits until every write into the one before is done.
    #[must_use]
    pub fn must_wait_for_idle(&self) -> bool {
        self.is_blank()
    }

    /// Whether not even one batch of the largest size fits any more.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.room() < BATCH_BYTES_MAX as u64
    }

    /// Whether there is no room on the disk for a next segment, or it may not be taken, and what is left of this one is kept for what frees
    /// the log: marks and cursors, not messages.
    #[must_use]
    pub fn is_in_reserve(&self) -> bool {
        let is_near_end = self.room() < 2 * BATCH_BYTES_MAX as u64 + self.active_bytes / RESERVE_FRACTION;
        self.was_full && (is_near_end || self.is_beyond_limit())
    }

    /// How much of the reserve is used, in parts of `of`.
    #[must_use]
    pub fn reserve_used(&self, of: u64) -> u64 {
        let reserve = self.active_bytes / RESERVE_FRACTION;
        let left = self.room().saturating_sub(2 * BATCH_BYTES_MAX as u64).min(reserve);
        (reserve - left) * of / reserve
    }

    /// The segment that is written.
    #[must_use]
    pub fn active(&self) -> Segment {
        // Invariant: there is always a segment that is written.
        *self.segments.back().expect("a log without a segment")
    }

    /// The oldest segment.
    #[must_use]
    pub fn head(&self) -> Segment {
        self.segments[0]
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.segments.len()
    }

    /// Bytes of one segment's file.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The first record after the head segment, if there is a segment after it.
    #[must_use]
    pub fn head_end(&self) -> Option<Lsn> {
        self.segments.get(1).map(|second| second.first_lsn)
    }

    /// Whether the next batch, whatever its size, is the last for which there surely is room in this segment.
    #[must_use]
    pub fn must_roll(&self) -> bool {
        self.room() < 2 * BATCH_BYTES_MAX as u64
    }

    /// Whether the next segment's file is there.
    #[must_use]
    pub fn may_roll(&self) -> bool {
        self.next == Next::Ready
    }

    /// Whether the disk has no room for the next segment, or no more of it may be taken.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.next == Next::DiskFull
    }

    /// The segment whose file is to be prepared now, if one is.
    pub fn poll_prepare(&mut self) -> Option<SegmentNumber> {
        let gives_way = self.limit_gives_way();
        if self.next == Next::DiskFull && self.is_limited && gives_way {
            self.next = Next::Wanted;
        }
        if self.next != Next::Wanted {
            return None;
        }
        if self.is_at_limit() && !gives_way {
            // It is wanted again once the oldest is freed, or when this one is full.
            self.prepare_failed();
            self.is_limited = true;
            return None;
        }
        self.next = Next::Preparing;
        Some(self.active().number.plus(1))
    }

    /// The next segment's file is there.
    pub fn prepared(&mut self, number: SegmentNumber) {
        assert!(self.next == Next::Preparing && number == self.active().number.plus(1));
        self.next = Next::Ready;
        // One that is more than all may have takes no messages.
        self.was_full = self.is_at_limit();
        self.is_limited = self.was_full;
    }

    /// There was no room for the next segment's file.
    pub fn prepare_failed(&mut self) {
        self.next = Next::DiskFull;
        (self.was_full, self.is_limited) = (true, false);
    }

    /// Room may have come: the next segment is asked for again.
    pub fn retry_prepare(&mut self) {
        if self.next == Next::DiskFull {
            self.next = Next::Wanted;
        }
    }

    /// The next segment is written from here on; its first record will be `first_lsn`.
    pub fn roll(&mut self, first_lsn: Lsn) {
        assert!(self.next == Next::Ready);
        let number = self.active().number.plus(1);
        self.segments.push_back(Segment { number, first_lsn });
        (self.active_bytes, self.offset) = (self.segment_bytes, 0);
        self.next = Next::Wanted;
    }

    /// The place of a batch of `bytes`.
    pub fn place(&mut self, bytes: u32) -> BatchPlace {
        assert!(u64::from(bytes) <= self.room());
        let place = BatchPlace { segment: self.active().number, offset: self.offset, bytes };
        self.offset = place.end();
        place
    }

    /// The head is freed. Panics if it is the segment that is written.
    pub fn free_head(&mut self) -> SegmentNumber {
        assert!(self.segments.len() > 1, "the segment that is written is never freed");
        let head = self.segments[0].number;
        self.segments.pop_front();
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BatchNumber, Epoch};
    use crate::limits::SEGMENT_BYTES_MIN;
    use crate::log::tail::SegmentFacts;
    use crate::log::verdict::Verdict;

    fn segments() -> Segments {
        let first = Segment { number: SegmentNumber(1), first_lsn: Lsn(1) };
        Segments::new(SEGMENT_BYTES_MIN, vec![first], SEGMENT_BYTES_MIN, 0)
    }

    #[test]
    fn batches_lie_side_by_side_until_the_segment_may_lack_room() {
        let mut segments = segments();
        assert_eq!(segments.place(4096).offset, 0);
        assert_eq!(segments.place(8192).offset, 4096);
        while !segments.must_roll() {
            segments.place(BATCH_BYTES_MAX as u32);
        }
        assert_eq!(segments.poll_prepare(), Some(SegmentNumber(2)));
        assert_eq!(segments.poll_prepare(), None);
        assert!(!segments.may_roll());
        segments.prepared(SegmentNumber(2));
        segments.roll(Lsn(50));
        assert_eq!(segments.place(4096), BatchPlace { segment: SegmentNumber(2), offset: 0, bytes: 4096 });
        assert_eq!(segments.head_end(), Some(Lsn(50)));
        assert_eq!(segments.free_head(), SegmentNumber(1));
    }

    #[test]
    fn a_full_disk_is_asked_again_when_told() {
        let mut segments = segments();
        assert!(segments.poll_prepare().is_some());
        segments.prepare_failed();
        assert!(segments.is_disk_full() && segments.poll_prepare().is_none());
        segments.retry_prepare();
        assert_eq!(segments.poll_prepare(), Some(SegmentNumber(2)));
    }

    #[test]
    fn the_reserve_is_kept_while_a_full_disk_is_asked_again() {
        let mut segments = segments();
        assert!(segments.poll_prepare().is_some());
        for _ in 0..5 {
            segments.place(BATCH_BYTES_MAX as u32);
        }
        assert!(!segments.is_in_reserve(), "the next file may come in time");
        segments.prepare_failed();
        assert!(!segments.is_in_reserve() && segments.reserve_used(10) == 0);
        segments.place(4096);
        assert!(segments.is_in_reserve() && segments.reserve_used(256) == 1);
        segments.retry_prepare();
        assert!(segments.is_in_reserve());
        assert!(segments.poll_prepare().is_some());
        assert!(segments.is_in_reserve());
        segments.prepared(SegmentNumber(2));
        assert!(!segments.is_in_reserve());
    }

    #[test]
    fn at_its_limit_a_log_is_as_on_a_full_disk_until_its_head_is_freed() {
        let mut segments = segments();
        segments.limit_to(2 * SEGMENT_BYTES_MIN);
        assert_eq!(segments.poll_prepare(), Some(SegmentNumber(2)));
        segments.prepared(SegmentNumber(2));
        segments.roll(Lsn(50));
        assert!(segments.is_at_limit() && !segments.is_disk_full());
        assert_eq!(segments.poll_prepare(), None);
        assert!(segments.is_disk_full());
        segments.retry_prepare();
        assert_eq!(segments.poll_prepare(), None, "nothing is free yet");
        segments.free_head();
        segments.retry_prepare();
        assert_eq!(segments.poll_prepare(), Some(SegmentNumber(3)));
    }

    #[test]
    fn what_frees_a_log_at_its_limit_is_written_and_no_message_is() {
        let mut segments = segments();
        segments.limit_to(SEGMENT_BYTES_MIN);
        assert_eq!(segments.poll_prepare(), None);
        for number in 2..=3 {
            assert!(!segments.is_in_reserve() || segments.count() > 1);
            while !segments.must_roll() {
                segments.place(BATCH_BYTES_MAX as u32);
            }
            assert!(segments.is_in_reserve() && segments.is_limited());
            assert_eq!(segments.poll_prepare(), Some(SegmentNumber(number)), "the limit gives way");
            segments.prepared(SegmentNumber(number));
            segments.roll(Lsn(50 * number));
            assert!(segments.is_in_reserve(), "but for no message");
            assert_eq!(segments.poll_prepare(), None);
        }
        while !segments.must_roll() {
            segments.place(BATCH_BYTES_MAX as u32);
        }
        assert_eq!(segments.poll_prepare(), None, "it gives way so far and no further");
        segments.free_head();
        segments.free_head();
        segments.retry_prepare();
        assert_eq!(segments.poll_prepare(), Some(SegmentNumber(4)));
    }

    fn tail(segments: &[u64], append_at: u64) -> Tail {
        let facts = |number: &u64| SegmentFacts {
            number: SegmentNumber(*number),
            first_batch: BatchNumber(*number),
            first_lsn: Lsn(*number * 10),
            end_lsn: Lsn(*number * 10 + 10),
            file_bytes: SEGMENT_BYTES_MIN,
        };
        Tail {
            verdict: Verdict::Unclosed,
            log_id: Some(7),
            last_epoch: Epoch(1),
            last_nonce: 5,
            next_batch: BatchNumber(9),
            last_header_crc: 1,
            next_lsn: Lsn(77),
            segments: segments.iter().map(facts).collect(),
            active: SegmentNumber(segments.last().copied().unwrap_or(1)),
            append_at,
            closed: false,
            blank: Vec::new(),
            cut: None,
            in_flight: Vec::new(),
        }
    }

    #[test]
    fn a_log_goes_on_where_it_ended_or_in_a_new_segment() {
        let (segments, wanted) = Segments::of_tail(2 * SEGMENT_BYTES_MIN, &tail(&[3, 4], 4096));
        assert_eq!(
            (segments.active().number, segments.room(), wanted),
            (SegmentNumber(4), SEGMENT_BYTES_MIN - 4096, None)
        );
        assert_eq!(segments.head(), Segment { number: SegmentNumber(3), first_lsn: Lsn(30) });

        let full = SEGMENT_BYTES_MIN - BATCH_BYTES_MAX as u64;
        let (segments, wanted) = Segments::of_tail(SEGMENT_BYTES_MIN, &tail(&[3, 4], full));
        assert_eq!((segments.active().number, wanted), (SegmentNumber(4), None), "one batch fits");
        let (segments, wanted) = Segments::of_tail(2 * SEGMENT_BYTES_MIN, &tail(&[3, 4], full + 4096));
        assert_eq!(wanted, Some(SegmentNumber(5)));
        assert_eq!(segments.active(), Segment { number: SegmentNumber(5), first_lsn: Lsn(77) });
        assert!(
            segments.is_blank() && segments.room() == 2 * SEGMENT_BYTES_MIN,
            "new ones have the size of today"
        );

        let (segments, wanted) =
            Segments::of_tail(SEGMENT_BYTES_MIN, &Tail { next_lsn: Lsn(1), ..tail(&[], 0) });
        assert_eq!(wanted, Some(SegmentNumber(1)));
        assert_eq!(segments.active(), Segment { number: SegmentNumber(1), first_lsn: Lsn(1) });
    }
}
