//! Opening a node on a large log.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;

use super::arguments::BenchRecover;
use super::facts::Facts;
use super::latency::Latencies;
use super::load::{Load, filler};
use super::report::write_result;
use super::ruler::Ruler;
use super::scratch::Scratch;
use super::usage::Usage;
use super::{away, io, open, progress, runtime};
use crate::bus::Stopwatch;
use crate::cli::exit::{Exit, Failure};

const DURABLE: &str =
    "every message was flushed (O_DSYNC) before it counted, and each opening found it again";

/// The fewest openings that say anything of what is usual.
const OPENINGS_MIN: u32 = 3;

/// The result.
#[derive(Serialize)]
struct Report {
    what: &'static str,
    log_bytes: u64,
    messages: u64,
    openings: u32,
    /// Of one opening, on the average.
    seconds: f64,
    messages_per_second: f64,
    /// Of the log.
    bytes_per_second: f64,
    /// Of the openings.
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    cpu_ns_per_message: f64,
    engine_cpu_ns_per_message: f64,
    peak_rss_bytes: u64,
    /// With which the log was written: an opening reads that many batches.
    flushes: u64,
    yardstick_bytes_per_second: f64,
    yardstick_p50_us: f64,
    /// Log bytes a second over the former: an opening reads, and the yardstick writes.
    ratio_to_yardstick: f64,
    payload_ratio: f64,
    messages_per_yardstick_gb: f64,
    /// A plain sequential read of the same files: by one thread, through the page cache.
    plain_read_bytes_per_second: f64,
    ratio_to_plain_read: f64,
    /// Whether the page cache was dropped before each opening and before the plain read; if not, they may have read from
    /// memory.
    cache_dropped: bool,
    durable: String,
    #[serde(flatten)]
    facts: Facts,
}

/// The log that is recovered.
struct Log {
    messages: u64,
    bytes: u64,
    flushes: u64,
}

impl Log {
    /// Publishes until it has so many bytes, to a subscriber that is away.
    async fn build(dir: &Path, bytes: u64, size: u32, bar: &ProgressBar) -> Result<Log, Failure> {
        away::subscribe(dir).await?;
        let bus = open(dir).await?;
        let load = Load {
            publishers: 2,
            pipeline: 1024,
            filler: filler(size),
            duration: Duration::from_millis(250),
        };
        let mut messages = 0;
        loop {
            let status = bus.status().await?;
            bar.set_message(format!(
                "building the log: {} of {} MiB",
                status.written_bytes >> 20,
                bytes >> 20
            ));
            if status.written_bytes >= bytes {
                let (bytes, flushes) = (status.written_bytes, status.flushes);
                bus.close().await?;
                return Ok(Log { messages, bytes, flushes });
            }
            messages += load.run(&bus, None).await?.messages;
        }
    }
}

/// The openings of one log.
struct Openings {
    count: u32,
    elapsed: Duration,
    latencies: Latencies,
    /// Of all of them; of memory the most that one took.
    usage: Usage,
    cache_dropped: bool,
}

impl Openings {
    /// Opens the node until that much time has been spent in it. Each must find all messages.
    async fn make(dir: &Path, log: &Log, duration: Duration, bar: &ProgressBar) -> Result<Openings, Failure> {
        let mut all = Openings {
            count: 0,
            elapsed: Duration::ZERO,
            latencies: Latencies::new(),
            usage: Usage::default(),
            cache_dropped: true,
        };
        while all.count < OPENINGS_MIN || all.elapsed < duration {
            all.count += 1;
            bar.set_message(format!("opening the node for the {}. time", all.count));
            all.cache_dropped &= drop_cache();
            let (before, watch) = (Usage::from_now(), Stopwatch::start());
            let bus = open(dir).await?;
            let (elapsed, usage) = (watch.elapsed(), Usage::now().since(&before));
            let found = bus.status().await?.outgoing;
            bus.close().await?;
            if found != log.messages {
                let text = format!("{} messages were published, and {found} are there", log.messages);
                return Err(Failure::new(Exit::Failure, text));
            }
            all.elapsed += elapsed;
            all.latencies.record(elapsed);
            all.usage = all.usage.and(&usage);
        }
        Ok(all)
    }
}

pub fn run(arguments: &BenchRecover) -> Result<(), Failure> {
    let dir = Scratch::new(&arguments.common.dir)?;
    let (web, size) = (dir.path().join("publisher"), arguments.payload.size);
    let duration = Duration::from_secs(arguments.common.seconds);
    let bar = progress("measuring the disk");
    let ruler = Ruler::measure(dir.path())?;
    let report = runtime()?.block_on(async {
        let log = Log::build(&web, arguments.gib << 30, size, &bar).await?;
        bar.set_message("reading the files");
        let cache_dropped = drop_cache();
        let (read, reading) = read_all(&web)?;
        let openings = Openings::make(&web, &log, duration, &bar).await?;
        let openings = Openings { cache_dropped: cache_dropped && openings.cache_dropped, ..openings };
        let plain_read = read as f64 / reading.as_secs_f64();
        Ok::<_, Failure>(Report::new(&log, size, &openings, plain_read, &ruler, Facts::of(dir.path())))
    });
    bar.finish_and_clear();
    report?.write(arguments.common.json)
}

