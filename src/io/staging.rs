//! Where publishers put their messages: a buffer, filled under a short lock, that the engine swaps for an empty one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::buffer::Buffer;
use crate::engine::routing::{Route, Routing};
use crate::engine::staging::Stager;
use crate::format::control::Control;
use crate::format::message::{MessageParts, topics_in};
use crate::format::record::{FLAG_ATOMIC_MORE, RECORD_HEADER_BYTES};
use crate::ids::{Lsn, SetId};
use crate::limits::{ATOMIC_BYTES_MAX, ATOMIC_MESSAGES_MAX, ROUTE_RECORD_BYTES_MAX};
use crate::log::batch_builder::BatchBuilder;

/// Why nothing is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It is.
    Open,
    /// A checkpoint is being written; it opens again in a moment.
    Checkpoint,
    /// The disk has no room for another segment.
    DiskFull,
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
    /// The checksum of that.
    pub body_crc: u32,
    /// Flags of its record.
    pub flags: u8,
}

/// A message that was staged, or that nobody wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Its record; `None` if it goes to nobody and was not stored.
    pub lsn: Option<Lsn>,
    /// To how many it goes.
    pub routed: u32,
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
    /// The gate is shut for good, or until the disk has room.
    Gate(Gate),
}

/// What publishers look up without a lock.
#[derive(Debug, Default)]
struct Table {
    generation: u64,
    /// Whether a topic that is not in it is one that nobody wants.
    complete: bool,
    topics: HashMap<String, Route>,
}

/// What the lock guards.
#[derive(Debug)]
pub struct Shelf {
    buffer: Buffer,
    builder: BatchBuilder,
    routing: Routing,
    generation: u64,
    gate: Gate,
}

/// The staging of one node.
#[derive(Debug)]
pub struct Staging {
    inner: Mutex<Shelf>,
    table: ArcSwap<Table>,
    room: Notify,
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
    pub fn new(buffer: Buffer, next: Lsn, routing: Routing) -> Staging {
        let inner = Shelf {
            buffer,
            builder: BatchBuilder::new(next),
            routing,
            generation: 0,
            gate: Gate::Checkpoint,
        };
        Staging { inner: Mutex::new(inner), table: ArcSwap::default(), room: Notify::new() }
    }

    /// Takes the lock, for the engine. Publishers wait meanwhile.
    pub fn lock(&self) -> Locked<'_> {
        // A publisher that panicked did so before it changed anything: encoding happens before the lock.
        Locked { staging: self, inner: self.inner.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Resolves when there may be room again, or the gate moved. To be called before the attempt that fails.
    pub fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.room.notified()
    }

    /// Where messages of one topic go, as of the last change, without a lock.
    fn look_up(&self, target: &Target<'_>) -> (u64, Option<Route>) {
        let table = self.table.load();
        let route = match target {
            Target::Subscribers(topics) if table.complete => {
                only(topics).map(|topic| table.topics.get(topic).copied().unwrap_or_default())
            }
            _ => None,
        };
        (table.generation, route)
    }

    /// Stages one message.
    pub fn stage(&self, message: &Prepared<'_>) -> Result<Staged, NotStaged> {
        let (generation, route) = self.look_up(&message.target);
        if let Some(Route { set: SetId::NONE, .. }) = route {
            return Ok(Staged { lsn: None, routed: 0 });
        }
        let bytes = RECORD_HEADER_BYTES + message.parts.body_bytes();
        let mut locked = self.lock();
        locked.check_room(bytes)?;
        let route = match route.filter(|_| locked.inner.generation == generation) {
            Some(route) => route,
            None => {
                locked.check_room(bytes + ROUTE_RECORD_BYTES_MAX)?;
                locked.route(&message.target)
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
            routes.push(locked.route(&message.target));
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
fn only(topics: &[u8]) -> Option<&str> {
    let mut all = topics_in(topics);
    all.next().filter(|_| all.next().is_none())
}

/// Staging, with its lock held.
pub struct Locked<'a> {
    staging: &'a Staging,
    inner: MutexGuard<'a, Shelf>,
}

impl Locked<'_> {
    fn check_room(&self, bytes: usize) -> Result<(), NotStaged> {
        match self.inner.gate {
            Gate::Open if self.inner.builder.has_room(bytes) => Ok(()),
            Gate::Open | Gate::Checkpoint => Err(NotStaged::Full),
            gate => Err(NotStaged::Gate(gate)),
        }
    }

    fn route(&mut self, target: &Target<'_>) -> Route {
        let mut records = Vec::new();
        let Shelf { buffer, builder, routing, .. } = &mut *self.inner;
        let route = match target {
            Target::Subscribers(topics) => routing.route(topics_in(topics), &mut records),
            Target::Address(address) => routing.route_address(address, &mut records),
        };
        records.iter().for_each(|record: &Control| drop_lsn(builder.push_control(buffer, record)));
        route
    }

    fn push(&mut self, message: &Prepared<'_>, route: Route, flags: u8) -> Staged {
        if route.set == SetId::NONE {
            return Staged { lsn: None, routed: 0 };
        }
        let Shelf { buffer, builder, .. } = &mut *self.inner;
        let lsn =
            builder.push_message(buffer, &message.parts, message.body_crc, message.flags | flags, route.set);
        Staged { lsn: Some(lsn), routed: route.routed }
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
        let mut stager = Stager { builder, buffer, routing, routing_changed: false };
        put(&mut stager);
        if stager.routing_changed {
            self.publish_table();
        }
    }

    fn publish_table(&mut self) {
        // Where nothing is staged any more, nobody looks anything up without the lock.
        if matches!(self.inner.gate, Gate::Closed | Gate::Failed) {
            return;
        }
        let mut records = Vec::new();
        self.inner.generation += 1;
        let generation = self.inner.generation;
        let Shelf { buffer, builder, routing, .. } = &mut *self.inner;
        let mut topics: HashMap<String, Route> = routing.table(&mut records).into_iter().collect();
        let bytes: usize = records.iter().map(|record| RECORD_HEADER_BYTES + record.encode().len()).sum();
        let complete = builder.has_room(bytes);
        if complete {
            records.iter().for_each(|record| drop_lsn(builder.push_control(buffer, record)));
        } else {
            // They are minted again when a message needs them, each with its record.
            routing.forget_sets(&records);
            topics.clear();
        }
        self.staging.table.store(Arc::new(Table { generation, complete, topics }));
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
        self.staging.room.notify_waiters();
        Filled { buffer, builder }
    }

    /// Opens or shuts staging for publishers.
    pub fn set_gate(&mut self, gate: Gate) {
        if self.inner.gate != gate {
            self.inner.gate = gate;
            if gate == Gate::Open && !self.staging.table.load().complete {
                self.publish_table();
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
