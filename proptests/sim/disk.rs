//! A disk of one node: prewritten and recycled segments, at most two writes in flight, a cache, and what a death leaves.
//!
//! What may happen to it is said in [`super::faults`]. Recovery is the shipped one: [`Scan`] decides, and what it wants is
//! done here in the order in which the shell does it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use resolute::engine::state::State;
use resolute::format::batch::BatchView;
use resolute::ids::{BatchNumber, Lsn, SegmentNumber};
use resolute::limits::{BLOCK_BYTES, SEGMENT_BYTES_MIN, SPARES_MAX};
use resolute::log::chunk::Chunk;
use resolute::log::index::Span;
use resolute::log::look_ahead::IN_FLIGHT_BYTES_MAX;
use resolute::log::place::BatchPlace;
use resolute::log::recovery::{Scan, ScanError, SegmentFile};
use resolute::log::repair::RepairStep;
use resolute::log::segments::Segments;
use resolute::log::tail::{Stretch, Tail};

use super::faults::Fault;
use super::left::{self, Cut};
use super::rng::Rng;
use super::tally::Tally;

/// What a disk writes whole or not at all.
pub const SECTOR: usize = 512;

/// How a node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its process does: what was given to the kernel goes on.
    Killed,
    /// Its machine does: what was not synced may be gone.
    PowerCut,
}

/// What one file holds. Copies of a disk share what they do not change.
pub type Content = Arc<Vec<u8>>;

/// The files of a log.
pub type Files = BTreeMap<SegmentNumber, Content>;

#[derive(Clone)]
pub struct Disk {
    pub segment_bytes: u64,
    /// As the kernel shows them.
    pub segments: Files,
    /// Files that were segments, as they were then.
    pub spares: Vec<Content>,
    pub in_flight: BTreeMap<BatchNumber, (BatchPlace, Vec<u8>)>,
    /// Of writes that were done in part, what was there before.
    in_part: BTreeMap<BatchNumber, Vec<u8>>,
    /// Writes that are done while an older one is not.
    overtook: BTreeSet<BatchNumber>,
    /// What a power cut may bring back in the place of what is shown: the sectors that nobody has synced.
    unsynced: BTreeMap<(SegmentNumber, usize), [u8; SECTOR]>,
    /// Where the next write to a segment may begin.
    free_from: BTreeMap<SegmentNumber, u64>,
    /// What has been asked of the prewriter since it last made a segment: it does one thing after the other, and nobody
    /// waits for it.
    pub names: Names,
}

/// Changes of names that a crash may find done or not.
#[derive(Clone, Default)]
pub struct Names {
    /// Segments that were freed, in their order.
    pub freed: Vec<(SegmentNumber, Content)>,
    /// The segment that is being made.
    pub made: Option<SegmentNumber>,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk::new(SEGMENT_BYTES_MIN)
    }
}

/// Makes of files where their log ends, and what it holds.
type Replay<S> = dyn Fn(&Files) -> Result<(Tail, S), ScanError>;

/// What a replay of a disk finds.
pub struct Recovered<S = State> {
    pub state: S,
    pub segments: Segments,
    pub last_batch: BatchNumber,
    pub previous_header_crc: u32,
    pub next_lsn: Lsn,
}

impl Disk {
    pub fn new(segment_bytes: u64) -> Disk {
        Disk {
            segment_bytes,
            segments: Files::new(),
            spares: Vec::new(),
            in_flight: BTreeMap::new(),
            in_part: BTreeMap::new(),
            overtook: BTreeSet::new(),
            unsynced: BTreeMap::new(),
            free_from: BTreeMap::new(),
            names: Names::default(),
        }
    }

    /// What the next segment's file holds before anything is written to it.
    pub fn next_file(&self) -> Content {
        self.spares.last().cloned().unwrap_or_else(|| Arc::new(vec![0; self.segment_bytes as usize]))
    }

    pub fn prepare(&mut self, number: SegmentNumber) {
        let file = self.next_file();
        self.spares.pop();
        self.names = Names::default();
        self.segments.insert(number, file);
        self.free_from.insert(number, 0);
    }

    pub fn free(&mut self, number: SegmentNumber) {
        let file = self.segments.remove(&number).expect("a segment is freed twice");
        self.unsynced.retain(|(segment, _), _| *segment != number);
        self.names.freed.push((number, file.clone()));
        if self.spares.len() < SPARES_MAX {
            self.spares.push(file);
        }
    }

    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    fn file_mut(&mut self, number: SegmentNumber) -> &mut Vec<u8> {
        Arc::make_mut(self.segments.get_mut(&number).unwrap())
    }

