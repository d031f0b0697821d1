//! Reading what is still good of a log that is damaged, without a file: what to look at next is asked for, what is
//! there is shown, and everything that was lost is named.
//!
//! Recovery ([`super::recovery`]) stops at the first damage, for a node that goes on must know all that its log said. Here
//! nothing goes on: whatever can be told to be a record of this log, as it was written, is handed out, and nothing else.
//!
//! First it is looked at how each file begins: that is a batch of this log, whoever's messages are in it, so most of these
//! headers have the log's id. It is random and told to nobody, so no message can hold a batch that would be taken for one of
//! the log, but one that was there before. Where names and headers contradict each other, files go by their headers.
//!
//! A batch counts where its header is whole, names this log and this segment, and has a higher number than the batches
//! before it: what a recycled file held earlier names another segment, and a copy of a batch inside of a message is older
//! than the message. Where a batch is due and its header has one bit flipped, the header before it proves what it was. Where
//! more of the header of a single batch is lost, its neighbours say how many records it had. The records of a batch that is
//! not whole are those of [`super::damaged_batch`].

use std::collections::BTreeMap;

use super::damaged_batch::{self, Promised, Salvaged};
use super::recovery::{SegmentFile, Window};
use super::sighting::Sighting;
use crate::format::batch::{BATCH_HEADER_BYTES, BatchHeader, BatchView};
use crate::ids::{BatchNumber, Lsn, LsnRange, SegmentNumber};
use crate::limits::{BATCH_BYTES_MAX, BLOCK_BYTES};

/// Something that is damaged, or not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// In which segment.
    pub segment: SegmentNumber,
    /// Where the batch begins, or should.
    pub offset: u64,
    /// What it is.
    pub kind: DamageKind,
    /// The records that are not to be had, in order; none if it is not known which.
    pub lost: Vec<LsnRange>,
}

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// A batch is there, and not as it was written. If no record is lost, it was nothing that any record needs.
    Batch,
    /// Where batches should be, there are none.
    Gone,
    /// The segment's file is missing, or those of several in a row.
    Missing,
    /// The batch is whole, and yet it was not written after the one before it.
    Misfit,
    /// The file begins with a batch of another segment than its name says.
    Misnamed,
    /// The file begins with a batch of another log.
    Foreign,
}

/// What a salvage comes upon, in the order of the log.
#[derive(Debug)]
pub enum Found<'a> {
    /// A record, whole.
    Record(Salvaged<'a>),
    /// Damage.
    Damage(Damage),
}

/// A later version of this program wrote to the log: it would be taken for damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment} has a batch of format version {version} at offset {offset}")]
pub struct NewerFormat {
    /// Which segment.
    pub segment: SegmentNumber,
    /// Where in it.
    pub offset: u64,
    /// The version.
    pub version: u16,
}

/// A place where the next batch is not, though it may have been.
#[derive(Clone, Debug)]
struct Candidate {
    segment: SegmentNumber,
    offset: u64,
    /// A damaged header is there.
    is_broken: bool,
    /// What is there, up to the largest batch.
    bytes: Vec<u8>,
}

/// The reading of one log. See the module.
#[derive(Clone, Debug)]
pub struct Salvage {
    /// In the order in which they are read, each under the number of the segment that it holds.
    files: Vec<Held>,
    window_bytes: u64,
    /// How the files that were looked at begin, as long as not all were.
    starts: Option<Vec<Option<BatchHeader>>>,
    log_id: Option<u64>,
    file: usize,
    offset: u64,
    last: Option<BatchHeader>,
    /// Where the batch after the last one is not: behind it, or at the start of the next segment. More are of no use:
    /// if neither it is, more than one batch is gone.
    gap: Vec<Candidate>,
    missing: Option<SegmentNumber>,
    newer: Option<NewerFormat>,
}

/// A file, and the segment that it is taken to hold.
#[derive(Clone, Copy, Debug)]
struct Held {
    file: SegmentFile,
    segment: SegmentNumber,
}