impl Report {
    fn new(
        log: &Log,
        size: u32,
        openings: &Openings,
        plain_read: f64,
        ruler: &Ruler,
        facts: Facts,
    ) -> Report {
        let yardstick = ruler.fast.bytes_per_second();
        let seconds = openings.elapsed.as_secs_f64() / f64::from(openings.count);
        let opened = log.messages.max(1) as f64 * f64::from(openings.count);
        let (messages_per_second, bytes_per_second) =
            (log.messages as f64 / seconds, log.bytes as f64 / seconds);
        Report {
            what: "recover",
            log_bytes: log.bytes,
            messages: log.messages,
            openings: openings.count,
            seconds,
            messages_per_second,
            bytes_per_second,
            p50_us: openings.latencies.percentile_us(0.5),
            p99_us: openings.latencies.percentile_us(0.99),
            p999_us: openings.latencies.percentile_us(0.999),
            max_us: openings.latencies.max_us(),
            cpu_ns_per_message: openings.usage.cpu_ns as f64 / opened,
            engine_cpu_ns_per_message: openings.usage.engine_cpu_ns as f64 / opened,
            peak_rss_bytes: openings.usage.peak_rss_bytes,
            flushes: log.flushes,
            yardstick_bytes_per_second: yardstick,
            yardstick_p50_us: ruler.soon.percentile_us(0.5),
            ratio_to_yardstick: bytes_per_second / yardstick,
            payload_ratio: messages_per_second * f64::from(size) / yardstick,
            messages_per_yardstick_gb: messages_per_second / (yardstick / 1e9),
            plain_read_bytes_per_second: plain_read,
            ratio_to_plain_read: bytes_per_second / plain_read,
            cache_dropped: openings.cache_dropped,
            durable: facts.durable(DURABLE),
            facts,
        }
    }

    fn write(&self, json: bool) -> Result<(), Failure> {
        write_result(self, &self.lines(), json)
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let cache = match self.cache_dropped {
            true => "dropped before each opening and before the plain read",
            false => "not dropped, which only root may: some may have been read from memory",
        };
        vec![
            ("durable", self.durable.clone()),
            ("log, MB", format!("{:.0}", self.log_bytes as f64 / 1e6)),
            ("messages", self.messages.to_string()),
            ("openings", self.openings.to_string()),
            ("seconds an opening", format!("{:.3}", self.seconds)),
            ("opening p50, ms", format!("{:.1}", self.p50_us / 1e3)),
            ("opening max, ms", format!("{:.1}", self.max_us / 1e3)),
            ("messages a second", format!("{:.0}", self.messages_per_second)),
            ("log, MB/s", format!("{:.0}", self.bytes_per_second / 1e6)),
            ("CPU a message, process, ns", format!("{:.0}", self.cpu_ns_per_message)),
            ("CPU a message, engine thread, ns", format!("{:.0}", self.engine_cpu_ns_per_message)),
            ("peak memory, MiB", format!("{:.1}", self.peak_rss_bytes as f64 / f64::from(1 << 20))),
            ("flushes that wrote the log", self.flushes.to_string()),
            ("plain sequential read, MB/s", format!("{:.0}", self.plain_read_bytes_per_second / 1e6)),
            ("log bytes to the plain read", format!("{:.3}", self.ratio_to_plain_read)),
            ("yardstick (1 MiB, 2 in flight), MB/s", format!("{:.0}", self.yardstick_bytes_per_second / 1e6)),
            ("yardstick (4 KiB, one), p50 us", format!("{:.0}", self.yardstick_p50_us)),
            ("log bytes to the yardstick", format!("{:.3}", self.ratio_to_yardstick)),
            ("payload bytes to the yardstick", format!("{:.3}", self.payload_ratio)),
            ("messages a second for each GB/s", format!("{:.0}", self.messages_per_yardstick_gb)),
            ("page cache", cache.to_owned()),
            ("machine", self.facts.line()),
        ]
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn report(cache_dropped: bool) -> Report {
        let mut latencies = Latencies::new();
        [1, 2, 3].into_iter().for_each(|seconds| latencies.record(Duration::from_secs(seconds)));
        let log = Log { messages: 4_000, bytes: 1 << 20, flushes: 7 };
        let (count, elapsed) = (3, Duration::from_secs(6));
        let openings = Openings { count, elapsed, latencies, usage: Usage::default(), cache_dropped };
        Report::new(&log, 128, &openings, 2e6, &Ruler::example(4_000_000, 90), Facts::example())
    }

    #[test]
    fn a_result_is_that_of_one_opening_on_the_average() {
        let report = report(true);
        assert_eq!((report.openings, report.seconds, report.messages_per_second), (3, 2.0, 2_000.0));
        assert_eq!((report.bytes_per_second, report.ratio_to_plain_read), (524_288.0, 0.262_144));
        assert_eq!((report.ratio_to_yardstick, report.yardstick_p50_us), (0.131_072, 90.0));
        assert_eq!(report.payload_ratio, 2_000.0 * 128.0 / 4e6);
    }

    #[test]
    fn people_are_told_the_machine_and_whether_the_cache_was_dropped() {
        let said = |dropped| {
            let report = report(dropped);
            let line = |name| report.lines().into_iter().find(|(found, _)| *found == name).unwrap().1;
            [line("machine"), line("durable"), line("page cache")]
        };
        assert_eq!(said(true)[..2], [Facts::example().line(), DURABLE.to_owned()]);
        assert!(
            said(true)[2].starts_with("dropped before each") && said(false)[2].starts_with("not dropped")
        );
    }
}
