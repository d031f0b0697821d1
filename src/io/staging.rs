//! Where publishers put their messages: a buffer, filled under a short lock, that the engine swaps for an empty one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::buffer::Buffer;
use super::clock;
use super::route_table::RouteTable;
use super::wake::Wake;
use crate::engine::routing::{Held, Route, Routing};
use crate::engine::staging::Stager;
use crate::format::control::Control;
use crate::format::message::{MessageParts, topics_in};
use crate::format::record::{FLAG_ATOMIC_MORE, RECORD_HEADER_BYTES};
use crate::ids::{Lsn, SetId};
use crate::limits::{ATOMIC_BYTES_MAX, ATOMIC_MESSAGES_MAX, ROUTE_RECORD_BYTES_MAX};
use crate::log::batch_builder::BatchBuilder;
use crate::time::Wall;

/// Why nothing is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It is.
    Open,
    /// A checkpoint is being written, or the next segment is being made; it opens again in a moment, unless the disk is full.
    Pause,
    /// The disk has no room for another segment.
    DiskFull,
    /// Another segment would be more of the disk than the node may take.
    DiskQuota,
    /// The log can no longer be written.
    Failed,
    /// The node is closing.
    Closed,
}

/// Where a message is to go.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// To whoever subscribes to one of its topics, as they stand in the message.
    Subscribers(&'a [u8]),
    /// To the node at an address.
    Address(&'a str),
}

/// A message that its caller's thread has checked and checksummed.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'a> {
    /// Where it goes.
    pub target: Target<'a>,
    /// Its body.
    pub parts: MessageParts<'a>,
    /// Flags of its record.
    pub flags: u8,
}

/// A message that was staged, or that nobody wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Its record.
    pub lsn: Lsn,
    /// To how many it goes; if to nobody, it was not stored and has no record.
    pub routed: u32,
}

impl Staged {
    /// Nobody wanted it.
    const NOWHERE: Staged = Staged { lsn: Lsn(0), routed: 0 };
}

/// Why a message was not staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStaged {
    /// There is no room just now.
    Full,
    /// An atomic batch that does not fit any buffer: so many bytes.
    TooLarge(usize),
    /// An atomic batch of more messages than one batch of the log can tell apart.
    TooMany(usize),
    /// Somebody to whom it would be owed has as much waiting as it may.
    Held(Held),
    /// The gate is shut for good, or until the disk has room.
    Gate(Gate),
}

/// What the lock guards.
#[derive(Debug)]
pub struct Shelf {
    buffer: Buffer,
    builder: BatchBuilder,
    routing: Routing,
    generation: u64,
    gate: Gate,
    /// The engine sleeps, and is to be rung for the next record.
    ring: bool,
}

/// The staging of one node.
#[derive(Debug)]
pub struct Staging {
    inner: Mutex<Shelf>,
    table: ArcSwap<RouteTable>,
    room: Notify,
    wake: Arc<Wake>,
    /// When the first message was put into the batch that is being filled; 0 if there is none yet.
    stamp: AtomicU64,
}

/// A buffer that was filled, and its batch.
#[derive(Debug)]
pub struct Filled {
    /// The buffer.
    pub buffer: Buffer,
    /// The batch in it.
    pub builder: BatchBuilder,
}

impl Staging {
    /// Staging for a log that goes on with record `next`. It is shut until the engine opens it.
    #[must_use]
    pub fn new(buffer: Buffer, next: Lsn, routing: Routing, wake: Arc<Wake>) -> Staging {
        let inner = Shelf {
            buffer,
            builder: BatchBuilder::new(next),
            routing,
            generation: 0,
            gate: Gate::Pause,
            ring: false,
        };
        Staging {
            inner: Mutex::new(inner),
            table: ArcSwap::default(),
            room: Notify::new(),
            wake,
            stamp: AtomicU64::new(0),
        }
    }

