//! Changing a map or a queue, by many callers that each wait for their change.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::arguments::{BenchStore, StoreChange};
use super::facts::Facts;
use super::latency::Latencies;
use super::report::write_result;
use super::ruler::Ruler;
use super::scratch::Scratch;
use super::usage::Usage;
use super::{directory_in, io, progress, runtime};
use crate::bus::{Error, Stopwatch};
use crate::cli::exit::Failure;
use crate::stores::{Map, Queue};

const DURABLE: &str = "on disk (O_DSYNC) before the call resolved";

/// Of the changes of a caller one in so many has its latency measured.
const SAMPLED: u64 = 16;

/// How often the files are looked at while it goes on.
const LOOK: Duration = Duration::from_millis(100);

/// One result, with the yardstick of the same run.
#[derive(Debug, Serialize)]
struct StoreReport {
    what: &'static str,
    changes: u64,
    callers: u32,
    seconds: f64,
    changes_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    cpu_ns_per_change: f64,
    peak_rss_bytes: u64,
    /// Entries in the end.
    entries: u64,
    /// Bytes of all files of the directory, at most and in the end.
    directory_bytes_max: u64,
    directory_bytes: u64,
    yardstick_bytes_per_second: f64,
    changes_per_yardstick_gb: f64,
    durable: String,
    #[serde(flatten)]
    facts: Facts,
}

pub fn run(arguments: &BenchStore) -> Result<(), Failure> {
    let scratch = Scratch::new(&arguments.common.dir)?;
    let bar = progress("measuring the disk");
    let ruler = Ruler::measure(scratch.path())?;
    bar.set_message("changing");
    let dir = directory_in(scratch.path())?;
    let report = runtime()?.block_on(measure(arguments, dir.path(), &ruler))?;
    bar.finish_and_clear();
    write_result(&report, &report.lines(), arguments.common.json)
}

/// What is changed.
#[derive(Clone)]
enum Store {
    Map(Map<u64, String>),
    Queue(Queue<String>),
}

impl Store {
    /// One change, or two that belong together. Returns how many.
    async fn change(&self, change: StoreChange, key: u64, text: &String) -> Result<u64, Error> {
        match (self, change) {
            (Store::Map(map), StoreChange::SetAndClear) => {
                map.set(&key, text).await?;
                map.clear(&key).await?;
                Ok(2)
            }
            (Store::Map(map), _) => map.set(&key, text).await.map(|()| 1),
            (Store::Queue(queue), StoreChange::EnqueueAndDequeue) => {
                queue.enqueue(text).await?;
                queue.dequeue().await?;
                Ok(2)
            }
            (Store::Queue(queue), _) => queue.enqueue(text).await.map(|()| 1),
        }
    }

    async fn open(change: StoreChange, dir: &Path) -> Result<Store, Error> {
        Ok(match change {
            StoreChange::Set | StoreChange::SetAndClear => Store::Map(Map::open(dir).await?),
            StoreChange::Enqueue | StoreChange::EnqueueAndDequeue => Store::Queue(Queue::open(dir).await?),
        })
    }

    fn len(&self) -> usize {
        match self {
            Store::Map(map) => map.len(),
            Store::Queue(queue) => queue.len(),
        }
    }

    async fn close(&self) -> Result<(), Error> {
        match self {
            Store::Map(map) => map.close().await,
            Store::Queue(queue) => queue.close().await,
        }
    }
}

async fn measure(arguments: &BenchStore, dir: &Path, ruler: &Ruler) -> Result<StoreReport, Failure> {
    let store = Store::open(arguments.change, dir).await?;
    let over = Arc::new(AtomicBool::new(false));
    let (usage, watch) = (Usage::from_now(), Stopwatch::start());
    let mut callers = JoinSet::new();
    for number in 0..arguments.callers {
        let caller = Caller {
            store: store.clone(),
            change: arguments.change,
            key: u64::from(number),
            // As JSON a text has its quotes.
            text: "x".repeat(arguments.size.saturating_sub(2) as usize),
            over: Arc::clone(&over),
        };
        callers.spawn(caller.run());
    }
    let mut directory_bytes_max = 0;
    while watch.elapsed() < Duration::from_secs(arguments.common.seconds) {
        tokio::time::sleep(LOOK).await;
        directory_bytes_max = bytes_in(dir)?.max(directory_bytes_max);
    }
    over.store(true, Ordering::Relaxed);
    let (mut changes, mut latencies) = (0, Latencies::new());
    while let Some(ended) = callers.join_next().await {
        let (count, of_one) = ended.map_err(|error| io("change")(std::io::Error::other(error)))??;
        changes += count;
        latencies.add(&of_one);
    }
    let (elapsed, usage) = (watch.elapsed().as_secs_f64(), Usage::now().since(&usage));
    let entries = store.len() as u64;
    store.close().await?;
    let (facts, yardstick) = (Facts::of(dir), ruler.fast.bytes_per_second());
    Ok(StoreReport {
        what: arguments.change.name(),
        changes,
        callers: arguments.callers,
        seconds: elapsed,
        changes_per_second: changes as f64 / elapsed,
        p50_us: latencies.percentile_us(0.5),
        p99_us: latencies.percentile_us(0.99),
        max_us: latencies.max_us(),
        cpu_ns_per_change: usage.cpu_ns as f64 / changes.max(1) as f64,
        peak_rss_bytes: usage.peak_rss_bytes,
        entries,
        directory_bytes_max,
        directory_bytes: bytes_in(dir)?,
        yardstick_bytes_per_second: yardstick,
        changes_per_yardstick_gb: changes as f64 / elapsed / (yardstick / 1e9),
        durable: facts.durable(DURABLE),
        facts,
    })
}

/// One of those who change the store.
struct Caller {
    store: Store,
    change: StoreChange,
    key: u64,
    text: String,
    over: Arc<AtomicBool>,
}

impl Caller {
    async fn run(self) -> Result<(u64, Latencies), Failure> {
        let (mut changes, mut latencies) = (0, Latencies::new());
        for turn in 0_u64.. {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            let watch = turn.is_multiple_of(SAMPLED).then(Stopwatch::start);
            let made = self.store.change(self.change, self.key, &self.text).await?;
            // Of two that belong together each waited half of it.
            if let Some(watch) = watch {
                latencies.record(watch.elapsed() / made as u32);
            }
            changes += made;
        }
        Ok((changes, latencies))
    }
}

fn bytes_in(dir: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).map_err(io("list the files"))? {
        // One that is renamed or goes just now is counted the next time.
        let metadata = entry.and_then(|entry| entry.metadata());
        bytes += metadata.map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}

impl StoreReport {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        vec![
            ("durable", self.durable.clone()),
            ("changes a second", format!("{:.0}", self.changes_per_second)),
            ("callers at once", self.callers.to_string()),
            ("latency p50, us", format!("{:.0}", self.p50_us)),
            ("latency p99, us", format!("{:.0}", self.p99_us)),
            ("latency max, us", format!("{:.0}", self.max_us)),
            ("CPU a change, ns", format!("{:.0}", self.cpu_ns_per_change)),
            ("peak memory, MiB", mib(self.peak_rss_bytes)),
            ("entries in the end", self.entries.to_string()),
            ("files at most, MiB", mib(self.directory_bytes_max)),
            ("files in the end, MiB", mib(self.directory_bytes)),
            ("yardstick (1 MiB, 2 in flight), MB/s", format!("{:.0}", self.yardstick_bytes_per_second / 1e6)),
            ("changes a second for each GB/s", format!("{:.0}", self.changes_per_yardstick_gb)),
            ("machine", self.facts.line()),
        ]
    }
}
