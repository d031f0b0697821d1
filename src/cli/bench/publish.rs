//! Publishing, with a subscriber that is away.

use std::path::Path;
use std::time::Duration;

use super::facts::Facts;
use super::load::{Load, Published, TOPIC};
use super::report::{Counted, Report};
use super::usage::Usage;
use super::{Ruler, SEGMENT_BYTES, SIZE_DEFAULT, io, plot, progress, ruler, runtime, scratch};
use crate::bus::Bus;
use crate::bus::yardstick::stock_segments;
use crate::cli::arguments::{BenchCommon, BenchLoad};
use crate::cli::exit::Failure;

const DURABLE: &str = "on the publisher's disk (O_DSYNC) before `wait` resolved";

/// Bytes of prewritten segments that a run may be given: a log in steady state has those that it freed.
const STOCK_BYTES_MAX: u64 = 24 << 30;

pub fn run(arguments: &BenchLoad) -> Result<(), Failure> {
    if let Some(file) = &arguments.plot {
        return plot::sweep(file, "publish", arguments.common.json, |outstanding| {
            let (publishers, pipeline) = split(outstanding);
            measure(&arguments.common, publishers, pipeline)
        });
    }
    measure(&arguments.common, arguments.publishers, arguments.pipeline)?.write(arguments.common.json)
}

/// So many messages on their way in all, as publishers and their windows.
pub fn split(outstanding: u32) -> (u32, u32) {
    let publishers = outstanding.min(4);
    (publishers, outstanding / publishers)
}

fn measure(common: &BenchCommon, publishers: u32, pipeline: u32) -> Result<Report, Failure> {
    let dir = scratch(common)?;
    let bar = progress("measuring the disk");
    let ruler = ruler(dir.path())?;
    bar.set_message("preparing segments");
    let size = common.size.unwrap_or(SIZE_DEFAULT);
    let duration = Duration::from_secs(common.seconds);
    let load = Load { publishers, pipeline, size, duration };
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let web = dir.path().join("publisher");
        subscribe_and_leave(&web, &dir.path().join("away")).await?;
        stock(&web, &ruler, duration)?;
        let bus = open(&web).await?;
        bar.set_message("publishing");
        let before = (Usage::now(), bus.status().await?);
        let published = load.run(&bus, None).await?;
        let usage = Usage::now().since(&before.0);
        let after = bus.status().await?;
        let flushes = after.flushes - before.1.flushes;
        let log_bytes = after.written_bytes - before.1.written_bytes;
        let Published { messages, elapsed, latencies } = published;
        bus.close().await?;
        let payload_bytes = messages * u64::from(size);
        let counted = Counted {
            messages,
            payload_bytes,
            elapsed,
            latencies,
            usage,
            flushes,
            log_bytes,
            durable: DURABLE,
        };
        Ok::<_, Failure>((counted, Facts::of(dir.path(), after.file_system)))
    });
    bar.finish_and_clear();
    let (counted, facts) = outcome?;
    Ok(Report::new("publish", &counted, &ruler, facts))
}

pub async fn open(dir: &Path) -> Result<Bus, Failure> {
    Ok(Bus::builder(dir).segment_bytes(SEGMENT_BYTES).open().await?)
}

/// A subscription on the publisher's disk, whose subscriber is not there.
pub async fn subscribe_and_leave(publisher: &Path, subscriber: &Path) -> Result<(), Failure> {
    let (web, away) = (open(publisher).await?, open(subscriber).await?);
    away.subscribe(web.address(), TOPIC).await?.confirmed().await?;
    away.close().await?;
    web.close().await?;
    Ok(())
}

/// As many prewritten segments as the run can need if it is as fast as the disk.
fn stock(dir: &Path, ruler: &Ruler, duration: Duration) -> Result<(), Failure> {
    let wanted = (ruler.fast.bytes_per_second() * duration.as_secs_f64() * 1.1) as u64;
    let count = wanted.min(STOCK_BYTES_MAX).div_ceil(SEGMENT_BYTES) + 2;
    stock_segments(dir, count, SEGMENT_BYTES).map_err(io("prepare segments"))
}
