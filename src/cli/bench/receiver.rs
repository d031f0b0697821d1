//! The process that handles what `bench deliver` publishes. It says where it stands in lines of JSON, one for each line
//! that it is sent.

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::latency::Latencies;
use super::load::TOPIC;
use super::usage::Usage;
use super::{SEGMENT_BYTES, io, runtime};
use crate::bus::{Bus, Envelope, Stopwatch};
use crate::cli::arguments::BenchReceiver;
use crate::cli::exit::Failure;

/// Where the receiver stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    pub handled: u64,
    pub usage: Usage,
    pub flushes: u64,
    pub written_bytes: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

pub fn run(arguments: &BenchReceiver) -> Result<(), Failure> {
    let (handled, latencies) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Latencies::new())));
    runtime()?.block_on(async {
        let (counter, histogram) = (Arc::clone(&handled), Arc::clone(&latencies));
        let builder = Bus::builder(&arguments.dir).segment_bytes(SEGMENT_BYTES);
        let builder = builder.every(TOPIC, move |message: Envelope| {
            counter.fetch_add(1, Ordering::Relaxed);
            if let Some(watch) = published_at(message.payload()) {
                histogram.lock().unwrap_or_else(PoisonError::into_inner).record(watch.elapsed());
            }
            std::future::ready(Ok::<(), String>(()))
        });
        let bus = builder.open().await?;
        let serving = tokio::spawn(bus.serve());
        bus.subscribe(&arguments.from, TOPIC).await?.confirmed().await?;
        let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                if line.is_err() || sender.send(()).is_err() {
                    return;
                }
            }
        });
        while asked.recv().await.is_some() {
            let status = bus.status().await?;
            let latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let standing = Standing {
                handled: handled.load(Ordering::Relaxed),
                usage: Usage::now(),
                flushes: status.flushes,
                written_bytes: status.written_bytes,
                p50_us: latencies.percentile_us(0.5),
                p99_us: latencies.percentile_us(0.99),
                p999_us: latencies.percentile_us(0.999),
                max_us: latencies.max_us(),
            };
            let line =
                serde_json::to_string(&standing).map_err(std::io::Error::from).map_err(io("report"))?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush()).map_err(io("report"))?;
        }
        bus.close().await?;
        drop(serving.await);
        Ok(())
    })
}

fn published_at(payload: &[u8]) -> Option<Stopwatch> {
    let reading = u64::from_le_bytes(payload.get(..8)?.try_into().ok()?);
    (reading != 0).then(|| Stopwatch::from_reading(reading))
}
