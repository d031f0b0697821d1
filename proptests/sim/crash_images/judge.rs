//! Each image is recovered by the code that ships, as the disk would do it, and cut again on the way.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use resolute::engine::state::State;
use resolute::ids::SegmentNumber;
use resolute::log::repair::RepairStep;
use resolute::log::tail::{Stretch, Tail};

use super::super::disk::{Files, SECTOR, scan};
use super::expected::{End, Expected};
use super::medium::Medium;
use super::writes::{Grain, Share, Undo, Write, each_cut};

/// What was looked at, by all threads.
#[derive(Default)]
pub struct Counts {
    pub workloads: AtomicU64,
    pub moments: AtomicU64,
    /// Images that crashes of workloads leave, as often as they come up.
    pub images: AtomicU64,
    /// Of a node that was killed: what the kernel has is shown, and is not yet on the disk.
    pub killed: AtomicU64,
    /// Images that crashes of recoveries leave, as often as they come up.
    pub second: AtomicU64,
    /// Of all these, the ones that are not the same.
    pub distinct: AtomicU64,
    /// Logs as recoveries leave them, each gone on with.
    pub recovered: AtomicU64,
}

impl Counts {
    pub fn line(&self) -> String {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "{} workloads, {} moments, {} images ({} of killed nodes), {} images of crashed recoveries; {} distinct images, \
             {} distinct recovered logs gone on with",
            of(&self.workloads),
            of(&self.moments),
            of(&self.images),
            of(&self.killed),
            of(&self.second),
            of(&self.distinct),
            of(&self.recovered)
        )
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    pub workloads: u64,
    pub images: u64,
    pub killed: u64,
    pub second: u64,
    pub recovered: u64,
}

impl Numbers {
    pub fn with(self, other: &Numbers) -> Numbers {
        Numbers {
            workloads: self.workloads + other.workloads,
            images: self.images + other.images,
            killed: self.killed + other.killed,
            second: self.second + other.second,
            recovered: self.recovered + other.recovered,
        }
    }
}

impl Counts {
    pub fn numbers(&self) -> Numbers {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Numbers {
            workloads: of(&self.workloads),
            images: of(&self.images),
            killed: of(&self.killed),
            second: of(&self.second),
            recovered: of(&self.recovered),
        }
    }
}

fn count(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// How far an image is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// It is recovered once.
    Found,
    /// Its recovery is crashed too, and the log that is left is gone on with.
    GoneOn,
}

pub struct Judge {
    pub counts: Counts,
    pub share: Share,
    known: Mutex<HashMap<u64, (End, Depth)>>,
    killed: Mutex<HashSet<u64>>,
    recovered: Mutex<HashSet<u64>>,
}

/// Takes a log that was recovered, and goes on with it.
pub type GoOn<'a> = &'a dyn Fn(&Files, &End);

fn recover(medium: &Medium) -> (Tail, State) {
    scan(medium.files()).unwrap_or_else(|error| {
        let segments: Vec<u64> = medium.files().keys().map(|number| number.0).collect();
        panic!("of what a crash left, segments {segments:?}, it is said: {error:?}")
    })
}

impl Judge {
    pub fn new(share: Share) -> Judge {
        Judge {
            counts: Counts::default(),
            share,
            known: Mutex::default(),
            killed: Mutex::default(),
            recovered: Mutex::default(),
        }
    }

    /// An image that a power cut left: what it shows is what there is.
    pub fn power_cut(&self, medium: &mut Medium, expected: &Expected<'_>, depth: Depth, go_on: GoOn<'_>) {
        count(&self.counts.images);
        let depth = if self.share.follows(medium.hash()) { depth } else { Depth::Found };
        if let Some((end, known)) = self.known(medium)
            && known >= depth
        {
            return expected.check_end(&end);
        }
        let (tail, state) = recover(medium);
        self.check(medium, expected, (&tail, &state), depth);
        if depth > Depth::Found {
            self.repair(medium, Vec::new(), &tail, expected, go_on);
        }
    }

    /// A node was killed, and its machine goes on: `pending` is shown, and may still be lost.
    pub fn killed(&self, medium: &mut Medium, pending: Vec<Write>, expected: &Expected<'_>, go_on: GoOn<'_>) {
        count(&self.counts.killed);
        let mut undo = Undo::default();
        let before = medium.hash();
        pending.iter().for_each(|write| undo.put_all(medium, write));
        let key = before.rotate_left(17) ^ medium.hash();
        let is_new = self.killed.lock().unwrap().insert(key);
        let (tail, state) = recover(medium);
        let end = End::of(&tail);
        expected.check_end(&end);
        if is_new {
            expected.check_state(&end, &state);
        }
        undo.undo(medium);
        if is_new {
            self.repair(medium, pending, &tail, expected, go_on);
        }
    }

    fn known(&self, medium: &Medium) -> Option<(End, Depth)> {
        self.known.lock().unwrap().get(&medium.hash()).copied()
    }

    fn check(&self, medium: &Medium, expected: &Expected<'_>, found: (&Tail, &State), depth: Depth) -> End {
        let end = End::of(found.0);
        expected.check_end(&end);
        expected.check_state(&end, found.1);
        let before = self.known.lock().unwrap().insert(medium.hash(), (end, depth));
        if before.is_none() {
            count(&self.counts.distinct);
        }
        end
    }

