//! The loop of a store: batches to the disk, the oldest segment back from it, and sleep. As a node's driver it ends every turn in
//! a park, for only then tokio-uring hands operations to the kernel.
#![forbid(unsafe_code)]

use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::shared::{StoreGate, StoreLocked, StoreMail, StoreShared};
use crate::ids::SegmentNumber;
use crate::io::buffer::{Buffer, SharedBuffer};
use crate::io::buffer_pool::BufferPool;
use crate::io::clock;
use crate::io::driver::logging::read_span;
use crate::io::inputs::{Input, Inputs};
use crate::io::prewriter::{Answer, Prewriter, Speed};
use crate::io::segment_files::SegmentFiles;
use crate::io::staging::Filled;
use crate::log::sealing::{SealPermit, Sealed};
use crate::store::contents::Contents;
use crate::store::store_log::{StoreEvent, StoreLog};

/// How far closing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// Nobody asked for it.
    No,
    /// What was changed is being written.
    Flushing,
    /// The closing batch is on its way, or there was no room for one.
    Last,
    /// Nothing is left to do.
    Over,
}

/// What the driver is made of.
pub struct StoreParts<C> {
    /// What users share.
    pub shared: Arc<StoreShared<C>>,
    /// The log.
    pub log: StoreLog,
    /// The buffers.
    pub pool: BufferPool,
    /// The thread that prepares segments.
    pub prewriter: Prewriter,
    /// The open segments.
    pub files: SegmentFiles,
}

/// The driver of one store.
pub struct StoreDriver<C> {
    parts: StoreParts<C>,
    inputs: Rc<Inputs>,
    spare: Option<Buffer>,
    /// Segments that are freed once nobody reads them.
    to_free: Vec<SegmentNumber>,
    closing: Closing,
    /// Who waits for the log to be small.
    compacting: Vec<oneshot::Sender<()>>,
    /// Reads and writes of the log that the kernel has.
    operations: usize,
}

impl<C: Contents> StoreDriver<C> {
    /// A driver, in the runtime that it will run in.
    #[must_use]
    pub fn new(parts: StoreParts<C>) -> StoreDriver<C> {
        let inputs = Rc::new(Inputs::new(Arc::clone(&parts.shared.wake)));
        StoreDriver {
            parts,
            inputs,
            spare: None,
            to_free: Vec::new(),
            closing: Closing::No,
            compacting: Vec::new(),
            operations: 0,
        }
    }

    /// Runs until the store is closed. `ready` is called once it may be used.
    pub async fn run(mut self, ready: impl FnOnce()) {
        let registration = self.parts.pool.register();
        tracing::debug!(%registration, "buffers");
        if self.parts.log.segments().is_blank() {
            self.parts.shared.lock().begin_segment(&mut self.parts.log);
        }
        let mut ready = Some(ready);
        while self.closing != Closing::Over {
            self.turn();
            let has_begun = self.parts.log.is_idle() && self.parts.log.durable().0 > 0;
            if (has_begun || self.parts.log.has_failed())
                && let Some(ready) = ready.take()
            {
                ready();
            }
            if self.closing != Closing::Over {
                self.park().await;
            }
        }
    }

    fn turn(&mut self) {
        self.take_inputs();
        self.parts.shared.mailbox.take().into_iter().for_each(|mail| self.take_mail(mail));
        self.parts.log.handle_time(clock::now().monotonic);
        let live_bytes = self.parts.shared.lock().live_bytes();
        self.parts.log.consider_freeing(live_bytes);
        if !self.parts.log.is_asked_to_compact() {
            // Who asked may have gone.
            self.compacting.drain(..).for_each(|done| done.send(()).unwrap_or_default());
        }
        self.write_batches();
        self.read_log();
        self.report();
        self.free_idle();
        self.go_on_closing();
    }

    /// Sleeps until something happens or is due.
    async fn park(&mut self) {
        let shared = Arc::clone(&self.parts.shared);
        let may_write = self.closing == Closing::No && self.parts.log.may_seal() != SealPermit::No;
        shared.wake.arm();
        let waiting = !shared.mailbox.is_empty()
            || !self.inputs.is_empty()
            || self.parts.log.may_free()
            || may_write && (self.parts.log.wants_to_stage() || shared.lock().is_filled_or_rings());
        let mut bell = pin!(shared.wake.bell().notified());
        let rang = bell.as_mut().enable();
        if waiting || rang {
            shared.wake.disarm();
            if let Err(error) = tokio_uring::no_op().await {
                self.fail(error);
            }
            return;
        }
        match self.parts.log.next_wake() {
            None => bell.await,
            Some(at) => {
                let left = at.0.saturating_sub(clock::now().monotonic.0);
                let left = Duration::from_nanos(left) + Duration::from_micros(500);
                drop(tokio::time::timeout(left, bell).await);
            }
        }
        shared.wake.disarm();
    }

