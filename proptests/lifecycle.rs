//! Subscriptions, commands and nodes that come and go.

use std::time::Duration;

use resolute::{Bus, Error};

use crate::scene::{
    Seen, alone, builder, chain, close, drained, free_port, open, plain, resident_bytes, status, subscribe,
    until, within,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_waits_for_a_node_that_never_was_and_comes_once() {
    let directory = tempfile::tempdir().unwrap();
    let (port, seen) = (free_port(), Seen::default());
    let address = format!("tcp://127.0.0.1:{port}");
    let web = plain(directory.path().join("web")).await;
    let first = within("send", web.send(&address, "do", "1")).await.unwrap();
    assert_eq!(first.routed, 1);
    let left = within("drain", web.drain(Duration::from_millis(50))).await.unwrap();
    assert_eq!((left.undelivered, left.owed), (1, vec![(address.clone(), 1)]));
    // It survives a restart of the one who sent it.
    close(&web).await;
    let web = plain(directory.path().join("web")).await;
    within("send", web.send(&address, "do", "2")).await.unwrap();
    let email = builder(directory.path().join("email"), port).concurrency(1).every("do", seen.handler());
    let email = open(email).await;
    let serving = tokio::spawn(email.serve());
    seen.reaches(2).await;
    within("send", web.send(&address, "do", "3")).await.unwrap();
    drained(&web).await;
    drained(&email).await;
    assert_eq!(seen.all(), ["1", "2", "3"]);
    close(&email).await;
    close(&web).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_to_ones_own_address_needs_no_network() {
    let directory = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let bus = open(Bus::builder(directory.path()).every("do", seen.handler())).await;
    let serving = tokio::spawn(bus.serve());
    assert_eq!(within("send", bus.send(bus.address(), "do", "1")).await.unwrap().routed, 1);
    // The same place by another name: found out by dialling it.
    let alias = bus.address().replace("127.0.0.1", "localhost");
    within("send", bus.send(&alias, "do", "2")).await.unwrap();
    drained(&bus).await;
    let mut all = seen.all();
    all.sort();
    assert_eq!(all, ["1", "2"]);
    close(&bus).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_before_an_unsubscription_comes_and_what_lies_after_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let (port, seen) = (free_port(), Seen::default());
    let web = plain(directory.path().join("web")).await;
    let build =
        || builder(directory.path().join("email"), port).concurrency(1).every(["a", "b"], seen.handler());
    let email = open(build()).await;
    let serving = tokio::spawn(email.serve());
    subscribe(&email, web.address(), "a").await;
    subscribe(&email, web.address(), "b").await;
    within("publish", web.publish("a", "1")).await.unwrap();
    let end = within("unsubscribe", email.unsubscribe(web.address(), "a")).await.unwrap();
    within("confirmed", end.confirmed()).await.unwrap();
    assert_eq!(within("publish", web.publish("a", "2")).await.unwrap().routed, 0);
    assert_eq!(within("publish", web.publish(["a", "b"], "3")).await.unwrap().routed, 1);
    seen.reaches(2).await;
    assert_eq!(seen.all(), ["1", "3"]);
    // The last topic: nothing is subscribed any more. Then it comes again.
    let end = within("unsubscribe", email.unsubscribe(web.address(), "b")).await.unwrap();
    within("confirmed", end.confirmed()).await.unwrap();
    assert_eq!(within("publish", web.publish("b", "4")).await.unwrap().routed, 0);
    subscribe(&email, web.address(), "b").await;
    assert_eq!(within("publish", web.publish("b", "5")).await.unwrap().routed, 1);
    seen.reaches(3).await;
    // While the subscriber is away a wish that was confirmed holds.
    close(&email).await;
    drop(within("serve", serving).await);
    assert_eq!(within("publish", web.publish("b", "6")).await.unwrap().routed, 1);
    let email = open(build()).await;
    let serving = tokio::spawn(email.serve());
    seen.reaches(4).await;
    drained(&web).await;
    assert_eq!(seen.all(), ["1", "3", "5", "6"]);
    close(&email).await;
    close(&web).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_waits_for_a_publisher_that_is_not_there_yet() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let email = plain(directory.path().join("email")).await;
    let address = format!("tcp://127.0.0.1:{port}");
    let wish = within("subscribe", email.subscribe(&address, "a")).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), wish.confirmed()).await;
    assert!(early.is_err(), "nobody can have confirmed it");
    close(&email).await;
    let email = plain(directory.path().join("email")).await;
    assert!(!status(&email).await.destinations[0].wanted[0].confirmed);
    let web = open(builder(directory.path().join("web"), port)).await;
    within("subscribers", web.subscribers("a", 1)).await.unwrap();
    assert_eq!(within("publish", web.publish("a", "1")).await.unwrap().routed, 1);
    drained(&web).await;
    assert_eq!(status(&email).await.incoming, 1);
    until("confirmed", async || status(&email).await.destinations[0].wanted[0].confirmed).await;
    close(&email).await;
    close(&web).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_removed_is_owed_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let web = plain(directory.path().join("web")).await;
    let email = open(builder(directory.path().join("email"), port)).await;
    subscribe(&email, web.address(), "a").await;
    let address = email.address().to_owned();
    close(&email).await;
    within("publish", web.publish("a", "1")).await.unwrap();
    within("send", web.send("tcp://127.0.0.1:9", "a", "2")).await.unwrap();
    assert_eq!(status(&web).await.outgoing, 2);
    within("remove", web.remove_destination(&address)).await.unwrap();
    within("remove", web.remove_destination("tcp://127.0.0.1:9")).await.unwrap();
    let unknown = within("remove", web.remove_destination("tcp://127.0.0.1:10")).await;
    assert!(matches!(unknown, Err(Error::UnknownAddress)));
    drained(&web).await;
    let after = status(&web).await;
    assert_eq!((after.outgoing, after.dropped, after.destinations.len()), (0, 2, 0));
    assert_eq!(within("publish", web.publish("a", "3")).await.unwrap().routed, 0);
    close(&web).await;
    let web = plain(directory.path().join("web")).await;
    let again = status(&web).await;
    assert_eq!((again.outgoing, again.dropped), (0, 2));
    close(&web).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_was_forgotten_and_comes_back_is_met_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (web_port, email_port) = (free_port(), free_port());
    let web = open(builder(directory.path().join("web"), web_port)).await;
    let email = open(builder(directory.path().join("email"), email_port)).await;
    subscribe(&email, web.address(), "a").await;
    within("remove", web.remove_destination(email.address())).await.unwrap();
    within("it comes back", web.subscribers("a", 1)).await.unwrap();
    assert_eq!(within("publish", web.publish("a", "1")).await.unwrap().routed, 1);
    drained(&web).await;
    assert_eq!(status(&email).await.incoming, 1);
    close(&email).await;
    close(&web).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_is_dropped_closes_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    for epoch in 1..=5 {
        let bus = plain(directory.path()).await;
        assert_eq!(status(&bus).await.epoch, epoch);
        if epoch > 1 {
            assert_eq!(status(&bus).await.recovery, "closed cleanly");
        }
        drop(bus);
        until("the lock to be released", async || {
            let state = resolute::io::directory::lock_state(directory.path());
            matches!(state, Ok(resolute::io::directory::LockState::Free))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_closed_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let bus = plain(directory.path()).await;
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { bus.subscribers("a", 1).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    close(&bus).await;
    close(&bus).await;
    assert!(matches!(within("publish", bus.publish("nobody", "1")).await, Err(Error::Closed)));
    assert!(matches!(within("send", bus.send("tcp://127.0.0.1:9", "a", "1")).await, Err(Error::Closed)));
    assert!(matches!(within("status", bus.status()).await, Err(Error::Closed)));
    assert!(matches!(within("subscribe", bus.subscribe("tcp://127.0.0.1:9", "a")).await, Err(Error::Closed)));
    assert!(matches!(within("subscribers", waiting).await.unwrap(), Err(Error::Closed)));
    assert!(within("serve", bus.serve()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_closes_waits_until_the_directory_may_be_used() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let bus = plain(directory.path()).await;
        // One who asks and goes away, and two who wait.
        let impatient = tokio::time::timeout(Duration::from_micros(1), bus.close()).await;
        drop(impatient);
        let (a, b) = tokio::join!(within("close", bus.close()), within("close", bus.close()));
        assert!(a.is_ok() && b.is_ok());
        let state = resolute::io::directory::lock_state(directory.path()).unwrap();
        assert_eq!(state, resolute::io::directory::LockState::Free);
    }
}

fn count_of(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_and_closing_leaks_neither_descriptors_nor_threads_nor_memory() {
    if !alone("lifecycle::opening_and_closing_leaks_neither_descriptors_nor_threads_nor_memory") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (web_port, email_port) = (free_port(), free_port());
    let mut before = (0, 0, 0);
    for round in 0..100 {
        let web = open(builder(directory.path().join("web"), web_port)).await;
        let email = open(builder(directory.path().join("email"), email_port)).await;
        subscribe(&email, web.address(), "a").await;
        within("publish", web.publish("a", "1")).await.unwrap();
        drained(&web).await;
        close(&email).await;
        close(&web).await;
        drop((email, web));
        if round == 20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            before = (count_of("fd"), count_of("task"), resident_bytes());
        }
    }
    until("threads to end", async || count_of("task") <= before.1).await;
    until("descriptors to be closed", async || count_of("fd") <= before.0).await;
    let grown = resident_bytes().saturating_sub(before.2);
    println!("measured: 160 openings grew memory by {} KiB", grown >> 10);
    assert!(grown < 24 << 20, "{grown} bytes more after 160 openings");
    let files = std::fs::read_dir(directory.path().join("web")).unwrap().count();
    assert!(files <= 6, "{files} files");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let bus = plain(directory.path().join("web")).await;
    for topic in ["", &"x".repeat(256)] {
        let refused = within("publish", bus.publish(topic, "1")).await.unwrap_err();
        assert!(chain(&refused).contains("topic"), "{}", chain(&refused));
        assert!(within("subscribe", bus.subscribe("tcp://127.0.0.1:9", topic)).await.is_err());
        assert!(
            Bus::builder(directory.path().join("x"))
                .every(topic, Seen::default().handler())
                .open()
                .await
                .is_err()
        );
    }
    assert!(!directory.path().join("x").exists());
    let longest = "ä".repeat(127);
    assert!(bus.publish(longest, "1").await.is_ok());
    let large = within("publish", bus.publish("a", vec![0; 300_000])).await.unwrap_err();
    assert!(chain(&large).contains("300000"), "{}", chain(&large));
    let long = vec!["topic"; 17].iter().enumerate().map(|(n, t)| format!("{t}{n}")).collect::<Vec<_>>();
    assert!(chain(&bus.publish(long, "1").await.unwrap_err()).contains("17"));
    for address in ["", "127.0.0.1:1", "http://x:1", "tcp://x", "tcp://x:0", "tcp://x:99999"] {
        let refused = within("send", bus.send(address, "a", "1")).await;
        assert!(matches!(refused, Err(Error::InvalidAddress(_))), "{address:?}: {refused:?}");
    }
    close(&bus).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = within("open", builder(directory.path().join("web"), port).open()).await.unwrap_err();
    assert!(
        chain(&refused).contains(&format!("cannot listen at tcp://127.0.0.1:{port}")),
        "{}",
        chain(&refused)
    );
    drop(taken);
    close(&open(builder(directory.path().join("web"), port)).await).await;
}
