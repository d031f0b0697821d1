//! Publishing to handlers in other processes.

use std::path::Path;

use super::arguments::BenchDeliver;
use super::facts::{Facts, device_flushes};
use super::lead::Lead;
use super::load::{Load, TOPIC};
use super::receiver::Standing;
use super::receivers::{PATIENCE, Receivers};
use super::report::{Circumstances, Counted, Report};
use super::ruler::Ruler;
use super::usage::Usage;
use super::{open, plot, progress, runtime};
use crate::bus::{Bus, Status, Stopwatch};
use crate::cli::exit::{Exit, Failure};

/// Where nobody ever answers: the discard port of this machine.
pub const NOBODY: &str = "tcp://127.0.0.1:9";

const DURABLE: &str = "on all disks (O_DSYNC), and handled";

pub fn run(arguments: &BenchDeliver) -> Result<(), Failure> {
    plot::measure(&arguments.load, "deliver", |load, dir, ruler| {
        let bar = progress("publishing");
        let outcome = runtime()?.block_on(measure(load, arguments, dir, ruler));
        bar.finish_and_clear();
        outcome
    })
}

/// Both sides at one moment.
struct Moment {
    usage: Usage,
    status: Status,
    receivers: Standing,
}

async fn measure(load: &Load, of: &BenchDeliver, dir: &Path, ruler: &Ruler) -> Result<Report, Failure> {
    let subscribers = of.subscribers;
    let bus = open(&dir.join("publisher")).await?;
    owe_to_nobody(&bus, of.absent, load.size()).await?;
    let mut receivers = Receivers::start(subscribers, dir, bus.address())?;
    receivers.while_they_live(subscribed(&bus, subscribers)).await?;
    let theirs = receivers.begin()?;
    let before = Moment { receivers: theirs, usage: Usage::from_now(), status: bus.status().await? };
    let (watch, flushed_before) = (Stopwatch::start(), device_flushes(dir));
    let lead = Lead::new(&bus, load, subscribers);
    let published = receivers.while_they_live(load.run(&bus, Some(&lead))).await?;
    let theirs = receivers.wait(published.messages)?;
    let elapsed = watch.elapsed();
    let device_flushes = device_flushes(dir).zip(flushed_before).map(|(after, before)| after - before);
    let after = Moment { receivers: theirs, usage: Usage::now(), status: bus.status().await? };
    // From the call of publish to the call of the handler, which only the receivers know.
    let latencies = receivers.latencies()?;
    bus.close().await?;
    let deliveries = after.receivers.handled - before.receivers.handled;
    let ours = after.usage.since(&before.usage);
    let written = |moment: &Moment| moment.status.written_bytes + moment.receivers.written_bytes;
    let flushed = |moment: &Moment| moment.status.flushes + moment.receivers.flushes;
    let counted = Counted {
        messages: published.messages,
        payload_bytes: published.messages * u64::from(load.size()),
        elapsed,
        latencies,
        usage: ours.and(&after.receivers.usage.since(&before.receivers.usage)),
        flushes: flushed(&after) - flushed(&before),
        device_flushes,
        log_bytes: written(&after) - written(&before),
        durable: DURABLE,
        circumstances: Circumstances::Deliver {
            subscribers,
            owed_to_absent: of.absent,
            deliveries,
            deliveries_per_second: deliveries as f64 / elapsed.as_secs_f64(),
            publisher_cpu_ns_per_delivery: ours.cpu_ns as f64 / deliveries.max(1) as f64,
        },
    };
    Ok(Report::new("deliver", &counted, ruler, Facts::of(dir)))
}

/// What lies where the log begins, and stays.
async fn owe_to_nobody(bus: &Bus, count: u64, size: u32) -> Result<(), Failure> {
    let payload = bytes::Bytes::from(vec![0; size as usize]);
    let mut last = None;
    for _ in 0..count {
        last = Some(bus.send_nowait(NOBODY, TOPIC, payload.clone()).await?);
    }
    if let Some(ticket) = last {
        ticket.wait().await?;
    }
    Ok(())
}

/// All of them have subscribed: one after the other, and none may keep us waiting too long.
async fn subscribed(bus: &Bus, subscribers: u32) -> Result<(), Failure> {
    for count in 1..=subscribers as usize {
        let some = tokio::time::timeout(PATIENCE, bus.subscribers(TOPIC, count));
        some.await.map_err(|_| {
            let text = format!("{} of {subscribers} receivers have subscribed and no more do", count - 1);
            Failure::new(Exit::Failure, text)
        })??;
    }
    Ok(())
}
