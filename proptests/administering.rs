//! What people change by hand in the inbox of a node, while it is open and while it is not.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resolute::inspect::{Filter, View};
use resolute::{Administrator, Bus, Envelope, Place, Retry};

use crate::scene::{self, Seen, builder, by_hand, close, drained, free_port, status, subscribe, within};

/// A node whose handler `breaks` fails on everything for as long as that is wished, beside one that never does.
#[derive(Clone, Default)]
struct Service {
    is_broken: Arc<AtomicBool>,
    /// How often each handler was called for each payload.
    calls: Arc<Mutex<BTreeMap<(&'static str, String), u32>>>,
}

impl Service {
    async fn open(&self, directory: &Path) -> Bus {
        self.open_with(directory, Retry { attempts_max: 2, initial_ms: 1, ..Retry::default() }).await
    }

    async fn open_with(&self, directory: &Path, retry: Retry) -> Bus {
        let (breaks, fine) = (self.clone(), self.clone());
        let bus = Bus::builder(directory).bind("tcp://127.0.0.1:0").name("clerk").retry(retry);
        let bus = bus.every_named("breaks", "work", move |message: Envelope| {
            breaks.called("breaks", &message);
            let is_broken = breaks.is_broken.load(Ordering::Relaxed);
            async move { if is_broken { Err("it is broken") } else { Ok(()) } }
        });
        let bus = bus.every_named("fine", "work", move |message: Envelope| {
            fine.called("fine", &message);
            async { Ok::<(), String>(()) }
        });
        bus.open().await.unwrap()
    }

    fn called(&self, handler: &'static str, message: &Envelope) {
        let payload = String::from_utf8(message.payload().to_vec()).unwrap();
        *self.calls.lock().unwrap().entry((handler, payload)).or_default() += 1;
    }

