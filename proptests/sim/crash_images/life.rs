//! A node that is watched, with its peer: what is done to it, and each moment at which it could crash.

use std::collections::BTreeMap;

use resolute::format::batch::BatchView;
use resolute::ids::{BatchNumber, Lsn, SegmentNumber};

use super::super::disk::Disk;
use super::super::net::Weather;
use super::super::node::Mood;
use super::super::world::{Event, World};
use super::expected::Written;
use super::operation::roll;

/// Segments that are full soon: room for two of the largest batches must be left, and this is what is beyond.
pub const SEGMENT_BYTES: u64 = (2 << 20) + (40 << 10);

/// Called at each moment at which a crash may leave something else than at the moment before.
pub type Look<'a> = dyn FnMut(&Life) + 'a;

/// How operations follow each other, and in which order two writes that are in flight arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Each operation is over before the next one begins.
    Apart,
    /// The next one begins once the one before it writes.
    Together,
    /// As much; and the younger of two writes arrives first.
    Overtaking,
}

impl Order {
    pub const ALL: [Order; 3] = [Order::Apart, Order::Together, Order::Overtaking];
}

/// What tells one moment from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mark {
    durable: u64,
    in_flight: Vec<BatchNumber>,
    segments: Vec<SegmentNumber>,
    freed: usize,
    made: Option<SegmentNumber>,
    is_up: bool,
}

pub struct Life {
    pub world: World,
    pub order: Order,
    /// All batches of the watched node's log.
    pub written: BTreeMap<BatchNumber, Written>,
    mark: Mark,
}

impl Life {
    pub fn new(world: World, order: Order, written: BTreeMap<BatchNumber, Written>) -> Life {
        Life { world, order, written, mark: Mark::default() }
    }

    /// Two nodes that know each other. The watched one writes into a file that was a segment before, and has in its inbox a
    /// message that nobody handles and one whose handler fails.
    pub fn begin(order: Order, look: &mut Look<'_>) -> Life {
        let mut world = World::new(7, 0, Weather::FAIR);
        for index in 0..2 {
            let mut node = super::super::node::Node::new(index, true);
            node.disk = Disk::new(SEGMENT_BYTES);
            world.nodes.push(node);
        }
        for (node, topic, mood) in
            [(0, "a", Mood::Fine), (0, "l", Mood::Fine), (0, "f", Mood::Failing), (1, "b", Mood::Fine)]
        {
            world.handler(node, topic, "h", mood);
        }
        (0..2).for_each(|node| world.start(node));
        let nothing = Written { header_crc: 0, next_lsn: Lsn(1) };
        let mut life = Life::new(world, order, BTreeMap::from([(BatchNumber(0), nothing)]));
        life.look(look);
        for topic in ["a", "f", "p"] {
            life.world.subscribe(0, "n1", topic);
        }
        life.world.subscribe(1, "n0", "b");
        life.world.subscribe(0, "n0", "l");
        life.advance(500_000, look);
        for _ in 0..3 {
            roll(&mut life, look);
            life.advance(60_000, look);
        }
        for topic in ["p", "f", "a"] {
            life.world.publish(1, &[topic], 100);
            life.advance(30_000, look);
        }
        life.world.serve(0, false);
        life.advance(30_000, look);
        life.world.publish(1, &["a"], 100);
        life.publish(&["l"], 100, look);
        life.advance(60_000, look);
        assert!(
            life.is_idle() && life.is_recycled(),
            "the rest of the segment shows what the file held before"
        );
        life
    }

    /// Whether the segment that is written is a file that was one before.
    fn is_recycled(&self) -> bool {
        let file = &self.world.nodes[0].disk.segments[&self.active()];
        file[(SEGMENT_BYTES - self.room()) as usize..].iter().any(|byte| *byte != 0)
    }

    fn up(&self) -> &super::super::node::Up {
        self.world.nodes[0].up.as_ref().unwrap()
    }

