//! Publishers that publish as fast as their windows allow.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::latency::Latencies;
use super::lead::Lead;
use crate::bus::{Bus, Stopwatch, Ticket};
use crate::cli::exit::Failure;

/// In so many strides a window is filled and waited for. A ticket speaks for all before it, so one is kept for each stride;
/// the latency is that of the stride's first message, which waits longest.
const STRIDES: u32 = 16;

/// Of many publishers with one message each, one message in so many has its latency measured; of a single one all.
const SAMPLED: u64 = 16;

/// Histograms that the publishers share: each takes a few hundred KiB.
const HISTOGRAMS: usize = 4;

/// The topic of all measured messages.
pub const TOPIC: &str = "bench";

/// What is published, and how.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub publishers: u32,
    pub pipeline: u32,
    pub size: u32,
    pub duration: Duration,
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
    /// Publishes until the time is over, and waits until all is durable.
    pub async fn run(self, bus: &Bus, lead: Option<&Lead>) -> Result<Published, Failure> {
        let (over, watch) = (Arc::new(AtomicBool::new(false)), Stopwatch::start());
        let histograms = Histograms::new();
        let publishers: Vec<_> = (0..self.publishers)
            .map(|number| {
                let (load, bus, over) = (self, bus.clone(), Arc::clone(&over));
                tokio::spawn(Publisher::new(number, load, bus, histograms.clone()).run(over, lead.cloned()))
            })
            .collect();
        tokio::time::sleep(self.duration).await;
        over.store(true, Ordering::Relaxed);
        let mut messages = 0;
        for publisher in publishers {
            messages +=
                publisher.await.map_err(|error| Failure::io("publish", &std::io::Error::other(error)))??;
        }
        Ok(Published { messages, elapsed: watch.elapsed(), latencies: histograms.sum() })
    }
}

/// One of those who publish.
struct Publisher {
    number: u32,
    load: Load,
    bus: Bus,
    histograms: Histograms,
    window: VecDeque<(Ticket, Option<Stopwatch>)>,
    stride: u64,
    /// What the next ticket that is kept speaks for.
    watch: Option<Stopwatch>,
    /// What most messages hold: no time of publishing, and no copy for each.
    filler: Bytes,
}

impl Publisher {
    fn new(number: u32, load: Load, bus: Bus, histograms: Histograms) -> Publisher {
        let mut filler = vec![b'x'; load.size as usize];
        filler[..8].fill(0);
        let stride = u64::from((load.pipeline / STRIDES).max(1));
        let (window, filler) = (VecDeque::new(), Bytes::from_static(filler.leak()));
        Publisher { number, load, bus, histograms, window, stride, watch: None, filler }
    }

    /// Publishes until it is over. Returns how many messages.
    async fn run(mut self, over: Arc<AtomicBool>, lead: Option<Lead>) -> Result<u64, Failure> {
        let mut count = 0_u64;
        let alone = self.load.publishers == 1 && self.load.pipeline == 1;
        let sampled = if alone || self.stride > 1 { 1 } else { SAMPLED };
        let strides = u64::from(self.load.pipeline) / self.stride;
        while !over.load(Ordering::Relaxed) {
            if self.window.len() as u64 == strides {
                self.settle().await?;
            }
            if let Some(lead) = &lead {
                lead.wait().await?;
            }
            self.watch = (count / self.stride).is_multiple_of(sampled).then(Stopwatch::start);
            let stamped = self.watch.as_ref().map(|watch| self.stamped(watch));
            for number in 1..=self.stride {
                let payload = stamped.as_ref().filter(|_| number == 1).unwrap_or(&self.filler).clone();
                let ticket = self.bus.publish_nowait(TOPIC, payload).await?;
                if number == self.stride {
                    self.window.push_back((ticket, self.watch.take()));
                }
            }
            count += self.stride;
            if self.load.pipeline > 1 && count.is_multiple_of(4 * self.stride) {
                // Publishers that are more than the threads take turns.
                tokio::task::yield_now().await;
            }
        }
        while !self.window.is_empty() {
            self.settle().await?;
        }
        Ok(count)
    }

    /// A payload that begins with when it was published: a handler in another process reads it.
    fn stamped(&self, watch: &Stopwatch) -> Bytes {
        let mut payload = BytesMut::from(self.filler.as_ref());
        payload[..8].copy_from_slice(&watch.reading().to_le_bytes());
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
