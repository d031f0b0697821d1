//! More than fits the memory, or one segment: messages that wait for a peer, and what becomes of the log after them.

use std::path::Path;
use std::time::Duration;

use resolute::limits::{BACKLOG_BYTES_MIN, CREDIT_BYTES, SEGMENT_BYTES_MIN};
use resolute::{AtLimit, Bus, Envelope, Error, Quota};

use crate::scene::{
    Seen, alone, builder, close, drained, free_port, open, resident_bytes, status, subscribe, until, within,
};

const PAYLOAD_BYTES: usize = 60_000;

/// A number, and a lot beside it.
fn payload(number: usize) -> Vec<u8> {
    let mut payload = format!("{number} ").into_bytes();
    payload.resize(PAYLOAD_BYTES, b'.');
    payload
}

/// Publishes messages `from..to`, many at once.
async fn publish(bus: &Bus, topic: &str, numbers: std::ops::Range<usize>) {
    let mut last = None;
    for number in numbers {
        let ticket = within("publish", bus.publish_nowait(topic, payload(number))).await.unwrap();
        assert_eq!(ticket.routed(), 1);
        last = Some(ticket);
    }
    if let Some(ticket) = last {
        within("the disk", ticket.wait()).await.unwrap();
    }
}

/// A handler that remembers the numbers.
fn numbers(
    seen: &Seen,
) -> impl Fn(Envelope) -> std::future::Ready<Result<(), String>> + Send + Sync + 'static {
    let seen = seen.clone();
    move |message: Envelope| {
        let payload = message.payload();
        let end = payload.iter().position(|byte| *byte == b' ').unwrap();
        seen.push(std::str::from_utf8(&payload[..end]).unwrap());
        std::future::ready(Ok(()))
    }
}