    /// Takes the lock, for the engine. Publishers wait meanwhile.
    #[inline]
    pub fn lock(&self) -> Locked<'_> {
        // A publisher that panicked did so before it changed anything: encoding happens before the lock.
        Locked { staging: self, inner: self.inner.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Resolves when there may be room again, or the gate moved. To be called before the attempt that fails.
    pub fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.room.notified()
    }

    /// When a message that is published now is published. The clock is read once for each batch, which is filled no longer
    /// than a write takes.
    #[inline]
    pub fn stamp(&self) -> Wall {
        match self.stamp.load(Ordering::Relaxed) {
            0 => clock::wall(),
            begun => Wall(begun),
        }
    }

    /// Where messages of one topic go, as of the last change, without a lock.
    #[inline]
    fn look_up(&self, target: &Target<'_>) -> (u64, Option<Route>) {
        let table = self.table.load();
        let route = match target {
            Target::Subscribers(topics) => only(topics).and_then(|topic| table.look_up(topic)),
            Target::Address(_) => None,
        };
        (table.generation(), route)
    }

    /// Stages one message.
    #[inline(always)]
    pub fn stage(&self, message: &Prepared<'_>) -> Result<Staged, NotStaged> {
        let (generation, route) = self.look_up(&message.target);
        if let Some(Route { set: SetId::NONE, .. }) = route {
            return Ok(Staged::NOWHERE);
        }
        let bytes = RECORD_HEADER_BYTES + message.parts.body_bytes();
        let mut locked = self.lock();
        locked.check_room(bytes)?;
        let route = match route.filter(|_| locked.inner.generation == generation) {
            Some(route) => route,
            None => {
                locked.check_room(bytes + ROUTE_RECORD_BYTES_MAX)?;
                locked.route(&message.target)?
            }
        };
        Ok(locked.push(message, route, 0))
    }

    /// Stages several messages that recovery keeps all or none of.
    pub fn stage_atomic(&self, messages: &[Prepared<'_>]) -> Result<Vec<Staged>, NotStaged> {
        let bytes: usize =
            messages.iter().map(|message| RECORD_HEADER_BYTES + message.parts.body_bytes()).sum();
        if bytes > ATOMIC_BYTES_MAX {
            return Err(NotStaged::TooLarge(bytes));
        }
        if messages.len() > ATOMIC_MESSAGES_MAX {
            return Err(NotStaged::TooMany(messages.len()));
        }
        let mut locked = self.lock();
        let mut routes = Vec::with_capacity(messages.len());
        for message in messages {
            // A new route is staged at once. If the rest finds no room now, the next attempt finds the route.
            locked.check_room(ROUTE_RECORD_BYTES_MAX)?;
            routes.push(locked.route(&message.target)?);
        }
        locked.check_room(bytes)?;
        if !locked.inner.builder.has_room_for_extents(messages.len()) {
            return Err(NotStaged::Full);
        }
        let last = routes.iter().rposition(|route| route.set != SetId::NONE);
        let staged = messages.iter().zip(routes).enumerate().map(|(index, (message, route))| {
            let more = if last.is_some_and(|last| index < last) { FLAG_ATOMIC_MORE } else { 0 };
            locked.push(message, route, more)
        });
        Ok(staged.collect())
    }
}

/// The topic, if there is just one.
#[inline]
fn only(topics: &[u8]) -> Option<&[u8]> {
    let (length, topic) = topics.split_first()?;
    (topic.len() == usize::from(*length)).then_some(topic)
}

/// Staging, with its lock held.
pub struct Locked<'a> {
    staging: &'a Staging,
    inner: MutexGuard<'a, Shelf>,
}

