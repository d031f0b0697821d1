//! What the thread of a store and its users share: what it holds, and the batch that is being filled.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::format::entry::Entry;
use crate::format::record::{RECORD_HEADER_BYTES, RecordKind};
use crate::ids::Lsn;
use crate::io::buffer::Buffer;
use crate::io::durable::DurableMark;
use crate::io::mailbox::Mailbox;
use crate::io::prewriter::Answer;
use crate::io::staging::Filled;
use crate::io::wake::Wake;
use crate::log::batch_builder::BatchBuilder;
use crate::store::contents::{Contents, EntryDefect};
use crate::store::store_log::StoreLog;

/// Whether changes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreGate {
    /// All are.
    Open,
    /// None are, for a moment: the next segment is being made.
    Pause,
    /// Only those that take something away: the disk has no room for another segment. `is_written` says whether there is room
    /// for them just now.
    DiskFull {
        /// Whether what is taken away can be written down.
        is_written: bool,
    },
    /// None any more: it failed or was closed.
    Ended,
}

/// Why a change was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// There is no room just now.
    Full,
    /// The disk has no room.
    DiskFull,
    /// The store failed or was closed.
    Ended,
}

/// What others ask of the thread, and what is reported to it.
#[derive(Debug)]
pub enum StoreMail {
    /// A segment's file was prepared or retired.
    Prewriter(Answer),
    /// The log is to be made as small as it can be.
    Compact(oneshot::Sender<()>),
    /// The store is to close.
    Close,
}

/// What the lock guards.
#[derive(Debug)]
struct Shelf<C> {
    buffer: Buffer,
    builder: BatchBuilder,
    contents: C,
    gate: StoreGate,
    /// The thread sleeps, and is to be rung for the next record.
    ring: bool,
}

/// The shared part of one store.
#[derive(Debug)]
pub struct StoreShared<C> {
    inner: Mutex<Shelf<C>>,
    room: Notify,
    /// The durable mark.
    pub durable: DurableMark,
    /// The bell of the thread.
    pub wake: Arc<Wake>,
    /// The thread's mailbox.
    pub mailbox: Mailbox<StoreMail>,
    failure: Mutex<Option<Arc<io::Error>>>,
}

impl<C: Contents> StoreShared<C> {
    /// A store that goes on with record `next`. It is shut until its thread opens it.
    #[must_use]
    pub fn new(buffer: Buffer, next: Lsn, contents: C) -> StoreShared<C> {
        let builder = BatchBuilder::new(next);
        let shelf = Shelf { buffer, builder, contents, gate: StoreGate::Pause, ring: false };
        StoreShared {
            inner: Mutex::new(shelf),
            room: Notify::new(),
            durable: DurableMark::default(),
            wake: Arc::default(),
            mailbox: Mailbox::default(),
            failure: Mutex::new(None),
        }
    }

    /// Takes the lock, for the thread. Users wait meanwhile.
    pub fn lock(&self) -> StoreLocked<'_, C> {
        // A change is made in one piece after all that can panic: whoever did changed nothing.
        StoreLocked { shared: self, inner: self.inner.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Resolves when there may be room again. To be called before the attempt that fails.
    pub fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.room.notified()
    }

    /// Looks at what there is, as of the record that is returned: whoever shows it to others waits until that is durable.
    pub fn look<T>(&self, look: impl FnOnce(&C) -> T) -> (T, Lsn) {
        let locked = self.lock();
        (look(&locked.inner.contents), locked.last())
    }

    /// Makes a change: `decide` says which, from what there is, and what is to be returned with the number of its record; or it
    /// refuses, and then nothing is changed. `grows` says that it takes more than it gives back, `room` how many bytes its body
    /// has at most.
    ///
    /// # Errors
    /// See [`NotTaken`]; then `decide` was not called.
    pub fn change<'a, T, N>(
        &self,
        grows: bool,
        room: usize,
        decide: impl FnOnce(&C) -> Result<(Cow<'a, [u8]>, T), N>,
    ) -> Result<Result<(Lsn, T), N>, NotTaken> {
        let mut locked = self.lock();
        locked.check(grows, RECORD_HEADER_BYTES + room)?;
        let decided = decide(&locked.inner.contents);
        Ok(decided.map(|(body, answer)| (locked.push(&body), answer)))
    }

