//! A peer that is a log or a table in this process: appending is all that is measured of it.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Peer;
use crate::device::Device;
use crate::measured::{Latencies, Load, Measured, Pace};
use crate::table::thousands;

/// Appends so many messages at once; they are durable when it returns.
pub type Append<'a> = Box<dyn FnMut(usize) -> Result<()> + Send + 'a>;

pub trait Engine: Sync + Sized {
    fn version() -> String;

    /// Makes a log in an empty directory.
    fn open(dir: &Path) -> Result<Self>;

    /// What one thread appends with.
    fn appender<'a>(&'a self, thread: u64, payload: &'a [u8]) -> Append<'a>;
}

/// Callers at once, and what each hands over at once.
#[derive(Clone, Copy, Debug)]
struct Arrangement {
    threads: u64,
    batch: usize,
}

const ONE: Arrangement = Arrangement { threads: 1, batch: 1 };

/// The fastest of these is reported: some combine the flushes of many callers, some are made for batches of one.
const FULL: [Arrangement; 3] = [
    Arrangement { threads: 64, batch: 1 },
    Arrangement { threads: 1, batch: 1000 },
    Arrangement { threads: 4, batch: 1000 },
];

pub struct Embedded<E> {
    dir: PathBuf,
    engine: PhantomData<E>,
}

impl<E: Engine> Embedded<E> {
    pub fn new(dir: &Path) -> Embedded<E> {
        Embedded { dir: dir.to_owned(), engine: PhantomData }
    }

    fn measure(&self, arrangement: Arrangement, load: &Load, device: &Device) -> Result<Measured> {
        let Arrangement { threads, batch } = arrangement;
        let dir = tempfile::Builder::new().prefix("embedded-").tempdir_in(&self.dir)?;
        let engine = E::open(dir.path()).context("open")?;
        let latencies = Mutex::new(Latencies::new());
        let meter = device.meter();
        let until = Instant::now() + load.time;
        let messages = std::thread::scope(|scope| {
            let appending: Vec<_> = (0..threads)
                .map(|thread| {
                    let append = engine.appender(thread, &load.payload);
                    let latencies = (load.pace == Pace::OneAtATime).then_some(&latencies);
                    scope.spawn(move || append_until(append, batch, until, latencies))
                })
                .collect();
            let mut messages = 0;
            for thread in appending {
                messages += thread.join().map_err(|_| anyhow::anyhow!("an appender panicked"))??;
            }
            Ok::<u64, anyhow::Error>(messages)
        })?;
        let how = match arrangement {
            Arrangement { threads: 1, batch } => format!("1 thread with batches of {batch}"),
            Arrangement { threads, batch: 1 } => format!("{threads} threads with one message each"),
            _ => format!("{threads} threads with batches of {batch}"),
        };
        let measured = Measured::stop(meter, messages, threads * batch as u64, how);
        // Invariant: no appender panicked, or this was left above.
        Ok(measured.with_latencies(&latencies.into_inner().expect("latencies of whole appends")))
    }
}

fn append_until(
    mut append: Append<'_>,
    batch: usize,
    until: Instant,
    latencies: Option<&Mutex<Latencies>>,
) -> Result<u64> {
    let (mut messages, mut of_this) = (0, Latencies::new());
    let mut began = Instant::now();
    while began < until {
        append(batch).context("append")?;
        messages += batch as u64;
        let now = Instant::now();
        if latencies.is_some() {
            of_this.record(now - began);
        }
        began = now;
    }
    if let Some(latencies) = latencies {
        latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(&of_this);
    }
    Ok(messages)
}

impl<E: Engine> Peer for Embedded<E> {
    fn version(&self) -> String {
        E::version()
    }

    fn publish(&mut self, load: &Load, device: &Device) -> Result<Measured> {
        if load.pace == Pace::OneAtATime {
            return self.measure(ONE, load, device);
        }
        let mut all = Vec::with_capacity(FULL.len());
        for arrangement in FULL {
            // What was removed of the one before may still be on its way to the disk.
            std::thread::sleep(Duration::from_millis(200));
            all.push(self.measure(arrangement, load, device)?);
        }
        all.sort_by(|one, other| one.per_second().total_cmp(&other.per_second()));
        let best = all.pop().context("nothing was measured")?;
        let slower: Vec<_> = all
            .iter()
            .rev()
            .map(|slower| format!("{} {}/s", slower.how, thousands(slower.per_second())))
            .collect();
        Ok(Measured { slower: slower.join(", "), ..best })
    }

    fn end_to_end(&mut self, _: &Load, _: &Device) -> Result<Option<Measured>> {
        Ok(None)
    }
}

/// The version of a package that this one was built with, by its lock file.
pub fn locked_version(package: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("unknown version").to_owned()
}