    /// An image that a crash of a recovery left. Nothing was spoken in between.
    fn second(&self, medium: &Medium, expected: &Expected<'_>, first: Option<&End>) {
        count(&self.counts.second);
        let end = match self.known(medium) {
            Some((end, _)) => end,
            None => {
                let (tail, state) = recover(medium);
                self.check(medium, expected, (&tail, &state), Depth::Found)
            }
        };
        expected.check_end(&end);
        assert!(
            first.is_none_or(|first| *first == end),
            "a recovery that crashed changed the end of the log"
        );
    }

    /// Does what the recovery that found `tail` does, and crashes it after each step.
    fn repair(
        &self,
        medium: &mut Medium,
        pending: Vec<Write>,
        tail: &Tail,
        expected: &Expected<'_>,
        go_on: GoOn<'_>,
    ) {
        let end = End::of(tail);
        // What is only shown may be lost, as long as the recovery has not made it durable.
        let first = pending.is_empty().then_some(&end);
        let mut repair = Repair { medium, pending, undo: Undo::default() };
        for step in tail.repair() {
            if !repair.step(step) {
                continue;
            }
            let pending = repair.pending.clone();
            each_cut(repair.medium, &pending, self.share, &mut |medium| self.second(medium, expected, first));
            if !pending.is_empty() {
                repair.killed_again(&end, expected);
            }
        }
        assert!(repair.pending.is_empty(), "a power cut takes back what a recovery found and speaks of");
        if self.recovered.lock().unwrap().insert(repair.medium.hash()) {
            count(&self.counts.recovered);
            self.names(repair.medium, tail, expected, &end);
            go_on(repair.medium.files(), &end);
        }
        repair.undo.undo(repair.medium);
    }

    /// Files that hold nothing of the log become spares, one after the other, the last one first.
    fn names(&self, medium: &Medium, tail: &Tail, expected: &Expected<'_>, end: &End) {
        let mut files = medium.files().clone();
        let is_used = |number: &SegmentNumber| tail.segments.iter().any(|segment| segment.number == *number);
        for number in medium.files().keys().rev().filter(|number| !is_used(number)) {
            files.remove(number);
            self.second(&Medium::new(files.clone()), expected, Some(end));
        }
    }
}

/// A recovery on its way.
struct Repair<'a> {
    /// What is durable.
    medium: &'a mut Medium,
    /// What is shown on top of that.
    pending: Vec<Write>,
    undo: Undo,
}

impl Repair<'_> {
    /// Does one step, and says whether anything is different now.
    fn step(&mut self, step: RepairStep) -> bool {
        match step {
            RepairStep::KeepAside(_) => false,
            RepairStep::MakeZeros(stretch) => {
                let write = self.zeros(stretch);
                let any = !write.sectors.is_empty();
                self.pending.extend(any.then_some(write));
                any
            }
            RepairStep::Sync(segment) => {
                let (synced, pending) =
                    std::mem::take(&mut self.pending).into_iter().partition(|write| write.segment == segment);
                self.pending = pending;
                let synced: Vec<Write> = synced;
                synced.iter().for_each(|write| self.undo.put_all(self.medium, write));
                !synced.is_empty()
            }
        }
    }

    /// Zeros, if anything else is shown; also over what is shown as zeros only for now.
    fn zeros(&mut self, Stretch { segment, offset, bytes }: Stretch) -> Write {
        const ZEROS: [u8; SECTOR] = [0; SECTOR];
        let others = |medium: &Medium| -> BTreeSet<usize> {
            let reach = &medium.files()[&segment][offset as usize..(offset + bytes) as usize];
            let others = reach.chunks(SECTOR).enumerate().filter(|(_, bytes)| *bytes != ZEROS);
            others.map(|(index, _)| offset as usize / SECTOR + index).collect()
        };
        let mut sectors = others(self.medium);
        let mut shown = sectors.clone();
        if !self.pending.is_empty() {
            let mut undo = Undo::default();
            self.pending.iter().for_each(|write| undo.put_all(self.medium, write));
            shown = others(self.medium);
            undo.undo(self.medium);
        }
        if shown.is_empty() {
            sectors.clear();
        }
        sectors.extend(shown);
        let sectors = sectors.into_iter().map(|sector| (sector, ZEROS)).collect();
        Write { segment, sectors, grain: Grain::ZEROS }
    }

    /// The recovery is killed here, and the next one sees all that was written.
    fn killed_again(&mut self, end: &End, expected: &Expected<'_>) {
        let mut undo = Undo::default();
        self.pending.iter().for_each(|write| undo.put_all(self.medium, write));
        let (tail, state) = recover(self.medium);
        undo.undo(self.medium);
        expected.check_state(&End::of(&tail), &state);
        assert_eq!(End::of(&tail), *end, "a recovery that was killed changed the end of the log");
        let mut next = Repair { medium: self.medium, pending: self.pending.clone(), undo: Undo::default() };
        for step in tail.repair() {
            next.step(step);
        }
        let left: BTreeSet<SegmentNumber> = next.pending.iter().map(|write| write.segment).collect();
        next.undo.undo(next.medium);
        assert!(left.is_empty(), "a power cut brings back what a recovery made zeros of, in {left:?}");
    }
}
