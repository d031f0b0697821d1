//! One moment of a node's life, the images of it, and how those that were recovered go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::disk::{Disk, Files};
use super::super::faults::Faults;
use super::super::net::{Net, Weather};
use super::super::node::{Node, Up};
use super::super::rng::Rng;
use super::super::tally::Tally;
use super::super::world::World;
use super::expected::{End, Expected};
use super::judge::{Depth, Judge};
use super::life::{Life, Look, Order};
use super::medium::Medium;
use super::writes::{Write, each_cut};

pub struct Moment<'a> {
    life: &'a Life,
    up: Option<&'a Up>,
}

impl<'a> Moment<'a> {
    pub fn of(life: &'a Life) -> Moment<'a> {
        Moment { life, up: life.world.nodes[0].up.as_ref() }
    }

    /// Looks at everything that a crash may leave now.
    pub fn judge(&self, judge: &Judge, depth: Depth) {
        let Some(up) = self.up else { return };
        judge.counts.moments.fetch_add(1, Ordering::Relaxed);
        let expected = Expected {
            durable: up.engine.durable(),
            durable_batch: up.engine.durable_batch(),
            written: &self.life.written,
            states: &up.snapshots,
            head: up.engine.segments().head().number,
        };
        let go_on = |files: &Files, end: &End| self.go_on(judge, files, end);
        let disk = &self.life.world.nodes[0].disk;
        for files in names(disk) {
            let mut medium = Medium::new(files);
            let writes: Vec<Write> = disk
                .in_flight
                .values()
                .map(|(place, bytes)| Write::new(&medium, place.segment, place.offset, bytes))
                .collect();
            each_cut(&mut medium, &writes, judge.share, &mut |medium| {
                judge.power_cut(medium, &expected, depth, &go_on)
            });
            if depth == Depth::Found {
                continue;
            }
            for shown in 1..1_u32 << writes.len() {
                let shown = (0..writes.len()).filter(|index| shown & 1 << index != 0);
                let pending = shown.map(|index| writes[index].clone()).collect();
                judge.killed(&mut medium, pending, &expected, &go_on);
            }
        }
    }

    /// The log is opened, its first writes are crashed, and then all goes on and comes to rest.
    fn go_on(&self, judge: &Judge, files: &Files, end: &End) {
        let before = &self.life.world;
        let mut written = self.life.written.clone();
        written.retain(|batch, _| *batch <= end.last);
        let mut life = Life::new(opened(before, files), Order::Together, written);
        let look: &mut Look<'_> = &mut |life| Moment::of(life).judge(judge, Depth::Found);
        life.look(look);
        let opened = |life: &Life| life.is_idle() && life.written.len() > written_at(life, end);
        life.advance_until(60_000, look, &mut |life| opened(life));
        let look: &mut Look<'_> = &mut |_| {};
        life.publish(&["b", "l"], 300, look);
        life.world.publish(1, &["a"], 300);
        life.advance(30_000, look);
        life.world.settle();
        life.world.crash(0);
        life.world.start(0);
    }
}

/// How many of the batches are no later than `end`.
fn written_at(life: &Life, end: &End) -> usize {
    life.written.range(..=end.last).count()
}

/// The files that there may be: the prewriter may have done what it was asked for, or not yet.
fn names(disk: &Disk) -> Vec<Files> {
    let mut all = Vec::new();
    for done in 0..=disk.names.freed.len() {
        let mut files = disk.segments.clone();
        files.extend(disk.names.freed[done..].iter().cloned());
        let made = disk.names.made.filter(|number| !files.contains_key(number));
        if let Some(number) = made {
            let mut made = files.clone();
            made.insert(number, disk.next_file());
            all.push(made);
        }
        all.push(files);
    }
    all
}

/// Both nodes after a crash, the watched one with these files.
fn opened(before: &World, files: &Files) -> World {
    let mut world = World {
        now: before.now,
        queue: BTreeMap::new(),
        sequence: 0,
        nodes: Vec::new(),
        net: Net::default(),
        weather: Weather::FAIR,
        rng: Rng::new(before.sequence),
        model: before.model.clone(),
        trace: 0,
        numbers: before.numbers,
        told: Vec::new(),
        apart_since: BTreeMap::new(),
        lost_since: BTreeMap::new(),
        notes: Vec::new(),
        write_us: before.write_us,
        faults: Faults::NONE,
        tally: Tally::default(),
        disks_full: false,
        stuck: Default::default(),
        is_calm: true,
        runs: before.runs.clone(),
    };
    for old in &before.nodes {
        let mut node = Node::new(old.index, old.reachable);
        let disk = &old.disk;
        node.disk = Disk::new(disk.segment_bytes);
        node.disk.spares = disk.spares.clone();
        node.disk.segments = if old.index == 0 { files.clone() } else { disk.segments.clone() };
        if old.index > 0 {
            // The peer is only killed: the kernel has what it wrote.
            for (place, bytes) in disk.in_flight.values() {
                let file = Arc::make_mut(node.disk.segments.get_mut(&place.segment).unwrap());
                file[place.offset as usize..][..bytes.len()].copy_from_slice(bytes);
            }
        }
        node.handlers = old.handlers.clone();
        node.was_freed = true;
        node.identity = old.identity;
        node.durable = old.durable;
        node.life = old.life;
        world.nodes.push(node);
    }
    world.start(1);
    world.open(0);
    world
}
