//! The process of one node: it opens its directory, subscribes, handles, publishes and reports, until it is told to
//! finish, or killed.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use resolute::{Builder, Bus, Envelope, Error, ErrorClass};
use tokio::sync::watch;

use super::cast::{CAST, Part, kept_topic, topic};
use super::entry::{Entry, Kind};
use super::journal::Journal;
use super::orders::{self, Orders};
use super::payload::Numbered;
use super::progress::{Progress, count};
use super::publisher::Publisher;
use super::report::Report;
use super::rng::Rng;
use super::setup::Setup;

pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Small segments: the log rolls, is freed and recycled while all this goes on.
const SEGMENT_BYTES: u64 = 8 << 20;

/// A small inbox: whoever does not handle makes its peers wait.
const INBOX_BYTES: u64 = 24 << 20;

const REPORT_PAUSE: Duration = Duration::from_millis(50);

/// Runs one life to its end.
pub fn run(setup: Setup) -> ExitCode {
    let part = &CAST[setup.node];
    let life = setup.life;
    die_with(setup.driver);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match runtime.block_on(live(setup, part)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&*error);
            while let Some(of) = cause {
                eprintln!("life {life}: {of}");
                cause = of.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// A node that stands still does not see its input end: the kernel is asked to end it with its driver.
fn die_with(driver: u32) {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).unwrap();
    if std::os::unix::process::parent_id() != driver {
        eprintln!("the driver was gone before this life began");
        std::process::exit(1);
    }
}

async fn live(setup: Setup, part: &'static Part) -> Outcome {
    let orders = orders::listen();
    let progress = Arc::new(Progress::default());
    let journal = Journal::create(&setup.journals, part.name, setup.life);
    let bus = open(&setup, part, &journal, &progress).await?;
    let reporting = tokio::spawn(report(bus.clone(), Arc::clone(&progress)));
    let serving = tokio::spawn(serve_after(bus.clone(), pause_of(&setup)));
    let addresses = &setup.addresses;
    for source in part.sources {
        let address = &addresses[super::cast::index(source)];
        bus.subscribe(address, &[topic(source), kept_topic(source)][..]).await?;
    }
    let mut publishing = None;
    if part.publishes && !setup.is_last {
        let publisher = Publisher::new(bus.clone(), &setup, journal, Arc::clone(&progress));
        publishing = Some(tokio::spawn(publisher.run(orders.clone())));
    } else {
        progress.quiet.store(true, std::sync::atomic::Ordering::Relaxed);
    }
    until_told(orders, serving, reporting, publishing).await?;
    Ok(bus.close().await?)
}

type Task = tokio::task::JoinHandle<Outcome>;

/// Resolves when the driver says that this is the end, or when something ends before.
async fn until_told(
    mut orders: watch::Receiver<Orders>,
    serving: Task,
    reporting: Task,
    publishing: Option<Task>,
) -> Outcome {
    let publishing = async {
        match publishing {
            // It ends when it is told to be quiet.
            Some(task) => match task.await? {
                Ok(()) => std::future::pending().await,
                failed => failed,
            },
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        told = orders.wait_for(|orders| orders.finish) => Ok(told.map(drop)?),
        failed = publishing => failed,
        ended = serving => Err(format!("the handlers are no longer called: {ended:?}").into()),
        ended = reporting => Err(format!("nothing more is reported: {ended:?}").into()),
    }
}

/// In some lives messages come before anyone handles them.
fn pause_of(setup: &Setup) -> Duration {
    let mut rng = Rng::new(setup.seed ^ (u64::from(setup.life) << 8) ^ setup.node as u64);
    let longest = if rng.chance(25) { 1500 } else { 1 };
    Duration::from_millis(rng.below(longest))
}

async fn serve_after(bus: Bus, pause: Duration) -> Outcome {
    tokio::time::sleep(pause).await;
    Ok(bus.serve().await?)
}

/// Opens the node. On a disk without room that may have to wait until there is some.
async fn open(setup: &Setup, part: &Part, journal: &Journal, progress: &Arc<Progress>) -> Result<Bus, Error> {
    loop {
        match builder(setup, part, journal, progress).open().await {
            Err(error) if error.class() == ErrorClass::DiskFull => {
                count(&progress.refused);
                println!("{}", line(&Report { disk_full: true, ..progress.report(None) }));
                tokio::time::sleep(REPORT_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

fn builder(setup: &Setup, part: &Part, journal: &Journal, progress: &Arc<Progress>) -> Builder {
    let mut builder = Bus::builder(&setup.directory)
        .name(part.name)
        .bind(&setup.bind)
        .advertise(&setup.advertise)
        .segment_bytes(SEGMENT_BYTES)
        .inbox_bytes(INBOX_BYTES)
        .concurrency(1);
    if part.sources.is_empty() {
        return builder;
    }
    let topics: Vec<String> = part.sources.iter().map(|source| topic(source)).collect();
    builder = builder.every_named("handled", topics, handler(Kind::Handled, journal, progress));
    if setup.is_last {
        let topics: Vec<String> = part.sources.iter().map(|source| kept_topic(source)).collect();
        builder = builder.every_named("kept", topics, handler(Kind::Kept, journal, progress));
    }
    builder
}

type Done = std::future::Ready<Result<(), String>>;

/// Writes down what it is called with, before it says that it is done.
fn handler(
    kind: Kind,
    journal: &Journal,
    progress: &Arc<Progress>,
) -> impl Fn(Envelope) -> Done + Send + Sync + 'static {
    let (journal, progress) = (journal.clone(), Arc::clone(progress));
    move |message| {
        let id = message.id();
        let numbered = Numbered::decode(message.payload());
        let kind = if numbered.is_some() { kind } else { Kind::Foreign };
        let numbered = numbered.unwrap_or(Numbered { publisher: u8::MAX, more: 0, life: 0, number: 0 });
        let Numbered { publisher, more, life, number } = numbered;
        journal.write(Entry { kind, publisher, more, life, number, lsn: id.lsn.0, log: log_of(&id) });
        count(&progress.handled);
        std::future::ready(Ok(()))
    }
}

/// What the ids of all messages of one log have in common.
pub fn log_of(id: &resolute::MessageId) -> u64 {
    let node = id.node.0;
    (node >> 64) as u64 ^ (node as u64).rotate_left(17) ^ id.incarnation.0.rotate_left(31)
}

async fn report(bus: Bus, progress: Arc<Progress>) -> Outcome {
    loop {
        println!("{}", line(&progress.report(Some(&bus.status().await?))));
        tokio::time::sleep(REPORT_PAUSE).await;
    }
}

fn line(report: &Report) -> String {
    serde_json::to_string(report).unwrap()
}
