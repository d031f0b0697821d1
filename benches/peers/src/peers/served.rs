//! A peer that is a server: its clients run here, in a runtime of their own.

use std::future::Future;
use std::sync::Arc;

use anyhow::Result;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::Peer;
use crate::device::Device;
use crate::driver::{Backlog, Publisher, publish, wait};
use crate::measured::{Load, Measured, Pace};

/// Messages between publishers and consumers at most, when both are measured.
const BACKLOG: u64 = 32 * 1024;

/// How publishers are driven.
#[derive(Clone, Copy, Debug)]
pub struct Drive {
    pub publishers: usize,
    /// Calls of `send` of each publisher that are not confirmed.
    pub window: usize,
    /// Messages of one call.
    pub batch: usize,
}

impl Drive {
    const ONE: Drive = Drive { publishers: 1, window: 1, batch: 1 };

    fn in_flight(self) -> u64 {
        (self.publishers * self.window * self.batch) as u64
    }
}

/// The clients of one server.
pub trait Broker {
    type Publisher: Publisher;

    /// What serves this server best.
    const FULL: Drive;

    /// How its consumers take and acknowledge, in words.
    const CONSUMERS: &'static str;

    fn version(&self) -> impl Future<Output = Result<String>>;

    /// Makes a queue that nobody used before.
    fn declare(&self, queue: &str) -> impl Future<Output = Result<()>>;

    fn publishers(
        &self,
        queue: &str,
        drive: Drive,
        load: &Load,
    ) -> impl Future<Output = Result<Vec<Self::Publisher>>>;

    /// Starts consumers, which count what they acknowledged and run until they are aborted.
    fn consume(
        &self,
        queue: &str,
        backlog: &Arc<Backlog>,
        consumers: &mut JoinSet<Result<()>>,
    ) -> impl Future<Output = Result<()>>;

    fn remove(&self, queue: &str) -> impl Future<Output = Result<()>>;
}

pub struct Served<B> {
    broker: B,
    runtime: Runtime,
    version: String,
    queues: u32,
}

impl<B: Broker> Served<B> {
    pub fn new(broker: B) -> Result<Served<B>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let version = runtime.block_on(broker.version())?;
        Ok(Served { broker, runtime, version, queues: 0 })
    }

    fn queue(&mut self) -> String {
        self.queues += 1;
        format!("peers-{}-{}", std::process::id(), self.queues)
    }
}

fn drive_of<B: Broker>(pace: Pace) -> Drive {
    match pace {
        Pace::Full => B::FULL,
        Pace::OneAtATime => Drive::ONE,
    }
}

fn words(drive: Drive) -> String {
    format!("{} publishers x {} in flight", drive.publishers, drive.window * drive.batch)
}

impl<B: Broker> Peer for Served<B> {
    fn version(&self) -> String {
        self.version.clone()
    }

    fn publish(&mut self, load: &Load, device: &Device) -> Result<Measured> {
        let (queue, drive) = (self.queue(), drive_of::<B>(load.pace));
        self.runtime.block_on(async {
            self.broker.declare(&queue).await?;
            let publishers = self.broker.publishers(&queue, drive, load).await?;
            let backlog = Backlog::new(u64::MAX);
            let meter = device.meter();
            let (messages, latencies) = publish(publishers, drive.window, load.time, &backlog).await?;
            let measured = Measured::stop(meter, messages, drive.in_flight(), words(drive));
            self.broker.remove(&queue).await?;
            Ok(measured.with_latencies(&latencies))
        })
    }

    fn end_to_end(&mut self, load: &Load, device: &Device) -> Result<Option<Measured>> {
        let (queue, drive) = (self.queue(), B::FULL);
        self.runtime.block_on(async {
            self.broker.declare(&queue).await?;
            let (backlog, mut consumers) = (Backlog::new(BACKLOG), JoinSet::new());
            self.broker.consume(&queue, &backlog, &mut consumers).await?;
            let publishers = self.broker.publishers(&queue, drive, load).await?;
            let meter = device.meter();
            let (messages, _) = publish(publishers, drive.window, load.time, &backlog).await?;
            wait(consumers, messages, &backlog).await?;
            let how = format!("{}, {}", words(drive), B::CONSUMERS);
            let measured = Measured::stop(meter, messages, drive.in_flight(), how);
            self.broker.remove(&queue).await?;
            Ok(Some(measured))
        })
    }
}