    fn take_inputs(&mut self) {
        for input in self.inputs.take() {
            match input {
                Input::Written(batch, outcome) => {
                    self.operations -= 1;
                    match outcome {
                        Ok(()) => self.parts.log.handle_written(batch),
                        Err(error) => self.fail(error),
                    }
                    // Writes end in any order; a segment counts as written until none is on its way.
                    if self.parts.log.is_idle() {
                        self.parts.files.all_written();
                    }
                }
                Input::Read(span, outcome) => {
                    self.operations -= 1;
                    self.parts.files.done(span.segment);
                    let place = format!("segment {} at offset {}", span.segment, span.offset);
                    let taken = outcome.and_then(|bytes| {
                        let damaged = |defect| io::Error::other(format!("{place} is damaged: {defect}"));
                        self.parts.log.handle_read(&span, bytes).map_err(damaged)
                    });
                    if let Err(error) = taken {
                        self.fail(error);
                    }
                }
                // Nobody connects to a store.
                _ => {}
            }
        }
    }

    fn take_mail(&mut self, mail: StoreMail) {
        match mail {
            StoreMail::Prewriter(Answer::Prepared { number, file }) => {
                self.parts.files.insert(number, file);
                self.parts.log.handle_prepared(number);
            }
            StoreMail::Prewriter(Answer::DiskFull { number }) => {
                tracing::warn!(segment = number.0, "the disk is full: nothing is added once this segment is");
                self.parts.log.handle_disk_full(clock::now().monotonic);
            }
            // The log goes on in the segment it has, and tries again like with a full disk.
            StoreMail::Prewriter(Answer::PrepareFailed { number, source }) => {
                tracing::error!(segment = number.0, error = %source, "the next segment cannot be prepared");
                self.parts.log.handle_disk_full(clock::now().monotonic);
            }
            StoreMail::Prewriter(Answer::Freed { number, recycled }) => {
                tracing::debug!(segment = number.0, recycled, "freed");
            }
            StoreMail::Prewriter(Answer::FreeFailed { number, source }) => {
                tracing::warn!(segment = number.0, error = %source, "a segment that is no longer needed stays");
            }
            StoreMail::Compact(done) => {
                self.parts.log.compact();
                self.compacting.push(done);
            }
            StoreMail::Close => {
                if self.closing == Closing::No {
                    self.closing = Closing::Flushing;
                    self.parts.shared.lock().set_gate(StoreGate::Ended);
                }
            }
        }
    }

    /// Seals and submits batches while there is something to write and a write may begin.
    fn write_batches(&mut self) {
        if !matches!(self.closing, Closing::No | Closing::Flushing) {
            return;
        }
        loop {
            let permit = self.parts.log.may_seal();
            if permit == SealPermit::No || !self.write_batch(permit) {
                let gate = self.gate();
                return self.parts.shared.lock().set_gate(gate);
            }
        }
    }

    fn write_batch(&mut self, permit: SealPermit) -> bool {
        let empty = self.spare.take().unwrap_or_else(|| self.parts.pool.take());
        let shared = Arc::clone(&self.parts.shared);
        let mut locked = shared.lock();
        if self.closing == Closing::No
            && let Err(defect) = locked.stage(&mut self.parts.log)
        {
            drop(locked);
            self.fail(io::Error::other(defect));
            return false;
        }
        if locked.is_empty() {
            self.spare = Some(empty);
            return false;
        }
        let filled = locked.swap(empty);
        let log = &mut self.parts.log;
        let must_wait = permit == SealPermit::HereThenRoll || log.is_disk_full() || log.may_await_segment();
        let sealed = if must_wait {
            // Nobody may put in behind the last batch of a segment what might never be written.
            let sealed = seal(log, filled, false);
            if permit == SealPermit::HereThenRoll {
                locked.begin_segment(log);
            }
            self.move_gate(locked);
            sealed
        } else {
            self.move_gate(locked);
            seal(&mut self.parts.log, filled, false)
        };
        self.submit(sealed);
        true
    }

    fn move_gate(&self, mut locked: StoreLocked<'_, C>) {
        locked.set_gate(self.gate());
    }

