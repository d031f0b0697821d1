//! Maps and queues on a disk that does as a seed says: killed, or without power, at any moment, also while they recover, and
//! while their oldest segment is looked through. Writes fail or are done in part, and there is no room for the next segment.
//!
//! What a crash leaves must be what the store held after one of its changes, and no earlier one than the last that was durable.

use std::collections::BTreeMap;
use std::fmt::Debug;

use resolute::format::entry::{Entry, Place};
use resolute::format::record::{RECORD_HEADER_BYTES, RecordKind, Records};
use resolute::ids::{BatchNumber, Epoch, Lsn};
use resolute::limits::{BATCH_BYTES_MAX, DISK_FULL_RETRY_MS};
use resolute::log::batch_builder::BatchBuilder;
use resolute::log::group_commit::{GroupCommit, LogPosition};
use resolute::log::index::{LogIndex, Span};
use resolute::log::recovery::ScanError;
use resolute::log::sealing::SealPermit;
use resolute::log::tail::Tail;
use resolute::store::contents::{Contents, apply_record};
use resolute::store::map::MapContents;
use resolute::store::queue::QueueContents;
use resolute::store::store_log::{StoreEvent, StoreLog};
use resolute::time::Monotonic;

use super::disk::{Death, Disk, Files, Recovered, read};
use super::faults::Fault;
use super::rng::Rng;
use super::tally::Tally;

struct Up<C> {
    log: StoreLog,
    builder: BatchBuilder,
    buffer: Vec<u8>,
    contents: C,
    /// Reads, with what they will bring.
    reads: Vec<(Span, Vec<u8>)>,
    /// Segments that are being made.
    making: Vec<resolute::ids::SegmentNumber>,
}

/// What the store held after each change that is not yet durable, and the last that is.
type Held<C> = BTreeMap<Lsn, C>;

struct StoreWorld<C> {
    rng: Rng,
    disk: Disk,
    tally: Tally,
    up: Up<C>,
    held: Held<C>,
    epoch: u64,
    now: Monotonic,
    /// Segments freed.
    freed: u64,
    /// What was written again.
    copied: u64,
}

fn replay<C: Contents>(files: &Files) -> Result<(Tail, (C, LogIndex)), ScanError> {
    let (mut contents, mut index) = (C::default(), LogIndex::default());
    let tail = read(files, &mut |place, view| {
        let mut lsn = view.header.first_lsn();
        index.push(lsn, view.header.end_lsn().since(lsn), place);
        for record in Records::new(view.records) {
            apply_record(&mut contents, lsn, &record.unwrap()).unwrap();
            lsn = lsn.plus(1);
        }
    })?;
    Ok((tail, (contents, index)))
}

impl<C: Contents> Up<C> {
    fn of(found: Recovered<(C, LogIndex)>, epoch: u64, nonce: u64) -> Up<C> {
        let Recovered { state: (contents, index), segments, last_batch, previous_header_crc, next_lsn } =
            found;
        let commit = GroupCommit::new(LogPosition {
            log_id: 1,
            epoch: Epoch(epoch),
            nonce,
            next_batch: last_batch.plus(1),
            previous_header_crc,
            next_lsn,
        });
        let mut up = Up {
            log: StoreLog::new(commit, segments, index),
            builder: BatchBuilder::new(next_lsn.max(Lsn(1))),
            buffer: vec![0; BATCH_BYTES_MAX],
            contents,
            reads: Vec::new(),
            making: Vec::new(),
        };
        if up.log.segments().is_blank() {
            up.log.begin_segment::<C>(&mut up.builder, &mut up.buffer);
        }
        up
    }
}

impl<C: Contents + Clone + PartialEq + Debug> StoreWorld<C> {
    fn new(seed: u64) -> StoreWorld<C> {
        let (mut rng, mut tally) = (Rng::new(seed), Tally::default());
        let mut disk = Disk::default();
        let found = disk.recover_as(&mut rng, &mut tally, &mut |_| None, &replay::<C>);
        let up = Up::of(found, 1, rng.number());
        let held = BTreeMap::from([(Lsn(0), C::default()), (Lsn(1), C::default())]);
        StoreWorld { rng, disk, tally, up, held, epoch: 1, now: Monotonic(0), freed: 0, copied: 0 }
    }

    fn last(&self) -> Lsn {
        Lsn(self.up.builder.next_lsn().0 - 1)
    }

