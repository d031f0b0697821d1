//! Messages that are put at the end by hand, or get another payload: what comes of them at handlers and at other nodes.

use resolute::inspect::{Filter, View};
use resolute::{Administrator, Bus, Envelope, Place, Retry};

use crate::scene::{self, Seen, builder, by_hand, close, drained, free_port, status, subscribe, within};

fn ids_of(ids: impl IntoIterator<Item = resolute::MessageId>) -> Filter {
    let mut filter = Filter::default();
    filter.ids.extend(ids);
    filter
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_comes_in_its_new_place_with_its_new_payload_and_once() {
    for is_open in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (web_dir, email_dir) = (dir.path().join("web"), dir.path().join("email"));
        let (web_port, email_port) = (free_port(), free_port());
        let (web, seen) = (scene::open(builder(&web_dir, web_port)).await, Seen::default());
        let email = || builder(&email_dir, email_port).concurrency(1).every("a", seen.handler());
        let first = scene::open(email()).await;
        subscribe(&first, web.address(), "a").await;
        close(&first).await;
        for payload in ["0", "1", "2", "3", "4"] {
            assert_eq!(within("publish", web.publish("a", payload)).await.unwrap().routed, 1);
        }
        let view = View::open(&web_dir).unwrap();
        let owed = view.outgoing(&Filter::default(), None).unwrap();
        let ids: Vec<_> = owed.map(|owed| owed.unwrap().message.id()).collect();
        let mut web = Some(web);
        if !is_open {
            close(&web.take().unwrap()).await;
        }
        let (last, other) = (ids_of([ids[0], ids[2]]), ids_of([ids[3]]));
        let changed = by_hand(&web_dir, move |hand| {
            let last = hand.requeue(Place::Outgoing, &last, None).unwrap();
            (last, hand.edit(Place::Outgoing, &other, None, b"three").unwrap())
        });
        assert_eq!(changed.await, (2, 1), "open: {is_open}");
        // Under its old id nothing is there any more.
        let gone = ids_of(ids[..1].iter().copied());
        assert_eq!(
            by_hand(&web_dir, move |hand| hand.requeue(Place::Outgoing, &gone, None).unwrap()).await,
            0
        );
        let web = match web {
            Some(web) => web,
            None => scene::open(builder(&web_dir, web_port)).await,
        };
        assert_eq!((status(&web).await.outgoing, status(&web).await.dropped), (5, 0));
        let email = scene::open(email()).await;
        let serving = tokio::spawn(email.serve());
        seen.reaches(5).await;
        assert_eq!(seen.all(), ["1", "4", "0", "2", "three"], "open: {is_open}");
        drained(&web).await;
        scene::until("gaps", async || status(&email).await.destinations[0].lost == 3).await;
        within("publish", web.publish("a", "5")).await.unwrap();
        seen.reaches(6).await;
        assert_eq!(seen.all()[5..], ["5"]);
        close(&email).await;
        close(&web).await;
        drop(within("serve", serving).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_put_at_the_end_is_for_all_its_handlers_again() {
    let dir = tempfile::tempdir().unwrap();
    let (fine, fails) = (Seen::default(), Seen::default());
    let (noted, failing) = (fine.clone(), fails.clone());
    let bus = Bus::builder(dir.path()).bind("tcp://127.0.0.1:0");
    let bus = bus.retry(Retry { attempts_max: 1, initial_ms: 1, ..Retry::default() });
    let bus = bus.every_named("fine", "work", move |message: Envelope| {
        noted.note(&message);
        async { Ok::<(), String>(()) }
    });
    let bus = bus.every_named("fails", "work", move |message: Envelope| {
        failing.note(&message);
        let is_bad = message.payload() == b"bad";
        async move { if is_bad { Err("it is bad") } else { Ok(()) } }
    });
    let bus = bus.open().await.unwrap();
    subscribe(&bus, bus.address(), "work").await;
    let serving = tokio::spawn(bus.serve());
    within("publish", bus.publish("work", "bad")).await.unwrap();
    scene::until("it is dead", async || status(&bus).await.dead_letters == 1).await;
    let requeue = |hand: &Administrator| hand.requeue(Place::DeadLetters, &Filter::default(), None).unwrap();
    assert_eq!(by_hand(dir.path(), requeue).await, 1);
    fine.reaches(2).await;
    scene::until("it is dead again", async || fails.count() == 2 && status(&bus).await.dead_letters == 1)
        .await;
    let edit =
        |hand: &Administrator| hand.edit(Place::DeadLetters, &Filter::default(), None, b"good").unwrap();
    assert_eq!(by_hand(dir.path(), edit).await, 1);
    fine.reaches(3).await;
    drained(&bus).await;
    assert_eq!((fine.all(), fails.all()), (vec!["bad".into(), "bad".into(), "good".into()], fine.all()));
    assert_eq!(status(&bus).await.dead_letters, 0);
    close(&bus).await;
    drop(within("serve", serving).await);
}

// What is looked up in the state is what the node had when it was last applied: a message whose end is on its way is gone already.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_put_at_the_end_while_it_is_handled_is_never_lost() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let bus = Bus::builder(dir.path()).bind("tcp://127.0.0.1:0").every("work", seen.handler());
    let bus = bus.open().await.unwrap();
    subscribe(&bus, bus.address(), "work").await;
    let serving = tokio::spawn(bus.serve());
    let mut requeued = 0;
    for round in 0..20 {
        let tickets = (0..50).map(|number| bus.publish_nowait("work", format!("{round} {number}")));
        let mut waiting = Vec::new();
        for ticket in tickets {
            waiting.push(ticket.await.unwrap());
        }
        let requeue = |hand: &Administrator| hand.requeue(Place::Incoming, &Filter::default(), None).unwrap();
        requeued += by_hand(dir.path(), requeue).await;
        for ticket in waiting {
            ticket.wait().await.unwrap();
        }
    }
    drained(&bus).await;
    let all = seen.all();
    let once: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(once.len(), 1_000, "all of them were handled");
    assert!(all.len() as u64 <= 1_000 + requeued, "{} calls, {requeued} put at the end", all.len());
    close(&bus).await;
    drop(within("serve", serving).await);
}
