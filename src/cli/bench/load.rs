//! Publishers that publish as fast as their windows allow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::latency::Latencies;
use crate::bus::{Bus, Stopwatch, Ticket};
use crate::cli::exit::Failure;

/// Of messages in a window one in so many has its latency measured; of those that are awaited each, all.
const SAMPLED: u64 = 16;

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

impl Load {
    /// Publishes until the time is over, and waits until all is durable.
    pub async fn run(self, bus: &Bus) -> Result<Published, Failure> {
        let (over, watch) = (Arc::new(AtomicBool::new(false)), Stopwatch::start());
        let publishers: Vec<_> = (0..self.publishers)
            .map(|_| tokio::spawn(publisher(bus.clone(), self, Arc::clone(&over))))
            .collect();
        tokio::time::sleep(self.duration).await;
        over.store(true, Ordering::Relaxed);
        let (mut messages, mut latencies) = (0, Latencies::new());
        for publisher in publishers {
            let (count, of_one) =
                publisher.await.map_err(|error| Failure::io("publish", &std::io::Error::other(error)))??;
            messages += count;
            latencies.add(&of_one);
        }
        Ok(Published { messages, elapsed: watch.elapsed(), latencies })
    }
}

async fn publisher(bus: Bus, load: Load, over: Arc<AtomicBool>) -> Result<(u64, Latencies), Failure> {
    let (mut count, mut latencies) = (0_u64, Latencies::new());
    let mut window: VecDeque<(Ticket, Option<Stopwatch>)> = VecDeque::with_capacity(load.pipeline as usize);
    let every = if load.pipeline == 1 { 1 } else { SAMPLED };
    let filler = vec![b'x'; load.size as usize];
    while !over.load(Ordering::Relaxed) {
        if window.len() == load.pipeline as usize {
            settle(&mut window, &mut latencies).await?;
        }
        let watch = count.is_multiple_of(every).then(Stopwatch::start);
        let ticket = bus.publish_nowait(TOPIC, payload(&filler, watch.as_ref())).await?;
        window.push_back((ticket, watch));
        count += 1;
        if load.pipeline > 1 && count.is_multiple_of(256) {
            // Publishers that are more than the threads take turns.
            tokio::task::yield_now().await;
        }
    }
    while !window.is_empty() {
        settle(&mut window, &mut latencies).await?;
    }
    Ok((count, latencies))
}

/// The payload begins with when it was published, or zeros: a handler in another process reads it.
fn payload(filler: &[u8], watch: Option<&Stopwatch>) -> Bytes {
    let mut payload = BytesMut::with_capacity(filler.len());
    payload.put_u64_le(watch.map_or(0, Stopwatch::reading));
    payload.put_slice(&filler[8..]);
    payload.freeze()
}

async fn settle(
    window: &mut VecDeque<(Ticket, Option<Stopwatch>)>,
    latencies: &mut Latencies,
) -> Result<(), Failure> {
    if let Some((ticket, watch)) = window.pop_front() {
        ticket.wait().await?;
        if let Some(watch) = watch {
            latencies.record(watch.elapsed());
        }
    }
    Ok(())
}
