//! Publishers that publish as fast as their windows allow.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use tokio::task::{JoinError, JoinSet};

use super::latency::Latencies;
use super::lead::{LEAD_BYTES, Lead};
use crate::bus::{Bus, Stopwatch, Ticket};
use crate::cli::exit::Failure;

/// In so many strides a window is filled and waited for, in more if what is published at once would be too much otherwise. A
/// ticket speaks for all before it, so one is kept for each stride; the latency is that of the stride's first message, which
/// waits longest.
const STRIDES_MIN: u32 = 16;

/// Of many publishers with one message each, one message in so many has its latency measured; of a single one all.
const SAMPLED: u64 = 16;

/// Histograms that the publishers share: each takes a few hundred KiB.
const HISTOGRAMS: usize = 4;

/// With which a payload begins: when it was published, or zeros.
const STAMP_BYTES: usize = 8;

/// The topic of all measured messages.
pub const TOPIC: &str = "bench";

/// What is published, and how.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub publishers: u32,
    pub pipeline: u32,
    /// What most messages hold: no time of publishing, and no copy for each.
    pub filler: &'static [u8],
    pub duration: Duration,
}

/// A payload of that size, for the rest of the process: a measurement that is made again and again uses the same.
pub fn filler(size: u32) -> &'static [u8] {
    let mut filler = vec![b'x'; size as usize];
    filler[..STAMP_BYTES].fill(0);
    filler.leak()
}

/// What was published, all of it durable.
pub struct Published {
    pub messages: u64,
    pub elapsed: Duration,
    pub latencies: Latencies,
}

/// The histograms, each filled by some of the publishers.
#[derive(Clone)]
struct Histograms(Arc<[Mutex<Latencies>; HISTOGRAMS]>);

impl Histograms {
    fn new() -> Histograms {
        Histograms(Arc::new(std::array::from_fn(|_| Mutex::new(Latencies::new()))))
    }

    fn record(&self, publisher: u32, watch: &Stopwatch) {
        let mut latencies =
            self.0[publisher as usize % HISTOGRAMS].lock().unwrap_or_else(PoisonError::into_inner);
        latencies.record(watch.elapsed());
    }

    fn sum(&self) -> Latencies {
        let mut sum = Latencies::new();
        self.0.iter().for_each(|one| sum.add(&one.lock().unwrap_or_else(PoisonError::into_inner)));
        sum
    }
}

impl Load {
    /// Bytes of a payload.
    pub fn size(&self) -> u32 {
        // Invariant: it was made of so many.
        u32::try_from(self.filler.len()).expect("a payload has a size")
    }

    /// In how many strides a window is filled. Where publishers are held back, all of them together publish at most as much
    /// in one as they may be ahead, or a message each.
    fn strides(&self, is_held_back: bool) -> u32 {
        let bytes = u64::from(self.publishers) * u64::from(self.pipeline) * u64::from(self.size());
        let needed = if is_held_back { bytes.div_ceil(LEAD_BYTES) } else { 1 };
        let needed = u32::try_from(needed).unwrap_or(u32::MAX);
        needed.max(STRIDES_MIN).min(self.pipeline)
    }

    /// Publishes until the time is over, and waits until all is durable.
    pub async fn run(self, bus: &Bus, lead: Option<&Lead>) -> Result<Published, Failure> {
        let (over, watch) = (Arc::new(AtomicBool::new(false)), Stopwatch::start());
        let histograms = Histograms::new();
        let mut publishers = JoinSet::new();
        for number in 0..self.publishers {
            let publisher = Publisher::new(number, self, bus.clone(), histograms.clone(), lead.cloned());
            publishers.spawn(publisher.run(Arc::clone(&over)));
        }
        let mut time = pin!(tokio::time::sleep(self.duration));
        let mut messages = 0;
        // Only a failure ends one of them before its time, and it is theirs all.
        while let Either::Right((Some(ended), _)) = select(time.as_mut(), pin!(publishers.join_next())).await
        {
            messages += published(ended)?;
        }
        over.store(true, Ordering::Relaxed);
        lead.iter().for_each(|lead| lead.end());
        while let Some(ended) = publishers.join_next().await {
            messages += published(ended)?;
        }
        Ok(Published { messages, elapsed: watch.elapsed(), latencies: histograms.sum() })
    }
}

fn published(ended: Result<Result<u64, Failure>, JoinError>) -> Result<u64, Failure> {
    ended.map_err(|error| Failure::io("publish", &std::io::Error::other(error)))?
}

/// One of those who publish.
struct Publisher {
    number: u32,
    load: Load,
    bus: Bus,
    histograms: Histograms,
    lead: Option<Lead>,
    window: VecDeque<(Ticket, Option<Stopwatch>)>,
    filler: Bytes,
}