    fn calls_of(&self, handler: &'static str, payload: &str) -> u32 {
        self.calls.lock().unwrap().get(&(handler, payload.to_owned())).copied().unwrap_or(0)
    }
}

async fn until(bus: &Bus, what: &str, is_so: impl Fn(&resolute::Status) -> bool) {
    for _ in 0..4_000 {
        let status = bus.status().await.unwrap();
        if is_so(&status) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what} did not come: {:?}", bus.status().await);
}

/// Three messages that are dead, two without a handler, and one that nobody has seen.
async fn with_a_bit_of_all(service: &Service, directory: &Path) -> Bus {
    service.is_broken.store(true, Ordering::Relaxed);
    let bus = service.open(directory).await;
    let own = bus.address().to_owned();
    bus.subscribe(&own, ["work", "odd"]).await.unwrap();
    let serving = tokio::spawn(bus.serve());
    for payload in ["one", "two", "three"] {
        bus.publish("work", payload).await.unwrap();
    }
    for payload in ["four", "five"] {
        bus.publish("odd", payload).await.unwrap();
    }
    until(&bus, "the dead and the parked", |now| (now.dead_letters, now.parked) == (3, 2)).await;
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    bus.publish("odd", "six").await.unwrap();
    bus
}

fn of_topic(topic: &str) -> Filter {
    let mut filter = Filter::default();
    filter.topics.push(topic.to_owned());
    filter
}

fn payloads(directory: &Path, place: Place) -> Vec<String> {
    let (view, all) = (View::open(directory).unwrap(), Filter::default());
    let text = |message: Envelope| String::from_utf8(message.payload().to_vec()).unwrap();
    match place {
        Place::Incoming => view.incoming(&all, None).unwrap().map(|one| text(one.unwrap().message)).collect(),
        Place::Parked => view.parked(&all, None).unwrap().map(|one| text(one.unwrap().message)).collect(),
        Place::DeadLetters => {
            view.dead_letters(&all, None).unwrap().map(|one| text(one.unwrap().message)).collect()
        }
        Place::Outgoing => view.outgoing(&all, None).unwrap().map(|one| text(one.unwrap().message)).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_and_waits_is_called_at_once_and_its_attempts_go_on_to_count() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::default();
    service.is_broken.store(true, Ordering::Relaxed);
    let an_hour = 3_600_000;
    let retry = Retry { attempts_max: 1_000, initial_ms: an_hour, max_ms: an_hour, ..Retry::default() };
    let bus = service.open_with(dir.path(), retry).await;
    let own = bus.address().to_owned();
    bus.subscribe(&own, "work").await.unwrap();
    let serving = tokio::spawn(bus.serve());
    for payload in ["one", "two"] {
        bus.publish("work", payload).await.unwrap();
    }
    let calls = || ["one", "two"].map(|payload| service.calls_of("breaks", payload));
    let retried =
        || by_hand(dir.path(), |hand| hand.retry(Place::Incoming, &Filter::default(), None).unwrap());
    for times in 1..4 {
        scene::until("they are called", async || calls() == [times; 2]).await;
        // That they failed may not be written down yet, and then there is nothing to hurry.
        let mut hurried = 0;
        while hurried < 2 {
            hurried += retried().await;
        }
    }
    scene::until("they are called", async || calls() == [4; 2]).await;
    scene::until("and it is written down", async || {
        let view = View::open(dir.path()).unwrap();
        let failed = view.incoming(&Filter::default(), None).unwrap();
        let attempts = failed.map(|one| one.unwrap().handlers.iter().map(|of| of.failed).max());
        attempts.collect::<Vec<_>>() == [Some(4); 2]
    })
    .await;
    serving.abort();
    drop(serving.await);
    bus.close().await.unwrap();

    // The same of one that is not open: it is called at the next opening.
    assert_eq!(retried().await, 2);
    service.is_broken.store(false, Ordering::Relaxed);
    let bus = service.open_with(dir.path(), retry).await;
    let serving = tokio::spawn(bus.serve());
    until(&bus, "their end", |now| (now.incoming, now.dead_letters) == (0, 0)).await;
    assert_eq!(calls(), [5; 2]);
    assert_eq!(service.calls_of("fine", "one"), 1, "who succeeded is not called again");
    serving.abort();
    drop(serving.await);
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_are_tried_again_at_once_where_the_node_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::default();
    let bus = with_a_bit_of_all(&service, dir.path()).await;
    let serving = tokio::spawn(bus.serve());
    until(&bus, "what is parked again", |now| now.parked == 3).await;
    // It still fails: they are dead once more, after as many attempts as ever.
    assert_eq!(
        by_hand(dir.path(), |hand| hand.retry(Place::DeadLetters, &of_topic("odd"), None).unwrap()).await,
        0
    );
    assert_eq!(
        by_hand(dir.path(), |hand| hand.retry(Place::DeadLetters, &of_topic("work"), Some(1)).unwrap()).await,
        1
    );
    while service.calls_of("breaks", "one") < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until(&bus, "the dead", |now| now.dead_letters == 3).await;
    assert_eq!((service.calls_of("breaks", "one"), service.calls_of("breaks", "two")), (4, 2));
    service.is_broken.store(false, Ordering::Relaxed);
    assert_eq!(
        by_hand(dir.path(), |hand| hand.retry(Place::DeadLetters, &Filter::default(), None).unwrap()).await,
        3
    );
    until(&bus, "the end of the dead", |now| (now.dead_letters, now.incoming, now.parked) == (0, 0, 3)).await;
    assert_eq!((service.calls_of("breaks", "one"), service.calls_of("breaks", "three")), (5, 3));
    for payload in ["one", "two", "three"] {
        assert_eq!(service.calls_of("fine", payload), 1, "who succeeded is not called again");
    }
    // There still is no handler for these: they are looked at, and parked again.
    assert_eq!(
        by_hand(dir.path(), |hand| hand.retry(Place::Parked, &Filter::default(), None).unwrap()).await,
        3
    );
    until(&bus, "the parked", |now| (now.parked, now.incoming) == (3, 0)).await;
    assert_eq!(
        by_hand(dir.path(), |hand| hand.retry(Place::Incoming, &Filter::default(), None).unwrap()).await,
        0
    );
    bus.close().await.unwrap();
    serving.await.unwrap().unwrap();
    assert_eq!(payloads(dir.path(), Place::Parked), ["four", "five", "six"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_gone_for_good_whether_or_not_the_node_is_open() {
    for is_open in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::default();
        let bus = with_a_bit_of_all(&service, dir.path()).await;
        if !is_open {
            bus.close().await.unwrap();
        }
        let five = View::open(dir.path()).unwrap();
        let five = five.parked(&Filter::default(), None).unwrap().nth(1).unwrap().unwrap().message.id();
        let mut only_five = Filter::default();
        only_five.ids.push(five);
        let mut ancient = Filter::default();
        ancient.older_than(Duration::from_secs(3600));
        let (parked, dead) = (only_five.clone(), ancient);
        let removed = by_hand(dir.path(), move |hand| {
            assert_eq!(hand.remove(Place::DeadLetters, &dead, None).unwrap(), 0);
            assert_eq!(hand.remove(Place::DeadLetters, &parked, None).unwrap(), 0, "it is elsewhere");
            assert_eq!(hand.remove(Place::Parked, &parked, None).unwrap(), 1);
            assert_eq!(hand.remove(Place::DeadLetters, &of_topic("work"), Some(2)).unwrap(), 2);
            hand.remove(Place::Incoming, &of_topic("odd"), None).unwrap()
        });
        assert_eq!(removed.await, 1);
        let left =
            || [Place::Incoming, Place::Parked, Place::DeadLetters].map(|place| payloads(dir.path(), place));
        let expected = [vec![], vec!["four".to_owned()], vec!["three".to_owned()]];
        assert_eq!(left(), expected, "open: {is_open}");
        if is_open {
            bus.close().await.unwrap();
        }
        assert_eq!(left(), expected, "and at the next opening");
        // The log says who did it.
        let log = std::fs::read(dir.path().join("00000000000000000001.log")).unwrap();
        let who = format!("process {}", std::process::id());
        assert!(log.windows(who.len()).filter(|window| *window == who.as_bytes()).count() >= 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_opened_to_be_changed_speaks_to_nobody_and_stays_who_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::default();
    let bus = with_a_bit_of_all(&service, dir.path()).await;
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    peer.set_nonblocking(true).unwrap();
    let address = bus.address().to_owned();
    bus.close().await.unwrap();
    let bus = service.open(dir.path()).await;
    let second = bus.address().to_owned();
    bus.send(&format!("tcp://{}", peer.local_addr().unwrap()), "work", "owed").await.unwrap();
    bus.close().await.unwrap();
    while peer.accept().is_ok() {}
    let before = View::open(dir.path()).unwrap().status().unwrap();
    let calls = service.calls.lock().unwrap().clone();
    assert_eq!(
        by_hand(dir.path(), |hand| hand.retry(Place::DeadLetters, &Filter::default(), None).unwrap()).await,
        3
    );
    assert!(peer.accept().is_err(), "nobody is dialled");
    let after = View::open(dir.path()).unwrap().status().unwrap();
    assert_ne!(address, second);
    assert_eq!((&after.name, &after.address, &after.node), (&before.name, &second, &before.node));
    assert_eq!((after.epoch, after.outgoing, after.dead_letters), (before.epoch + 1, 1, 0));
    assert_eq!(after.incoming, before.incoming + 3);
    assert_eq!(*service.calls.lock().unwrap(), calls, "no handler runs");
    // The next opening handles them.
    service.is_broken.store(false, Ordering::Relaxed);
    let bus = service.open(dir.path()).await;
    let serving = tokio::spawn(bus.serve());
    until(&bus, "all is handled", |now| (now.dead_letters, now.incoming, now.parked) == (0, 0, 3)).await;
    assert_eq!(service.calls_of("fine", "one"), 1);
    bus.close().await.unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_before_it_is_done_leaves_the_rest_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Service::default().open(dir.path()).await;
    bus.subscribe(bus.address(), ["odd"]).await.unwrap();
    for n in 0..1_000 {
        bus.publish("odd", n.to_string()).await.unwrap();
    }
    let mut stream = UnixStream::connect(dir.path().join("control")).unwrap();
    let hand = "{\"verb\":\"remove\",\"place\":\"incoming\"}";
    writeln!(stream, "{{\"version\":1,\"ask\":{{\"change\":{{\"hand\":{hand},\"limit\":null}}}}}}").unwrap();
    drop(stream);
    // Whoever comes after it is served after it has been noticed, or beside it: its first page may be gone, or none.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let left = payloads(dir.path(), Place::Incoming).len();
    assert!(left >= 1_000 - 256, "{left} are left");
    // To whoever waits it is done, and how many it met.
    assert_eq!(
        by_hand(dir.path(), |hand| hand.remove(Place::Incoming, &Filter::default(), Some(300)).unwrap())
            .await,
        300
    );
    assert_eq!(payloads(dir.path(), Place::Incoming).len(), left - 300);
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_opened_to_be_changed_keeps_the_size_of_its_segments() {
    const SEGMENT_BYTES: u64 = 8 << 20;
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::builder(dir.path()).segment_bytes(SEGMENT_BYTES).open().await.unwrap();
    bus.subscribe(bus.address(), ["odd"]).await.unwrap();
    for _ in 0..100 {
        bus.publish("odd", vec![b'x'; 200_000]).await.unwrap();
    }
    bus.close().await.unwrap();
    let files = || -> Vec<(String, u64)> {
        let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap());
        let named =
            files.map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()));
        named.filter(|(name, _)| name != "lock").collect()
    };
    assert!(files().len() > 2);
    by_hand(dir.path(), |hand| {
        let removed = hand.remove(Place::Incoming, &Filter::default(), None).unwrap();
        // What nobody wants any more is freed meanwhile.
        std::thread::sleep(Duration::from_millis(500));
        removed
    })
    .await;
    let files = files();
    assert!(files.iter().all(|(_, bytes)| *bytes == SEGMENT_BYTES), "{files:?}");
    assert!(
        files.iter().any(|(name, _)| name.starts_with("spare")),
        "what was freed is used again: {files:?}"
    );
}

#[test]
fn there_must_be_a_node_to_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("missing")] {
        let error = Administrator::open(&path).unwrap_err().to_string();
        assert!(error.contains("nothing was ever opened") || error.contains("no directory"), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "and none is made");
}

/// Five messages for whoever may come, of which two are taken out, and so is the last one of all.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_is_taken_out_and_whoever_it_was_for_is_told() {
    for is_open in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (web_dir, email_dir) = (dir.path().join("web"), dir.path().join("email"));
        let (web_port, email_port) = (free_port(), free_port());
        let (web, seen) = (scene::open(builder(&web_dir, web_port)).await, Seen::default());
        let email = || builder(&email_dir, email_port).concurrency(1).every("a", seen.handler());
        let first = scene::open(email()).await;
        subscribe(&first, web.address(), "a").await;
        let address = first.address().to_owned();
        close(&first).await;
        let mut ids = Vec::new();
        for payload in ["0", "1", "2", "3", "4"] {
            let receipt = within("publish", web.publish("a", payload)).await.unwrap();
            assert_eq!(receipt.routed, 1);
        }
        let owed = View::open(&web_dir).unwrap();
        for owed in owed.outgoing(&Filter::default(), None).unwrap() {
            ids.push(owed.unwrap().message.id());
        }
        let mut web = Some(web);
        if !is_open {
            close(&web.take().unwrap()).await;
        }
        let mut some = Filter::default();
        some.ids.extend([ids[1], ids[2], ids[4]]);
        let (mut for_others, mut for_email) = (some.clone(), some);
        for_others.destinations.push("tcp://127.0.0.1:9".to_owned());
        for_email.destinations.push(address);
        let removed = by_hand(&web_dir, move |hand| {
            let others = hand.remove(Place::Outgoing, &for_others, None).unwrap();
            (others, hand.remove(Place::Outgoing, &for_email, None).unwrap())
        });
        assert_eq!(removed.await, (0, 3), "open: {is_open}");
        assert_eq!(payloads(&web_dir, Place::Outgoing), ["0", "3"]);
        let web = match web {
            Some(web) => web,
            None => scene::open(builder(&web_dir, web_port)).await,
        };
        assert_eq!((status(&web).await.outgoing, status(&web).await.dropped), (2, 3));
        let email = scene::open(email()).await;
        let serving = tokio::spawn(email.serve());
        seen.reaches(2).await;
        scene::until("lost", async || status(&email).await.destinations[0].lost == 3).await;
        // And what comes behind them comes as ever.
        within("publish", web.publish("a", "5")).await.unwrap();
        seen.reaches(3).await;
        assert_eq!(seen.all(), ["0", "3", "5"], "open: {is_open}");
        drained(&web).await;
        close(&email).await;
        close(&web).await;
        drop(within("serve", serving).await);
    }
}
