//! Time, and all that happens in it: one queue of events, one clock, one source of chance.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use resolute::engine::effect::{Outcome, Outcomes};
use resolute::ids::{BatchNumber, Lsn, NodeId, SegmentNumber};
use resolute::log::chunk::Chunk;
use resolute::log::index::Span;
use resolute::time::Now;

use super::disk::{Death, Disk};
use super::faults::{Fault, Faults};
use super::model::{MessageNumber, Model};
use super::net::{Connection, ConnectionId, End, Net, Weather};
use super::node::{Mood, Node};
use super::rng::Rng;
use super::tally::{Reached, Tally};
use super::told::Told;

pub const MS: u64 = 1_000_000;

/// Far more than any history takes.
const EVENTS_MAX: u64 = 1_000_000;

#[derive(Debug)]
pub enum Event {
    Wake(usize, u32),
    Written(usize, u32, BatchNumber),
    Read(usize, u32, Span, Bytes),
    Prepared(usize, u32, SegmentNumber),
    Dialled(usize, u32, String),
    Arrives(ConnectionId, usize, Vec<u8>),
    Took(ConnectionId, usize, usize),
    Noticed(ConnectionId, usize),
    Outcomes(usize, u32, u32, Outcomes),
    Start(usize),
    Dies(usize, u32),
}

pub struct World {
    pub now: u64,
    pub queue: BTreeMap<(u64, u64), Event>,
    pub sequence: u64,
    pub nodes: Vec<Node>,
    pub net: Net,
    pub weather: Weather,
    pub rng: Rng,
    pub model: Model,
    /// What happened, in one number: the same seed gives the same.
    pub trace: u64,
    pub numbers: u64,
    pub notes: Vec<(usize, resolute::engine::effect::Note)>,
    /// What nodes were told of others, and when.
    pub told: Vec<Told>,
    /// When a log last took the place of a later one, or got a double.
    pub apart_since: BTreeMap<NodeId, u64>,
    /// Since when the logs of their publishers lack messages that somebody has.
    pub lost_since: BTreeMap<MessageNumber, u64>,
    /// The longest time that a write takes, in microseconds.
    pub write_us: u64,
    pub faults: Faults,
    pub tally: Tally,
    /// Disks have no room for another segment.
    pub disks_full: bool,
    /// Connections from one node to another whose sockets take nothing.
    pub stuck: BTreeSet<(usize, usize)>,
    /// Handlers that are moody are fine from now on.
    pub is_calm: bool,
    /// Of every run of a handler that was fine: whether it was told so durably is the model's to know.
    pub runs: BTreeMap<(NodeId, Lsn, String), u64>,
}

impl World {
    /// Nodes that are up; the addresses are `n0`, `n1`, and so on.
    pub fn new(seed: u64, count: usize, weather: Weather) -> World {
        World::of((0..count).map(|index| Node::new(index, true)).collect(), seed, weather)
    }

    /// These nodes, which nobody has opened before.
    pub fn of(nodes: Vec<Node>, seed: u64, weather: Weather) -> World {
        let count = nodes.len();
        let mut world = World {
            now: 1_000 * MS,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes,
            net: Net::default(),
            weather,
            rng: Rng::new(seed),
            model: Model::default(),
            trace: seed,
            numbers: 0,
            notes: Vec::new(),
            told: Vec::new(),
            apart_since: BTreeMap::new(),
            lost_since: BTreeMap::new(),
            write_us: 2000,
            faults: Faults::FEW,
            tally: Tally::default(),
            disks_full: false,
            stuck: BTreeSet::new(),
            is_calm: false,
            runs: BTreeMap::new(),
        };
        (0..count).for_each(|node| world.start(node));
        world
    }