    pub fn begin_write(&mut self, batch: BatchNumber, place: BatchPlace, bytes: &[u8]) {
        let free_from = self.free_from.get_mut(&place.segment).unwrap();
        assert!(*free_from <= place.offset, "no block is written twice");
        *free_from = place.end();
        self.in_flight.insert(batch, (place, bytes.to_vec()));
        assert!(self.in_flight.len() <= 2);
    }

    /// The first blocks of a write are done. Says whether it has more than one.
    pub fn write_part(&mut self, batch: BatchNumber, rng: &mut Rng) -> bool {
        let (place, bytes) = self.in_flight[&batch].clone();
        let blocks = bytes.len() / BLOCK_BYTES;
        if blocks < 2 {
            return false;
        }
        let done = rng.between(1, blocks as u64 - 1) as usize * BLOCK_BYTES;
        let file = &mut self.file_mut(place.segment)[place.offset as usize..][..bytes.len()];
        let was = file.to_vec();
        file[..done].copy_from_slice(&bytes[..done]);
        self.in_part.entry(batch).or_insert(was);
        true
    }

    pub fn end_write(&mut self, batch: BatchNumber) {
        let (place, bytes) = self.in_flight.remove(&batch).unwrap();
        self.in_part.remove(&batch);
        let at = place.offset as usize;
        self.file_mut(place.segment)[at..at + bytes.len()].copy_from_slice(&bytes);
        self.overtook.insert(batch);
        let oldest = self.in_flight.keys().next().copied();
        self.overtook.retain(|batch| oldest.is_some_and(|oldest| oldest < *batch));
    }

    /// Bytes that reach the kernel's cache and, sector by sector or not at all, what is behind it.
    fn put_unsynced(&mut self, segment: SegmentNumber, offset: usize, bytes: &[u8]) {
        let Disk { segments, unsynced, .. } = self;
        let file = Arc::make_mut(segments.get_mut(&segment).unwrap());
        for (number, new) in bytes.chunks(SECTOR).enumerate() {
            let at = offset + number * SECTOR;
            let old = &mut file[at..at + SECTOR];
            // Invariant: all that is written is whole blocks.
            let was: [u8; SECTOR] = (&*old).try_into().unwrap();
            if was != new {
                unsynced.entry((segment, at / SECTOR)).or_insert(was);
                old.copy_from_slice(new);
            }
        }
    }

    fn sync(&mut self, segment: SegmentNumber) {
        self.unsynced.retain(|(of, _), _| *of != segment);
    }

    /// What is read is durable, so it is the same whenever the read ends; a segment that is freed meanwhile stays until
    /// nobody reads it.
    pub fn read(&self, span: &Span) -> Bytes {
        let at = span.offset as usize;
        Bytes::copy_from_slice(&self.segments[&span.segment][at..at + span.bytes as usize])
    }

    /// The node dies.
    pub fn crash(&mut self, death: Death, rng: &mut Rng, tally: &mut Tally) {
        tally.count(if death == Death::Killed { Fault::Killed } else { Fault::PowerCut });
        let mut cuts = Vec::new();
        for (batch, (place, bytes)) in std::mem::take(&mut self.in_flight) {
            let shown = &self.segments[&place.segment][place.offset as usize..][..bytes.len()];
            let was = self.in_part.remove(&batch).unwrap_or_else(|| shown.to_vec());
            // The kernel has the write, or has not got it yet.
            let is_begun = rng.chance(75);
            if is_begun {
                self.put_unsynced(place.segment, place.offset as usize, &bytes);
            }
            cuts.push(Cut { batch, place, bytes, was, is_begun });
        }
        if death == Death::PowerCut {
            self.lose_unsynced(&cuts, rng);
        }
        left::count(&cuts, &std::mem::take(&mut self.overtook), death, &self.segments, tally);
    }

    /// Of each write that was not done, and of what else was not synced, all is there, or nothing, or any sectors of it.
    fn lose_unsynced(&mut self, cuts: &[Cut], rng: &mut Rng) {
        let mut percent = || [0, 100, 50, 3, 97][rng.below(5) as usize];
        let (of_rest, of_cuts) = (percent(), cuts.iter().map(|_| percent()).collect::<Vec<_>>());
        for ((segment, sector), old) in std::mem::take(&mut self.unsynced) {
            let at = sector * SECTOR;
            let cut = cuts.iter().position(|cut| cut.place.segment == segment && cut.holds(at));
            if rng.chance(cut.map_or(of_rest, |cut| of_cuts[cut])) {
                self.file_mut(segment)[at..at + SECTOR].copy_from_slice(&old);
            }
        }
    }

