//! The arguments of measurements, with their help.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, value_parser};

use crate::cli::exit::CODES;
use crate::limits::{BATCH_BYTES_MAX, PAYLOAD_BYTES_MAX};

/// The smallest payload: it begins with when it was published.
const SIZE_MIN: i64 = 8;

/// What is measured.
#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    pub what: BenchWhat,
}

#[derive(Debug, Subcommand)]
pub enum BenchWhat {
    /// The disk itself: flushed writes to a prewritten file, by size and number in flight.
    ///
    /// Needs 512 MiB of disk.
    #[command(after_help = CODES)]
    Device(BenchDevice),
    /// Publishing, with one subscriber that is away: every message is logged and stays.
    ///
    /// The log is given prewritten segments before the time begins, as a log in steady state has from what it freed. With
    /// a window, latencies are those of the first message of each sixteenth of it, until all of that sixteenth is durable;
    /// with many publishers, or a window of 2 to 16, those of one message in 16; with a single one all.
    ///
    /// At most 24 GiB of segments are prewritten: a longer run, which then says so, makes the others while it goes on.
    ///
    /// Needs as much disk as can be written to it in that time and a tenth more, with --owed also room for these messages
    /// and 128 bytes with each, and 256 MiB besides; 512 MiB at least. At 1 GB a second, 5 seconds need 6 GB.
    #[command(after_help = CODES)]
    Publish(BenchPublish),
    /// Publishing to handlers in other processes, over loopback, durable at both ends.
    ///
    /// The publishers stay about 4 MiB ahead of the slowest subscriber, or a message each if that is more; with one
    /// publisher and one message on its way the next is published once the last was handled and acknowledged. A message
    /// counts once all subscribers have handled it. The latencies are those from the call of publish to the call of each
    /// handler. If a receiver ends, or handles nothing for 30 seconds, the measurement fails.
    ///
    /// Needs 1 GiB of disk, and half a GiB more for each subscriber beyond the first.
    #[command(after_help = CODES)]
    Deliver(BenchDeliver),
    /// Opening a node on a large log, with the page cache dropped where that is permitted.
    ///
    /// The node is opened at least three times, and again until --seconds have been spent in opening it; the latencies are
    /// those of the openings. Beside the yardstick, which writes, stands a plain sequential read of the same files.
    ///
    /// Needs as much disk as the log has, and 1 GiB.
    #[command(after_help = CODES)]
    Recover(BenchRecover),
    /// Changing a map or a queue, by callers that each wait until their change is on disk.
    ///
    /// Each caller of a map has a key of its own. Of the changes of a caller one in 16 has its latency measured. What was set or
    /// enqueued and not taken away again stays in memory: some 200 bytes beside each item that is enqueued.
    ///
    /// Needs 1 GiB of disk, and with enqueue as much as is enqueued.
    #[command(after_help = CODES)]
    Store(BenchStore),
}

/// What all measurements have in common.
#[derive(Debug, Args)]
pub struct BenchCommon {
    /// Where to measure; a directory that is removed again, also when a signal ends the measurement, is made in it.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// How long to measure.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Writes the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct BenchDevice {
    #[command(flatten)]
    pub common: BenchCommon,
    /// Bytes of a write, a multiple of 4,096 up to 1 MiB; all sizes if not given.
    #[arg(long, value_name = "BYTES", value_parser = value_parser!(u32).range(4096..=BATCH_BYTES_MAX as i64))]
    pub size: Option<u32>,
}

/// The messages of a measurement of the bus.
#[derive(Clone, Copy, Debug, Args)]
pub struct BenchPayload {
    /// Bytes of a payload, from 8 to the largest that a message may have.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 128,
        value_parser = value_parser!(u32).range(SIZE_MIN..=PAYLOAD_BYTES_MAX as i64)
    )]
    pub size: u32,
}

/// Who publishes.
#[derive(Debug, Args)]
pub struct BenchLoad {
    #[command(flatten)]
    pub common: BenchCommon,
    #[command(flatten)]
    pub payload: BenchPayload,
    /// Publishers at once.
    #[arg(long, value_name = "P", default_value_t = 4, value_parser = value_parser!(u32).range(1..=65_536))]
    pub publishers: u32,
    /// Messages that each publisher has on their way at once; 1 awaits each before the next.
    #[arg(long, value_name = "W", default_value_t = 1024, value_parser = value_parser!(u32).range(1..=65_536))]
    pub pipeline: u32,
    /// Measures with 1, 4, 16 … 4,096 messages on their way in all, one after the other, and draws throughput against
    /// latency. --publishers and --pipeline do not matter then. The yardstick is measured once.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct BenchPublish {
    #[command(flatten)]
    pub load: BenchLoad,
    /// Messages that the subscriber is owed already when the measurement begins. Says what memory each of them takes: of
    /// few, mostly what the node takes once.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u64).range(0..=1_000_000_000))]
    pub owed: u64,
    /// Subscriptions of other topics that the publisher serves meanwhile, by subscribers that are away, with 5,000 topics
    /// each.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(0..=1_000_000))]
    pub subscriptions: u32,
}

#[derive(Debug, Args)]
pub struct BenchDeliver {
    #[command(flatten)]
    pub load: BenchLoad,
    /// Subscribers, each a process with a data directory of its own, which all handle every message.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=256))]
    pub subscribers: u32,
    /// Messages, with payloads of --size, that are owed meanwhile to somebody who is not there. They lie where the log begins, and are
    /// written again whenever that is freed; few enough, that is, or the log is not freed.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u64).range(0..=1_000_000))]
    pub absent: u64,
}

#[derive(Debug, Args)]
pub struct BenchStore {
    /// What each caller does again and again.
    pub change: StoreChange,
    #[command(flatten)]
    pub common: BenchCommon,
    /// Bytes of a value or an item, as JSON.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = value_parser!(u32).range(SIZE_MIN..=PAYLOAD_BYTES_MAX as i64 / 2))]
    pub size: u32,
    /// Callers at once.
    #[arg(long, value_name = "C", default_value_t = 1024, value_parser = value_parser!(u32).range(1..=65_536))]
    pub callers: u32,
}

/// What is done with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreChange {
    /// Gives a key of a map a value.
    Set,
    /// Gives a key of a map a value, and takes it away: two changes.
    SetAndClear,
    /// Puts an item at the back of a queue.
    Enqueue,
    /// Puts an item at the back of a queue, and takes one from the front: two changes.
    EnqueueAndDequeue,
}

impl StoreChange {
    pub fn name(self) -> &'static str {
        match self {
            StoreChange::Set => "set",
            StoreChange::SetAndClear => "set-and-clear",
            StoreChange::Enqueue => "enqueue",
            StoreChange::EnqueueAndDequeue => "enqueue-and-dequeue",
        }
    }
}

#[derive(Debug, Args)]
pub struct BenchRecover {
    #[command(flatten)]
    pub common: BenchCommon,
    #[command(flatten)]
    pub payload: BenchPayload,
    /// GiB of log to build and recover.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..=1024))]
    pub gib: u64,
}

/// One of the processes that handle what `bench deliver` publishes.
#[derive(Debug, Args)]
pub struct BenchReceiver {
    #[arg(long)]
    pub dir: PathBuf,
    #[arg(long)]
    pub from: String,
}