type OnFound<'a> = &'a mut dyn FnMut(Found<'_>);

impl Salvage {
    /// A salvage from the files, which are in the order of their numbers, in windows of at most `window_bytes`.
    ///
    /// Panics if a window could not hold a batch, or if the files are not in order.
    #[must_use]
    pub fn new(files: Vec<SegmentFile>, window_bytes: usize) -> Salvage {
        assert!(window_bytes >= BATCH_BYTES_MAX);
        assert!(files.windows(2).all(|pair| pair[0].number < pair[1].number));
        let files: Vec<Held> = files.into_iter().map(|file| Held { file, segment: file.number }).collect();
        Salvage {
            files,
            window_bytes: window_bytes as u64,
            starts: Some(Vec::new()),
            log_id: None,
            file: 0,
            offset: 0,
            last: None,
            gap: Vec::new(),
            missing: None,
            newer: None,
        }
    }

    /// What must be shown next; nothing at the end.
    #[must_use]
    pub fn wanted(&self) -> Option<Window> {
        if self.newer.is_some() {
            return None;
        }
        if let Some(starts) = &self.starts
            && let Some(Held { file, .. }) = self.files.get(starts.len())
        {
            let bytes = file.file_bytes.min(BATCH_HEADER_BYTES as u64);
            return Some(Window { segment: file.number, offset: 0, bytes: bytes as usize });
        }
        let Held { file: SegmentFile { number, file_bytes }, .. } = *self.files.get(self.file)?;
        let bytes = file_bytes.saturating_sub(self.offset).min(self.window_bytes);
        Some(Window { segment: number, offset: self.offset, bytes: bytes as usize })
    }

    /// Notes how a file begins. After the last it is known which log it is, and what each file holds.
    fn see_start(&mut self, bytes: &[u8], on_found: OnFound<'_>) -> bool {
        let Some(starts) = &mut self.starts else { return false };
        starts.push(match Sighting::of(bytes) {
            Sighting::Header(header) => Some(header),
            _ => BatchHeader::with_one_bit_mended(bytes),
        });
        if starts.len() == self.files.len() {
            let starts = self.starts.take().unwrap_or_default();
            self.log_id = log_id(&starts);
            self.sort_out(&starts, on_found);
        }
        true
    }

    /// Leaves out files of other logs, and has the others go by their headers if their names cannot be right: a recycled file
    /// that was not yet written to begins with an older segment than its name says, and never with a later one.
    fn sort_out(&mut self, starts: &[Option<BatchHeader>], on_found: OnFound<'_>) {
        let mut damage = |file: &SegmentFile, kind| {
            on_found(Found::Damage(Damage { segment: file.number, offset: 0, kind, lost: Vec::new() }));
        };
        let log_id = self.log_id;
        let mut known: Vec<(Held, Option<SegmentNumber>)> = Vec::new();
        for (held, start) in self.files.iter().zip(starts) {
            match start {
                Some(header) if Some(header.log_id.get()) != log_id => {
                    damage(&held.file, DamageKind::Foreign);
                }
                start => known.push((*held, start.map(|header| header.segment()))),
            }
        }
        let is_as_named = |(held, begins): &(Held, Option<SegmentNumber>)| *begins == Some(held.segment);
        let is_later = |(held, begins): &(Held, Option<SegmentNumber>)| *begins > Some(held.segment);
        let is_any_begun = known.iter().any(|(_, begins)| begins.is_some());
        if is_any_begun && (known.iter().any(is_later) || !known.iter().any(is_as_named)) {
            for (held, begins) in &mut known {
                if let Some(begins) = begins.filter(|begins| *begins != held.segment) {
                    damage(&held.file, DamageKind::Misnamed);
                    held.segment = begins;
                }
            }
            known.sort_by_key(|(held, _)| held.segment);
        }
        self.files = known.into_iter().map(|(held, _)| held).collect();
    }

    /// Shows the bytes of the window that is wanted; zeros where they cannot be read.
    pub fn show(&mut self, bytes: &[u8], on_found: OnFound<'_>) {
        let window = self.wanted();
        assert!(window.is_some_and(|window| window.bytes == bytes.len()));
        if self.see_start(bytes, on_found) {
            return;
        }
        let Held { file: SegmentFile { file_bytes, .. }, segment: number } = self.files[self.file];
        let is_last_window = self.offset + bytes.len() as u64 == file_bytes;
        let mut at = 0;
        while at < bytes.len() && (is_last_window || bytes.len() - at >= BATCH_BYTES_MAX) {
            at += self.see(number, self.offset + at as u64, &bytes[at..], on_found);
        }
        if is_last_window && at >= bytes.len() {
            self.next_file();
        } else {
            self.offset += at as u64;
        }
    }

    /// Says what is missing at the end, once nothing is wanted any more.
    pub fn finish(mut self, on_found: OnFound<'_>) -> Result<(), NewerFormat> {
        assert!(self.wanted().is_none(), "the salvage is not through");
        if let Some(newer) = self.newer {
            return Err(newer);
        }
        let gap = std::mem::take(&mut self.gap);
        // Behind the last batch there may be anything that files held before. Only a header says that there was more.
        let is_later = |candidate: &&Candidate| {
            let mended = BatchHeader::with_one_bit_mended(&candidate.bytes);
            let last = self.last.map_or(BatchNumber(0), |last| last.number());
            candidate.is_broken && mended.is_none_or(|header| header.number() > last)
        };
        if let Some(Candidate { segment, offset, .. }) = gap.iter().find(is_later) {
            let kind = DamageKind::Gone;
            on_found(Found::Damage(Damage { segment: *segment, offset: *offset, kind, lost: Vec::new() }));
        }
        Ok(())
    }

    fn next_file(&mut self) {
        let number = self.files[self.file].segment;
        (self.file, self.offset) = (self.file + 1, 0);
        if self.files.get(self.file).is_some_and(|next| next.segment > number.plus(1)) {
            self.missing.get_or_insert(number.plus(1));
        }
    }

    /// Takes in what begins at `offset`, and says how many bytes further the next block worth a look is.
    fn see(&mut self, segment: SegmentNumber, offset: u64, bytes: &[u8], on_found: OnFound<'_>) -> usize {
        let (is_due, sighting) = (self.is_due(segment), Sighting::of(bytes));
        let header = match sighting {
            Sighting::Header(header) if self.is_next(segment, &header, bytes) => Some(header),
            _ if is_due => self.mended(segment, bytes),
            _ => None,
        };
        let Some(header) = header else {
            if let Sighting::Newer(version) = sighting
                && is_due
            {
                self.newer.get_or_insert(NewerFormat { segment, offset, version });
            } else if is_due && self.gap.len() < 2 {
                let bytes = bytes[..bytes.len().min(BATCH_BYTES_MAX)].to_vec();
                let is_broken = sighting == Sighting::Broken;
                self.gap.push(Candidate { segment, offset, is_broken, bytes });
            }
            return BLOCK_BYTES;
        };
        self.log_id.get_or_insert(header.log_id.get());
        self.close_gap(&header, on_found);
        self.batch(segment, offset, &header, bytes, on_found);
        self.last = Some(header);
        header.batch_bytes.get() as usize
    }

    /// The header of the batch that is due, if it has one bit flipped.
    fn mended(&self, segment: SegmentNumber, bytes: &[u8]) -> Option<BatchHeader> {
        let header = BatchHeader::with_one_bit_mended(bytes)?;
        let follows = self.last.is_none_or(|last| {
            header.number() == last.number().plus(1) && header.previous_header_crc == last.header_crc
        });
        (follows && self.is_next(segment, &header, bytes)).then_some(header)
    }

    /// Whether the batch after the last one could be at the place that is looked at: the first of its segment that is.
    fn is_due(&self, segment: SegmentNumber) -> bool {
        self.gap.last().is_none_or(|candidate| candidate.segment != segment)
    }

    fn is_next(&self, segment: SegmentNumber, header: &BatchHeader, bytes: &[u8]) -> bool {
        let is_of_log =
            self.log_id.map_or_else(|| is_followed(header, bytes), |id| header.log_id.get() == id);
        header.segment() == segment
            && is_of_log
            && self.last.is_none_or(|last| {
                header.number() > last.number()
                    && header.first_lsn() >= last.end_lsn()
                    && header.epoch.get() >= last.epoch.get()
            })
    }

    /// The number and the first record of the batch after the last one; unknown where the beginning of the log is.
    fn due(&self) -> Option<(BatchNumber, Lsn)> {
        match (&self.last, self.files.first()) {
            (Some(last), _) => Some((last.number().plus(1), last.end_lsn())),
            (None, Some(Held { segment: SegmentNumber(1), .. })) => Some((BatchNumber(1), Lsn(1))),
            _ => None,
        }
    }

    /// Says what is lost between the last batch and this one, if there was something.
    fn close_gap(&mut self, next: &BatchHeader, on_found: OnFound<'_>) {
        let gap = std::mem::take(&mut self.gap);
        let missing = self.missing.take();
        let due = self.due();
        if due.map_or(gap.is_empty(), |(number, _)| number == next.number()) {
            return;
        }
        let is_one_batch = due.is_none_or(|(number, _)| number.plus(1) == next.number()) && missing.is_none();
        let between = |candidate: &Candidate| {
            // What is left of a log may begin with any number. Its first record knows it.
            let first =
                due.map(|(_, first)| first).or_else(|| damaged_batch::first_lsn(candidate.records()))?;
            let count = next.first_lsn().0.checked_sub(first.0)?.try_into().ok()?;
            Some(Promised { first, count, records_crc: None, is_verified: false })
        };
        let holder = gap.iter().filter(|_| is_one_batch).find_map(|candidate| {
            let promised = between(candidate)?;
            damaged_batch::begins(candidate.records(), promised).then_some((candidate, promised))
        });
        if let Some((candidate, promised)) = holder {
            let on_record = &mut |record: Salvaged<'_>| on_found(Found::Record(record));
            let lost = damaged_batch::salvage(candidate.records(), promised, on_record);
            let Candidate { segment, offset, .. } = *candidate;
            return on_found(Found::Damage(Damage { segment, offset, kind: DamageKind::Batch, lost }));
        }
        let place = gap.iter().find(|candidate| candidate.is_broken).or(gap.first());
        let (segment, offset) = match (missing, place) {
            (Some(segment), _) => (segment, 0),
            (None, Some(place)) => (place.segment, place.offset),
            (None, None) => (next.segment(), self.offset),
        };
        let kind = if missing.is_some() { DamageKind::Missing } else { DamageKind::Gone };
        let first = due.map(|(_, first)| first).filter(|first| *first < next.first_lsn());
        let lost = first.map(|first| LsnRange { first, count: next.first_lsn().since(first) });
        on_found(Found::Damage(Damage { segment, offset, kind, lost: lost.into_iter().collect() }));
    }

    fn batch(
        &self,
        segment: SegmentNumber,
        offset: u64,
        header: &BatchHeader,
        bytes: &[u8],
        on_found: OnFound<'_>,
    ) {
        let records_bytes = header.records_bytes.get() as usize;
        let behind = &bytes[BATCH_HEADER_BYTES.min(bytes.len())..];
        let records = &behind[..behind.len().min(records_bytes)];
        let promised = Promised {
            first: header.first_lsn(),
            count: header.record_count.get(),
            records_crc: Some(header.records_crc.get()),
            is_verified: BatchView::parse_verified(bytes).is_ok(),
        };
        let lost = damaged_batch::salvage(records, promised, &mut |record| on_found(Found::Record(record)));
        if !promised.is_verified {
            return on_found(Found::Damage(Damage { segment, offset, kind: DamageKind::Batch, lost }));
        }
        let follows = self.last.is_none_or(|last| {
            header.number() != last.number().plus(1) || header.previous_header_crc == last.header_crc
        });
        if !follows {
            on_found(Found::Damage(Damage { segment, offset, kind: DamageKind::Misfit, lost }));
        }
    }
}

/// Whether another batch follows at once and says so: where no file begins with a header, that is all there is to go by.
fn is_followed(header: &BatchHeader, bytes: &[u8]) -> bool {
    let behind = bytes.get(header.batch_bytes.get() as usize..).unwrap_or_default();
    matches!(Sighting::of(behind), Sighting::Header(next) if next.previous_header_crc == header.header_crc)
}

/// The id that most headers have; of those that as many have, the one of the newest batch.
fn log_id(starts: &[Option<BatchHeader>]) -> Option<u64> {
    let mut ids: BTreeMap<u64, (usize, BatchNumber)> = BTreeMap::new();
    for header in starts.iter().flatten() {
        let (count, newest) = ids.entry(header.log_id.get()).or_insert((0, BatchNumber(0)));
        (*count, *newest) = (*count + 1, header.number().max(*newest));
    }
    ids.into_iter().max_by_key(|(_, votes)| *votes).map(|(id, _)| id)
}

impl Candidate {
    /// Where the records of a batch would be.
    fn records(&self) -> &[u8] {
        self.bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default()
    }
}