    /// Leaves something for the thread.
    pub fn post(&self, mail: StoreMail) {
        self.mailbox.put(mail);
        self.wake.mail_left();
    }

    /// Why the store failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<io::Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store failed. Only the first cause counts.
    pub fn set_failure(&self, error: io::Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| Arc::new(error));
    }
}

/// A store, with its lock held.
pub struct StoreLocked<'a, C> {
    shared: &'a StoreShared<C>,
    inner: MutexGuard<'a, Shelf<C>>,
}

impl<C: Contents> StoreLocked<'_, C> {
    fn check(&self, grows: bool, bytes: usize) -> Result<(), NotTaken> {
        let has_room = self.inner.builder.has_room(bytes);
        match self.inner.gate {
            StoreGate::Open if has_room => Ok(()),
            StoreGate::DiskFull { .. } if grows => Err(NotTaken::DiskFull),
            StoreGate::DiskFull { is_written: true } if has_room => Ok(()),
            StoreGate::Open | StoreGate::Pause | StoreGate::DiskFull { .. } => Err(NotTaken::Full),
            StoreGate::Ended => Err(NotTaken::Ended),
        }
    }

    /// The last record that was put in.
    fn last(&self) -> Lsn {
        Lsn(self.inner.builder.next_lsn().0 - 1)
    }

    fn push(&mut self, body: &[u8]) -> Lsn {
        let Shelf { buffer, builder, contents, .. } = &mut *self.inner;
        let lsn = builder.push_record(buffer, RecordKind::Entry, body);
        let applied = Entry::decode(body).map(|entry| contents.apply(lsn, &entry));
        // Invariant: the body was made here, for this kind of store.
        applied
            .expect("an entry of our own making cannot be read")
            .expect("an entry of another kind of store");
        if std::mem::take(&mut self.inner.ring) {
            self.shared.wake.ring();
        }
        lsn
    }

    /// Whether something is in the batch. If not, the next change rings.
    #[must_use]
    pub fn is_filled_or_rings(&mut self) -> bool {
        self.inner.ring = self.inner.builder.is_empty();
        !self.inner.ring
    }

    /// Whether nothing is in the batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.builder.is_empty()
    }

    /// Bytes of the records by which the store has what it has.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.inner.contents.live_bytes()
    }

    /// Lets the log write again what it wants to keep.
    ///
    /// # Errors
    /// What was read back makes no sense.
    pub fn stage(&mut self, log: &mut StoreLog) -> Result<(), EntryDefect> {
        let Shelf { buffer, builder, contents, .. } = &mut *self.inner;
        log.stage(builder, buffer, contents)
    }

    /// Lets the log put in what a segment begins with.
    pub fn begin_segment(&mut self, log: &mut StoreLog) {
        let Shelf { buffer, builder, .. } = &mut *self.inner;
        log.begin_segment::<C>(builder, buffer);
    }

    /// Swaps the buffer for an empty one.
    pub fn swap(&mut self, empty: Buffer) -> Filled {
        let next = self.inner.builder.next_lsn();
        let builder = std::mem::replace(&mut self.inner.builder, BatchBuilder::new(next));
        let buffer = std::mem::replace(&mut self.inner.buffer, empty);
        self.inner.ring = false;
        self.shared.room.notify_waiters();
        Filled { buffer, builder }
    }

    /// Opens or shuts the store for changes.
    pub fn set_gate(&mut self, gate: StoreGate) {
        if self.inner.gate != gate {
            self.inner.gate = gate;
            self.shared.room.notify_waiters();
        }
    }
}
