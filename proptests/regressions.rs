//! Bugs that were met once, with real nodes: each of these failed before its fix.
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use resolute::{Bus, Envelope, Retry};

use crate::scene::{Seen, alone, close, drained, open, plain, resident_bytes, status, subscribe, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_two_failing_handlers_is_called_again() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let fail_once = |seen: Arc<AtomicU32>| {
        move |m: Envelope| {
            let seen = seen.clone();
            async move {
                if m.attempt() == 1 {
                    return Err("not yet");
                }
                seen.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        }
    };
    let retry = Retry { initial_ms: 200, factor: 1.0, max_ms: 200, attempts_max: 5 };
    let bus = open(
        Bus::builder(directory.path())
            .retry(retry)
            .every_named("a", "job", fail_once(a.clone()))
            .every_named("b", "job", fail_once(b.clone())),
    )
    .await;
    subscribe(&bus, bus.address(), "job").await;
    let serving = tokio::spawn(bus.serve());
    for _ in 0..20 {
        bus.publish("job", "x").await.unwrap();
    }
    drained(&bus).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    println!("a {} b {}", a.load(Ordering::SeqCst), b.load(Ordering::SeqCst));
    assert_eq!((a.load(Ordering::SeqCst), b.load(Ordering::SeqCst)), (20, 20));
    close(&bus).await;
    drop(serving.await);
}

fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let rest: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    rest[11].parse::<u64>().unwrap() + rest[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_is_gone_makes_no_spin() {
    if !alone("regressions::a_handler_that_is_gone_makes_no_spin") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let ok = |_: Envelope| async { Ok::<(), String>(()) };
    let bus = open(Bus::builder(directory.path()).every_named("a", "job", ok).every_named(
        "b",
        "job",
        |_: Envelope| async { Err::<(), _>("no") },
    ))
    .await;
    subscribe(&bus, bus.address(), "job").await;
    let serving = tokio::spawn(bus.serve());
    bus.publish("job", "x").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    close(&bus).await;
    drop(serving.await);
    drop(bus);
    let bus = open(Bus::builder(directory.path()).every_named("a", "job", ok)).await;
    let serving = tokio::spawn(bus.serve());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = cpu_ticks();
    tokio::time::sleep(Duration::from_millis(2000)).await;
    let used = cpu_ticks() - before;
    println!("at handlers {}", status(&bus).await.in_handlers);
    close(&bus).await;
    let state = resolute::io::node::replay(directory.path(), resolute::io::recover::RecoverMode::ReadOnly)
        .unwrap()
        .state;
    println!("{:?}", state.inbox.progress());
    let bus = open(Bus::builder(directory.path()).every_named("a", "job", ok)).await;
    let s = status(&bus).await;
    println!(
        "measured: ticks of 200: {used}; incoming {} parked {} dead {}",
        s.incoming, s.parked, s.dead_letters
    );
    assert!(used < 20, "cpu ticks {used} in 2 s idle; incoming {} parked {}", s.incoming, s.parked);
    close(&bus).await;
    drop(serving.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_batch_to_new_addresses_is_not_stuck() {
    let directory = tempfile::tempdir().unwrap();
    let bus = plain(directory.path()).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    // The exact size is asked of the error.
    let make = |last: usize| {
        let mut batch = bus.batch();
        for n in 0..5 {
            let bytes = if n == 4 { last } else { 200 << 10 };
            batch = batch.send(&format!("tcp://127.0.0.1:{}", 20 + n), "t", vec![0_u8; bytes]).unwrap();
        }
        batch
    };
    let over = match make(200 << 10).commit().await {
        Err(resolute::Error::BatchTooLarge { bytes, max }) => bytes - max,
        other => panic!("{other:?}"),
    };
    let done = tokio::time::timeout(Duration::from_secs(5), make((200 << 10) - over - 8).commit()).await;
    assert!(done.is_ok(), "the publisher is stuck");
    close(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_many_small_messages_is_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let bus = plain(directory.path()).await;
    let mut batch = bus.batch();
    for n in 0..9000 {
        batch = batch.send(&format!("tcp://127.0.0.1:{}", 20 + n % 2), "t", "x").unwrap();
    }
    let outcome =
        tokio::spawn(async move { tokio::time::timeout(Duration::from_secs(5), batch.commit()).await }).await;
    println!("{:?}", outcome.as_ref().map(|o| o.as_ref().map(|r| r.as_ref().map(Vec::len))));
    let s = status(&bus).await;
    println!("owed now {}", s.outgoing);
    close(&bus).await;
    drop(bus);
    let bus = plain(directory.path()).await;
    println!("owed after reopening {}", status(&bus).await.outgoing);
    assert!(outcome.is_ok(), "panic in commit");
    close(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serving_again_calls_nobody_twice_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let s2 = seen.clone();
    let bus = open(Bus::builder(directory.path()).concurrency(1).every("job", move |m: Envelope| {
        let s2 = s2.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            s2.note(&m);
            Ok::<(), String>(())
        }
    }))
    .await;
    subscribe(&bus, bus.address(), "job").await;
    let mut serve = bus.serve();
    let publisher = bus.clone();
    let publishing = tokio::spawn(async move {
        for n in 0..200 {
            publisher.publish("job", n.to_string()).await.unwrap();
        }
    });
    drop(tokio::time::timeout(Duration::from_millis(150), &mut serve).await);
    publishing.await.unwrap();
    drop(serve);
    let mut serve = bus.serve();
    drop(tokio::time::timeout(Duration::from_millis(1500), &mut serve).await);
    drop(serve);
    let all = seen.all();
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    println!("calls {} distinct {}", all.len(), distinct.len());
    assert!(all.len() <= distinct.len() + 1, "calls {} of {}", all.len(), distinct.len());
    close(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_was_removed_can_come_back() {
    let (d1, d2) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let publisher = plain(d1.path()).await;
    let subscriber = plain(d2.path()).await;
    subscribe(&subscriber, publisher.address(), "t").await;
    within("remove", publisher.remove_destination(subscriber.address())).await.unwrap();
    let again = subscriber.subscribe(publisher.address(), "u").await.unwrap();
    let confirmed = tokio::time::timeout(Duration::from_secs(8), again.confirmed()).await;
    let s = status(&subscriber).await;
    println!("{:?}", s.destinations);
    let receipt = publisher.publish("t", "x").await.unwrap();
    println!("routed t: {}", receipt.routed);
    assert!(confirmed.is_ok(), "locked out for ever");
    close(&publisher).await;
    close(&subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_bounds_handlers_of_one_topic_too() {
    let directory = tempfile::tempdir().unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut builder = Bus::builder(directory.path()).concurrency(1);
    for n in 0..5 {
        let (now, most) = (now.clone(), most.clone());
        builder = builder.every_named(&format!("h{n}"), "job", move |_: Envelope| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok::<(), String>(())
            }
        });
    }
    let bus = open(builder).await;
    subscribe(&bus, bus.address(), "job").await;
    let serving = tokio::spawn(bus.serve());
    bus.publish("job", "x").await.unwrap();
    drained(&bus).await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
    close(&bus).await;
    drop(serving.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_with_handlers_at_work_is_clean() {
    let mut unclean = 0;
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let bus =
            open(Bus::builder(directory.path()).segment_bytes(8 << 20).every("job", |_: Envelope| async {
                tokio::time::sleep(Duration::from_micros(100)).await;
                Ok::<(), String>(())
            }))
            .await;
        subscribe(&bus, bus.address(), "job").await;
        let serving = tokio::spawn(bus.serve());
        let mut tickets = Vec::new();
        for n in 0..3000 {
            tickets.push(bus.publish_nowait("job", n.to_string()).await.unwrap());
        }
        for t in tickets {
            t.wait().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        close(&bus).await;
        drop(serving.await);
        drop(bus);
        let snapshot = resolute::inspect::Snapshot::read(directory.path()).unwrap();
        unclean += u32::from(!snapshot.is_closed());
    }
    assert_eq!(unclean, 0, "of 20");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handler_pins_little_memory() {
    if !alone("regressions::a_slow_handler_pins_little_memory") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let bus = open(Bus::builder(directory.path()).concurrency(1).handler_timeout(None).every(
        "slow",
        |_: Envelope| async {
            std::future::pending::<()>().await;
            Ok::<(), String>(())
        },
    ))
    .await;
    subscribe(&bus, bus.address(), "slow").await;
    let serving = tokio::spawn(bus.serve());
    let rss = resident_bytes();
    for _ in 0..300 {
        let mut tickets = Vec::new();
        for _ in 0..3 {
            tickets.push(bus.send_nowait("tcp://127.0.0.1:1", "bulk", vec![7_u8; 235 << 10]).await.unwrap());
        }
        tickets.push(bus.publish_nowait("slow", "x").await.unwrap());
        for t in tickets {
            t.wait().await.unwrap();
        }
    }
    let grown = (resident_bytes() - rss) >> 20;
    println!("measured: grown by {grown} MiB with {} messages queued", status(&bus).await.in_handlers);
    assert!(grown < 100, "grown by {grown} MiB");
    close(&bus).await;
    serving.abort();
}

#[tokio::test(flavor = "current_thread")]
async fn a_later_timeout_is_not_slept_through() {
    let directory = tempfile::tempdir().unwrap();
    let ended = Seen::default();
    struct OnDrop(Seen, &'static str);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.push(self.1);
        }
    }
    let (e1, e2) = (ended.clone(), ended.clone());
    let bus = open(
        Bus::builder(directory.path())
            .handler_timeout(Some(Duration::from_millis(600)))
            .every("a", move |_: Envelope| {
                let guard = OnDrop(e1.clone(), "every");
                async move {
                    let _guard = guard;
                    std::future::pending::<()>().await;
                    Ok::<(), String>(())
                }
            })
            .all(["a", "b"], move |_: Vec<Envelope>| {
                let guard = OnDrop(e2.clone(), "all");
                async move {
                    let _guard = guard;
                    std::future::pending::<()>().await;
                    Ok::<(), String>(())
                }
            }),
    )
    .await;
    subscribe(&bus, bus.address(), "a").await;
    subscribe(&bus, bus.address(), "b").await;
    let serving = tokio::spawn(bus.serve());
    bus.publish("a", "x").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    bus.publish("b", "x").await.unwrap();
    tokio::time::sleep(Duration::from_millis(270)).await;
    // The executor is busy for a moment when the first of the two is due.
    std::thread::sleep(Duration::from_millis(100));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    println!("{:?}", ended.all());
    assert!(ended.all().contains(&"all".to_owned()));
    close(&bus).await;
    drop(serving.await);
}

fn read_frames(
    stream: &mut std::net::TcpStream,
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(&resolute::format::frame::FrameView<'_>) -> bool,
) -> bool {
    use std::io::Read;
    loop {
        while let Ok(Some((frame, used))) = resolute::format::frame::FrameView::parse(buffer) {
            let stop = each(&frame);
            buffer.drain(..used);
            if stop {
                return true;
            }
        }
        let mut more = [0; 65536];
        match stream.read(&mut more) {
            Ok(0) | Err(_) => return false,
            Ok(count) => buffer.extend_from_slice(&more[..count]),
        }
    }
}

/// Speaks as a peer that was never met, up to its resume.
fn meet(bus: &Bus, node: u128) -> Option<(std::net::TcpStream, Vec<u8>)> {
    use resolute::format::frame::FrameKind;
    use resolute::ids::{Epoch, Incarnation, Lsn, NodeId};
    use resolute::wire::{bodies::Body, hello::Hello, proof};
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(bus.bound_address().trim_start_matches("tcp://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut out = Vec::new();
    Hello {
        version_min: 1,
        version_max: 1,
        node: NodeId(node),
        incarnation: Incarnation(1),
        epoch: Epoch(1),
        nonce: 1,
        challenge: [1; 16],
        frame_bytes_max: 1 << 20,
        credit_bytes: 1 << 20,
        name: "x".into(),
        address: String::new(),
        dialled: bus.bound_address().into(),
        met: None,
    }
    .append_to(&mut out);
    stream.write_all(&out).unwrap();
    let (mut buffer, mut hello) = (Vec::new(), None);
    read_frames(&mut stream, &mut buffer, |frame| {
        if frame.kind == FrameKind::Hello {
            hello = Hello::decode(frame.body).ok();
        }
        true
    });
    let hello = hello?;
    let secret = [9; 16];
    let mac = proof::prove(&secret, &hello.challenge, NodeId(node), hello.node, proof::Role::Dialler);
    let mut out = Vec::new();
    Body::Proof { mac, proposed: Some(secret), met: None }.append_to(&mut out);
    stream.write_all(&out).unwrap();
    let met = read_frames(&mut stream, &mut buffer, |frame| frame.kind == FrameKind::Resume);
    let mut out = Vec::new();
    Body::Resume { durable: Lsn(0), cursors: vec![] }.append_to(&mut out);
    stream.write_all(&out).unwrap();
    met.then_some((stream, buffer))
}

fn run_frame(stream: u64, position: u64) -> Vec<u8> {
    use resolute::format::message::{MessageHead, MessageParts};
    use resolute::format::record::{RecordHeader, RecordKind};
    use zerocopy::IntoBytes;
    let head = MessageHead::with_topics(resolute::time::Wall(1), ["t"]).unwrap();
    let parts = MessageParts::new(&head, b"x").unwrap();
    let header = RecordHeader::new(
        resolute::ids::Lsn(position),
        RecordKind::Message,
        0,
        parts.body_bytes(),
        parts.crc(),
    );
    let mut record = header.as_bytes().to_vec();
    parts.pieces().iter().for_each(|piece| record.extend_from_slice(piece));
    let mut out = Vec::new();
    resolute::format::frame::append_run_headers(
        &mut out,
        resolute::ids::StreamId(stream),
        resolute::ids::Position(position),
        1,
        record.len(),
    );
    out.extend_from_slice(&record);
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_cannot_make_the_engine_panic() {
    use resolute::wire::bodies::Body;
    use std::io::Write;
    let directory = tempfile::tempdir().unwrap();
    let bus = plain(directory.path()).await;
    let load: Vec<_> = (0..4)
        .map(|_| {
            let bus = bus.clone();
            tokio::spawn(async move {
                while bus.send("tcp://127.0.0.1:1", "bulk", vec![7_u8; 200 << 10]).await.is_ok() {}
            })
        })
        .collect();
    let attacked = bus.clone();
    let attack = tokio::task::spawn_blocking(move || {
        for round in 0..60_u64 {
            let Some((mut stream, _)) = meet(&attacked, u128::from(round) + 77) else { return round };
            for n in 1..30_u64 {
                if stream.write_all(&run_frame(n, 1)).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(15));
                let mut out = Vec::new();
                Body::StreamEnd { stream: resolute::ids::StreamId(n), last: resolute::ids::Position(0) }
                    .append_to(&mut out);
                out.extend(run_frame(n, 2));
                if stream.write_all(&out).is_err() {
                    break;
                }
            }
        }
        u64::MAX
    });
    let round = within("attack", attack).await.unwrap();
    let alive = bus.status().await;
    println!("gone in round {round}: {:?}", alive.as_ref().err());
    load.iter().for_each(|task| task.abort());
    assert!(alive.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_handler_did_is_not_slept_through() {
    let directory = tempfile::tempdir().unwrap();
    let bus = open(Bus::builder(directory.path()).every("job", |m: Envelope| async move {
        let spin = m.payload().len() * 37 % 400;
        let until = std::time::Instant::now() + Duration::from_micros(spin as u64);
        while std::time::Instant::now() < until {}
        Ok::<(), String>(())
    }))
    .await;
    subscribe(&bus, bus.address(), "job").await;
    let serving = tokio::spawn(bus.serve());
    for n in 1..=6_000 {
        bus.publish("job", vec![0; n % 1000]).await.unwrap();
        // A node that nobody wakes sleeps until the deadline, which is later than anybody here waits.
        let left = within("drain", bus.drain(Duration::from_secs(600))).await.unwrap();
        assert!(left.is_empty(), "round {n}: {left:?}");
    }
    close(&bus).await;
    drop(serving.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handler_is_called_after_the_node_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let slow = move |_: Envelope| {
        counter.fetch_add(1, Ordering::SeqCst);
        async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<(), String>(())
        }
    };
    let bus = open(Bus::builder(directory.path()).concurrency(1).every("job", slow)).await;
    subscribe(&bus, bus.address(), "job").await;
    for _ in 0..500 {
        drop(within("publish", bus.publish_nowait("job", "x")).await.unwrap());
    }
    let serving = tokio::spawn(bus.serve());
    tokio::time::sleep(Duration::from_millis(100)).await;
    close(&bus).await;
    let at_close = calls.load(Ordering::SeqCst);
    within("serve", serving).await.unwrap().unwrap();
    let after = calls.load(Ordering::SeqCst);
    assert!(at_close < 500 && after <= at_close + 1, "{at_close} calls at the close, {after} in the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serving_again_takes_nothing_that_was_handed_to_another() {
    let directory = tempfile::tempdir().unwrap();
    let done = Arc::new(std::sync::Mutex::new(std::collections::BTreeMap::<u64, u32>::new()));
    let list = done.clone();
    let uneven = move |message: Envelope| {
        let list = list.clone();
        async move {
            let number = message.id().lsn.0;
            let pause = if number.is_multiple_of(5) { 1500 } else { 100 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            *list.lock().unwrap().entry(number).or_default() += 1;
            Ok::<(), String>(())
        }
    };
    let bus = open(Bus::builder(directory.path()).concurrency(4).every("job", uneven)).await;
    subscribe(&bus, bus.address(), "job").await;
    for _ in 0..40 {
        within("publish", bus.publish("job", vec![7; 200_000])).await.unwrap();
    }
    for _ in 0..3 {
        let mut serve = Box::pin(bus.serve());
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut serve).await.is_err());
        drop(serve);
    }
    let serving = tokio::spawn(bus.serve());
    drained(&bus).await;
    let twice = done.lock().unwrap().values().filter(|times| **times > 1).count();
    assert_eq!((done.lock().unwrap().len(), twice), (40, 0));
    close(&bus).await;
    drop(serving.await);
}
