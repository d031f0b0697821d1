//! How many messages a second go from `publish` on one node, over loopback, to a handler on another, durable on both?
//!
//! Two nodes in one process share its cores and one disk. Each iteration publishes a burst from two tasks with many
//! messages on their way at once, and ends when all of them were handled.

#![allow(missing_docs)] // what criterion generates has none

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use resolute::{Bus, Envelope, Ticket};
use tokio::sync::Notify;

const BURST: u64 = 100_000;
const PUBLISHERS: u64 = 2;
const WINDOW: usize = 1024;

struct Pair {
    web: Bus,
    handled: Arc<AtomicU64>,
    bell: Arc<Notify>,
    _dir: tempfile::TempDir,
}

async fn pair() -> Pair {
    let dir = tempfile::Builder::new().prefix("resolute-bench").tempdir_in(".").expect("a directory");
    let web = Bus::builder(dir.path().join("web")).open().await.expect("open");
    let (handled, bell) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let (counter, ring) = (handled.clone(), bell.clone());
    let email = Bus::builder(dir.path().join("email")).every("signup", move |_: Envelope| {
        if (counter.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(BURST / 100) {
            ring.notify_one();
        }
        std::future::ready(Ok::<(), String>(()))
    });
    let email = email.open().await.expect("open");
    tokio::spawn(email.serve());
    let subscription = email.subscribe(web.address(), "signup").await.expect("subscribe");
    subscription.confirmed().await.expect("confirmed");
    Pair { web, handled, bell, _dir: dir }
}

async fn burst(pair: &Pair, payload: &Bytes) {
    let target = pair.handled.load(Ordering::Relaxed) + BURST;
    let publishers = (0..PUBLISHERS).map(|_| {
        let (web, payload) = (pair.web.clone(), payload.clone());
        tokio::spawn(async move {
            let mut window: std::collections::VecDeque<Ticket> = std::collections::VecDeque::new();
            for _ in 0..BURST / PUBLISHERS {
                if window.len() == WINDOW {
                    for ticket in window.drain(..WINDOW / 2) {
                        ticket.wait().await.expect("durable");
                    }
                }
                window.push_back(web.publish_nowait("signup", payload.clone()).await.expect("publish"));
            }
            for ticket in window {
                ticket.wait().await.expect("durable");
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.expect("a publisher");
    }
    while pair.handled.load(Ordering::Relaxed) < target {
        pair.bell.notified().await;
    }
}

fn round_trip(c: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let mut group = c.benchmark_group("round_trip");
    group.sample_size(10).measurement_time(Duration::from_secs(5)).throughput(Throughput::Elements(BURST));
    for size in [128, 1024] {
        let pair = runtime.block_on(pair());
        let payload = Bytes::from(vec![b'x'; size]);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_custom(|iterations| {
                let started = Instant::now();
                runtime.block_on(async {
                    for _ in 0..iterations {
                        burst(&pair, &payload).await;
                    }
                });
                started.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, round_trip);
criterion_main!(benches);
