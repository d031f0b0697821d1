//! What does it cost to have a message on stable storage, and how does that fall when more are on their way at once?
//!
//! One node, with a subscriber that never comes, so that every message is logged and stays. `one` awaits each message
//! before it publishes the next: its time is that of one flush. The others await the last of so many.
#![allow(missing_docs)] // what criterion generates has none

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use resolute::Bus;

const PAYLOAD_BYTES: usize = 128;

/// A node with a subscription that nobody fetches.
async fn node(dir: &std::path::Path) -> Bus {
    let web = Bus::builder(dir.join("web")).open().await.expect("open");
    let away = Bus::builder(dir.join("away")).open().await.expect("open");
    let subscription = away.subscribe(web.address(), "t").await.expect("subscribe");
    subscription.confirmed().await.expect("confirmed");
    away.close().await.expect("close");
    web
}

async fn append(web: &Bus, payload: &Bytes, count: u64) {
    let mut last = None;
    for _ in 0..count {
        last = Some(web.publish_nowait("t", payload.clone()).await.expect("publish"));
    }
    if let Some(ticket) = last {
        ticket.wait().await.expect("durable");
    }
}

fn durable_append(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let dir = tempfile::Builder::new().prefix("resolute-bench").tempdir_in(".").expect("a directory");
    let web = runtime.block_on(node(dir.path()));
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let mut group = c.benchmark_group("durable_append");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for at_once in [1_u64, 64, 1024, 16_384] {
        group.throughput(Throughput::Elements(at_once));
        group.bench_function(BenchmarkId::from_parameter(at_once), |b| {
            b.iter_custom(|iterations| {
                let started = Instant::now();
                runtime.block_on(async {
                    for _ in 0..iterations {
                        append(&web, &payload, at_once).await;
                    }
                });
                started.elapsed()
            });
        });
    }
    group.finish();
    runtime.block_on(web.close()).expect("close");
}

criterion_group!(benches, durable_append);
criterion_main!(benches);
