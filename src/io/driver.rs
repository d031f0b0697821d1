//! The loop: takes what happened, tells the engine, performs what it asks for, sleeps.
//!
//! tokio-uring hands operations to the kernel only when the thread parks, so every turn ends in a park: where the bell
//! rang meanwhile, in that of an operation that does nothing.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::buffer::Buffer;
use super::buffer_pool::BufferPool;
use super::clock;
use super::commits::Commits;
use super::connection::{Connection, Tasks};
use super::dialler::Dialler;
use super::directory::Directory;
use super::inputs::Inputs;
use super::listener::Listener;
use super::mailbox::Reply;
use super::pin::Pin;
use super::prewriter::Prewriter;
use super::segment_files::SegmentFiles;
use super::shared::Shared;
use super::staging::Gate;
use crate::engine::Engine;
use crate::engine::effect::{RequestId, SessionId};
use crate::engine::sealing::SealPermit;
use crate::format::batch::OwedRun;
use crate::ids::SegmentNumber;
use crate::time::Now;

mod frames;
pub(in crate::io) mod logging;
mod mail;
mod report;
mod speaking;

/// How far closing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// Nobody asked for it.
    No,
    /// What is staged is being written.
    Flushing,
    /// The closing batch is on its way.
    Sealed,
    /// There was no room for one. What is on its way is waited for.
    Last,
    /// Nothing is left to do.
    Over,
}

/// What the driver is made of.
pub struct Parts {
    /// What other threads share.
    pub shared: Arc<Shared>,
    /// The engine.
    pub engine: Engine,
    /// The buffers.
    pub pool: BufferPool,
    /// The data directory.
    pub directory: Arc<Directory>,
    /// The thread that prepares segments.
    pub prewriter: Prewriter,
    /// The open segments.
    pub files: SegmentFiles,
    /// The socket that peers connect to.
    pub listener: Option<Listener>,
    /// Makes connections.
    pub dialler: Dialler,
    /// How the log was found.
    pub recovery: String,
}

/// The driver of one node.
pub struct Driver {
    parts: Parts,
    inputs: Rc<Inputs>,
    connections: BTreeMap<SessionId, Rc<Connection>>,
    /// Sessions with frames that found no room.
    blocked: Vec<SessionId>,
    tasks: Vec<Tasks>,
    spare: Option<Buffer>,
    owed: Vec<OwedRun>,
    replies: BTreeMap<RequestId, Reply>,
    /// Segments that are freed once nobody reads or copies them, oldest first.
    to_free: VecDeque<SegmentNumber>,
    /// Whoever copies the log. Nothing is freed as long as one of them is there.
    pins: Vec<Weak<Pin>>,
    closing: Closing,
    /// As it was set last.
    gate: Gate,
    /// Reads and writes of the log that the kernel has.
    operations: usize,
    /// Bytes of batches written.
    written_bytes: u64,
    /// How the writes of batches went.
    commits: Commits,
    /// The number of whoever polls the handlers.
    serving: u64,
    /// There may be more for handlers than there was room for.
    waits_for_room: bool,
}

impl Driver {
    /// A driver, in the runtime that it will run in.
    #[must_use]
    pub fn new(parts: Parts) -> Driver {
        let inputs = Rc::new(Inputs::new(Arc::clone(&parts.shared.wake)));
        Driver {
            parts,
            inputs,
            connections: BTreeMap::new(),
            blocked: Vec::new(),
            tasks: Vec::new(),
            spare: None,
            owed: Vec::new(),
            replies: BTreeMap::new(),
            to_free: VecDeque::new(),
            pins: Vec::new(),
            closing: Closing::No,
            gate: Gate::Pause,
            operations: 0,
            written_bytes: 0,
            commits: Commits::default(),
            serving: 0,
            waits_for_room: false,
        }
    }

