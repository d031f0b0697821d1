//! Reading a log back from its segments, without a file: what to look at next is asked for, what is there is shown.
//!
//! ```text
//! walk ──not the batch that is due──▶ next segment's start ──not there either──▶ rest of the segment
//!   ▲                                        │                                       │
//!   └────────────── it is ───────────────────┘            first blocks of the others ◀┘ ──▶ the verdict
//! ```
//!
//! Segments are read in order and each batch is verified to its last record before anyone sees it. Only a place
//! where the next batch is not leads to the look ahead: once, at the end of the log or at its first damage. The
//! whole rest of that segment is looked through, not only what may have been in flight: were more than that much
//! destroyed, the batches behind it are the only witnesses that there is something to lose.

use super::due::{Due, Found, Look};
use super::evidence::{Evidence, NextStart, Stop, conclude, tail};
use super::look_ahead::{IN_FLIGHT_BYTES_MAX, LookAhead};
use super::place::BatchPlace;
use super::sighting::Sighting;
use super::tail::{SegmentFacts, Tail};
use super::verdict::Verdict;
use crate::format::batch::{BatchHeader, BatchView};
use crate::ids::SegmentNumber;
use crate::limits::BATCH_BYTES_MAX;

pub use super::evidence::{Affected, Corrupt, ScanError, SegmentFile};

/// Bytes of a segment that are to be shown next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which segment.
    pub segment: SegmentNumber,
    /// Where in its file.
    pub offset: u64,
    /// How many bytes; may be 0 where the file is empty.
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Walk { file: usize, offset: u64 },
    Next,
    Rest,
    Beyond { file: usize },
    Done,
}

/// The reading of one log. See the module.
///
/// As long as [`Scan::wanted`] names a window, its bytes are given to [`Scan::show`]; then [`Scan::finish`] says
/// what the log is.
#[derive(Clone, Debug)]
pub struct Scan {
    files: Vec<SegmentFile>,
    window_bytes: u64,
    due: Due,
    segments: Vec<SegmentFacts>,
    evidence: Option<Evidence>,
    refusal: Option<ScanError>,
    phase: Phase,
}

impl Scan {
    /// A scan of the files, which are in the order of their numbers, in windows of at most `window_bytes`.
    ///
    /// Panics if a window could not hold what may be in flight, or if the files are not in order.
    #[must_use]
    pub fn new(files: Vec<SegmentFile>, window_bytes: usize) -> Scan {
        assert!(window_bytes as u64 >= IN_FLIGHT_BYTES_MAX);
        assert!(files.windows(2).all(|pair| pair[0].number < pair[1].number));
        let head = files.first().map_or(SegmentNumber(1), |file| file.number);
        let phase = if files.is_empty() { Phase::Done } else { Phase::Walk { file: 0, offset: 0 } };
        Scan {
            files,
            window_bytes: window_bytes as u64,
            due: Due::first(head),
            segments: Vec::new(),
            evidence: None,
            refusal: None,
            phase,
        }
    }

    /// What must be shown next; nothing once the verdict stands.
    #[must_use]
    pub fn wanted(&self) -> Option<Window> {
        let stop = self.evidence.map(|evidence| evidence.stop);
        let (file, offset) = match (self.phase, stop, self.evidence) {
            (Phase::Walk { file, offset }, _, _) => (file, offset),
            (Phase::Next, Some(stop), _) => (stop.file + 1, 0),
            (Phase::Rest, Some(stop), Some(evidence)) => (stop.file, evidence.rest.at()),
            (Phase::Beyond { file }, _, _) => (file, 0),
            _ => return None,
        };
        let SegmentFile { number, file_bytes } = self.files[file];
        let bytes = file_bytes.saturating_sub(offset).min(self.window_bytes);
        Some(Window { segment: number, offset, bytes: bytes as usize })
    }

