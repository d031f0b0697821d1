//! The result of a measurement.

use std::time::Duration;

use serde::Serialize;

use super::facts::Facts;
use super::latency::Latencies;
use super::ruler::Ruler;
use super::usage::Usage;
use crate::cli::exit::Failure;
use crate::cli::output::Output;

/// Bytes a second that `messages_per_yardstick_gb` is counted for.
const GB: f64 = 1e9;

/// What was counted.
pub struct Counted {
    pub messages: u64,
    pub payload_bytes: u64,
    pub elapsed: Duration,
    pub latencies: Latencies,
    pub usage: Usage,
    /// Durable batches of all logs, each a write with O_DSYNC.
    pub flushes: u64,
    /// Flushes that the disk was asked for meanwhile, by anybody; writes that go down together may share one.
    pub device_flushes: Option<u64>,
    /// Bytes written to all logs.
    pub log_bytes: u64,
    /// How the messages were durable, if anything is where they were written.
    pub durable: &'static str,
    pub circumstances: Circumstances,
}

/// What only one of the measurements has.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum Circumstances {
    Publish {
        /// Messages that were owed before.
        owed_before: u64,
        /// By how much the process grew for each of these, all that grew with them included.
        #[serde(skip_serializing_if = "Option::is_none")]
        memory_per_owed_message_bytes: Option<f64>,
        /// Subscriptions of other topics.
        subscriptions: u64,
    },
    Deliver {
        subscribers: u32,
        /// Messages owed to somebody who is not there.
        owed_to_absent: u64,
        /// Messages handled, at all subscribers.
        deliveries: u64,
        deliveries_per_second: f64,
        /// Of the publisher's process alone, for each of these.
        publisher_cpu_ns_per_delivery: f64,
    },
}

impl Circumstances {
    fn lines(&self) -> Vec<(&'static str, String)> {
        match *self {
            Circumstances::Publish { owed_before, memory_per_owed_message_bytes, subscriptions } => {
                let memory = memory_per_owed_message_bytes.map(|bytes| format!("{bytes:.1}"));
                let memory = memory.map(|bytes| ("memory for each message owed, bytes", bytes));
                [("messages owed before", owed_before.to_string())]
                    .into_iter()
                    .chain(memory)
                    .chain([("subscriptions of other topics", subscriptions.to_string())])
                    .collect()
            }
            Circumstances::Deliver {
                subscribers,
                owed_to_absent,
                deliveries_per_second,
                publisher_cpu_ns_per_delivery,
                ..
            } => vec![
                ("subscribers", subscribers.to_string()),
                ("messages owed to the absent", owed_to_absent.to_string()),
                ("deliveries a second", format!("{deliveries_per_second:.0}")),
                ("CPU a delivery, publisher, ns", format!("{publisher_cpu_ns_per_delivery:.0}")),
            ],
        }
    }
}

/// One result, with the yardstick of the same run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub what: &'static str,
    pub messages: u64,
    pub seconds: f64,
    pub messages_per_second: f64,
    pub bytes_per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    pub cpu_ns_per_message: f64,
    pub engine_cpu_ns_per_message: f64,
    pub peak_rss_bytes: u64,
    pub flushes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_flushes: Option<u64>,
    pub yardstick_bytes_per_second: f64,
    pub yardstick_p50_us: f64,
    pub ratio_to_yardstick: f64,
    pub payload_ratio: f64,
    pub messages_per_yardstick_gb: f64,
    pub durable: String,
    #[serde(flatten)]
    pub circumstances: Circumstances,
    #[serde(flatten)]
    pub facts: Facts,
}