    /// A change, if there is room for it.
    fn change(&mut self, body: &[u8]) {
        let Up { log, builder, buffer, contents, .. } = &mut self.up;
        let entry = Entry::decode(body).unwrap();
        // On a full disk only that is written which takes away.
        let adds = matches!(entry, Entry::Set { .. } | Entry::Item { .. });
        let is_full = log.is_disk_full() && adds;
        if log.awaits_segment() || is_full || !builder.has_room(RECORD_HEADER_BYTES + body.len()) {
            return;
        }
        let lsn = builder.push_record(buffer, RecordKind::Entry, body);
        contents.apply(lsn, &entry).unwrap();
        self.held.insert(lsn, self.up.contents.clone());
    }

    /// Batches go out while one may.
    fn write(&mut self) {
        loop {
            let permit = self.up.log.may_seal();
            if permit == SealPermit::No {
                return;
            }
            let Up { log, builder, buffer, contents, .. } = &mut self.up;
            let before = builder.next_lsn();
            log.stage(builder, buffer, contents).unwrap();
            let copies = builder.next_lsn().since(before);
            if copies > 0 {
                // What is written again changes nothing, wherever a crash cuts: only where it lies.
                self.copied += copies;
                self.held.insert(self.last(), self.up.contents.clone());
            }
            let Up { log, builder, buffer, .. } = &mut self.up;
            if builder.is_empty() {
                return;
            }
            let next = BatchBuilder::new(builder.next_lsn());
            let sealed = log.seal(std::mem::replace(builder, next), buffer, false);
            let bytes = buffer[..sealed.place.bytes as usize].to_vec();
            self.disk.begin_write(sealed.batch.header.number(), sealed.place, &bytes);
            if permit == SealPermit::HereThenRoll {
                let Up { log, builder, buffer, contents, .. } = &mut self.up;
                log.begin_segment::<C>(builder, buffer);
                let contents = contents.clone();
                self.held.insert(self.last(), contents);
            }
        }
    }

    /// One thing that the log asked for comes to pass.
    fn happen(&mut self) {
        self.now = self.now.plus_millis(self.rng.below(DISK_FULL_RETRY_MS));
        self.up.log.handle_time(self.now);
        self.up.log.consider_freeing(self.up.contents.live_bytes());
        self.write();
        if let Some(span) = self.up.log.poll_read() {
            let bytes = self.disk.read(&span).to_vec();
            self.up.reads.push((span, bytes));
        }
        let freed = self.freed;
        while let Some(event) = self.up.log.poll_event() {
            match event {
                StoreEvent::Durable(mark) => {
                    let last = self.held.range(..=mark).next_back().map(|(lsn, _)| *lsn).unwrap();
                    self.held.retain(|lsn, _| *lsn >= last);
                }
                StoreEvent::Prepare(number) => {
                    self.disk.names.made = Some(number);
                    self.up.making.push(number);
                }
                StoreEvent::Free(number) => {
                    self.freed += 1;
                    self.disk.free(number);
                }
            }
        }
        // A file that goes too early is missed by a crash right behind it.
        if self.freed > freed && self.rng.chance(70) {
            return self.crash();
        }
        match self.rng.below(3) {
            0 if !self.up.reads.is_empty() => {
                let (span, bytes) = self.up.reads.remove(0);
                self.up.log.handle_read(&span, bytes.into()).unwrap();
            }
            1 if !self.up.making.is_empty() => {
                let number = self.up.making.remove(0);
                if self.rng.chance(30) {
                    self.tally.count(Fault::DiskFull);
                    self.disk.names.made = None;
                    return self.up.log.handle_disk_full(self.now);
                }
                self.disk.prepare(number);
                self.up.log.handle_prepared(number);
            }
            _ => self.end_write(),
        }
    }

    /// A write that is on its way is done, or a part of it, or it fails.
    fn end_write(&mut self) {
        let waiting: Vec<BatchNumber> = self.disk.in_flight.keys().copied().collect();
        if waiting.is_empty() {
            return;
        }
        let batch = waiting[self.rng.below(waiting.len() as u64) as usize];
        if self.rng.chance(10) && self.disk.write_part(batch, &mut self.rng) {
            return self.tally.count(Fault::ShortWrite);
        }
        if self.rng.chance(1) {
            return self.fail(batch);
        }
        self.disk.end_write(batch);
        self.up.log.handle_written(batch);
    }

    /// A write fails. What else is on its way goes on, and none of it counts any more.
    fn fail(&mut self, batch: BatchNumber) {
        self.tally.count(Fault::WriteFailed);
        let durable = self.up.log.durable();
        self.up.log.handle_failed();
        let others = self.disk.in_flight.keys().copied().filter(|other| *other != batch);
        for other in others.collect::<Vec<_>>() {
            self.disk.end_write(other);
            self.up.log.handle_written(other);
        }
        assert_eq!(self.up.log.durable(), durable, "a mark rose after the disk failed");
        assert_eq!(self.up.log.may_seal(), SealPermit::No);
        self.crash();
    }