impl Locked<'_> {
    #[inline]
    fn check_room(&self, bytes: usize) -> Result<(), NotStaged> {
        match self.inner.gate {
            Gate::Open if self.inner.builder.has_room(bytes) => Ok(()),
            Gate::Open | Gate::Pause => Err(NotStaged::Full),
            gate => Err(NotStaged::Gate(gate)),
        }
    }

    fn route(&mut self, target: &Target<'_>) -> Result<Route, NotStaged> {
        let mut records = Vec::new();
        let Shelf { buffer, builder, routing, .. } = &mut *self.inner;
        let route = match target {
            Target::Subscribers(topics) => routing.route(topics_in(topics), &mut records),
            Target::Address(address) => routing.route_address(address, &mut records),
        };
        records.iter().for_each(|record: &Control| drop_lsn(builder.push_control(buffer, record)));
        let route = route.map_err(NotStaged::Held)?;
        if let Target::Subscribers(topics) = target
            && let Some(topic) = only(topics)
        {
            // The table is as of the newest change: it is only made anew under this lock.
            self.staging.table.load().fill(topic, route);
        }
        if !records.is_empty() {
            self.ring();
        }
        Ok(route)
    }

    /// What people call whoever has as much waiting as it may.
    #[must_use]
    pub fn name_of_held(&self, held: Held) -> String {
        // It may have room by now, and be no longer held.
        self.inner.routing.name_of_held(held).unwrap_or("a subscriber").to_owned()
    }

    #[inline]
    fn push(&mut self, message: &Prepared<'_>, route: Route, flags: u8) -> Staged {
        if route.set == SetId::NONE {
            return Staged::NOWHERE;
        }
        if self.staging.stamp.load(Ordering::Relaxed) == 0 {
            self.staging.stamp.store(clock::wall().0, Ordering::Relaxed);
        }
        let Shelf { buffer, builder, .. } = &mut *self.inner;
        let lsn = builder.push_message(buffer, &message.parts, message.flags | flags, route.set);
        assert!(route.routed > 0, "a set of streams has some");
        self.ring();
        Staged { lsn, routed: route.routed }
    }

    /// A publisher staged a record: the engine is rung for the first since it went to sleep.
    #[inline]
    fn ring(&mut self) {
        if std::mem::take(&mut self.inner.ring) {
            self.staging.wake.ring();
        }
    }

    /// Whether something is staged. If not, the next publisher rings.
    #[must_use]
    pub fn is_filled_or_rings(&mut self) -> bool {
        self.inner.ring = self.is_empty();
        !self.inner.ring
    }

    /// Whether nothing is staged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.builder.is_empty()
    }

    /// Lets the engine put its own records in. Where they change the routing, publishers see it before they get the
    /// lock again.
    pub fn with_stager(&mut self, put: impl FnOnce(&mut Stager<'_>)) {
        let Shelf { buffer, builder, routing, .. } = &mut *self.inner;
        put(&mut Stager { builder, buffer, routing });
        self.publish_table();
    }

    /// Makes a new table of what changed. Routes are not in it: whoever publishes first asks for one under the lock, so
    /// subscriptions without messages between them mint no sets.
    fn publish_table(&mut self) {
        let Shelf { routing, generation, gate, .. } = &mut *self.inner;
        let changes = routing.take_changes();
        let table = self.staging.table.load();
        // Where nothing is staged any more, nobody looks anything up without the lock; and the first table has it all.
        if changes.is_empty() || matches!(gate, Gate::Closed | Gate::Failed) || !table.is_complete() {
            return;
        }
        *generation += 1;
        if changes.all_routes {
            table.empty_routes();
        }
        let topics = changes.topics.iter().map(|topic| (topic.as_str(), routing.is_wanted(topic)));
        self.staging.table.store(Arc::new(table.followed(*generation, topics)));
    }

    fn publish_first_table(&mut self) {
        let Shelf { routing, generation, .. } = &mut *self.inner;
        routing.take_changes();
        *generation += 1;
        self.staging.table.store(Arc::new(RouteTable::of(*generation, routing.topics())));
    }

    /// Adds a verified run of a peer, if there is room. Returns whether there was.
    pub fn push_run(&mut self, accepted: &crate::format::control::Accepted, records: &[u8]) -> bool {
        let Shelf { buffer, builder, .. } = &mut *self.inner;
        let room = builder.has_room(records.len() + 2 * RECORD_HEADER_BYTES + 64);
        if room {
            builder.push_run(buffer, accepted, records);
        }
        room
    }

    /// Whether a run of that many bytes finds room.
    #[must_use]
    pub fn has_room_for_run(&self, bytes: usize) -> bool {
        self.inner.builder.has_room(bytes + 2 * RECORD_HEADER_BYTES + 64)
    }

    /// Swaps the buffer for an empty one.
    pub fn swap(&mut self, empty: Buffer) -> Filled {
        let next = self.inner.builder.next_lsn();
        let builder = std::mem::replace(&mut self.inner.builder, BatchBuilder::new(next));
        let buffer = std::mem::replace(&mut self.inner.buffer, empty);
        self.inner.ring = false;
        self.staging.stamp.store(0, Ordering::Relaxed);
        self.staging.room.notify_waiters();
        Filled { buffer, builder }
    }

    /// Opens or shuts staging for publishers.
    pub fn set_gate(&mut self, gate: Gate) {
        if self.inner.gate != gate {
            self.inner.gate = gate;
            if gate == Gate::Open && !self.staging.table.load().is_complete() {
                self.publish_first_table();
            }
            if matches!(gate, Gate::Closed | Gate::Failed) {
                // Whoever publishes something that nobody wants is told too.
                self.staging.table.store(Arc::default());
            }
            self.staging.room.notify_waiters();
        }
    }
}

