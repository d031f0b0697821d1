//! All that was found where the batches of a log stop, and the conclusion from it.

use super::due::{Due, Found};
use super::look_ahead::LookAhead;
use super::tail::{SegmentFacts, Stretch, Tail};
use super::verdict::{After, Before, Corruption, Later, Place, Verdict, judge};
use crate::ids::{Lsn, SegmentNumber};

/// One file of a log, by its name and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// The number in its name.
    pub number: SegmentNumber,
    /// Its length.
    pub file_bytes: u64,
}

/// Why a log cannot be used. Nothing of it is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Something that was durable is damaged or gone.
    #[error("{0}")]
    Corrupt(Corrupt),
    /// A later version of this program wrote to the log.
    #[error("segment {segment} has a batch of format version {version} at offset {offset}")]
    NewerFormat {
        /// Which segment.
        segment: SegmentNumber,
        /// Where in it.
        offset: u64,
        /// The version.
        version: u16,
    },
    /// A segment of another log lies among those of this one.
    #[error("segment {segment} belongs to log {found:016x}, not to {expected:016x}")]
    ForeignSegment {
        /// Which segment.
        segment: SegmentNumber,
        /// The id of the log.
        expected: u64,
        /// The id in that segment.
        found: u64,
    },
}

/// Where durable bytes are damaged or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// How that is known.
    pub kind: Corruption,
    /// In which segment.
    pub segment: SegmentNumber,
    /// Where in it; everything before that is good.
    pub offset: u64,
    /// The records that cannot be read.
    pub affected: Affected,
}

/// Records that cannot be read, as far as that is known. Behind [`Affected::end`] there may be more damage: nobody
/// looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affected {
    /// The first.
    pub first: Option<Lsn>,
    /// The first after them that was seen again.
    pub end: Option<Lsn>,
}

impl std::fmt::Display for Affected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.first, self.end) {
            (Some(first), Some(end)) => write!(f, "records from {first} up to, not including, {end}"),
            (Some(first), None) => write!(f, "records from {first} on"),
            (None, Some(end)) => write!(f, "records before {end}"),
            (None, None) => write!(f, "an unknown number of records"),
        }
    }
}

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match self.kind {
            Corruption::DurableBatch => "a batch that was durable is damaged",
            Corruption::BrokenChain => "a batch does not follow the one before it",
            Corruption::SealedSegment => "a batch of a finished segment is damaged",
            Corruption::MissingSegment => "the segment's file is missing",
            Corruption::LostHead => "the oldest segment does not begin with a whole batch",
        };
        write!(f, "{how} in segment {} at offset {}: {}", self.segment, self.offset, self.affected)
    }
}

/// Where the batches stop: what is due does not lie here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// Which of the files.
    pub file: usize,
    /// Where in it.
    pub offset: u64,
    /// What lies there instead.
    pub found: Found,
}

/// What the next segment begins with, if that is not the batch that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextStart {
    pub found: Found,
    pub ahead: LookAhead,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    pub stop: Stop,
    pub rest: LookAhead,
    /// Not looked at when the next file has not the next number.
    pub next: Option<NextStart>,
    /// The first records seen in a segment after that.
    pub beyond: Option<Lsn>,
}

impl Evidence {
    pub fn new(stop: Stop) -> Evidence {
        Evidence { stop, rest: LookAhead::from(stop.offset), next: None, beyond: None }
    }

    /// Whether the batch that is due was written at the start of the next segment, and not here.
    ///
    /// A header that follows the last batch proves it. Without one, it is so if there is nothing here and something
    /// there; but not if that is a header of a later batch, for then the due one was written before it, here.
    fn due_in_next(&self) -> Option<NextStart> {
        let next = self.next?;
        let moved = match next.found {
            Found::Torn(_) => true,
            Found::Ahead(_) => false,
            Found::Misfit(_) | Found::Broken => self.is_nothing_here(),
            Found::Nothing | Found::Stale => {
                self.is_nothing_here() && (next.ahead.later().is_some() || next.ahead.has_remains())
            }
        };
        moved.then_some(next)
    }

    fn is_nothing_here(&self) -> bool {
        matches!(self.stop.found, Found::Nothing | Found::Stale) && self.rest.later().is_none()
    }

    /// Whether the next segment holds later batches although the due one is to be here.
    fn is_next_written(&self) -> bool {
        self.next.is_some_and(|next| {
            let begun = matches!(next.found, Found::Torn(_) | Found::Misfit(_) | Found::Ahead(_));
            begun || next.ahead.later().is_some()
        })
    }
}

fn before(due: &Due) -> Before {
    match due.last() {
        Some(last) if last.is_closing() => Before::Closed,
        Some(_) => Before::Open,
        None if due.is_origin() => Before::Origin,
        None => Before::Headless,
    }
}