    pub fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((time.max(self.now), self.sequence), event);
    }

    pub fn after_us(&mut self, least: u64, most: u64, event: Event) {
        let time = self.now + self.rng.between(least, most.max(least)) * 1000;
        self.at(time, event);
    }

    pub fn start(&mut self, node: usize) {
        let Node { up, is_clone, .. } = &self.nodes[node];
        match (up.is_none(), is_clone) {
            (true, false) => {
                self.open(node);
                self.serve(node, true);
            }
            // In the end it is gone.
            (true, true) if !self.is_calm => self.open(node),
            _ => {}
        }
    }

    /// Opens a node, without running its handlers.
    pub fn open(&mut self, node: usize) {
        self.nodes[node].open(self.now, &mut self.rng, &mut self.model, &self.faults, &mut self.tally);
        self.turn(node);
    }

    /// The process dies, whatever it was doing.
    pub fn crash(&mut self, node: usize) {
        let Some(up) = self.nodes[node].up.take() else { return };
        if up.failed {
            self.check_answered(node, &up);
        }
        self.nodes[node].dies_writing = None;
        let durable = up.snapshots.keys().next().copied();
        self.nodes[node].before = durable.map(|durable| (up.snapshots, durable));
        let death = self.faults.death(&mut self.rng);
        self.nodes[node].disk.crash(death, &mut self.rng, &mut self.tally);
        for (id, side) in self.net.of_node(node, self.nodes[node].life) {
            self.hang_up(id, side);
        }
    }

    /// The process goes as it was to go: whatever that leaves, it is no fault that is counted.
    pub fn leave(&mut self, node: usize) {
        let tally = self.tally.clone();
        self.crash(node);
        self.tally = tally;
    }

    /// One side lets go; the other learns of it sooner or later.
    pub fn hang_up(&mut self, id: ConnectionId, side: usize) {
        if let Some(connection) = self.net.connections.get_mut(&id) {
            connection.ends[side].closed = true;
            if connection.broken {
                return self.net.forget_closed();
            }
            let most_us = if self.rng.chance(20) { 15_000_000 } else { self.weather.delay_ms * 1000 };
            // What is on its way still arrives.
            self.after_us(self.weather.delay_ms * 1000, most_us, Event::Noticed(id, 1 - side));
        }
        self.net.forget_closed();
    }

    /// A connection breaks; both sides learn of it sooner or later.
    pub fn break_between(&mut self, a: usize, b: usize) {
        let between = |connection: &&mut Connection| {
            let nodes = [connection.ends[0].node, connection.ends[1].node];
            !connection.broken && (nodes == [a, b] || nodes == [b, a])
        };
        let mut broken = Vec::new();
        for connection in &mut self.net.connections {
            if between(&connection.1) {
                broken.push(*connection.0);
            }
        }
        for id in broken {
            if let Some(connection) = self.net.connections.get_mut(&id) {
                connection.broken = true;
                self.tally.count(Fault::Broken);
            }
            // Some breaks are only found out by silence.
            let is_told = [0, 1].map(|_| self.rng.chance(80));
            if is_told != [true; 2] {
                self.tally.count(Fault::HalfOpen);
            }
            for side in [0, 1].into_iter().filter(|side| is_told[*side]) {
                let most_us = if self.rng.chance(30) { 15_000_000 } else { 1000 };
                self.after_us(1, most_us, Event::Noticed(id, side));
            }
        }
    }

    pub fn part(&mut self, a: usize, b: usize, apart: bool) {
        let pair = (a.min(b), a.max(b));
        if apart {
            if self.net.apart.insert(pair) && a != b {
                self.tally.count(Fault::Parted);
            }
            self.break_between(a, b);
        } else {
            self.net.apart.remove(&pair);
        }
    }

    /// The directory is deleted: whoever starts there next is somebody else.
    pub fn wipe(&mut self, node: usize) {
        self.tally.count(Fault::Wiped);
        self.crash(node);
        self.nodes[node].disk = Disk::new(self.nodes[node].disk.segment_bytes);
        self.nodes[node].before = None;
        self.nodes[node].identity = None;
        self.nodes[node].was_freed = false;
        self.nodes[node].is_astray = false;
    }

    pub fn copy(&mut self, node: usize) {
        let Node { disk, identity, .. } = &self.nodes[node];
        let known = identity.map(|own| self.model.of(own)).unwrap_or_default();
        self.nodes[node].copy = Some((disk.clone(), *identity, known));
    }

    /// An older copy of the directory takes its place.
    pub fn restore(&mut self, node: usize) {
        let Some((mut disk, identity, known)) = self.nodes[node].copy.clone() else { return };
        self.crash(node);
        // Nobody died: of the copy, as of any file, some was not written yet.
        disk.crash(Death::PowerCut, &mut self.rng, &mut Tally::default());
        self.tally.count(Fault::Restored);
        self.nodes[node].disk = disk;
        self.nodes[node].before = None;
        self.nodes[node].identity = identity;
        if let Some(own) = identity {
            // A write that was on its way then may be there now, though a power cut took it in between.
            self.model.goes_back(own, known);
            self.set_apart(own);
        }
        self.nodes[node].is_astray = true;
    }

    /// The same by the command for it half of the time: then the log begins a new life.
    pub fn restore_somehow(&mut self, node: usize) {
        let is_there = self.nodes[node].copy.is_some();
        self.restore(node);
        let has_log = is_there && self.nodes[node].identity.is_some();
        self.nodes[node].begins_life |= has_log && self.numbers.is_multiple_of(2);
        self.nodes[node].is_astray &= !self.nodes[node].begins_life;
    }

    /// A copy of a directory is opened beside its original, at another address. Its user publishes and subscribes, and handles
    /// nothing.
    pub fn clone_beside(&mut self, node: usize) {
        let Some(own) = self.nodes[node].identity else { return };
        self.tally.count(Fault::Cloned);
        let mut copy = Node::new(self.nodes.len(), true);
        copy.disk = self.nodes[node].disk.clone();
        copy.disk.crash(Death::PowerCut, &mut self.rng, &mut Tally::default());
        (copy.identity, copy.log_id, copy.is_clone) = (Some(own), self.nodes[node].log_id, true);
        copy.was_freed = self.nodes[node].was_freed;
        // Whichever of the two is believed, at the places of what one publishes the others may have what came from the other one.
        (copy.is_astray, self.nodes[node].is_astray) = (true, true);
        let index = copy.index;
        self.nodes.push(copy);
        self.set_apart(own);
        self.model.doubled.insert(own);
        self.open(index);
    }

    /// One of that identity is not who the others know: between it and them messages may come twice or not at all.
    fn set_apart(&mut self, own: NodeId) {
        self.apart_since.insert(own, self.now);
        let others: Vec<NodeId> = self.model.logs.keys().copied().collect();
        for other in others {
            for (_, number) in self.model.left_behind(other, own) {
                if let Entry::Vacant(entry) = self.lost_since.entry(number) {
                    entry.insert(self.now);
                    self.tally.count(Reached::LeftBehind);
                }
            }
            self.model.set_apart(own, other);
        }
    }

    pub fn serve(&mut self, node: usize, serving: bool) {
        let now = self.clock(node);
        if let Some(up) = &mut self.nodes[node].up {
            up.serving += 1;
            up.is_served = serving;
            up.engine.handle_serving(now, serving);
            self.turn(node);
        }
    }

    pub fn handler(&mut self, node: usize, topic: &str, name: &str, mood: Mood) {
        self.nodes[node].handlers.entry(topic.to_owned()).or_default().insert(name.to_owned(), mood);
    }

    /// Lets so much time pass.
    pub fn run_ms(&mut self, ms: u64) {
        self.run_us(ms * 1000);
    }

    pub fn run_us(&mut self, us: u64) {
        let end = self.now + us * 1000;
        // What is left keeps its place among what comes at the same time: bytes must not overtake each other.
        while self.queue.first_key_value().is_some_and(|((time, _), _)| *time <= end) {
            let Some(((time, _), event)) = self.queue.pop_first() else { break };
            assert!(
                self.sequence < EVENTS_MAX,
                "a history that never ends, at {} ms: {event:?}",
                self.now / MS
            );
            self.now = time;
            self.happen(event);
        }
        self.now = end;
    }

    fn is_alive(&self, node: usize, life: u32) -> bool {
        self.nodes[node].up.is_some() && self.nodes[node].life == life
    }

    pub fn happen(&mut self, event: Event) {
        match event {
            Event::Start(node) => self.start(node),
            Event::Dies(node, life) if self.is_alive(node, life) => {
                self.crash(node);
                self.after_us(0, 2_000_000, Event::Start(node));
            }
            Event::Dies(..) => {}
            Event::Wake(node, life)
            | Event::Written(node, life, _)
            | Event::Read(node, life, ..)
            | Event::Prepared(node, life, _)
            | Event::Dialled(node, life, _)
            | Event::Outcomes(node, life, ..)
                if !self.is_alive(node, life) => {}
            Event::Wake(node, _) => self.turn(node),
            // A disk fails once; what else was on its way is done.
            Event::Written(node, _, batch) if self.has_failed(node) => self.written(node, batch),
            Event::Read(node, _, span, bytes) if self.has_failed(node) => self.read_back(node, &span, bytes),
            Event::Prepared(node, _, number) if self.has_failed(node) => self.prepared(node, number),
            Event::Written(node, ..) if self.rng.chance(self.faults.write_fails) => {
                self.fail(node, Fault::WriteFailed);
            }
            Event::Written(node, life, batch) if self.rng.chance(self.faults.short_writes) => {
                // The shell goes on with it, and the engine hears nothing.
                if self.nodes[node].disk.write_part(batch, &mut self.rng) {
                    self.tally.count(Fault::ShortWrite);
                }
                self.after_us(50, self.write_us, Event::Written(node, life, batch));
            }
            Event::Written(node, _, batch) => self.written(node, batch),
            Event::Read(node, _, span, _) if self.rng.chance(self.faults.read_fails) => {
                let now = self.clock(node);
                self.nodes[node].up.as_mut().unwrap().engine.handle_read_failed(now, &span);
                self.fail(node, Fault::ReadFailed);
            }
            Event::Read(node, _, span, bytes) if self.rng.chance(self.faults.read_flips) => {
                let mut flipped = bytes.to_vec();
                let bit = self.rng.below(8 * flipped.len() as u64) as usize;
                flipped[bit / 8] ^= 1 << (bit % 8);
                let now = self.clock(node);
                let engine = &mut self.nodes[node].up.as_mut().unwrap().engine;
                if engine.handle_read(now, &span, flipped.clone().into()).is_ok() {
                    assert_only_padding_differs(&span, bytes, flipped.into());
                    return self.turn(node);
                }
                self.fail(node, Fault::ReadFlipped);
            }
            Event::Read(node, _, span, bytes) => self.read_back(node, &span, bytes),
            Event::Prepared(node, _, number) => {
                if self.disks_full || self.rng.chance(self.faults.no_room) {
                    self.tally.count(Fault::DiskFull);
                    let now = self.clock(node);
                    self.nodes[node].up.as_mut().unwrap().engine.handle_disk_full(now);
                    self.turn(node);
                } else {
                    self.prepared(node, number);
                }
            }
            Event::Dialled(node, life, address) => self.dialled(node, life, &address),
            Event::Arrives(id, side, bytes) => self.arrives(id, side, &bytes),
            Event::Took(id, side, bytes) => {
                let Some((node, session)) = self.end_of(id, side) else { return };
                let now = self.clock(node);
                self.nodes[node].up.as_mut().unwrap().engine.handle_sent(now, session, bytes);
                self.turn(node);
            }
            Event::Noticed(id, side) => {
                let Some((node, session)) = self.end_of(id, side) else { return };
                self.net.connections.get_mut(&id).unwrap().ends[side].closed = true;
                self.net.forget_closed();
                let now = self.clock(node);
                self.nodes[node].up.as_mut().unwrap().engine.handle_disconnected(now, session, "it broke");
                self.turn(node);
            }
            Event::Outcomes(node, _, serving, outcomes) => {
                let now = self.clock(node);
                let up = self.nodes[node].up.as_mut().unwrap();
                if up.serving == serving {
                    let log = self.model.logs.get_mut(&up.engine.state().identity.id).unwrap();
                    for Outcome { lsn, failed, .. } in &outcomes.mixed {
                        for (name, _) in failed {
                            *log.failures.entry((*lsn, name.clone())).or_default() += 1;
                        }
                    }
                    up.called.report(&outcomes);
                    up.engine.handle_outcomes(now, outcomes);
                    self.turn(node);
                }
            }
        }
    }

    fn has_failed(&self, node: usize) -> bool {
        self.nodes[node].up.as_ref().is_some_and(|up| up.failed)
    }

    fn written(&mut self, node: usize, batch: BatchNumber) {
        self.nodes[node].disk.end_write(batch);
        let now = self.clock(node);
        let up = self.nodes[node].up.as_mut().unwrap();
        up.engine.handle_written(now, batch);
        let durable = up.engine.durable();
        let last = up.snapshots.iter().rfind(|(_, state)| state.index.end() <= durable.plus(1));
        let last = last.map(|(batch, _)| *batch);
        up.snapshots.retain(|batch, _| Some(*batch) >= last);
        self.turn(node);
    }

    fn read_back(&mut self, node: usize, span: &Span, bytes: Bytes) {
        let now = self.clock(node);
        self.nodes[node].up.as_mut().unwrap().engine.handle_read(now, span, bytes).unwrap();
        self.turn(node);
    }

    fn prepared(&mut self, node: usize, number: SegmentNumber) {
        self.nodes[node].disk.prepare(number);
        self.nodes[node].up.as_mut().unwrap().engine.handle_prepared(number);
        self.turn(node);
    }

    /// The disk of a node fails: it says so, and ends a while later.
    fn fail(&mut self, node: usize, fault: Fault) {
        self.tally.count(fault);
        let now = self.clock(node);
        let life = self.nodes[node].life;
        let up = self.nodes[node].up.as_mut().unwrap();
        up.failed = true;
        up.engine.handle_write_failed(now);
        self.turn(node);
        self.after_us(0, 3_000_000, Event::Dies(node, life));
    }

    /// What the clocks of a node say.
    pub fn clock(&self, node: usize) -> Now {
        self.nodes[node].clock(self.now)
    }

    /// The wall clock of a node is set, by up to a day.
    pub fn set_wall_clock(&mut self, node: usize) {
        const DAY: u64 = 86_400_000_000_000;
        self.tally.count(Fault::ClockJumped);
        self.nodes[node].wall_offset = self.rng.below(2 * DAY).cast_signed() - DAY.cast_signed();
    }

    fn end_of(&self, id: ConnectionId, side: usize) -> Option<(usize, resolute::engine::effect::SessionId)> {
        let end = &self.net.connections.get(&id)?.ends[side];
        (!end.closed && self.is_alive(end.node, end.life)).then_some((end.node, end.session))
    }

    fn dialled(&mut self, node: usize, life: u32, address: &str) {
        let now = self.clock(node);
        let target = self.resolve(address).filter(|target| {
            let there = &self.nodes[*target];
            there.up.is_some() && there.reachable && (*target == node || !self.net.are_apart(node, *target))
        });
        let accepted = target.and_then(|target| {
            let theirs_now = self.clock(target);
            let there = self.nodes[target].up.as_mut().unwrap();
            Some((target, there.engine.handle_accepted(theirs_now)?))
        });
        let engine = &mut self.nodes[node].up.as_mut().unwrap().engine;
        let Some((target, theirs)) = accepted else {
            engine.handle_dial_failed(now, address);
            return self.turn(node);
        };
        let ours = engine.handle_connected(now, address);
        let ends = [End::new(node, life, ours), End::new(target, self.nodes[target].life, theirs)];
        self.net.connections.insert(self.net.next, Connection { ends, broken: false });
        self.net.next += 1;
        self.turn(node);
        self.turn(target);
    }

    /// `n1` and, as another name for it, `alias1`.
    pub fn resolve(&self, address: &str) -> Option<usize> {
        let digits = address.strip_prefix("alias").or_else(|| address.strip_prefix('n'))?;
        digits.parse().ok().filter(|index| *index < self.nodes.len())
    }

    fn arrives(&mut self, id: ConnectionId, side: usize, bytes: &[u8]) {
        if self.end_of(id, side).is_none() || self.net.connections[&id].broken {
            return;
        }
        let end = &mut self.net.connections.get_mut(&id).unwrap().ends[side];
        end.backlog.extend(bytes);
        let node = end.node;
        self.turn(node);
    }
}

/// Damage that nobody saw is where nothing is.
fn assert_only_padding_differs(span: &Span, bytes: Bytes, flipped: Bytes) {
    let [whole, flipped] = [bytes, flipped].map(|bytes| Chunk::read_back(bytes, span.first).unwrap());
    assert_eq!(whole.extents(), flipped.extents());
    for extent in whole.extents() {
        assert!(
            whole.extent_bytes(extent) == flipped.extent_bytes(extent),
            "{extent:?} of {span:?} is wrong"
        );
    }
}
