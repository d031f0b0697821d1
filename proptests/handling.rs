//! Handlers: how they are called, what becomes of what they refuse, and what is remembered of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use resolute::{Builder, Bus, Envelope, Retry};

use crate::scene::{Seen, close, drained, open, plain, status, subscribe, until, within};

/// A node that subscribes to itself.
async fn own(builder: Builder, topics: &[&str]) -> Bus {
    let bus = open(builder).await;
    for topic in topics {
        subscribe(&bus, bus.address(), topic).await;
    }
    bus
}

async fn publish(bus: &Bus, topic: &str, payload: &str) {
    let receipt = within("publish", bus.publish(topic, payload.to_owned())).await.unwrap();
    assert_eq!(receipt.routed, 1);
}

fn quick() -> Retry {
    Retry { initial_ms: 5, factor: 1.0, max_ms: 5, attempts_max: 3 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_subscribes_to_itself_is_a_durable_queue() {
    let directory = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let bus = own(Bus::builder(directory.path()).concurrency(1).every("job", seen.handler()), &["job"]).await;
    for number in 0..300 {
        publish(&bus, "job", &number.to_string()).await;
    }
    assert_eq!(status(&bus).await.incoming, 300);
    close(&bus).await;
    let bus = open(Bus::builder(directory.path()).concurrency(1).every("job", seen.handler())).await;
    let serving = tokio::spawn(bus.serve());
    drained(&bus).await;
    assert_eq!(seen.all(), (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
    close(&bus).await;
    within("serve", serving).await.unwrap().unwrap();
    // What was handled does not come again.
    let bus = open(Bus::builder(directory.path()).every("job", seen.handler())).await;
    assert_eq!(status(&bus).await.incoming, 0);
    close(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_panics_and_timeouts_are_tried_again_and_then_are_dead_letters() {
    let directory = tempfile::tempdir().unwrap();
    let build = || {
        Bus::builder(directory.path())
            .retry(quick())
            .handler_timeout(Some(Duration::from_millis(50)))
            .every("error", |_: Envelope| async { Err::<(), _>("this cannot be") })
            .every("panic", |_: Envelope| async {
                if true {
                    panic!("that is too much");
                }
                Ok::<(), String>(())
            })
            .every("late", |_: Envelope| async {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Ok::<(), String>(())
            })
    };
    let bus = own(build(), &["error", "panic", "late"]).await;
    let serving = tokio::spawn(bus.serve());
    for topic in ["error", "panic", "late"] {
        publish(&bus, topic, "x").await;
    }
    until("three dead letters", async || status(&bus).await.dead_letters == 3).await;
    drained(&bus).await;
    close(&bus).await;
    within("serve", serving).await.unwrap().unwrap();
    let bus = open(build()).await;
    let serving = tokio::spawn(bus.serve());
    drained(&bus).await;
    assert_eq!(status(&bus).await.dead_letters, 3);
    close(&bus).await;
    drop(within("serve", serving).await);
    let replayed = resolute::io::node::replay(directory.path(), resolute::io::recover::RecoverMode::ReadOnly);
    let state = replayed.unwrap().state;
    let told: Vec<String> = state.inbox.progress().values().map(|progress| format!("{progress:?}")).collect();
    assert_eq!(told.len(), 3);
    for (told, reason) in told.iter().zip(["this cannot be", "that is too much", "too long"]) {
        assert!(told.contains("Dead") && told.contains("attempts: 3") && told.contains(reason), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_are_counted_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let attempts = Seen::default();
    let build = || {
        let attempts = attempts.clone();
        let retry = Retry { initial_ms: 60_000, max_ms: 60_000, ..quick() };
        Bus::builder(directory.path()).retry(retry).every("job", move |message: Envelope| {
            attempts.push(message.attempt().to_string());
            async { Err::<(), _>("not yet") }
        })
    };
    let bus = own(build(), &["job"]).await;
    let serving = tokio::spawn(bus.serve());
    publish(&bus, "job", "x").await;
    attempts.reaches(1).await;
    // The attempt is on the disk once the node was closed.
    close(&bus).await;
    within("serve", serving).await.unwrap().unwrap();
    let bus = open(build()).await;
    let serving = tokio::spawn(bus.serve());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(attempts.all(), ["1"], "the pause is waited out over a restart");
    assert_eq!(status(&bus).await.incoming, 1);
    close(&bus).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_handlers_the_one_that_succeeded_is_not_called_again() {
    let directory = tempfile::tempdir().unwrap();
    let (good, bad) = (Seen::default(), Arc::new(AtomicU32::new(0)));
    let count = bad.clone();
    let builder = Bus::builder(directory.path())
        .retry(quick())
        .every_named("good", "job", good.handler())
        .every_named("bad", "job", move |message: Envelope| {
            let attempt = count.fetch_add(1, Ordering::Relaxed) + 1;
            assert_eq!(message.attempt(), attempt);
            async move { if attempt < 3 { Err("not yet") } else { Ok(()) } }
        });
    let bus = own(builder, &["job"]).await;
    let serving = tokio::spawn(bus.serve());
    publish(&bus, "job", "x").await;
    drained(&bus).await;
    assert_eq!((good.count(), bad.load(Ordering::Relaxed)), (1, 3));
    assert_eq!(status(&bus).await.dead_letters, 0);
    close(&bus).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_any_and_all_are_called_once_and_the_rest_is_parked() {
    let directory = tempfile::tempdir().unwrap();
    let (once, any, all) = (Seen::default(), Seen::default(), Seen::default());
    let together = all.clone();
    let builder = Bus::builder(directory.path())
        .concurrency(1)
        .once("a", once.handler())
        .any(["b", "c"], any.handler())
        .all(["d", "e"], move |messages: Vec<Envelope>| {
            messages.iter().for_each(|message| together.note(message));
            async { Ok::<(), String>(()) }
        });
    let bus = own(builder, &["a", "b", "c", "d", "e"]).await;
    let serving = tokio::spawn(bus.serve());
    for (topic, payload) in [("a", "a1"), ("a", "a2"), ("c", "c1"), ("b", "b1"), ("e", "e1")] {
        publish(&bus, topic, payload).await;
    }
    until("parked", async || status(&bus).await.parked == 2).await;
    assert_eq!((once.all(), any.all(), all.count()), (vec!["a1".into()], vec!["c1".into()], 0));
    assert_eq!(status(&bus).await.incoming, 1, "e1 waits for a d");
    publish(&bus, "d", "d1").await;
    drained(&bus).await;
    assert_eq!(all.all(), ["d1", "e1"]);
    publish(&bus, "d", "d2").await;
    until("parked", async || status(&bus).await.parked == 3).await;
    close(&bus).await;
    drop(within("serve", serving).await);
    // What is parked goes to handlers that come later.
    let late = Seen::default();
    let bus =
        open(Bus::builder(directory.path()).concurrency(1).every(["a", "b", "d"], late.handler())).await;
    let serving = tokio::spawn(bus.serve());
    drained(&bus).await;
    until("no longer parked", async || status(&bus).await.parked == 0).await;
    assert_eq!(late.all(), ["a2", "b1", "d2"]);
    close(&bus).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_all_handler_that_is_not_complete_gets_its_messages_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let all = Seen::default();
    let build = || {
        let together = all.clone();
        Bus::builder(directory.path()).retry(quick()).all(["d", "e"], move |messages: Vec<Envelope>| {
            let texts: Vec<String> =
                messages.iter().map(|message| String::from_utf8_lossy(message.payload()).into()).collect();
            together.push(texts.join("+"));
            let first = together.count() == 1;
            async move { if first { Err("not at first") } else { Ok(()) } }
        })
    };
    let bus = own(build(), &["d", "e"]).await;
    let serving = tokio::spawn(bus.serve());
    publish(&bus, "e", "e1").await;
    until("dispatched", async || status(&bus).await.in_handlers == 1).await;
    close(&bus).await;
    drop(within("serve", serving).await);
    let bus = open(build()).await;
    let serving = tokio::spawn(bus.serve());
    publish(&bus, "d", "d1").await;
    drained(&bus).await;
    assert_eq!(all.all(), ["d1+e1", "d1+e1"], "it failed, and was called again with both");
    close(&bus).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serve_that_is_dropped_gives_its_messages_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (seen, first) = (Seen::default(), Arc::new(AtomicU32::new(0)));
    let remember = seen.clone();
    let builder = Bus::builder(directory.path()).every("job", move |message: Envelope| {
        let (remember, hang) = (remember.clone(), first.fetch_add(1, Ordering::Relaxed) < 5);
        async move {
            if hang {
                std::future::pending::<()>().await;
            }
            remember.note(&message);
            Ok::<(), String>(())
        }
    });
    let bus = own(builder, &["job"]).await;
    let serving = tokio::spawn(bus.serve());
    for number in 0..20 {
        publish(&bus, "job", &number.to_string()).await;
    }
    seen.reaches(15).await;
    assert!(matches!(within("serve", bus.serve()).await, Err(resolute::Error::AlreadyServing)));
    serving.abort();
    drop(within("abort", serving).await);
    let serving = tokio::spawn(bus.serve());
    seen.reaches(20).await;
    drained(&bus).await;
    assert_eq!(seen.count(), 20, "what was done is not done again");
    close(&bus).await;
    within("serve", serving).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_are_done_tried_again_or_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let bus = own(Bus::builder(directory.path()).retry(quick()), &["job", "other"]).await;
    publish(&bus, "other", "o").await;
    for text in ["a", "b", "c"] {
        publish(&bus, "job", text).await;
    }
    let mut deliveries = bus.deliveries("job").unwrap();
    assert!(bus.deliveries("job").is_err());
    let text = |delivery: &resolute::Delivery| String::from_utf8_lossy(delivery.payload()).into_owned();
    let a = within("a", deliveries.next()).await.unwrap();
    let b = within("b", deliveries.next()).await.unwrap();
    assert_eq!((text(&a), text(&b), a.attempt()), ("a".into(), "b".into(), 1));
    a.done();
    b.retry("not now");
    let c = within("c", deliveries.next()).await.unwrap();
    assert_eq!(text(&c), "c");
    drop(c);
    let mut again: Vec<(String, u32)> = Vec::new();
    for _ in 0..2 {
        let delivery = within("again", deliveries.next()).await.unwrap();
        again.push((text(&delivery), delivery.attempt()));
        delivery.done();
    }
    again.sort();
    assert_eq!(again, [("b".to_owned(), 2), ("c".to_owned(), 1)]);
    drained(&bus).await;
    assert_eq!(status(&bus).await.parked, 1);
    // One that is taken and not settled comes to whoever asks next.
    publish(&bus, "job", "d").await;
    let d = within("d", deliveries.next()).await.unwrap();
    drop(deliveries);
    drop(d);
    let mut deliveries = bus.deliveries("job").unwrap();
    let d = within("d again", deliveries.next()).await.unwrap();
    assert_eq!(text(&d), "d");
    d.done();
    drained(&bus).await;
    close(&bus).await;
    assert!(within("the end", deliveries.next()).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_is_settled_after_its_stream_is_gone_counts() {
    let directory = tempfile::tempdir().unwrap();
    let bus = own(Bus::builder(directory.path()), &["job"]).await;
    publish(&bus, "job", "a").await;
    let mut deliveries = bus.deliveries("job").unwrap();
    let a = within("a", deliveries.next()).await.unwrap();
    drop(deliveries);
    a.done();
    drained(&bus).await;
    close(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_atomic_and_headers_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let web = plain(directory.path().join("web")).await;
    let seen = Seen::default();
    let remember = seen.clone();
    let email = Bus::builder(directory.path().join("email")).concurrency(1).every(
        ["a", "b"],
        move |message: Envelope| {
            let value = message.value_of("trace").map(|value| String::from_utf8_lossy(value).into_owned());
            let topics: Vec<&str> = message.topics().collect();
            remember.push(format!(
                "{} {value:?} {:?} {}",
                topics.join(","),
                message.reply_to(),
                message.payload().len()
            ));
            async { Ok::<(), String>(()) }
        },
    );
    let email = open(email).await;
    let serving = tokio::spawn(email.serve());
    subscribe(&email, web.address(), "a").await;
    let message = resolute::Message::new("x").header("trace", "t1").reply_to("tcp://127.0.0.1:9");
    let batch = web.batch().publish(["a", "z"], message).unwrap();
    let batch = batch.publish("nobody", "y").unwrap().send(email.address(), "b", vec![7; 200_000]).unwrap();
    let receipts = within("commit", batch.commit()).await.unwrap();
    assert_eq!(receipts.iter().map(|receipt| receipt.routed).collect::<Vec<_>>(), [1, 0, 1]);
    seen.reaches(2).await;
    let told = [r#"a,z Some("t1") Some("tcp://127.0.0.1:9") 1"#, "b None None 200000"];
    assert_eq!(seen.all(), told);
    let mut large = web.batch();
    for _ in 0..5 {
        large = large.publish("a", vec![0; 230_000]).unwrap();
    }
    assert!(matches!(large.commit().await, Err(resolute::Error::BatchTooLarge { .. })));
    close(&email).await;
    close(&web).await;
    drop(within("serve", serving).await);
}

// The engine handed over as much as there was room for and went to sleep; that room came was told to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_kept_comes_to_one_who_takes_much_before_it_settles_any() {
    let directory = tempfile::tempdir().unwrap();
    let bus = own(Bus::builder(directory.path()), &["job"]).await;
    let large = "x".repeat(200_000);
    for _ in 0..60 {
        publish(&bus, "job", &large).await;
    }
    until("all is there", async || status(&bus).await.incoming == 60).await;
    // What the opening left to be done in a while is done: nothing but who takes them wakes the engine from here on.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut deliveries = bus.deliveries("job").unwrap();
    let mut taken = Vec::new();
    for number in 0..60 {
        let delivery = within(&format!("the {number}th"), deliveries.next()).await.unwrap();
        taken.push(delivery);
        // The engine goes to sleep in between.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    taken.into_iter().for_each(resolute::Delivery::done);
    drained(&bus).await;
    drop(deliveries);
    close(&bus).await;
}
