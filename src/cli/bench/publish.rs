//! Publishing, with a subscriber that is away.

use std::path::Path;

use indicatif::ProgressBar;

use super::arguments::BenchPublish;
use super::away;
use super::backlog::Backlog;
use super::facts::{Facts, device_flushes};
use super::load::Load;
use super::report::{Circumstances, Counted, Report};
use super::ruler::Ruler;
use super::usage::Usage;
use super::{SEGMENT_BYTES, io, open, plot, progress, runtime};
use crate::bus::Status;
use crate::bus::yardstick::stock_segments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::say;

const DURABLE: &str = "on the publisher's disk (O_DSYNC) before `wait` resolved";

/// Bytes of prewritten segments that a run may be given: a log in steady state has those that it freed.
const STOCK_BYTES_MAX: u64 = 24 << 30;

pub fn run(arguments: &BenchPublish) -> Result<(), Failure> {
    plot::measure(&arguments.load, "publish", |load, dir, ruler| {
        let bar = progress("subscribing");
        let outcome = runtime()?.block_on(measure(arguments, load, dir, ruler, &bar));
        bar.finish_and_clear();
        outcome
    })
}

async fn measure(
    arguments: &BenchPublish,
    load: &Load,
    dir: &Path,
    ruler: &Ruler,
    bar: &ProgressBar,
) -> Result<Report, Failure> {
    let (web, owed) = (dir.join("publisher"), arguments.owed);
    away::subscribe(&web).await?;
    let subscribed = |count| bar.set_message(format!("subscribing to other topics: {count}"));
    away::subscribe_to_others(&web, arguments.subscriptions, subscribed).await?;
    bar.set_message("preparing segments");
    stock(&web, ruler, load, owed)?;
    let bus = open(&web).await?;
    let published = |count| bar.set_message(format!("publishing what is owed: {count} of {owed}"));
    let backlog = Backlog::build(&bus, owed, load.size(), published).await?;
    bar.set_message("publishing");
    let (usage, before, flushed) = (Usage::from_now(), bus.status().await?, device_flushes(dir));
    let published = load.run(&bus, None).await?;
    let device_flushes = device_flushes(dir).zip(flushed).map(|(after, before)| after - before);
    let (usage, after) = (Usage::now().since(&usage), bus.status().await?);
    bus.close().await?;
    check_owed(&before, &after, published.messages)?;
    let counted = Counted {
        messages: published.messages,
        payload_bytes: published.messages * u64::from(load.size()),
        elapsed: published.elapsed,
        latencies: published.latencies,
        usage,
        flushes: after.flushes - before.flushes,
        device_flushes,
        log_bytes: after.written_bytes - before.written_bytes,
        durable: DURABLE,
        circumstances: Circumstances::Publish {
            owed_before: before.outgoing,
            memory_per_owed_message_bytes: (owed > 0)
                .then(|| backlog.grown_bytes as f64 / backlog.owed as f64),
            // That of what is measured is the one that is no other.
            subscriptions: before.destinations.iter().map(|one| one.topics.len() as u64).sum::<u64>() - 1,
        },
    };
    Ok(Report::new("publish", &counted, ruler, Facts::of(dir)))
}

/// What was published is in the log, and owed to the subscriber that is away: else something else was measured.
fn check_owed(before: &Status, after: &Status, published: u64) -> Result<(), Failure> {
    let owed = after.outgoing - before.outgoing;
    if owed == published {
        return Ok(());
    }
    let text = format!("{published} messages were published, and {owed} are owed for them");
    Err(Failure::new(Exit::Failure, text))
}

/// As many prewritten segments as the run can need if it is as fast as the disk, on top of what is owed before.
fn stock(dir: &Path, ruler: &Ruler, load: &Load, owed: u64) -> Result<(), Failure> {
    let wanted = (ruler.fast.bytes_per_second() * load.duration.as_secs_f64() * 1.1) as u64;
    let wanted = wanted.saturating_add(Backlog::log_bytes(owed, load.size()));
    if wanted > STOCK_BYTES_MAX {
        let (wanted, stock) = (wanted >> 30, STOCK_BYTES_MAX >> 30);
        say(&format!(
            "as fast as the disk, this run would fill {wanted} GiB; of these {stock} are written before, and from there on \
             segments are made while it goes on, which takes from what is measured"
        ));
    }
    let count = wanted.min(STOCK_BYTES_MAX).div_ceil(SEGMENT_BYTES) + 2;
    stock_segments(dir, count, SEGMENT_BYTES).map_err(io("prepare segments"))
}