/// The engine sees the record when it applies the batch.
fn drop_lsn(_: Lsn) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::State;
    use crate::format::batch::BATCH_HEADER_BYTES;
    use crate::format::message::MessageHead;
    use crate::format::record::{RecordKind, Records};
    use crate::ids::PeerSlot;
    use crate::io::buffer_pool::BufferPool;

    /// Staging where somebody wants `wanted`.
    fn staging(pool: &BufferPool) -> Staging {
        let mut routing = Routing::of(&State::default());
        let (slot, topics) = (PeerSlot(1), vec!["wanted".to_owned()]);
        routing.stage(Control::Subscriber { slot, added: true, topics }, &mut Vec::new());
        let staging = Staging::new(pool.take(), Lsn(1), routing, Arc::default());
        staging.lock().set_gate(Gate::Open);
        staging
    }

    fn stage(staging: &Staging, topic: &str) -> Staged {
        let head = MessageHead::with_topics(staging.stamp(), [topic]).unwrap();
        let parts = MessageParts::new(&head, b"payload").unwrap();
        staging.stage(&Prepared { target: Target::Subscribers(head.topics()), parts, flags: 0 }).unwrap()
    }

    #[test]
    fn messages_of_one_batch_have_one_stamp_and_those_of_the_next_another() {
        let pool = BufferPool::new();
        let staging = staging(&pool);
        assert_eq!(stage(&staging, "wanted").routed, 1);
        let first = staging.stamp();
        assert_eq!(staging.stamp(), first);
        drop(staging.lock().swap(pool.take()));
        assert!(staging.stamp() > first);
    }

    #[test]
    fn messages_of_an_atomic_batch_lie_in_the_log_in_their_order() {
        let pool = BufferPool::new();
        let staging = staging(&pool);
        let head = MessageHead::with_topics(Wall(1), ["wanted"]).unwrap();
        let payloads = [[1; 9], [2; 9], [3; 9]];
        let messages = payloads.each_ref().map(|payload| {
            let parts = MessageParts::new(&head, payload).unwrap();
            Prepared { target: Target::Subscribers(head.topics()), parts, flags: 0 }
        });
        let staged = staging.stage_atomic(&messages).unwrap();
        let filled = staging.lock().swap(pool.take());
        let records = &filled.buffer[BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + filled.builder.record_bytes()];
        let records: Vec<_> = Records::new(records).map(|record| record.unwrap()).collect();
        let found = records.iter().filter(|record| record.kind == RecordKind::Message).map(|record| {
            let more = record.header.flags & FLAG_ATOMIC_MORE != 0;
            (record.lsn(), record.body[record.body.len() - 1], more)
        });
        let expected =
            staged.iter().zip(payloads).map(|(one, payload)| (one.lsn, payload[0], payload[0] < 3));
        assert!(found.eq(expected), "{staged:?}");
    }

    #[test]
    fn what_nobody_wants_leaves_no_stamp_to_grow_old() {
        let pool = BufferPool::new();
        let staging = staging(&pool);
        assert_eq!(stage(&staging, "unwanted"), Staged::NOWHERE);
        let before = staging.stamp();
        assert!(staging.stamp() > before, "no batch is begun");
    }

    #[test]
    fn the_first_record_after_the_engine_went_to_sleep_rings_and_no_other() {
        use futures_util::FutureExt;
        let pool = BufferPool::new();
        let staging = staging(&pool);
        stage(&staging, "wanted");
        let rang = || staging.wake.bell().notified().now_or_never().is_some();
        assert!(!rang(), "the engine is awake");
        assert!(staging.lock().is_filled_or_rings(), "it does not go to sleep over a record");
        drop(staging.lock().swap(pool.take()));
        assert!(!staging.lock().is_filled_or_rings());
        stage(&staging, "unwanted");
        assert!(!rang());
        stage(&staging, "wanted");
        stage(&staging, "wanted");
        assert!(rang() && !rang());
    }

    fn subscribe(staging: &Staging, slot: u32, topic: &str) {
        staging.lock().with_stager(|stager| {
            let (slot, topics) = (PeerSlot(slot), vec![topic.to_owned()]);
            stager.routing.stage(Control::Subscriber { slot, added: true, topics }, &mut Vec::new());
        });
    }

    fn looked_up(staging: &Staging, topic: &str) -> Option<Route> {
        staging.table.load().look_up(topic.as_bytes())
    }

    #[test]
    fn a_message_goes_to_those_who_want_it_when_it_is_staged() {
        let pool = BufferPool::new();
        let staging = staging(&pool);
        assert_eq!(stage(&staging, "wanted").routed, 1);
        assert!(looked_up(&staging, "wanted").is_some(), "the next one finds it without the lock");
        subscribe(&staging, 2, "wanted");
        subscribe(&staging, 2, "other");
        assert_eq!((stage(&staging, "wanted").routed, stage(&staging, "other").routed), (2, 1));
        assert_eq!(stage(&staging, "unwanted"), Staged::NOWHERE);
    }

    #[test]
    fn who_looked_up_before_a_change_looks_up_again() {
        let pool = BufferPool::new();
        let staging = staging(&pool);
        stage(&staging, "wanted");
        let target = Target::Subscribers(b"\x06wanted");
        let (generation, _) = staging.look_up(&target);
        subscribe(&staging, 2, "another");
        assert_ne!(staging.look_up(&target).0, generation);
    }

    #[test]
    fn subscriptions_without_messages_between_them_log_no_sets() {
        let pool = BufferPool::new();
        let staging = staging(&pool);
        (2..=1_000).for_each(|slot| subscribe(&staging, slot, "wanted"));
        assert!(staging.lock().is_empty());
        assert_eq!(stage(&staging, "wanted").routed, 1_000);
        assert_eq!(staging.lock().inner.routing.sets(), 1);
    }

    #[test]
    fn behind_a_checkpoint_every_route_is_asked_for_again() {
        let pool = BufferPool::new();
        let staging = staging(&pool);
        stage(&staging, "wanted");
        staging.lock().with_stager(|stager| stager.routing.forget_sets());
        assert_eq!(looked_up(&staging, "wanted"), None);
        let before = staging.lock().inner.builder.next_lsn();
        let staged = stage(&staging, "wanted");
        assert_eq!(staged.lsn, before.plus(1), "the record of the set stands before the message");
    }

    #[test]
    fn a_subscription_copies_the_same_however_many_topics_others_want() {
        let pool = BufferPool::new();
        let staging = staging(&pool);
        for number in 0..10_000 {
            let before = staging.table.load_full();
            subscribe(&staging, 1, &format!("topic.{number}"));
            assert_eq!(
                staging.table.load().copied_since(&before),
                1,
                "one piece, and all others as they were"
            );
        }
        assert_eq!(stage(&staging, "topic.9999").routed, 1);
    }
}
