//! Measuring: the disk, and what the bus makes of it.

pub mod arguments;
mod away;
mod backlog;
mod deliver;
mod device;
pub(super) mod facts;
mod latency;
mod lead;
mod load;
mod plot;
mod publish;
pub mod receiver;
mod receivers;
mod recover;
mod report;
mod ruler;
mod scratch;
mod store;
mod usage;

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use super::exit::Failure;
use super::output;
use crate::bus::Bus;
use arguments::BenchWhat;

/// Bytes of a segment of a node that is measured.
const SEGMENT_BYTES: u64 = crate::limits::SEGMENT_BYTES_DEFAULT;

/// Runs one measurement.
pub fn run(what: &BenchWhat) -> Result<(), Failure> {
    scratch::remove_when_interrupted()?;
    match what {
        BenchWhat::Device(arguments) => device::run(arguments),
        BenchWhat::Publish(arguments) => publish::run(arguments),
        BenchWhat::Deliver(arguments) => deliver::run(arguments),
        BenchWhat::Recover(arguments) => recover::run(arguments),
        BenchWhat::Store(arguments) => store::run(arguments),
    }
}

fn io(doing: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::io(doing, &error)
}

/// A directory for a part of a measurement, removed when it is dropped.
fn directory_in(parent: &Path) -> Result<TempDir, Failure> {
    let failed = |error| Failure::io(&format!("make a directory in {}", parent.display()), &error);
    tempfile::Builder::new().prefix("resolute-bench-").tempdir_in(parent).map_err(failed)
}

/// What is going on, on a terminal.
fn progress(what: &str) -> ProgressBar {
    if !output::stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A runtime for publishers, on all cores but that of the engine.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.saturating_sub(1).max(1))
        .enable_all()
        .build()
        .map_err(io("start the runtime"))
}

/// The node that is measured.
async fn open(dir: &Path) -> Result<Bus, Failure> {
    Ok(Bus::builder(dir).segment_bytes(SEGMENT_BYTES).open().await?)
}
