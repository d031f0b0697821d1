//! Opening a node: the directory, the log, the socket, and the thread that the engine lives on.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::address::{Address, NotAnAddress};
use super::buffer_pool::BufferPool;
use super::clock;
use super::dialler::Dialler;
use super::directory::{Directory, DirectoryError};
use super::driver::{Driver, Parts};
use super::listener::Listener;
use super::mailbox::Mail;
use super::opening::{Opening, random, wait_for_the_dead};
use super::prewriter::{Answer, Prewriter};
use super::quarantine::Plan;
use super::recover::{RecoverError, RecoverMode, Recovered, recover};
use super::ring::set_up;
use super::shared::Shared;
use super::staging::Staging;
use super::uring_probe::{UringUnavailable, probe, why_refused};
use super::wake::Wake;
use crate::engine::Engine;
use crate::engine::apply::ApplyDefect;
use crate::engine::config::{Config, Limits, Retry};
use crate::engine::routing::Routing;
use crate::engine::state::State;
use crate::format::control::Quota;
use crate::ids::{Incarnation, Lsn, NodeId};
use crate::limits::{BIND_PAUSE_MS, BIND_WAIT_MS};
use crate::log::chunk::{Chunk, ChunkDefect};
use crate::log::group_commit::{GroupCommit, LogPosition};
use crate::log::segments::Segments;
use crate::store::contents::EntryDefect;

/// What a node is opened with. The caller has checked it.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The data directory.
    pub directory: PathBuf,
    /// What the node calls itself.
    pub name: String,
    /// Where it listens.
    pub bind: Address,
    /// Where peers can reach it, if that is not where it listens; of a node that is alone, one more address that is its own.
    pub advertise: Option<Address>,
    /// How failed handlers are called again.
    pub retry: Retry,
    /// Bytes of a new segment.
    pub segment_bytes: u64,
    /// Bytes that the inbox may hold before peers wait.
    pub inbox_bytes_max: u64,
    /// Bytes that the segments of the log may take of the disk.
    pub disk_bytes_max: u64,
    /// Bytes of the inbox that the messages of one peer may have.
    pub sender_bytes_max: u64,
    /// What subscribers may have waiting for them that have no quota of their own.
    pub quota: Quota,
    /// It speaks to no peer and keeps its name and address: somebody changes something in it, and closes it again.
    pub is_alone: bool,
    /// Its log went back to an older state, and begins a new life.
    pub begins_life: bool,
}