fn in_order(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn log_files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "log")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_larger_than_memory_arrives_in_order_over_restarts_of_either_side() {
    if !alone("backlog::a_backlog_larger_than_memory_arrives_in_order_over_restarts_of_either_side") {
        return;
    }
    let (count, directory) = (3000, tempfile::tempdir().unwrap());
    let (web_port, email_port, seen) = (free_port(), free_port(), Seen::default());
    let web_directory = directory.path().join("web");
    let open_web = || open(builder(&web_directory, web_port));
    let open_email = || {
        let email = builder(directory.path().join("email"), email_port).concurrency(1);
        open(email.every("a", numbers(&seen)))
    };
    let web = open_web().await;
    let email = open_email().await;
    subscribe(&email, web.address(), "a").await;
    close(&email).await;
    publish(&web, "a", 0..count).await;
    assert_eq!(status(&web).await.outgoing, count as u64);
    assert!(log_files(&web_directory) >= count * PAYLOAD_BYTES / (8 << 20));
    close(&web).await;
    let web = open_web().await;
    let email = open_email().await;
    let before = resident_bytes();
    let mut peak = before;
    let serving = tokio::spawn(email.serve());
    // Both sides go in the middle of it.
    until("a third", async || {
        peak = peak.max(resident_bytes());
        seen.count() > count / 3
    })
    .await;
    close(&email).await;
    drop(within("serve", serving).await);
    drop(email);
    close(&web).await;
    let half = seen.all();
    let web = open_web().await;
    let email = open_email().await;
    let serving = tokio::spawn(email.serve());
    until("all", async || {
        peak = peak.max(resident_bytes());
        seen.all().last().is_some_and(|last| *last == (count - 1).to_string())
    })
    .await;
    drained(&web).await;
    drained(&email).await;
    println!("measured: {} MiB in use at most, {} before", peak >> 20, before >> 20);
    assert!(peak < 150 << 20, "{} MiB in use", peak >> 20);
    assert_eq!(half, in_order(half.len()));
    let mut rest = seen.all().split_off(half.len());
    // What was handled and not yet written down when the node closed comes again, in its order.
    let again = rest.iter().position(|number| *number == half.len().to_string()).unwrap();
    assert_eq!(rest.split_off(again), in_order(count)[half.len()..]);
    assert_eq!(rest, half[half.len() - again..]);
    until("freed segments", async || log_files(&web_directory) <= 5).await;
    close(&email).await;
    close(&web).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handled_is_freed_and_reopening_does_not_grow_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let build = || builder(directory.path(), free_port()).every("a", numbers(&seen));
    let bus = open(build()).await;
    subscribe(&bus, bus.address(), "a").await;
    let serving = tokio::spawn(bus.serve());
    publish(&bus, "a", 0..1700).await;
    drained(&bus).await;
    until("freed segments", async || status(&bus).await.segments <= 2).await;
    until("freed files", async || log_files(directory.path()) <= 5).await;
    assert_eq!(seen.count(), 1700);
    close(&bus).await;
    drop(within("serve", serving).await);
    for _ in 0..12 {
        let bus = open(build()).await;
        assert!(status(&bus).await.segments <= 3);
        close(&bus).await;
    }
    assert!(log_files(directory.path()) <= 5, "{} files", log_files(directory.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_stays_does_not_keep_the_log_from_being_freed() {
    let directory = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let retry = resolute::Retry { attempts_max: 1, ..resolute::Retry::default() };
    let port = free_port();
    let build = || {
        builder(directory.path().join("own"), port)
            .retry(retry)
            .every("a", numbers(&seen))
            .every("dead", |_: Envelope| async { Err::<(), _>("never") })
    };
    let bus = open(build()).await;
    for topic in ["a", "dead", "parked"] {
        subscribe(&bus, bus.address(), topic).await;
    }
    let serving = tokio::spawn(bus.serve());
    let absent = "tcp://127.0.0.1:9";
    within("send", bus.send(absent, "do", "first")).await.unwrap();
    for topic in ["parked", "dead"] {
        within("publish", bus.publish(topic, "x")).await.unwrap();
    }
    within("send", bus.send(absent, "do", "second")).await.unwrap();
    for round in 0..10 {
        publish(&bus, "a", round * 200..(round + 1) * 200).await;
        until("handled", async || status(&bus).await.incoming == 0).await;
    }
    until("freed files", async || status(&bus).await.segments <= 5).await;
    let check = async |bus: &Bus| {
        let status = status(bus).await;
        assert_eq!(
            (status.outgoing, status.parked, status.dead_letters, status.incoming),
            (2, 1, 1, 0),
            "{status:?}"
        );
    };
    check(&bus).await;
    close(&bus).await;
    drop(within("serve", serving).await);
    let bus = open(build()).await;
    check(&bus).await;
    let serving = tokio::spawn(bus.serve());
    tokio::time::sleep(Duration::from_millis(200)).await;
    check(&bus).await;
    assert_eq!(seen.count(), 2000);
    close(&bus).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_that_is_full_makes_the_publisher_wait_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (count, seen) = (400, Seen::default());
    let web = open(builder(directory.path().join("web"), free_port())).await;
    let email = builder(directory.path().join("email"), free_port()).inbox_bytes(4 << 20).concurrency(1);
    let email = open(email.every("a", numbers(&seen))).await;
    subscribe(&email, web.address(), "a").await;
    publish(&web, "a", 0..count).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let full = status(&email).await;
    assert!(full.inbox_bytes <= 12 << 20, "{} bytes in the inbox", full.inbox_bytes);
    assert!(status(&web).await.outgoing > 200);
    let serving = tokio::spawn(email.serve());
    drained(&web).await;
    drained(&email).await;
    assert_eq!(seen.all(), in_order(count));
    close(&email).await;
    close(&web).await;
    drop(within("serve", serving).await);
}

// What waits for one that is away may take so much of the disk and no more, and nothing of it is given up for what comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_its_quota_a_node_refuses_what_is_published_until_something_is_delivered() {
    let (directory, web_port, email_port) = (tempfile::tempdir().unwrap(), free_port(), free_port());
    let web_directory = directory.path().join("web");
    let seen = Seen::default();
    let web = open(builder(&web_directory, web_port).disk_bytes(4 * SEGMENT_BYTES_MIN)).await;
    let open_email = || {
        let email = builder(directory.path().join("email"), email_port).concurrency(1);
        open(email.every("a", numbers(&seen)))
    };
    let email = open_email().await;
    subscribe(&email, web.address(), "a").await;
    close(&email).await;
    let mut count = 0;
    let refused = loop {
        match within("publish", web.publish("a", payload(count))).await {
            Ok(receipt) => assert_eq!(receipt.routed, 1),
            Err(error) => break error,
        }
        count += 1;
    };
    assert!(matches!(refused, Error::DiskQuota) && refused.is_retryable(), "{refused:?}");
    let now = status(&web).await;
    assert!(now.disk_full && now.disk_quota_reached && now.segments == 4, "{now:?}");
    assert_eq!(now.outgoing, count as u64);
    // But for the ends of segments and the reserve.
    assert!((count * PAYLOAD_BYTES) as u64 > 5 * SEGMENT_BYTES_MIN / 2, "{count}");
    // Two files more wait to become segments.
    assert!(log_files(&web_directory) <= 4 + 2);
    let email = open_email().await;
    let serving = tokio::spawn(email.serve());
    seen.reaches(count).await;
    // When it has gone out, publishing goes on by itself.
    until("room", async || web.publish("a", payload(count)).await.is_ok()).await;
    seen.reaches(count + 1).await;
    assert_eq!(seen.all(), in_order(count + 1));
    let now = status(&web).await;
    assert!(!now.disk_full && !now.disk_quota_reached, "{now:?}");
    close(&email).await;
    close(&web).await;
    drop(within("serve", serving).await);
    let refused = builder(&web_directory, web_port).disk_bytes(4 * SEGMENT_BYTES_MIN - 1).open().await;
    assert!(matches!(refused, Err(Error::Option { .. })), "{refused:?}");
}

fn quota(at_limit: AtLimit, lease: Option<Duration>) -> Quota {
    Quota { backlog_bytes: BACKLOG_BYTES_MIN, at_limit, lease }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_who_has_as_much_waiting_as_it_may_nothing_is_published_until_it_took_some() {
    let (directory, web_port, email_port) = (tempfile::tempdir().unwrap(), free_port(), free_port());
    let seen = Seen::default();
    let web = builder(directory.path().join("web"), web_port).quota(quota(AtLimit::Refuse, None));
    let web = open(web).await;
    let open_email = || {
        let email = builder(directory.path().join("email"), email_port).concurrency(1);
        open(email.every("a", numbers(&seen)))
    };
    let email = open_email().await;
    subscribe(&email, web.address(), "a").await;
    let audit = open(builder(directory.path().join("audit"), free_port())).await;
    subscribe(&audit, web.address(), "b").await;
    let name = email.address().to_owned();
    close(&email).await;
    let mut count = 0;
    let refused = loop {
        match within("publish", web.publish("a", payload(count))).await {
            Ok(receipt) => assert_eq!(receipt.routed, 1),
            Err(error) => break error,
        }
        count += 1;
    };
    assert!(matches!(&refused, Error::Backlog(whom) if **whom == *name), "{refused:?}");
    assert!(refused.is_retryable() && refused.to_string().contains(&name), "{refused}");
    // One write is on its way while the next is filled.
    let bytes = (count * PAYLOAD_BYTES) as u64;
    assert!((BACKLOG_BYTES_MIN - 2 * 60_000..BACKLOG_BYTES_MIN + (3 << 20)).contains(&bytes), "{bytes}");
    let together = web.batch().publish("b", "1").unwrap().publish("a", payload(count)).unwrap();
    assert!(matches!(within("commit", together.commit()).await, Err(Error::Backlog(_))));
    assert_eq!(within("publish", web.publish("b", "2")).await.unwrap().routed, 1, "others are not concerned");
    assert_eq!(within("publish", web.publish("c", "nobody")).await.unwrap().routed, 0);
    let now = status(&web).await;
    let of = now.destinations.iter().find(|of| of.address == name).unwrap();
    assert!(of.refused && !of.parked && of.owed == count as u64, "{of:?}");

    let email = open_email().await;
    let serving = tokio::spawn(email.serve());
    until("room", async || web.publish("a", payload(count)).await.is_ok()).await;
    seen.reaches(count + 1).await;
    assert_eq!(seen.all(), in_order(count + 1));
    until("it may have more", async || status(&web).await.destinations.iter().all(|of| !of.refused)).await;
    close(&email).await;
    close(&audit).await;
    close(&web).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_parked_or_evicted_is_told_how_much_it_missed() {
    for at_limit in [AtLimit::Park, AtLimit::Evict] {
        let (directory, web_port, email_port) = (tempfile::tempdir().unwrap(), free_port(), free_port());
        let web = builder(directory.path().join("web"), web_port);
        let lease = (at_limit == AtLimit::Evict).then_some(Duration::from_millis(10));
        let web = open(web.quota(quota(at_limit, lease))).await;
        let open_email = || open(builder(directory.path().join("email"), email_port));
        let email = open_email().await;
        subscribe(&email, web.address(), "a").await;
        close(&email).await;
        let (mut routed, most) = (0, 3 * BACKLOG_BYTES_MIN as usize / PAYLOAD_BYTES);
        for number in 0..most {
            match within("publish", web.publish("a", payload(number))).await {
                Ok(receipt) => routed += u64::from(receipt.routed),
                // Until it is evicted.
                Err(error) => assert!(lease.is_some() && matches!(error, Error::Backlog(_)), "{error}"),
            }
        }
        let owing = || async { status(&web).await.outgoing };
        let owed = owing().await;
        match at_limit {
            AtLimit::Park => {
                assert_eq!(routed, most as u64, "nothing is refused");
                assert!(owed * 2 < routed, "{owed} of {routed}");
            }
            _ => until("it is evicted", async || owing().await == 0).await,
        }
        let owed = owing().await;
        let email = open_email().await;
        until("it knows what it missed", async || {
            let now = status(&email).await;
            now.incoming + now.parked == owed && now.destinations[0].lost == routed - owed
        })
        .await;
        until("it gets what comes", async || {
            web.publish("a", "again").await.unwrap();
            let now = status(&email).await;
            now.incoming + now.parked > owed
        })
        .await;
        close(&email).await;
        close(&web).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sender_fills_no_more_of_an_inbox_than_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let sink = builder(directory.path().join("sink"), free_port()).sender_bytes(CREDIT_BYTES);
    let sink = open(sink).await;
    let loud = open(builder(directory.path().join("loud"), free_port())).await;
    let quiet = open(builder(directory.path().join("quiet"), free_port())).await;
    for publisher in [&loud, &quiet] {
        subscribe(&sink, publisher.address(), "a").await;
    }
    publish(&loud, "a", 0..1_000).await;
    publish(&quiet, "a", 0..10).await;
    let quiet_has = || async { status(&quiet).await.outgoing };
    until("the quiet one is heard", async || quiet_has().await == 0).await;
    let now = status(&sink).await;
    assert!(now.inbox_bytes < 3 * CREDIT_BYTES, "{now:?}");
    assert!(status(&loud).await.outgoing > 800);
    close(&sink).await;
    close(&loud).await;
    close(&quiet).await;
}
