//! Opening a store: the directory, the log, and the thread that it lives on. And reading one that nobody opens.
#![forbid(unsafe_code)]

use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::driver::{StoreDriver, StoreParts};
use super::shared::{StoreGate, StoreMail, StoreShared};
use crate::format::record::Records;
use crate::ids::Lsn;
use crate::io::buffer_pool::BufferPool;
use crate::io::directory::Directory;
use crate::io::node::{OpenError, ReplayDefect};
use crate::io::opening::{Opening, random, wait_for_the_dead};
use crate::io::prewriter::{Answer, Prewriter};
use crate::io::recover::{RecoverError, RecoverMode, Recovered, recover};
use crate::io::ring::set_up;
use crate::io::uring_probe::{probe, why_refused};
use crate::log::group_commit::{GroupCommit, LogPosition};
use crate::log::index::LogIndex;
use crate::store::contents::{Contents, EntryDefect, apply_record};
use crate::store::store_log::StoreLog;

/// What a store is opened with. The caller has checked it.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The data directory.
    pub directory: PathBuf,
    /// Bytes of a new segment.
    pub segment_bytes: u64,
}

/// An open store.
#[derive(Debug)]
pub struct Store<C> {
    /// What is shared with its thread.
    pub shared: Arc<StoreShared<C>>,
    thread: Option<JoinHandle<()>>,
}

impl<C: Contents> Store<C> {
    /// Asks the store to close, and returns its thread's handle the first time.
    pub fn close(&mut self) -> Option<JoinHandle<()>> {
        self.shared.post(StoreMail::Close);
        self.thread.take()
    }
}

/// A store's log as it was read back.
#[derive(Debug)]
pub struct ReadBack<C> {
    /// What the store holds.
    pub contents: C,
    /// Where its batches lie.
    pub index: LogIndex,
    /// Where and how the log ends.
    pub recovered: Recovered,
}

/// Reads a store's log back.
///
/// # Errors
/// See [`RecoverError`].
pub fn read_back<C: Contents>(
    directory: &Path,
    mode: RecoverMode,
) -> Result<ReadBack<C>, RecoverError<ReplayDefect>> {
    let (mut contents, mut index) = (C::default(), LogIndex::default());
    let recovered = recover(directory, mode, &mut |place, view| {
        let mut lsn = view.header.first_lsn();
        index.push(lsn, view.header.end_lsn().since(lsn), place);
        for record in Records::new(view.records) {
            let record = record.map_err(|defect| EntryDefect::Record { lsn, defect })?;
            apply_record(&mut contents, lsn, &record)?;
            lsn = lsn.plus(1);
        }
        Ok::<(), ReplayDefect>(())
    })?;
    Ok(ReadBack { contents, index, recovered })
}

/// Opens a store: resolves once its log is recovered.
///
/// # Errors
/// See [`OpenError`].
pub async fn open<C: Contents>(options: StoreOptions) -> Result<Store<C>, OpenError> {
    let (sender, opened) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("resolute-store".to_owned())
        .spawn(move || store_thread(&options, sender))
        .map_err(|source| OpenError::System { doing: "start the store's thread", source })?;
    match opened.await {
        Ok(Ok(shared)) => Ok(Store { shared, thread: Some(thread) }),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let source = io::Error::other("the store's thread panicked");
            Err(OpenError::System { doing: "open the store", source })
        }
    }
}

type Opened<C> = Result<Arc<StoreShared<C>>, OpenError>;

fn store_thread<C: Contents>(options: &StoreOptions, sender: oneshot::Sender<Opened<C>>) {
    let parts = match prepare(options) {
        Ok(parts) => parts,
        // Whoever opens may have gone.
        Err(error) => return drop(sender.send(Err(error))),
    };
    let runtime = match set_up(|| tokio_uring::Runtime::new(&tokio_uring::builder())) {
        Ok(runtime) => runtime,
        Err(error) => return drop(sender.send(Err(why_refused(error).into()))),
    };
    let shared: Arc<StoreShared<C>> = Arc::clone(&parts.shared);
    let opened = Arc::clone(&shared);
    let ready = move || {
        if let Err(Ok(shared)) = sender.send(Ok(opened)) {
            // Whoever opened the store has gone: it closes.
            shared.post(StoreMail::Close);
        }
    };
    let outcome = runtime.block_on(AssertUnwindSafe(StoreDriver::new(parts).run(ready)).catch_unwind());
    if outcome.is_err() {
        shared.set_failure(io::Error::other("the store's thread panicked"));
        // Operations may be in the kernel's hands, and what they hold must outlive them.
        std::mem::forget(runtime);
    }
    // Whoever still waits is told: what it waits for will not become durable in this opening.
    shared.durable.fail();
    shared.lock().set_gate(StoreGate::Ended);
    shared.mailbox.close();
}

/// Everything up to the runtime: it blocks.
fn prepare<C: Contents>(options: &StoreOptions) -> Result<StoreParts<C>, OpenError> {
    probe()?;
    let directory = Arc::new(Directory::open(&options.directory)?);
    wait_for_the_dead(&directory)?;
    let ReadBack { contents, index, recovered } = read_back::<C>(&options.directory, RecoverMode::Repair)?;
    if let Some(warning) = directory.durability_warning() {
        tracing::warn!(warning, "durability is not real here");
    }
    let (mailer, mail) = std::sync::mpsc::channel();
    let answer = Box::new(move |answer| drop(mailer.send(answer)));
    let prewriter = Prewriter::start(Arc::clone(&directory), options.segment_bytes, answer)?;
    let mut opening = Opening {
        segment_bytes: options.segment_bytes,
        directory: &directory,
        prewriter: &prewriter,
        mail: &mail,
    };
    let (segments, files) = opening.segments(&recovered)?;
    let commit = GroupCommit::new(position(&recovered)?);
    let pool = BufferPool::new();
    let next = recovered.tail.next_lsn.max(Lsn(1));
    let shared = Arc::new(StoreShared::new(pool.take(), next, contents));
    let log = StoreLog::new(commit, segments, index);
    shared.durable.rise(log.durable());
    forward(mail, &shared)?;
    Ok(StoreParts { shared, log, pool, prewriter, files })
}

/// Where a log goes on.
fn position(recovered: &Recovered) -> Result<LogPosition, OpenError> {
    let tail = &recovered.tail;
    let log_id = match tail.log_id {
        Some(id) => id,
        None => u64::from_le_bytes(random()?),
    };
    Ok(LogPosition {
        log_id,
        epoch: tail.last_epoch.plus(1),
        nonce: u64::from_le_bytes(random()?),
        next_batch: tail.next_batch,
        previous_header_crc: tail.last_header_crc,
        next_lsn: tail.next_lsn,
    })
}

/// What the prewriter answers goes into the mailbox from now on.
fn forward<C: Contents>(
    mail: std::sync::mpsc::Receiver<Answer>,
    shared: &Arc<StoreShared<C>>,
) -> Result<(), OpenError> {
    let shared = Arc::clone(shared);
    let forward = move || mail.into_iter().for_each(|answer| shared.post(StoreMail::Prewriter(answer)));
    let spawned = std::thread::Builder::new().name("resolute-answers".to_owned()).spawn(forward);
    spawned.map(drop).map_err(|source| OpenError::System { doing: "start a thread", source })
}