impl Publisher {
    fn new(number: u32, load: Load, bus: Bus, histograms: Histograms, lead: Option<Lead>) -> Publisher {
        let (window, filler) = (VecDeque::new(), Bytes::from_static(load.filler));
        Publisher { number, load, bus, histograms, lead, window, filler }
    }

    /// Publishes until it is over. Returns how many messages.
    async fn run(mut self, over: Arc<AtomicBool>) -> Result<u64, Failure> {
        let (mut count, strides) = (0_u64, self.load.strides(self.lead.is_some()));
        let alone = self.load.publishers == 1 && self.load.pipeline == 1;
        let sampled = if alone || strides < self.load.pipeline { 1 } else { SAMPLED };
        let mut turn = 0_u64;
        while !over.load(Ordering::Relaxed) {
            if self.window.len() as u64 == u64::from(strides) {
                self.settle().await?;
            }
            if let Some(lead) = &self.lead {
                lead.wait().await?;
            }
            let length = stride(self.load.pipeline, strides, turn);
            self.publish(length, turn.is_multiple_of(sampled)).await?;
            count += length;
            turn += 1;
            if self.load.pipeline > 1 && turn.is_multiple_of(4) {
                // Publishers that are more than the threads take turns.
                tokio::task::yield_now().await;
            }
        }
        while !self.window.is_empty() {
            self.settle().await?;
        }
        Ok(count)
    }

    /// Publishes so many messages; of the first the latency is measured, if it is wanted.
    async fn publish(&mut self, length: u64, measured: bool) -> Result<(), Failure> {
        let mut watch = measured.then(Stopwatch::start);
        let stamped = watch.as_ref().map(|watch| self.stamped(watch));
        for number in 1..=length {
            let payload = stamped.as_ref().filter(|_| number == 1).unwrap_or(&self.filler).clone();
            let ticket = self.bus.publish_nowait(TOPIC, payload).await?;
            if number == length {
                self.window.push_back((ticket, watch.take()));
            }
        }
        Ok(())
    }

    /// A payload that begins with when it was published: a handler in another process reads it.
    fn stamped(&self, watch: &Stopwatch) -> Bytes {
        let mut payload = BytesMut::from(self.filler.as_ref());
        payload[..STAMP_BYTES].copy_from_slice(&watch.reading().to_le_bytes());
        payload.freeze()
    }

    /// Waits for the oldest of its messages.
    async fn settle(&mut self) -> Result<(), Failure> {
        if let Some((ticket, watch)) = self.window.pop_front() {
            ticket.wait().await?;
            if let Some(watch) = watch {
                self.histograms.record(self.number, &watch);
            }
        }
        Ok(())
    }
}

/// How many messages the stride of that turn has: those of a whole window are the window, whatever it is divided by.
fn stride(window: u32, strides: u32, turn: u64) -> u64 {
    let (window, strides) = (u64::from(window), u64::from(strides));
    let at = turn % strides;
    (at + 1) * window / strides - at * window / strides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(publishers: u32, pipeline: u32, size: u32) -> Load {
        Load { publishers, pipeline, filler: filler(size), duration: Duration::ZERO }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_publisher_that_fails_ends_all_of_it_before_the_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let bus = Bus::builder(dir.path()).open().await.unwrap();
        bus.close().await.unwrap();
        let load = Load { duration: Duration::from_secs(3600), ..load(4, 16, 128) };
        let outcome = tokio::time::timeout(Duration::from_secs(30), load.run(&bus, None)).await;
        assert!(matches!(outcome, Ok(Err(_))), "it fails, and soon");
    }

    #[test]
    fn the_strides_of_a_window_are_the_window() {
        for window in [1, 2, 15, 16, 17, 31, 1000, 1024, 65_536] {
            let strides = load(4, window, 128).strides(false);
            let lengths: Vec<u64> =
                (0..u64::from(strides)).map(|turn| stride(window, strides, turn)).collect();
            assert_eq!(lengths.iter().sum::<u64>(), u64::from(window), "{window}: {lengths:?}");
            assert!(strides == window.min(16) && lengths.iter().all(|length| *length > 0), "{lengths:?}");
        }
    }

    #[test]
    fn who_is_held_back_publishes_no_more_at_once_than_he_may_be_ahead() {
        for (publishers, pipeline, size) in
            [(4, 1024, 128), (4, 1024, 4096), (2, 1000, 245_760), (64, 64, 245_760)]
        {
            let load = load(publishers, pipeline, size);
            let (strides, one_each) = (load.strides(true), u64::from(publishers) * u64::from(size));
            let longest = (0..u64::from(strides)).map(|turn| stride(pipeline, strides, turn)).max().unwrap();
            let at_once = longest * one_each;
            assert!(at_once < LEAD_BYTES + one_each, "{at_once} bytes of {load:?}");
        }
        assert_eq!(load(4, 1024, 128).strides(true), 16, "and small messages go as before");
    }
}
