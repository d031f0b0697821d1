//! Several nodes at once: everybody talks to everybody, wishes change, nodes come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use resolute::{Bus, Envelope};

use crate::scene::{Seen, builder, close, drained, free_port, open, plain, status, subscribe, until, within};

/// That each publisher's numbers, of texts such as `name number`, are all there once and in their order.
#[track_caller]
fn assert_in_order(seen: &[String], publishers: usize, count: usize) {
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    for text in seen {
        let (name, number) = text.split_once(' ').unwrap();
        let expected = next.entry(name).or_default();
        assert_eq!(number.parse(), Ok(*expected), "of {name}");
        *expected += 1;
    }
    assert_eq!(next.len(), publishers);
    assert!(next.values().all(|reached| *reached == count), "{next:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_everything_of_everybody_in_order() {
    let (nodes, count, directory) = (6, 300, tempfile::tempdir().unwrap());
    let (mut buses, mut all, mut serving) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..nodes {
        let seen = Seen::default();
        let node = builder(directory.path().join(index.to_string()), free_port()).concurrency(1);
        let bus = open(node.every("m", seen.handler())).await;
        serving.push(tokio::spawn(bus.serve()));
        buses.push(bus);
        all.push(seen);
    }
    // At the same time from both sides, so that they dial each other at once.
    let mut wishes = Vec::new();
    for bus in &buses {
        for other in &buses {
            wishes.push(within("subscribe", bus.subscribe(other.address(), "m")).await.unwrap());
        }
    }
    for wish in &wishes {
        within("confirmed", wish.confirmed()).await.unwrap();
    }
    let publishers = buses.iter().enumerate().map(|(index, bus)| {
        let bus = bus.clone();
        tokio::spawn(async move {
            let mut tickets = Vec::new();
            for number in 0..count {
                tickets.push(bus.publish_nowait("m", format!("node{index} {number}")).await.unwrap());
                if number % 17 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            for ticket in tickets {
                assert_eq!(ticket.wait().await.unwrap().routed, nodes as u32);
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        within("publish", publisher).await.unwrap();
    }
    for (bus, seen) in buses.iter().zip(&all) {
        drained(bus).await;
        seen.reaches(nodes * count).await;
    }
    for (bus, seen) in buses.iter().zip(&all) {
        drained(bus).await;
        assert_in_order(&seen.all(), nodes, count);
        let connected = status(bus).await.destinations.iter().filter(|peer| peer.connected).count();
        assert_eq!(connected, nodes - 1, "one session with each");
    }
    for bus in &buses {
        close(bus).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_says_exactly_whether_a_message_is_owed_while_wishes_change() {
    let directory = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let web = plain(directory.path().join("web")).await;
    let email = Bus::builder(directory.path().join("email")).concurrency(1).every("c", seen.handler());
    let email = open(email).await;
    let serving = tokio::spawn(email.serve());
    let over = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let (web, over) = (web.clone(), over.clone());
        async move {
            let (mut routed, mut number) = (Vec::new(), 0);
            while !over.load(Ordering::Relaxed) {
                number += 1;
                let topics = if number % 3 == 0 { ["c", "d"] } else { ["d", "c"] };
                let receipt = web.publish(topics, number.to_string()).await.unwrap();
                if receipt.routed == 1 {
                    routed.push(number.to_string());
                }
            }
            (routed, number)
        }
    });
    for _ in 0..25 {
        subscribe(&email, web.address(), "c").await;
        tokio::time::sleep(Duration::from_millis(3)).await;
        let end = within("unsubscribe", email.unsubscribe(web.address(), "c")).await.unwrap();
        within("confirmed", end.confirmed()).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let (routed, number) = within("publishing", publishing).await.unwrap();
    seen.reaches(routed.len()).await;
    drained(&web).await;
    drained(&email).await;
    assert_eq!(seen.all(), routed);
    assert!(!routed.is_empty() && routed.len() < number, "{} of {number}", routed.len());
    close(&email).await;
    close(&web).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_close_and_come_back_in_the_middle_of_it_lose_and_double_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (rounds, count, ports) = (12, 100, [free_port(), free_port()]);
    let names = ["left", "right"];
    let seen = [Seen::default(), Seen::default()];
    let build = |side: usize| {
        let seen = seen[side].clone();
        builder(directory.path().join(names[side]), ports[side]).concurrency(1).every(
            "m",
            move |message: Envelope| {
                seen.push(format!("{} {}", message.id(), String::from_utf8_lossy(message.payload())));
                std::future::ready(Ok::<(), String>(()))
            },
        )
    };
    let mut buses = [open(build(0)).await, open(build(1)).await];
    subscribe(&buses[0], buses[1].address(), "m").await;
    subscribe(&buses[1], buses[0].address(), "m").await;
    let mut serving = [tokio::spawn(buses[0].serve()), tokio::spawn(buses[1].serve())];
    for round in 0..rounds {
        for bus in &buses {
            for number in round * count..(round + 1) * count {
                drop(within("publish", bus.publish_nowait("m", number.to_string())).await.unwrap());
            }
        }
        tokio::time::sleep(Duration::from_millis(round as u64 * 3)).await;
        let side = round % 2;
        close(&buses[side]).await;
        drop(within("serve", std::mem::replace(&mut serving[side], tokio::spawn(async { Ok(()) }))).await);
        buses[side] = open(build(side)).await;
        serving[side] = tokio::spawn(buses[side].serve());
    }
    for (bus, seen) in buses.iter().zip(&seen) {
        until("all", async || {
            let all: BTreeSet<String> = seen.all().into_iter().collect();
            all.len() >= rounds * count
        })
        .await;
        drained(bus).await;
    }
    for (bus, seen) in buses.iter().zip(&seen) {
        drained(bus).await;
        let (mut ids, mut numbers, mut first) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for text in seen.all() {
            let (id, number) = text.split_once(' ').unwrap();
            if ids.insert(id.to_owned()) {
                assert!(numbers.insert(number.to_owned()), "{number} is twice in the inbox");
                first.push(number.parse::<usize>().unwrap());
            }
        }
        assert_eq!(first, (0..rounds * count).collect::<Vec<_>>());
        close(bus).await;
    }
}

/// On an executor with a single thread, which also runs the test.
#[tokio::test]
async fn no_more_handlers_run_at_once_than_configured_and_a_slow_one_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (running, most, done) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Seen::default());
    let build = {
        let (running, most, done) = (running.clone(), most.clone(), done.clone());
        move |message: Envelope| {
            let (running, most, done) = (running.clone(), most.clone(), done.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                let slow = message.payload() == b"0";
                tokio::time::sleep(Duration::from_millis(if slow { 600 } else { 2 })).await;
                running.fetch_sub(1, Ordering::Relaxed);
                done.note(&message);
                Ok::<(), String>(())
            }
        }
    };
    let bus = open(Bus::builder(directory.path()).concurrency(7).every("job", build)).await;
    subscribe(&bus, bus.address(), "job").await;
    let serving = tokio::spawn(bus.serve());
    for number in 0..500 {
        drop(within("publish", bus.publish_nowait("job", number.to_string())).await.unwrap());
    }
    drained(&bus).await;
    assert_eq!((most.load(Ordering::Relaxed), done.count()), (7, 500));
    assert!(done.all().iter().position(|number| number == "0").unwrap() > 400, "the others went on");
    close(&bus).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_deliveries_may_be_out_at_once_and_publishing_is_never_stuck_behind_them() {
    let directory = tempfile::tempdir().unwrap();
    let bus = open(Bus::builder(directory.path())).await;
    subscribe(&bus, bus.address(), "job").await;
    let count = 40_000_u64;
    let mut last = None;
    for number in 0..count {
        last = Some(within("publish", bus.publish_nowait("job", number.to_string())).await.unwrap());
    }
    within("the disk", last.unwrap().wait()).await.unwrap();
    let mut deliveries = bus.deliveries("job").unwrap();
    let mut out = Vec::new();
    while let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_millis(500), deliveries.next()).await {
        assert_eq!(delivery.payload(), out.len().to_string().as_bytes());
        out.push(delivery);
    }
    assert_eq!(out.len() as u64, resolute::limits::DISPATCH_MESSAGES_MAX);
    out.into_iter().for_each(resolute::Delivery::done);
    for number in resolute::limits::DISPATCH_MESSAGES_MAX..count {
        let delivery = within("next", deliveries.next()).await.unwrap();
        assert_eq!(delivery.payload(), number.to_string().as_bytes());
        delivery.done();
    }
    drained(&bus).await;
    close(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_waits_for_what_was_just_published_and_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let remember = seen.clone();
    let bus = open(Bus::builder(directory.path()).every("job", move |message: Envelope| {
        let remember = remember.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            remember.note(&message);
            Ok::<(), String>(())
        }
    }));
    let bus = bus.await;
    subscribe(&bus, bus.address(), "job").await;
    let serving = tokio::spawn(bus.serve());
    for number in 1..=300 {
        drop(within("publish", bus.publish_nowait("job", "x")).await.unwrap());
        // A node that nobody wakes sleeps until the deadline, which is later than anybody here waits.
        let left = within("drain", bus.drain(Duration::from_secs(600))).await.unwrap();
        assert!(
            left.is_empty() && seen.count() == number,
            "{left:?}, and {} of {number} handled",
            seen.count()
        );
    }
    close(&bus).await;
    drop(within("serve", serving).await);
}