    /// Whether changes are taken, as the log sees it.
    fn gate(&self) -> StoreGate {
        let log = &self.parts.log;
        if log.has_failed() || self.closing != Closing::No {
            StoreGate::Ended
        } else if log.is_disk_full() {
            StoreGate::DiskFull { is_written: !log.awaits_segment() }
        } else if log.awaits_segment() {
            StoreGate::Pause
        } else {
            StoreGate::Open
        }
    }

    fn submit(&mut self, (sealed, buffer): (Sealed, SharedBuffer)) {
        let (place, number) = (sealed.place, sealed.batch.header.number());
        let inputs = Rc::clone(&self.inputs);
        self.operations += 1;
        match self.parts.files.borrow_for_write(place.segment) {
            Err(error) => inputs.push(Input::Written(number, Err(error))),
            Ok(file) => spawn(async move {
                let outcome = file.write(buffer, place.bytes as usize, place.offset).await;
                inputs.push(Input::Written(number, outcome));
            }),
        }
    }

    fn read_log(&mut self) {
        while let Some(span) = self.parts.log.poll_read() {
            let inputs = Rc::clone(&self.inputs);
            self.operations += 1;
            match self.parts.files.borrow(span.segment) {
                Err(error) => inputs.push(Input::Read(span, Err(error))),
                Ok(file) => {
                    let buffer = self.parts.pool.take();
                    spawn(async move {
                        let outcome = read_span(&file, buffer, &span).await;
                        inputs.push(Input::Read(span, outcome));
                    });
                }
            }
        }
    }

    fn report(&mut self) {
        while let Some(event) = self.parts.log.poll_event() {
            match event {
                StoreEvent::Durable(mark) => self.parts.shared.durable.rise(mark),
                StoreEvent::Prepare(number) => self.parts.prewriter.prepare(number, Speed::Paced),
                StoreEvent::Free(number) => {
                    self.parts.files.close(number);
                    self.to_free.push(number);
                }
            }
        }
        if let Some(number) = self.parts.log.segment_wanted_now() {
            self.parts.prewriter.hurry(number);
        }
    }

    /// Segments that nobody reads any more go.
    fn free_idle(&mut self) {
        let files = &self.parts.files;
        let (idle, busy): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.to_free).into_iter().partition(|number| files.is_idle(*number));
        self.to_free = busy;
        idle.into_iter().for_each(|number| self.parts.prewriter.free(number));
    }

    /// Closing goes on: what was changed is written, then the batch that says that nothing follows.
    fn go_on_closing(&mut self) {
        // What the kernel still reads or writes is waited for: a file in its hands cannot be opened again.
        let (failed, idle) = (self.parts.log.has_failed(), self.operations == 0);
        let is_flushed = self.parts.log.is_idle() && self.parts.shared.lock().is_empty();
        match self.closing {
            Closing::Flushing if failed && idle => self.closing = Closing::Over,
            Closing::Flushing if !failed && is_flushed => {
                self.write_closing_batch();
                self.closing = Closing::Last;
            }
            // On a full disk nothing more can be written, and of what is not yet written nobody was told that it is.
            Closing::Flushing if idle && self.is_stuck() => self.closing = Closing::Over,
            Closing::Last if idle => self.closing = Closing::Over,
            _ => {}
        }
    }

    fn is_stuck(&self) -> bool {
        let log = &self.parts.log;
        log.is_idle() && log.may_seal() == SealPermit::No && log.segments().is_disk_full()
    }

    fn write_closing_batch(&mut self) {
        let log = &mut self.parts.log;
        if log.has_room_for_closing() && log.may_seal() != SealPermit::No {
            let empty = self.spare.take().unwrap_or_else(|| self.parts.pool.take());
            let filled = self.parts.shared.lock().swap(empty);
            let sealed = seal(log, filled, true);
            self.submit(sealed);
        }
    }

    /// The log, or what it stands on, can no longer be used.
    fn fail(&mut self, error: io::Error) {
        tracing::error!(%error, "the log can no longer be written; the store takes no more changes");
        self.parts.shared.set_failure(error);
        self.parts.log.handle_failed();
        self.parts.shared.durable.fail();
        self.parts.shared.lock().set_gate(StoreGate::Ended);
    }
}

fn spawn(task: impl Future<Output = ()> + 'static) {
    drop(tokio_uring::spawn(task));
}

/// Makes the batch whole.
fn seal(log: &mut StoreLog, filled: Filled, closing: bool) -> (Sealed, SharedBuffer) {
    let Filled { mut buffer, builder } = filled;
    let sealed = log.seal(builder, &mut buffer, closing);
    (sealed, buffer.freeze())
}