    pub fn active(&self) -> SegmentNumber {
        self.up().engine.segments().active().number
    }

    pub fn head(&self) -> SegmentNumber {
        self.up().engine.segments().head().number
    }

    pub fn room(&self) -> u64 {
        self.up().engine.segments().room()
    }

    /// Nothing is being written.
    pub fn is_idle(&self) -> bool {
        self.world.nodes[0].disk.in_flight.is_empty() && self.up().builder.is_empty()
    }

    /// All that is being written goes to that segment.
    pub fn is_written_only_in(&self, segment: SegmentNumber) -> bool {
        let in_flight = &self.world.nodes[0].disk.in_flight;
        !in_flight.is_empty() && in_flight.values().all(|(place, _)| place.segment == segment)
    }

    /// Whether it was staged, and does not have to wait.
    pub fn publish(&mut self, topics: &[&str], bytes: usize, look: &mut Look<'_>) -> bool {
        let is_staged = self.world.publish(0, topics, bytes).is_some();
        self.turn(look);
        is_staged
    }

    pub fn turn(&mut self, look: &mut Look<'_>) {
        self.world.turn(0);
        self.look(look);
    }

    /// Lets so many microseconds pass.
    pub fn advance(&mut self, us: u64, look: &mut Look<'_>) {
        self.advance_until(us, look, &mut |_| false);
    }

    /// Lets so many microseconds pass, or less if it is `enough` before.
    pub fn advance_until(&mut self, us: u64, look: &mut Look<'_>, enough: &mut dyn FnMut(&Life) -> bool) {
        let end = self.world.now + us * 1000;
        while !enough(self) {
            let is_due = self.world.queue.first_key_value().is_some_and(|((time, _), _)| *time <= end);
            let Some((key, event)) = is_due.then(|| self.world.queue.pop_first()).flatten() else { break };
            let event = self.overtaken(key, event);
            self.world.now = key.0;
            self.world.happen(event);
            self.look(look);
        }
        if !enough(self) {
            self.world.now = end;
        }
    }

    /// The event that comes instead of this one: the younger write before the older.
    fn overtaken(&mut self, key: (u64, u64), event: Event) -> Event {
        let Event::Written(0, life, older) = event else { return event };
        let is_younger =
            |event: &Event| matches!(event, Event::Written(0, l, batch) if *l == life && *batch > older);
        let younger = self.world.queue.iter().find(|(_, event)| is_younger(event)).map(|(key, _)| *key);
        let Some(younger) = younger.filter(|_| self.order == Order::Overtaking) else { return event };
        self.world.at(key.0, event);
        // Invariant: it was found above.
        self.world.queue.remove(&younger).unwrap()
    }

    /// Takes note of what is being written, and shows this moment if it is another than the last.
    pub fn look(&mut self, look: &mut Look<'_>) {
        let node = &self.world.nodes[0];
        for (batch, (_, bytes)) in &node.disk.in_flight {
            let header = BatchView::parse_verified(bytes).unwrap().header;
            self.written.insert(*batch, Written::new(header));
        }
        let mark = Mark {
            durable: node.up.as_ref().map_or(0, |up| up.engine.durable().0),
            in_flight: node.disk.in_flight.keys().copied().collect(),
            segments: node.disk.segments.keys().copied().collect(),
            freed: node.disk.names.freed.len(),
            made: node.disk.names.made,
            is_up: node.up.is_some(),
        };
        if mark != self.mark {
            self.mark = mark;
            look(self);
        }
    }

    /// The node is killed, nothing that it writes arrives, and it opens again.
    pub fn die_and_open(&mut self, look: &mut Look<'_>) {
        self.world.nodes[0].disk.in_flight.clear();
        self.world.crash(0);
        self.world.open(0);
        let next = self.up().snapshots.keys().next().copied().unwrap();
        self.written.retain(|batch, _| *batch <= next);
        self.look(look);
    }
}