impl Report {
    pub fn new(what: &'static str, counted: &Counted, ruler: &Ruler, facts: Facts) -> Report {
        let seconds = counted.elapsed.as_secs_f64();
        let (per_second, messages) = (|count: u64| count as f64 / seconds, counted.messages.max(1) as f64);
        let yardstick = ruler.fast.bytes_per_second();
        Report {
            what,
            messages: counted.messages,
            seconds,
            messages_per_second: per_second(counted.messages),
            bytes_per_second: per_second(counted.payload_bytes),
            p50_us: counted.latencies.percentile_us(0.5),
            p99_us: counted.latencies.percentile_us(0.99),
            p999_us: counted.latencies.percentile_us(0.999),
            max_us: counted.latencies.max_us(),
            cpu_ns_per_message: counted.usage.cpu_ns as f64 / messages,
            engine_cpu_ns_per_message: counted.usage.engine_cpu_ns as f64 / messages,
            peak_rss_bytes: counted.usage.peak_rss_bytes,
            flushes: counted.flushes,
            device_flushes: counted.device_flushes,
            yardstick_bytes_per_second: yardstick,
            yardstick_p50_us: ruler.soon.percentile_us(0.5),
            ratio_to_yardstick: per_second(counted.log_bytes) / yardstick,
            payload_ratio: per_second(counted.payload_bytes) / yardstick,
            messages_per_yardstick_gb: per_second(counted.messages) / (yardstick / GB),
            durable: facts.durable(counted.durable),
            circumstances: counted.circumstances,
            facts,
        }
    }

    pub fn write(&self, json: bool) -> Result<(), Failure> {
        write_result(self, &self.lines(), json)
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("durable", self.durable.clone()),
            ("messages a second", format!("{:.0}", self.messages_per_second)),
            ("payload, MB/s", format!("{:.1}", self.bytes_per_second / 1e6)),
            ("latency p50, us", format!("{:.0}", self.p50_us)),
            ("latency p99, us", format!("{:.0}", self.p99_us)),
            ("latency p99.9, us", format!("{:.0}", self.p999_us)),
            ("latency max, us", format!("{:.0}", self.max_us)),
            ("CPU a message, all processes, ns", format!("{:.0}", self.cpu_ns_per_message)),
            ("CPU a message, engine threads, ns", format!("{:.0}", self.engine_cpu_ns_per_message)),
            (
                "peak memory of the largest process, MiB",
                format!("{:.1}", self.peak_rss_bytes as f64 / f64::from(1 << 20)),
            ),
            ("flushes (writes with O_DSYNC)", self.flushes.to_string()),
            (
                "flushes that the disk counted",
                self.device_flushes.map_or_else(|| "not counted here".to_owned(), |n| n.to_string()),
            ),
            ("yardstick (1 MiB, 2 in flight), MB/s", format!("{:.0}", self.yardstick_bytes_per_second / 1e6)),
            ("yardstick (4 KiB, one), p50 us", format!("{:.0}", self.yardstick_p50_us)),
            ("log bytes to the yardstick", format!("{:.3}", self.ratio_to_yardstick)),
            ("payload bytes to the yardstick", format!("{:.3}", self.payload_ratio)),
            ("messages a second for each GB/s", format!("{:.0}", self.messages_per_yardstick_gb)),
            ("latency p50 to the yardstick's", format!("{:.2}", self.p50_us / self.yardstick_p50_us)),
        ];
        lines.extend(self.circumstances.lines());
        lines.push(("machine", self.facts.line()));
        lines
    }
}

#[cfg(test)]
impl Report {
    /// One of nothing, with that throughput and those latencies.
    pub fn example(messages_per_second: f64, p50_us: f64, p99_us: f64) -> Report {
        Report {
            what: "publish",
            messages: 1,
            seconds: 1.0,
            messages_per_second,
            bytes_per_second: 1.0,
            p50_us,
            p99_us,
            p999_us: p99_us,
            max_us: p99_us,
            cpu_ns_per_message: 1.0,
            engine_cpu_ns_per_message: 1.0,
            peak_rss_bytes: 1,
            flushes: 1,
            device_flushes: None,
            yardstick_bytes_per_second: 1.0,
            yardstick_p50_us: 1.0,
            ratio_to_yardstick: 1.0,
            payload_ratio: 1.0,
            messages_per_yardstick_gb: 1.0,
            durable: "not at all".to_owned(),
            circumstances: Circumstances::Publish {
                owed_before: 0,
                memory_per_owed_message_bytes: None,
                subscriptions: 0,
            },
            facts: Facts::example(),
        }
    }
}

/// Writes a result as JSON, or as names and values in two columns.
pub fn write_result(
    result: &impl Serialize,
    lines: &[(&'static str, String)],
    json: bool,
) -> Result<(), Failure> {
    let mut out = Output::new();
    if json {
        out.json(result)?;
    } else {
        let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
        for (name, value) in lines {
            out.line(&format!("{name:<width$}{value}"))?;
        }
    }
    out.finish().map(drop)
}