    /// Shows the bytes of the window that is wanted. Every batch in them is handed to `on_batch`, in order; if that
    /// fails, the scan is of no further use.
    pub fn show<E>(
        &mut self,
        bytes: &[u8],
        on_batch: &mut dyn FnMut(BatchPlace, &BatchView<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        assert!(self.wanted().is_some_and(|window| window.bytes == bytes.len()));
        match self.phase {
            Phase::Walk { file, offset } => self.walk(file, offset, bytes, on_batch)?,
            Phase::Next => self.next_start(bytes, on_batch)?,
            Phase::Rest => self.see_rest(bytes),
            Phase::Beyond { file } => self.see_beyond(file, bytes),
            Phase::Done => {}
        }
        Ok(())
    }

    /// What the log is, once nothing is wanted any more.
    pub fn finish(self) -> Result<Tail, ScanError> {
        assert!(self.wanted().is_none(), "the scan is not through");
        match (self.refusal, self.evidence) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(evidence)) => conclude(&self.due, &self.files, self.segments, &evidence),
            (None, None) => Ok(tail(&self.due, self.segments, Verdict::Fresh)),
        }
    }

    fn walk<E>(
        &mut self,
        file: usize,
        offset: u64,
        bytes: &[u8],
        on_batch: &mut dyn FnMut(BatchPlace, &BatchView<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let SegmentFile { number, file_bytes } = self.files[file];
        let is_last_window = offset + bytes.len() as u64 == file_bytes;
        let mut at = 0;
        while is_last_window || bytes.len() - at >= BATCH_BYTES_MAX {
            let here = offset + at as u64;
            let found = match self.due.look(number, &bytes[at..]) {
                Look::Whole(view) => {
                    let place =
                        BatchPlace { segment: number, offset: here, bytes: view.header.batch_bytes.get() };
                    on_batch(place, &view)?;
                    self.passed(file, view.header);
                    at += place.bytes as usize;
                    continue;
                }
                Look::Else(found) => found,
                // Deep in a segment this is part of a message that was here in an earlier life of the file.
                Look::Foreign(_) if here > 0 => Found::Nothing,
                Look::Foreign(log_id) => {
                    self.refuse_foreign(number, log_id);
                    return Ok(());
                }
                Look::Newer(version) => {
                    self.refuse_newer(number, here, version);
                    return Ok(());
                }
            };
            self.stopped(Stop { file, offset: here, found });
            return Ok(());
        }
        self.phase = Phase::Walk { file, offset: offset + at as u64 };
        Ok(())
    }

    fn passed(&mut self, file: usize, header: &BatchHeader) {
        self.due = self.due.after(header);
        let SegmentFile { number, file_bytes } = self.files[file];
        match self.segments.last_mut() {
            Some(segment) if segment.number == number => segment.end_lsn = header.end_lsn(),
            _ => self.segments.push(SegmentFacts {
                number,
                first_batch: header.number(),
                first_lsn: header.first_lsn(),
                end_lsn: header.end_lsn(),
                file_bytes,
            }),
        }
    }

    fn stopped(&mut self, stop: Stop) {
        self.evidence = Some(Evidence::new(stop));
        let here = self.files[stop.file].number;
        let goes_on = self.files.get(stop.file + 1).is_some_and(|next| next.number == here.plus(1));
        if goes_on { self.phase = Phase::Next } else { self.rest_or_beyond() }
    }

    /// The end of a segment is known by the batch that is due lying at the start of the next one: then it does not
    /// matter what else lies behind the last batch of the old one.
    fn next_start<E>(
        &mut self,
        bytes: &[u8],
        on_batch: &mut dyn FnMut(BatchPlace, &BatchView<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(evidence) = &mut self.evidence else { return Ok(()) };
        let file = evidence.stop.file + 1;
        let number = self.files[file].number;
        let found = match self.due.look(number, bytes) {
            Look::Whole(_) => {
                self.evidence = None;
                return self.walk(file, 0, bytes, on_batch);
            }
            Look::Else(found) => found,
            Look::Newer(version) => {
                self.refuse_newer(number, 0, version);
                return Ok(());
            }
            Look::Foreign(log_id) => {
                self.refuse_foreign(number, log_id);
                return Ok(());
            }
        };
        let mut ahead = LookAhead::from(0);
        ahead.see(&self.due, 0, bytes);
        evidence.next = Some(NextStart { found, ahead });
        match ahead.newer() {
            Some((offset, version)) => self.refuse_newer(number, offset, version),
            None => self.rest_or_beyond(),
        }
        Ok(())
    }

    fn see_rest(&mut self, bytes: &[u8]) {
        let Some(evidence) = &mut self.evidence else { return };
        let offset = evidence.rest.at();
        evidence.rest.see(&self.due, offset, bytes);
        let number = self.files[evidence.stop.file].number;
        match evidence.rest.newer() {
            Some((offset, version)) => self.refuse_newer(number, offset, version),
            None => self.rest_or_beyond(),
        }
    }

    fn see_beyond(&mut self, file: usize, bytes: &[u8]) {
        let number = self.files[file].number;
        let mut ahead = LookAhead::from(0);
        ahead.see(&self.due, 0, bytes);
        let start = match Sighting::of(bytes) {
            Sighting::Header(header) if self.due.is_foreign(&header) => {
                return self.refuse_foreign(number, header.log_id.get());
            }
            Sighting::Header(header) if header.number() >= self.due.number() => Some(header.first_lsn()),
            _ => None,
        };
        if let Some((offset, version)) = ahead.newer() {
            return self.refuse_newer(number, offset, version);
        }
        let seen = start.or(ahead.later_lsn());
        if let Some(evidence) = &mut self.evidence {
            evidence.beyond = seen;
        }
        self.beyond_or_done(if seen.is_some() { self.files.len() } else { file + 1 });
    }

    fn rest_or_beyond(&mut self) {
        let Some(evidence) = &self.evidence else { return };
        if evidence.rest.at() < self.files[evidence.stop.file].file_bytes {
            self.phase = Phase::Rest;
        } else {
            let looked_at = usize::from(evidence.next.is_some());
            self.beyond_or_done(evidence.stop.file + 1 + looked_at);
        }
    }

    fn beyond_or_done(&mut self, file: usize) {
        self.phase = if file < self.files.len() { Phase::Beyond { file } } else { Phase::Done };
    }

    fn refuse_newer(&mut self, segment: SegmentNumber, offset: u64, version: u16) {
        self.refuse(ScanError::NewerFormat { segment, offset, version });
    }

    fn refuse_foreign(&mut self, segment: SegmentNumber, found: u64) {
        let expected = self.due.last().map_or(0, |last| last.log_id.get());
        self.refuse(ScanError::ForeignSegment { segment, expected, found });
    }

    fn refuse(&mut self, refusal: ScanError) {
        self.refusal = Some(refusal);
        self.phase = Phase::Done;
    }
}
