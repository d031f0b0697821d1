//! Measuring: the disk, and what the bus makes of it.

mod deliver;
mod device;
mod facts;
mod latency;
mod load;
mod plot;
mod publish;
pub mod receiver;
mod recover;
mod report;
mod usage;

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use super::arguments::{BenchCommon, BenchWhat};
use super::exit::Failure;
use super::output;
use crate::bus::yardstick::{Measured, Pattern, Yardstick};

/// Bytes of the file that the yardstick writes.
const YARDSTICK_FILE_BYTES: u64 = 512 << 20;

/// Bytes of a segment of a node that is measured.
const SEGMENT_BYTES: u64 = crate::limits::SEGMENT_BYTES_DEFAULT;

/// Bytes of a payload if nothing else is asked for.
const SIZE_DEFAULT: u32 = 128;

/// Runs one measurement.
pub fn run(what: &BenchWhat) -> Result<(), Failure> {
    match what {
        BenchWhat::Device(arguments) => device::run(arguments),
        BenchWhat::Publish(arguments) => publish::run(arguments),
        BenchWhat::Deliver(arguments) => deliver::run(arguments),
        BenchWhat::Recover(arguments) => recover::run(arguments),
    }
}

fn io(doing: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::io(doing, &error)
}

/// A directory for one measurement, removed when it is dropped.
fn scratch(common: &BenchCommon) -> Result<TempDir, Failure> {
    tempfile::Builder::new().prefix("resolute-bench-").tempdir_in(&common.dir).map_err(io("make a directory"))
}

/// The yardstick of one run: how fast, and how soon.
struct Ruler {
    /// 1 MiB writes, two in flight.
    fast: Measured,
    /// 4 KiB writes, one at a time.
    soon: Measured,
}

/// Measures the yardstick in `directory`, for a second each way.
fn ruler(directory: &Path) -> Result<Ruler, Failure> {
    let measured = io("measure the disk");
    let yardstick = Yardstick::prepare(directory, YARDSTICK_FILE_BYTES).map_err(&measured)?;
    let second = Duration::from_secs(1);
    let fast = Pattern { block_bytes: 1 << 20, depth: 2 };
    let soon = Pattern { block_bytes: 4 << 10, depth: 1 };
    Ok(Ruler {
        fast: yardstick.measure(fast, second).map_err(&measured)?,
        soon: yardstick.measure(soon, second).map_err(&measured)?,
    })
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