    /// Runs until the node is closed. `ready` is called once the node may be used: what the opening itself had to
    /// write is durable.
    pub async fn run(mut self, ready: impl FnOnce()) {
        let registration = self.parts.pool.register();
        tracing::debug!(%registration, "buffers");
        let accepting =
            match self.parts.listener.as_ref().map(|listener| listener.start(&self.inputs)).transpose() {
                Ok(task) => task,
                Err(error) => {
                    self.fail(error);
                    None
                }
            };
        let mut ready = Some(ready);
        while self.closing != Closing::Over {
            self.turn();
            let opened = self.parts.engine.durable().0 > 0 && !self.parts.engine.has_decided();
            if (opened || self.parts.engine.has_failed())
                && let Some(ready) = ready.take()
            {
                ready();
            }
            if self.closing != Closing::Over {
                self.park().await;
            }
        }
        self.parts.listener.iter().for_each(Listener::end);
        if let Some(task) = accepting {
            drop(task.await);
        }
        self.end_connections().await;
    }

    fn turn(&mut self) {
        let now = clock::now();
        self.take_inputs(now);
        self.take_mail(now);
        self.parts.engine.handle_time(now);
        self.parts.shared.handoff.ring_alarm(now.monotonic);
        self.log(now);
        self.speak();
        self.hand_over();
        // After all those who may find that something must be read: nothing else would wake us for it.
        self.read_log();
        self.report();
        self.free_idle();
        self.go_on_closing();
    }

    /// Batches go out and frames that found no room find it, until neither makes progress.
    fn log(&mut self, now: Now) {
        loop {
            let frames = self.take_blocked(now);
            let batches = self.write_batches();
            if !batches || self.blocked.is_empty() && !frames {
                break;
            }
        }
    }

    /// Sleeps until something happens or is due.
    async fn park(&mut self) {
        let shared = Arc::clone(&self.parts.shared);
        let may_write = self.parts.engine.may_seal() != SealPermit::No;
        shared.wake.arm();
        let waiting = !shared.mailbox().is_empty()
            || !self.inputs.is_empty()
            || shared.handoff.has_outcomes()
            || self.waits_for_room && shared.handoff.is_low()
            || may_write
                && (self.parts.engine.wants_to_stage() || shared.staging.lock().is_filled_or_rings());
        let mut bell = pin!(shared.wake.bell().notified());
        let rang = bell.as_mut().enable();
        if waiting || rang {
            shared.wake.disarm();
            self.park_briefly().await;
            return;
        }
        let alarm = shared.handoff.alarm();
        let due = self.parts.engine.next_wake().into_iter().chain(alarm).min();
        match due {
            None => bell.await,
            Some(at) => {
                let left = at.0.saturating_sub(clock::now().monotonic.0);
                // Timers have the grain of a millisecond: a little late, rather than too early and once more.
                let left = Duration::from_nanos(left) + Duration::from_micros(500);
                drop(tokio::time::timeout(left, bell).await);
            }
        }
        shared.wake.disarm();
    }

    /// Goes through the kernel once without waiting for anything.
    async fn park_briefly(&mut self) {
        if let Err(error) = tokio_uring::no_op().await {
            self.fail(error);
        }
    }

    /// The log, or what it stands on, can no longer be used.
    fn fail(&mut self, error: std::io::Error) {
        tracing::error!(%error, "the log can no longer be written; the node stops accepting");
        self.parts.shared.set_failure(error);
        self.parts.engine.handle_write_failed(clock::now());
        self.parts.shared.durable.fail();
        // Marks of what is handled from now on could not be written: whoever handles is told.
        self.parts.shared.handoff.end();
        self.gate = Gate::Failed;
        self.parts.shared.staging.lock().set_gate(self.gate);
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        drop(tokio_uring::spawn(task));
    }

    async fn end_connections(&mut self) {
        self.connections.values().for_each(|connection| connection.abort());
        for tasks in std::mem::take(&mut self.tasks) {
            tasks.join().await;
        }
    }
}

/// The bytes of a filled buffer that go to the disk, as something that everyone may hold.
pub(in crate::io) fn shared_bytes(buffer: &super::buffer::SharedBuffer, bytes: usize) -> Bytes {
    Bytes::from_owner(buffer.clone()).slice(..bytes)
}
