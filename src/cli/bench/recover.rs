//! Opening a node on a large log.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::facts::Facts;
use super::load::Load;
use super::publish::{open, subscribe_and_leave};
use super::usage::Usage;
use super::{SIZE_DEFAULT, io, progress, runtime, scratch};
use crate::bus::Stopwatch;
use crate::cli::arguments::BenchRecover;
use crate::cli::exit::Failure;
use crate::cli::output::Output;

/// The result.
#[derive(Serialize)]
struct Report {
    what: &'static str,
    log_bytes: u64,
    messages: u64,
    seconds: f64,
    bytes_per_second: f64,
    messages_per_second: f64,
    /// A plain sequential read of the same files.
    yardstick_bytes_per_second: f64,
    ratio_to_yardstick: f64,
    cpu_ns_per_message: f64,
    peak_rss_bytes: u64,
    /// Whether the page cache was dropped before each; if not, both may have read from memory.
    cache_dropped: bool,
    durable: &'static str,
    #[serde(flatten)]
    facts: Facts,
}

pub fn run(arguments: &BenchRecover) -> Result<(), Failure> {
    let dir = scratch(&arguments.common)?;
    let (web, away) = (dir.path().join("publisher"), dir.path().join("away"));
    let size = arguments.common.size.unwrap_or(SIZE_DEFAULT);
    let bar = progress("building the log");
    let report = runtime()?.block_on(async {
        subscribe_and_leave(&web, &away).await?;
        let bus = open(&web).await?;
        let load = Load { publishers: 2, pipeline: 1024, size, duration: Duration::from_millis(250) };
        let mut messages = 0;
        while bus.status().await?.written_bytes < arguments.gib << 30 {
            messages += load.run(&bus, None).await?.messages;
        }
        let (log_bytes, file_system) = {
            let status = bus.status().await?;
            (status.written_bytes, status.file_system)
        };
        bus.close().await?;
        bar.set_message("reading the files");
        drop_cache();
        let (read, reading) = read_all(&web)?;
        bar.set_message("opening the node");
        let cache_dropped = drop_cache();
        let (before, watch) = (Usage::now(), Stopwatch::start());
        let bus = open(&web).await?;
        let (elapsed, usage) = (watch.elapsed(), Usage::now().since(&before));
        let found = bus.status().await?.outgoing;
        bus.close().await?;
        if found != messages {
            let text = format!("{messages} messages were published, and {found} are there");
            return Err(Failure::new(crate::cli::exit::Exit::Failure, text));
        }
        let (seconds, yardstick) = (elapsed.as_secs_f64(), read as f64 / reading.as_secs_f64());
        Ok(Report {
            what: "recover",
            log_bytes,
            messages,
            seconds,
            bytes_per_second: log_bytes as f64 / seconds,
            messages_per_second: messages as f64 / seconds,
            yardstick_bytes_per_second: yardstick,
            ratio_to_yardstick: log_bytes as f64 / seconds / yardstick,
            cpu_ns_per_message: usage.cpu_ns as f64 / messages.max(1) as f64,
            peak_rss_bytes: usage.peak_rss_bytes,
            cache_dropped,
            durable: "every message was flushed before it counted, and was found again",
            facts: Facts::of(dir.path(), file_system),
        })
    });
    bar.finish_and_clear();
    write(&report?, arguments.common.json)
}

fn write(report: &Report, json: bool) -> Result<(), Failure> {
    let mut out = Output::new();
    if json {
        out.json(report)?;
    } else {
        let cache = if report.cache_dropped { "dropped" } else { "not dropped: not permitted" };
        for (name, value) in [
            ("log, MB", format!("{:.0}", report.log_bytes as f64 / 1e6)),
            ("messages", report.messages.to_string()),
            ("seconds", format!("{:.3}", report.seconds)),
            ("MB/s", format!("{:.0}", report.bytes_per_second / 1e6)),
            ("messages a second", format!("{:.0}", report.messages_per_second)),
            ("plain sequential read, MB/s", format!("{:.0}", report.yardstick_bytes_per_second / 1e6)),
            ("ratio to that", format!("{:.3}", report.ratio_to_yardstick)),
            ("peak memory, MiB", format!("{:.1}", report.peak_rss_bytes as f64 / f64::from(1 << 20))),
            ("page cache", cache.to_owned()),
        ] {
            out.line(&format!("{name:<34}{value}"))?;
        }
    }
    out.finish().map(drop)
}

/// Reads the segments one after another, and does nothing with them.
fn read_all(dir: &Path) -> Result<(u64, Duration), Failure> {
    let failed = io("read the log");
    let entries = fs::read_dir(dir).map_err(&failed)?;
    let mut files: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        crate::format::segment::segment_number(&name).is_some()
    });
    files.sort();
    let (mut bytes, mut buffer, watch) = (0, vec![0; 1 << 20], Stopwatch::start());
    for path in files {
        let mut file = fs::File::open(path).map_err(&failed)?;
        loop {
            match file.read(&mut buffer).map_err(&failed)? {
                0 => break,
                count => bytes += count as u64,
            }
        }
    }
    Ok((bytes, watch.elapsed()))
}

/// Asks the kernel to forget what it has read, which only root may.
fn drop_cache() -> bool {
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
