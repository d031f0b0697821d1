//! Publishing to a handler in another process.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::facts::Facts;
use super::load::{Lead, Load, TOPIC};
use super::publish::{open, split};
use super::receiver::Standing;
use super::report::{Counted, Report};
use super::usage::Usage;
use super::{SIZE_DEFAULT, io, plot, progress, ruler, runtime, scratch};
use crate::bus::{Bus, Stopwatch};
use crate::cli::arguments::{BenchCommon, BenchLoad};
use crate::cli::exit::{Exit, Failure};

const DURABLE: &str = "on both disks (O_DSYNC), and handled";

/// How long the receiver may go on without handling anything.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(arguments: &BenchLoad) -> Result<(), Failure> {
    if let Some(file) = &arguments.plot {
        return plot::sweep(file, "deliver", arguments.common.json, |outstanding| {
            let (publishers, pipeline) = split(outstanding);
            measure(&arguments.common, publishers, pipeline)
        });
    }
    measure(&arguments.common, arguments.publishers, arguments.pipeline)?.write(arguments.common.json)
}

/// The other process. Dropping it kills it.
struct Receiver {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Receiver {
    fn start(dir: &Path, publisher: &str) -> Result<Receiver, Failure> {
        let failed = io("start the receiver");
        let mut child = Command::new(std::env::current_exe().map_err(&failed)?)
            .arg("bench-receiver")
            .arg("--dir")
            .arg(dir)
            .args(["--from", publisher])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(&failed)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new(Exit::Failure, "the receiver has no pipes"));
        };
        Ok(Receiver { child, to, from: BufReader::new(from) })
    }

    fn ask(&mut self) -> Result<Standing, Failure> {
        let failed = io("ask the receiver");
        self.to.write_all(b"\n").and_then(|()| self.to.flush()).map_err(&failed)?;
        let mut line = String::new();
        self.from.read_line(&mut line).map_err(&failed)?;
        serde_json::from_str(&line).map_err(std::io::Error::from).map_err(&failed)
    }

    /// Waits until so many messages are handled.
    fn wait(&mut self, messages: u64) -> Result<Standing, Failure> {
        let (mut last, mut watch) = (0, Stopwatch::start());
        loop {
            let standing = self.ask()?;
            if standing.handled >= messages {
                return Ok(standing);
            }
            if standing.handled > last {
                (last, watch) = (standing.handled, Stopwatch::start());
            } else if watch.elapsed() > PATIENCE {
                let text = format!("the receiver has handled {last} of {messages} messages and no more come");
                return Err(Failure::new(Exit::Failure, text));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Bytes that publishers may be ahead of their subscriber: about what a node keeps in memory for those who keep up. Beyond
/// that they would measure how fast the log is read back.
const LEAD_BYTES: u64 = 4 << 20;

/// How often it is looked how far they are ahead.
const LOOK: Duration = Duration::from_micros(250);

/// A thread of its own looks, for the timers of a runtime have a coarser grain.
fn watch_lead(bus: &Bus, size: u32) -> Lead {
    let lead = Lead::new(LEAD_BYTES / u64::from(size));
    let (bus, told, runtime) = (bus.clone(), lead.clone(), tokio::runtime::Handle::current());
    std::thread::spawn(move || {
        // Ends with the node.
        while let Ok(status) = runtime.block_on(bus.status()) {
            told.tell(status.destinations.iter().map(|destination| destination.owed).sum());
            std::thread::sleep(LOOK);
        }
    });
    lead
}

fn measure(common: &BenchCommon, publishers: u32, pipeline: u32) -> Result<Report, Failure> {
    let dir = scratch(common)?;
    let bar = progress("measuring the disk");
    let ruler = ruler(dir.path())?;
    let size = common.size.unwrap_or(SIZE_DEFAULT);
    let load = Load { publishers, pipeline, size, duration: Duration::from_secs(common.seconds) };
    bar.set_message("publishing");
    let outcome = runtime()?.block_on(async {
        let bus = open(&dir.path().join("publisher")).await?;
        let mut receiver = Receiver::start(&dir.path().join("receiver"), bus.address())?;
        bus.subscribers(TOPIC, 1).await?;
        let theirs_before = receiver.ask()?;
        let (usage_before, before) = (Usage::now(), bus.status().await?);
        let watch = Stopwatch::start();
        let published = load.run(&bus, Some(&watch_lead(&bus, size))).await?;
        let theirs = receiver.wait(published.messages)?;
        let elapsed = watch.elapsed();
        let (usage, after) = (Usage::now().since(&usage_before), bus.status().await?);
        bus.close().await?;
        let of_receiver = theirs.usage.since(&theirs_before.usage);
        let counted = Counted {
            messages: published.messages,
            payload_bytes: published.messages * u64::from(size),
            elapsed,
            latencies: published.latencies,
            usage: Usage {
                cpu_ns: usage.cpu_ns + of_receiver.cpu_ns,
                engine_cpu_ns: usage.engine_cpu_ns + of_receiver.engine_cpu_ns,
                peak_rss_bytes: usage.peak_rss_bytes.max(of_receiver.peak_rss_bytes),
            },
            flushes: after.flushes - before.flushes + theirs.flushes - theirs_before.flushes,
            log_bytes: after.written_bytes - before.written_bytes + theirs.written_bytes
                - theirs_before.written_bytes,
            durable: DURABLE,
        };
        Ok::<_, Failure>((counted, theirs, Facts::of(dir.path(), after.file_system)))
    });
    bar.finish_and_clear();
    let (counted, theirs, facts) = outcome?;
    let report = Report::new("deliver", &counted, &ruler, facts);
    // From the call of publish to the call of the handler, which only the receiver knows.
    let Standing { p50_us, p99_us, p999_us, max_us, .. } = theirs;
    Ok(Report { p50_us, p99_us, p999_us, max_us, ..report })
}