    fn crash(&mut self) {
        let death = if self.rng.chance(50) { Death::Killed } else { Death::PowerCut };
        let durable = self.up.log.durable();
        self.disk.crash(death, &mut self.rng, &mut self.tally);
        let mut dies = |rng: &mut Rng| rng.chance(20).then_some(Death::PowerCut);
        let found = self.disk.recover_as(&mut self.rng, &mut self.tally, &mut dies, &replay::<C>);
        let last = Lsn(found.next_lsn.0 - 1);
        assert!(last >= durable, "record {durable} was durable, and the log ends with {last}");
        let held = self.held.range(..=last).next_back().map(|(_, held)| held).unwrap();
        assert!(
            *held == found.state.0,
            "after a {death:?} the store does not hold what it held at record {last}"
        );
        self.epoch += 1;
        self.up = Up::of(found, self.epoch, self.rng.number());
        self.held =
            BTreeMap::from([(last, self.up.contents.clone()), (self.last(), self.up.contents.clone())]);
    }

    fn run(&mut self, steps: u64, change: &mut dyn FnMut(&C, &mut Rng) -> Vec<u8>) {
        for _ in 0..steps {
            let body = change(&self.up.contents, &mut self.rng);
            self.change(&body);
            for _ in 0..self.rng.below(4) {
                self.happen();
            }
            if self.rng.chance(1) {
                if self.rng.chance(80) {
                    self.write();
                }
                self.crash();
            }
        }
        self.crash();
    }
}

fn value(rng: &mut Rng) -> Vec<u8> {
    let most = if rng.chance(50) { 200_000 } else { 300 };
    vec![rng.below(256) as u8; rng.between(100, most) as usize]
}

fn change_of_a_map(_: &MapContents, rng: &mut Rng) -> Vec<u8> {
    let key = [rng.below(20) as u8];
    match rng.below(100) {
        // Those are changed seldom.
        0..20 => Entry::Set { key: &[20 + rng.below(100) as u8], value: &value(rng)[..100] }.encode(),
        20..70 => Entry::Set { key: &key, value: &value(rng) }.encode(),
        70..99 => Entry::Cleared(&key).encode(),
        _ if rng.chance(10) => Entry::ClearedAll.encode(),
        _ => Entry::Cleared(&[20 + rng.below(100) as u8]).encode(),
    }
}

fn change_of_a_queue(queue: &QueueContents, rng: &mut Rng) -> Vec<u8> {
    // Those in front stay longer.
    let before = if rng.chance(5) { 0 } else { 30 };
    let place = queue.nth(before + rng.below(10) as usize);
    match (rng.below(100), place) {
        (0..10, Some(_)) => {
            let place = queue.place_at(rng.below(10) as usize).or_else(|| queue.place_behind()).unwrap();
            Entry::Item { place, value: &value(rng) }.encode()
        }
        (10..55, Some(first)) if rng.chance(95) => Entry::Taken { first, last: first }.encode(),
        (55..57, Some(first)) if rng.chance(10) => Entry::Taken { first: Place(0), last: first }.encode(),
        _ => Entry::Item { place: queue.place_behind().unwrap(), value: &value(rng) }.encode(),
    }
}

/// Seeds of one run that are the same each time, and as many new ones; each writes some 60 MiB.
const SEEDS: u64 = 3;

fn simulate<C: Contents + Clone + PartialEq + Debug>(
    first: u64,
    change: &mut dyn FnMut(&C, &mut Rng) -> Vec<u8>,
) {
    let (mut freed, mut copied, mut tally) = (0, 0, Tally::default());
    for seed in (0..SEEDS).chain(first..first + SEEDS) {
        println!("seed {seed}");
        let mut world = StoreWorld::<C>::new(seed);
        world.run(1_200, change);
        freed += world.freed;
        copied += world.copied;
        tally.add(&world.tally);
    }
    println!("{freed} segments freed, {copied} records written again: {}", tally.line());
    assert!(freed > 10 && copied > 0, "{freed} segments were freed, {copied} records written again");
    let faults = [Fault::Killed, Fault::PowerCut, Fault::DiedRecovering];
    for fault in faults.into_iter().chain([Fault::WriteFailed, Fault::ShortWrite, Fault::DiskFull]) {
        assert!(tally.of(fault) > 0, "{fault:?} never happened");
    }
}

#[test]
fn whatever_befalls_a_map_it_holds_what_it_held_after_one_of_its_changes() {
    simulate(crate::scene::seed("sim::stores map"), &mut change_of_a_map);
}

#[test]
fn whatever_befalls_a_queue_it_holds_what_it_held_after_one_of_its_changes() {
    simulate(crate::scene::seed("sim::stores queue"), &mut change_of_a_queue);
}