/// Why a node cannot be opened. Nothing was changed that is worth keeping.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// io_uring cannot be used here.
    #[error(transparent)]
    Uring(#[from] UringUnavailable),
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The log cannot be used as it is.
    #[error(transparent)]
    Recover(#[from] RecoverError<ReplayDefect>),
    /// Nothing can listen at that address.
    #[error("cannot listen at {address}")]
    Bind {
        /// The address.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The address that is to be told to peers is none.
    #[error(transparent)]
    Address(#[from] NotAnAddress),
    /// A thread, a ring or random numbers are not to be had.
    #[error("cannot {doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Its log was damaged, and a repair of it did not come to its end.
    #[error("a repair of {} did not come to its end: take it up again with `resolute repair`", .0.display())]
    HalfRepaired(PathBuf),
    /// The first segment cannot be made: the disk is full.
    #[error("there is no room for a segment of the log on the disk")]
    DiskFull,
}

/// Why the records of a sound log cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ReplayDefect {
    /// A batch makes no sense.
    #[error(transparent)]
    Chunk(#[from] ChunkDefect),
    /// A record makes no sense.
    #[error(transparent)]
    Apply(#[from] ApplyDefect),
    /// An entry of a store makes no sense.
    #[error(transparent)]
    Entry(#[from] EntryDefect),
}

/// An open node.
#[derive(Debug)]
pub struct Node {
    /// What is shared with the engine's thread.
    pub shared: Arc<Shared>,
    /// Where peers can reach it; empty if that is not known.
    pub advertised: String,
    /// Where it listens.
    pub bound: String,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Asks the node to close, and returns its thread's handle the first time.
    pub fn close(&mut self) -> Option<JoinHandle<()>> {
        self.shared.post(Mail::Close);
        self.thread.take()
    }
}

/// A log as it was read back, before anyone goes on with it.
#[derive(Debug)]
pub struct Replayed {
    /// The state that its records left.
    pub state: State,
    /// Where and how it ends.
    pub recovered: Recovered,
}

/// Reads a log back.
///
/// # Errors
/// See [`RecoverError`].
pub fn replay(directory: &Path, mode: RecoverMode) -> Result<Replayed, RecoverError<ReplayDefect>> {
    let (mut state, mut applied) = (State::default(), Vec::new());
    let recovered = recover(directory, mode, &mut |place, view| {
        applied.clear();
        state.apply_batch(place, &chunk_of(view)?, &mut applied)?;
        Ok::<(), ReplayDefect>(())
    })?;
    Ok(Replayed { state, recovered })
}

/// A batch that was read, as something that a state takes in.
///
/// # Errors
/// Its trailer speaks of records that it does not have.
pub fn chunk_of(view: &crate::format::batch::BatchView<'_>) -> Result<Chunk, ChunkDefect> {
    let mut extents = Vec::new();
    crate::log::extent::extents_of(view, 0, &mut extents)?;
    Ok(Chunk::sealed(view_bytes(view), view.header.first_lsn(), view.header.end_lsn(), extents))
}

/// The batch as it lies, up to the end of its records.
fn view_bytes(view: &crate::format::batch::BatchView<'_>) -> Bytes {
    use zerocopy::IntoBytes;
    let header = view.header.as_bytes();
    let mut bytes = Vec::with_capacity(header.len() + view.records.len());
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(view.records);
    bytes.into()
}

/// Opens a node: resolves once its log is recovered and its opening is durable.
///
/// # Errors
/// See [`OpenError`].
pub async fn open(options: NodeOptions) -> Result<Node, OpenError> {
    let (thread, opened) = start(options)?;
    is_open(thread, opened.await)
}

/// As [`open`], for a thread that has nothing else to do. It must not be one that runs async code.
///
/// # Errors
/// See [`OpenError`].
pub fn open_blocking(options: NodeOptions) -> Result<Node, OpenError> {
    let (thread, opened) = start(options)?;
    is_open(thread, opened.blocking_recv())
}

/// Whether a node was opened, once that is known.
type Opened = Result<Node, OpenError>;

fn start(options: NodeOptions) -> Result<(JoinHandle<()>, oneshot::Receiver<Opened>), OpenError> {
    let (sender, opened) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("resolute-engine".to_owned())
        .spawn(move || engine_thread(&options, sender))
        .map_err(|source| OpenError::System { doing: "start the engine's thread", source })?;
    Ok((thread, opened))
}

fn is_open(thread: JoinHandle<()>, opened: Result<Opened, oneshot::error::RecvError>) -> Opened {
    match opened {
        Ok(Ok(mut node)) => {
            node.thread = Some(thread);
            Ok(node)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let source = io::Error::other("the engine's thread panicked");
            Err(OpenError::System { doing: "open the node", source })
        }
    }
}

fn engine_thread(options: &NodeOptions, sender: oneshot::Sender<Result<Node, OpenError>>) {
    let (parts, node) = match prepare(options) {
        Ok(prepared) => prepared,
        // Whoever opens may have gone.
        Err(error) => return drop(sender.send(Err(error))),
    };
    let runtime = match set_up(|| tokio_uring::Runtime::new(&tokio_uring::builder())) {
        Ok(runtime) => runtime,
        Err(error) => return drop(sender.send(Err(why_refused(error).into()))),
    };
    let shared = Arc::clone(&parts.shared);
    let ready = move || {
        if let Err(Ok(node)) = sender.send(Ok(node)) {
            // Whoever opened the node has gone: it closes.
            node.shared.post(Mail::Close);
        }
    };
    let outcome = runtime.block_on(AssertUnwindSafe(Driver::new(parts).run(ready)).catch_unwind());
    shared.handoff.end();
    // Whoever still waits is told: what it waits for will not become durable in this opening.
    shared.durable.fail();
    if outcome.is_err() {
        shared.set_failure(io::Error::other("the engine panicked"));
        shared.staging.lock().set_gate(super::staging::Gate::Failed);
        // Operations may be in the kernel's hands, and what they hold must outlive them: tokio-uring gives it back too
        // early when a runtime ends.
        std::mem::forget(runtime);
    } else {
        shared.staging.lock().set_gate(super::staging::Gate::Closed);
    }
    shared.close_mailbox();
}

/// Everything up to the runtime: it blocks.
fn prepare(options: &NodeOptions) -> Result<(Parts, Node), OpenError> {
    probe()?;
    let directory = Arc::new(Directory::open(&options.directory)?);
    if !options.begins_life && Plan::pending(&directory)?.is_some() {
        return Err(OpenError::HalfRepaired(directory.path().to_owned()));
    }
    let listening = if options.is_alone { None } else { Some(listen(options)?) };
    wait_for_the_dead(&directory)?;
    let Replayed { state, recovered } = replay(&options.directory, RecoverMode::Repair)?;
    let own = || {
        let address = state.opening.address.clone();
        (None, options.advertise.as_ref().map_or_else(|| address.clone(), Address::to_string), address)
    };
    let (listener, bound, advertised) =
        listening.map_or_else(own, |(listener, bound, advertised)| (Some(listener), bound, advertised));
    let recovery = describe(&recovered);
    if let Some(warning) = directory.durability_warning() {
        tracing::warn!(warning, "durability is not real here");
    }
    let wake = Arc::new(Wake::default());
    let (mailer, mail) = std::sync::mpsc::channel();
    let prewriter = Prewriter::start(
        Arc::clone(&directory),
        options.segment_bytes,
        Box::new(move |answer| drop(mailer.send(answer))),
    )?;
    let mut opening = Opening {
        segment_bytes: options.segment_bytes,
        directory: &directory,
        prewriter: &prewriter,
        mail: &mail,
    };
    let (mut segments, files) = opening.segments(&recovered)?;
    segments.limit_to(options.disk_bytes_max);
    let engine = engine(options, state, &recovered, segments, &advertised, &bound)?;
    let pool = BufferPool::new();
    let next = recovered.tail.next_lsn.max(Lsn(1));
    let staging = Staging::new(pool.take(), next, Routing::of(engine.state()), Arc::clone(&wake));
    let identity = engine.state().identity;
    let shared = Arc::new(Shared::new(staging, wake, identity.id, identity.incarnation));
    shared.durable.rise(engine.durable());
    forward(mail, &shared)?;
    let reporter = Arc::clone(&shared);
    let dialler =
        Dialler::new(Arc::new(move |address, outcome| reporter.post(Mail::Dialled(address, outcome))));
    let node = Node { shared: Arc::clone(&shared), advertised, bound, thread: None };
    let parts = Parts { shared, engine, pool, directory, prewriter, files, listener, dialler, recovery };
    Ok((parts, node))
}

/// What the prewriter answers goes into the mailbox from now on.
fn forward(mail: std::sync::mpsc::Receiver<Answer>, shared: &Arc<Shared>) -> Result<(), OpenError> {
    let shared = Arc::clone(shared);
    let forward = move || mail.into_iter().for_each(|answer| shared.post(Mail::Prewriter(answer)));
    let spawned = std::thread::Builder::new().name("resolute-answers".to_owned()).spawn(forward);
    spawned.map(drop).map_err(|source| OpenError::System { doing: "start a thread", source })
}

fn listen(options: &NodeOptions) -> Result<(Listener, String, String), OpenError> {
    let failed = |source| OpenError::Bind { address: options.bind.to_string(), source };
    let sockets = options.bind.resolve().map_err(failed)?;
    let socket = bind_socket(&sockets).map_err(failed)?;
    let listener = Listener::new(socket);
    let port = listener.local_addr().map_err(failed)?.port();
    let bound = options.bind.with_port(port);
    let advertised = match &options.advertise {
        Some(address) if address.port() == 0 => address.with_port(port).to_string(),
        Some(address) => address.to_string(),
        // Nobody can dial "every address of the machine".
        None if bound.is_unspecified() => String::new(),
        None => bound.to_string(),
    };
    Ok((listener, bound.to_string(), advertised))
}

/// Takes the address. The kernel gives back that of a process that was killed a little after the process is gone.
fn bind_socket(sockets: &[SocketAddr]) -> io::Result<TcpListener> {
    for _ in 0..BIND_WAIT_MS / BIND_PAUSE_MS {
        match TcpListener::bind(sockets) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(Duration::from_millis(BIND_PAUSE_MS));
            }
            bound => return bound,
        }
    }
    TcpListener::bind(sockets)
}

fn engine(
    options: &NodeOptions,
    state: State,
    recovered: &Recovered,
    segments: Segments,
    advertised: &str,
    bound: &str,
) -> Result<Engine, OpenError> {
    let tail = &recovered.tail;
    let log_id = match tail.log_id {
        Some(id) => id,
        None => u64::from_le_bytes(random()?),
    };
    // One that was never opened has none yet.
    let keeps_name = options.is_alone && !state.opening.name.is_empty();
    let config = Config {
        fresh_id: NodeId(u128::from_le_bytes(random()?)),
        fresh_incarnation: Incarnation(u64::from_le_bytes(random()?)),
        begins_life: options.begins_life,
        epoch: tail.last_epoch.plus(1),
        nonce: u64::from_le_bytes(random()?),
        name: if keeps_name { state.opening.name.clone() } else { options.name.clone() },
        dials: !options.is_alone,
        advertised: advertised.to_owned(),
        own_addresses: vec![bound.to_owned(), advertised.to_owned()],
        retry: options.retry,
        inbox_bytes_max: options.inbox_bytes_max,
        sender_bytes_max: options.sender_bytes_max,
        quota: options.quota,
        limits: Limits::default(),
        seed: random()?,
    };
    let commit = GroupCommit::new(LogPosition {
        log_id,
        epoch: config.epoch,
        nonce: config.nonce,
        next_batch: tail.next_batch,
        previous_header_crc: tail.last_header_crc,
        next_lsn: tail.next_lsn,
    });
    Ok(Engine::new(config, state, commit, segments, clock::now()))
}

/// How a log was found, in words.
#[must_use]
pub fn describe(recovered: &Recovered) -> String {
    match &recovered.torn {
        Some(torn) => format!(
            "{}: {} bytes at offset {} of segment {} were cut off and are kept in {}",
            recovered.tail.verdict,
            torn.cut.bytes,
            torn.cut.offset,
            torn.cut.segment,
            torn.kept_in.display()
        ),
        None => recovered.tail.verdict.to_string(),
    }
}