    /// Opens the log, as the shell does: read, make zeros where writes may have been in flight, sync, and only then go on.
    /// `dies` says whether, and how, the node dies before the next step.
    pub fn recover(
        &mut self,
        rng: &mut Rng,
        tally: &mut Tally,
        dies: &mut dyn FnMut(&mut Rng) -> Option<Death>,
    ) -> Recovered {
        self.recover_as(rng, tally, dies, &scan)
    }

    /// The same for a log of another kind, of which `replay` makes what it holds.
    pub fn recover_as<S>(
        &mut self,
        rng: &mut Rng,
        tally: &mut Tally,
        dies: &mut dyn FnMut(&mut Rng) -> Option<Death>,
        replay: &Replay<S>,
    ) -> Recovered<S> {
        let mut before: Option<(Tail, Death)> = None;
        loop {
            let (tail, state) = replay(&self.segments)
                .unwrap_or_else(|error| panic!("a lawful disk is called damaged: {error:?}"));
            if let Some((before, death)) = &before {
                assert!(tail.next_batch <= before.next_batch, "what was cut is back");
                let ends = |tail: &Tail| (tail.next_batch, tail.next_lsn, tail.last_header_crc);
                assert!(
                    *death == Death::PowerCut || ends(&tail) == ends(before),
                    "a repair changed the tail"
                );
            }
            let Err(death) = self.repair(&tail, rng, dies) else { return self.found(&tail, state) };
            tally.count(Fault::DiedRecovering);
            self.crash(death, rng, tally);
            before = Some((tail, death));
        }
    }

    fn repair(
        &mut self,
        tail: &Tail,
        rng: &mut Rng,
        dies: &mut dyn FnMut(&mut Rng) -> Option<Death>,
    ) -> Result<(), Death> {
        let mut step = |rng: &mut Rng| dies(rng).map_or(Ok(()), Err);
        step(rng)?;
        for doing in tail.repair() {
            match doing {
                RepairStep::KeepAside(_) => {}
                RepairStep::MakeZeros(Stretch { segment, offset, bytes }) => {
                    self.put_unsynced(segment, offset as usize, &vec![0; bytes as usize]);
                }
                RepairStep::Sync(segment) => self.sync(segment),
            }
            step(rng)?;
        }
        Ok(())
    }

    fn found<S>(&mut self, tail: &Tail, state: S) -> Recovered<S> {
        let is_used = |number: &SegmentNumber| tail.segments.iter().any(|segment| segment.number == *number);
        let unused: Vec<SegmentNumber> =
            self.segments.keys().copied().filter(|number| !is_used(number)).collect();
        // As the shell does it: the last one first, for a gap would be taken for a segment that is lost.
        unused.into_iter().rev().for_each(|number| self.free(number));
        self.names = Names::default();
        self.free_from.insert(tail.active, tail.append_at);
        let (segments, wanted) = Segments::of_tail(self.segment_bytes, tail);
        if let Some(number) = wanted {
            self.prepare(number);
        }
        Recovered {
            state,
            segments,
            last_batch: BatchNumber(tail.next_batch.0 - 1),
            previous_header_crc: tail.last_header_crc,
            next_lsn: tail.next_lsn,
        }
    }
}

/// Reads a log with the shipped scan, and replays it. `Err` if it is refused.
pub fn scan(files: &Files) -> Result<(Tail, State), ScanError> {
    let (mut state, mut applied) = (State::default(), Vec::new());
    let tail = read(files, &mut |place, view| {
        let at = place.offset as usize;
        let batch = &files[&place.segment][at..at + place.bytes as usize];
        let chunk = Chunk::read_back(Bytes::copy_from_slice(batch), view.header.first_lsn()).unwrap();
        state.apply_batch(place, &chunk, &mut applied).unwrap();
        applied.clear();
    })?;
    Ok((tail, state))
}

/// Reads a log with the shipped scan, batch by batch.
pub fn read(files: &Files, on_batch: &mut dyn FnMut(BatchPlace, &BatchView<'_>)) -> Result<Tail, ScanError> {
    let list = files.iter();
    let list = list.map(|(number, file)| SegmentFile { number: *number, file_bytes: file.len() as u64 });
    let mut scan = Scan::new(list.collect(), IN_FLIGHT_BYTES_MAX as usize);
    while let Some(window) = scan.wanted() {
        let at = window.offset as usize;
        let bytes = &files[&window.segment][at..at + window.bytes];
        let shown = scan.show::<std::convert::Infallible>(bytes, &mut |place, view| {
            on_batch(place, view);
            Ok(())
        });
        shown.unwrap();
    }
    scan.finish()
}