fn place(before: Before, found: Found, ahead: &LookAhead) -> Place {
    match found {
        Found::Torn(_) | Found::Broken => Place::Bad,
        Found::Misfit(_) | Found::Ahead(_) => Place::Misfit,
        // Behind a closing batch nothing was in flight but the first batch of an opening that told nobody. What
        // lies there without a header is far more likely what the file held before.
        Found::Nothing | Found::Stale if before != Before::Closed && ahead.has_remains() => Place::Bad,
        Found::Nothing | Found::Stale => Place::Nothing,
    }
}

fn later(ahead: &LookAhead) -> Later {
    match (ahead.is_confirmed(), ahead.later()) {
        (true, _) => Later::Confirmed,
        (false, Some(_)) => Later::Unconfirmed,
        (false, None) => Later::None,
    }
}

/// What follows from the evidence.
pub(super) fn conclude(
    due: &Due,
    files: &[SegmentFile],
    segments: Vec<SegmentFacts>,
    evidence: &Evidence,
) -> Result<Tail, ScanError> {
    let moved = evidence.due_in_next();
    let (stop, ahead, written_after) = match &moved {
        Some(next) => {
            let stop = Stop { file: evidence.stop.file + 1, offset: 0, found: next.found };
            (stop, &next.ahead, evidence.beyond.is_some())
        }
        None => (evidence.stop, &evidence.rest, evidence.is_next_written() || evidence.beyond.is_some()),
    };
    let here = files[stop.file];
    let after = match files.get(stop.file + 1) {
        None => After::Absent,
        Some(next) if next.number != here.number.plus(1) => After::Missing,
        Some(_) if written_after => After::Written,
        Some(_) => After::Blank,
    };
    let before = before(due);
    let verdict = judge(before, place(before, stop.found, ahead), later(ahead), after).verdict;
    if let Verdict::Corrupt(kind) = verdict {
        let (segment, offset) = match kind {
            Corruption::MissingSegment => (here.number.plus(1), 0),
            _ => (here.number, stop.offset),
        };
        let affected = affected(due, &stop, ahead, evidence);
        return Err(ScanError::Corrupt(Corrupt { kind, segment, offset, affected }));
    }
    let torn = stretch(files[stop.file], stop.offset, ahead);
    let mut in_flight = vec![stretch(files[evidence.stop.file], evidence.stop.offset, &evidence.rest)];
    if moved.is_some() {
        in_flight.push(torn);
    }
    in_flight.retain(|stretch| stretch.bytes > 0 && verdict != Verdict::Clean);
    Ok(Tail {
        append_at: evidence.stop.offset,
        active: files[evidence.stop.file].number,
        blank: files[evidence.stop.file + 1..].iter().map(|file| file.number).collect(),
        cut: (verdict == Verdict::Torn).then_some(torn),
        in_flight,
        ..tail(due, segments, verdict)
    })
}

/// The tail of a log without a file, or with all that depends on files yet to be said.
pub(super) fn tail(due: &Due, segments: Vec<SegmentFacts>, verdict: Verdict) -> Tail {
    let (last_epoch, last_nonce) = due.last_opening();
    Tail {
        verdict,
        log_id: due.last().map(|last| last.log_id.get()),
        last_epoch,
        last_nonce,
        next_batch: due.number(),
        last_header_crc: due.last().map_or(0, |last| last.header_crc.get()),
        next_lsn: due.next_lsn(),
        segments,
        active: SegmentNumber(1),
        append_at: 0,
        closed: verdict == Verdict::Clean,
        blank: Vec::new(),
        cut: None,
        in_flight: Vec::new(),
    }
}

fn stretch(file: SegmentFile, offset: u64, ahead: &LookAhead) -> Stretch {
    let end = ahead.in_flight_end().min(file.file_bytes);
    Stretch { segment: file.number, offset, bytes: end.saturating_sub(offset) }
}

fn affected(due: &Due, stop: &Stop, ahead: &LookAhead, evidence: &Evidence) -> Affected {
    let is_moved = stop.file != evidence.stop.file;
    let next = evidence.next.filter(|_| !is_moved);
    let next_start = next.and_then(|next| match next.found {
        Found::Torn(header) | Found::Misfit(header) | Found::Ahead(header) => Some(header.first_lsn()),
        _ => None,
    });
    let due_header = if let Found::Torn(header) = stop.found { Some(header) } else { None };
    let first = if due.last().is_some() || due.is_origin() {
        Some(due.next_lsn())
    } else {
        due_header.map(|header| header.first_lsn())
    };
    let seen_again = ahead
        .later_lsn()
        .or(next_start)
        .or_else(|| next.and_then(|next| next.ahead.later_lsn()))
        .or(evidence.beyond)
        .or(due_header.map(|header| header.end_lsn()));
    Affected { first, end: seen_again }
}
