//! Real nodes in one process: real files, real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use resolute::{Bus, Envelope};

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long: {what}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_event_reaches_the_handler_of_a_subscriber() {
    let dir = tempfile::tempdir().unwrap();
    let web = within("open", Bus::builder(dir.path().join("web")).open()).await.unwrap();
    let (seen, count) = (Arc::new(AtomicU64::new(0)), 1000);
    let counter = seen.clone();
    let email = Bus::builder(dir.path().join("email")).every("signup", move |message: Envelope| {
        let counter = counter.clone();
        async move {
            assert!(message.payload().starts_with(b"user"));
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<(), String>(())
        }
    });
    let email = within("open", email.open()).await.unwrap();
    let serving = tokio::spawn(email.serve());
    let subscription = within("subscribe", email.subscribe(web.address(), "signup")).await.unwrap();
    within("confirmed", subscription.confirmed()).await.unwrap();
    for number in 0..count {
        let receipt = within("publish", web.publish("signup", format!("user {number}"))).await.unwrap();
        assert_eq!(receipt.routed, 1);
    }
    assert_eq!(within("publish", web.publish("nobody", "x")).await.unwrap().routed, 0);
    let left = within("drain", web.drain(Duration::from_secs(20))).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    let left = within("drain", email.drain(Duration::from_secs(20))).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(seen.load(Ordering::Relaxed), count);
    within("close", email.close()).await.unwrap();
    within("close", web.close()).await.unwrap();
    within("serve", serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_wish_that_changes_nothing_is_granted_although_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let bus = within("open", Bus::builder(dir.path().join("email")).open()).await.unwrap();
    for _ in 0..3 {
        within("subscribe", bus.subscribe("tcp://127.0.0.1:9", "signup")).await.unwrap();
    }
    for _ in 0..3 {
        within("unsubscribe", bus.unsubscribe("tcp://127.0.0.1:9", "another")).await.unwrap();
    }
    within("close", bus.close()).await.unwrap();
}

/// To queue up futures and think better of it must be possible, and to publish something by asking for a future would surprise.
#[tokio::test]
async fn a_message_whose_future_was_never_polled_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let web = within("open", Bus::builder(dir.path().join("web")).open()).await.unwrap();
    let email = within("open", Bus::builder(dir.path().join("email")).open()).await.unwrap();
    let subscription = within("subscribe", email.subscribe(web.address(), "signup")).await.unwrap();
    within("confirmed", subscription.confirmed()).await.unwrap();
    within("close", email.close()).await.unwrap();
    drop(web.publish_nowait("signup", "never"));
    drop(web.publish("signup", "never"));
    assert_eq!(within("publish", web.publish("signup", "once")).await.unwrap().routed, 1);
    assert_eq!(within("status", web.status()).await.unwrap().outgoing, 1);
    within("close", web.close()).await.unwrap();
}
