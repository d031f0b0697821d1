//! Drives clients of a server: publishers with a window each, until the time is over.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use crate::measured::Latencies;

/// How long a consumer may go on without acknowledging anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection that publishes.
pub trait Publisher: Send + 'static {
    /// Resolves when what was sent is durable.
    type Confirm: Future<Output = Result<()>> + Send;

    /// Sends; the confirmation is awaited later.
    fn send(&mut self) -> impl Future<Output = Result<Self::Confirm>> + Send;

    /// Messages of one call of `send`.
    fn batch(&self) -> u64 {
        1
    }
}

/// What was published and not yet acknowledged by a consumer, kept below a limit.
///
/// A queue that grows is not how any of these servers is run, and some are much slower with one: end to end, publishers
/// wait for consumers. Where nothing is consumed there is no limit.
pub struct Backlog {
    published: AtomicU64,
    acknowledged: AtomicU64,
    limit: u64,
}

impl Backlog {
    pub fn new(limit: u64) -> Arc<Backlog> {
        Arc::new(Backlog { published: AtomicU64::new(0), acknowledged: AtomicU64::new(0), limit })
    }

    /// Counts messages that the server has taken back from a consumer.
    pub fn acknowledge(&self, messages: u64) {
        self.acknowledged.fetch_add(messages, Ordering::Relaxed);
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    async fn room(&self) {
        while self.published.load(Ordering::Relaxed).saturating_sub(self.acknowledged()) >= self.limit {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Publishes for so long, and returns how many messages are durable, and their latencies if they went one at a time.
pub async fn publish<P: Publisher>(
    publishers: Vec<P>,
    window: usize,
    time: Duration,
    backlog: &Arc<Backlog>,
) -> Result<(u64, Latencies)> {
    let until = Instant::now() + time;
    let mut running = JoinSet::new();
    for publisher in publishers {
        running.spawn(one(publisher, window, until, Arc::clone(backlog)));
    }
    let (mut messages, mut latencies) = (0, Latencies::new());
    while let Some(ended) = running.join_next().await {
        let (count, of_one) = ended??;
        messages += count;
        latencies.add(&of_one);
    }
    Ok((messages, latencies))
}

async fn one<P: Publisher>(
    mut publisher: P,
    window: usize,
    until: Instant,
    backlog: Arc<Backlog>,
) -> Result<(u64, Latencies)> {
    let (mut messages, mut latencies) = (0, Latencies::new());
    let mut unconfirmed: VecDeque<P::Confirm> = VecDeque::with_capacity(window);
    let mut sent = Instant::now();
    while sent < until {
        backlog.room().await;
        unconfirmed.push_back(publisher.send().await?);
        messages += publisher.batch();
        backlog.published.fetch_add(publisher.batch(), Ordering::Relaxed);
        if unconfirmed.len() == window
            && let Some(confirm) = unconfirmed.pop_front()
        {
            confirm.await?;
        }
        let now = Instant::now();
        if window == 1 {
            latencies.record(now - sent);
        }
        sent = now;
    }
    for confirm in unconfirmed {
        confirm.await?;
    }
    Ok((messages, latencies))
}

/// Waits until consumers have acknowledged so many messages, then ends them.
pub async fn wait(mut consumers: JoinSet<Result<()>>, messages: u64, backlog: &Backlog) -> Result<()> {
    let (mut last, mut since) = (0, Instant::now());
    while backlog.acknowledged() < messages {
        if let Some(ended) = consumers.try_join_next() {
            ended??;
            bail!("a consumer ended by itself");
        }
        let acknowledged = backlog.acknowledged();
        if acknowledged > last {
            (last, since) = (acknowledged, Instant::now());
        } else if since.elapsed() > PATIENCE {
            bail!("{last} of {messages} messages are acknowledged by consumers and no more come");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    consumers.shutdown().await;
    Ok(())
}
