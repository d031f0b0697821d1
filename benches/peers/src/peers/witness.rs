//! Counts the flushes of the device while resolute's library publishes.

use std::path::Path;

use anyhow::{Context, Result};
use resolute::{Bus, Ticket};

use crate::device::Device;
use crate::driver::{Backlog, Publisher, publish};
use crate::measured::{Load, Measured};

const TOPIC: &str = "bench";

struct OfBus {
    bus: Bus,
    payload: bytes::Bytes,
}

impl Publisher for OfBus {
    type Confirm = futures_util::future::BoxFuture<'static, Result<()>>;

    async fn send(&mut self) -> Result<Self::Confirm> {
        let ticket: Ticket = self.bus.publish_nowait(TOPIC, self.payload.clone()).await.context("publish")?;
        Ok(Box::pin(async { ticket.wait().await.map(drop).context("wait until it is durable") }))
    }
}

/// Publishes as `resolute bench publish` does: with one subscriber, which is away.
pub fn flushes_per_message(
    dir: &Path,
    load: &Load,
    publishers: u64,
    pipeline: u64,
    device: &Device,
) -> Result<Option<f64>> {
    let dir = tempfile::Builder::new().prefix("witness-").tempdir_in(dir).context("make a directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (web, away) = (dir.path().join("publisher"), dir.path().join("away"));
        let bus = Bus::builder(&web).open().await?;
        let subscriber = Bus::builder(&away).open().await?;
        subscriber.subscribe(bus.address(), TOPIC).await?.confirmed().await?;
        subscriber.close().await?;
        let of_bus = || OfBus { bus: bus.clone(), payload: load.payload.clone() };
        let all = (0..publishers).map(|_| of_bus()).collect();
        let meter = device.meter();
        let (messages, _) = publish(all, pipeline as usize, load.time, &Backlog::new(u64::MAX)).await?;
        let measured = Measured::stop(meter, messages, publishers * pipeline, String::new());
        bus.close().await?;
        Ok(measured.flushes_per_message)
    })
}
