//! Looking at nodes that are open, through their control sockets.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resolute::inspect::{ControlError, Filter, Holder, InspectError, Passing, View, Whereabouts, holder};
use resolute::limits::{CONTROL_CONNECTIONS_MAX, CONTROL_REQUEST_BYTES_MAX, LIST_MESSAGES_PER_PAGE};
use resolute::{Bus, Envelope, MessageId};

const ABSENT: &str = "tcp://127.0.0.1:9";

async fn open(directory: &Path) -> Bus {
    Bus::builder(directory).bind("tcp://127.0.0.1:0").segment_bytes(8 << 20).open().await.unwrap()
}

/// All ids of a list, of what the view shows.
fn ids(view: &View, list: &str) -> Vec<MessageId> {
    let all = Filter::default();
    match list {
        "keys" => view.keys(&all, None).unwrap().map(|key| key.unwrap().id).collect(),
        "incoming" => view.incoming(&all, None).unwrap().map(|found| found.unwrap().message.id()).collect(),
        "parked" => view.parked(&all, None).unwrap().map(|found| found.unwrap().message.id()).collect(),
        _ => view.outgoing(&all, None).unwrap().map(|found| found.unwrap().message.id()).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_many_pages_are_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(dir.path()).await;
    let own = bus.address().to_owned();
    bus.subscribe(&own, ["a", "b"]).await.unwrap();
    // Neither a page nor a batch is whole with any of them.
    let many = 3 * LIST_MESSAGES_PER_PAGE + 17;
    let mut published = Vec::new();
    for number in 0..many {
        published.push(bus.publish(["a", "b"][number % 2], vec![b'x'; 100]).await.unwrap().id.unwrap());
        published.push(bus.send(ABSENT, "c", "owed").await.unwrap().id.unwrap());
    }
    let owed: Vec<MessageId> = published.iter().copied().skip(1).step_by(2).collect();
    let waiting: Vec<MessageId> = published.iter().copied().step_by(2).collect();
    let view = View::open(dir.path()).unwrap();
    assert!(view.snapshot().is_none(), "it is asked, and not read");
    assert_eq!(ids(&view, "keys"), published);
    assert_eq!(ids(&view, "incoming"), waiting);
    assert_eq!(ids(&view, "outgoing"), owed);
    // Nobody handles them: with somebody who serves they are parked.
    let serving = tokio::spawn(bus.serve());
    while bus.status().await.unwrap().parked < many as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((ids(&view, "parked"), ids(&view, "incoming")), (waiting.clone(), vec![]));
    let places: Vec<_> =
        view.keys(&Filter::default(), Some(2)).unwrap().map(|key| key.unwrap().places).collect();
    assert_eq!(places, [[Whereabouts::Parked], [Whereabouts::Outgoing]]);
    bus.close().await.unwrap();
    serving.await.unwrap().unwrap();
    let view = View::open(dir.path()).unwrap();
    assert!(view.snapshot().is_some());
    assert_eq!(ids(&view, "keys"), published);
    assert_eq!((ids(&view, "parked"), ids(&view, "outgoing")), (waiting, owed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_moves_on_under_a_list_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let handled = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&handled);
    let bus = Bus::builder(dir.path()).bind("tcp://127.0.0.1:0").segment_bytes(8 << 20);
    let bus = bus.every("a", move |message: Envelope| {
        seen.lock().unwrap().push(message.id());
        async { Ok::<(), String>(()) }
    });
    let bus = bus.open().await.unwrap();
    let own = bus.address().to_owned();
    bus.subscribe(&own, ["a", "stays"]).await.unwrap();
    let mut stays = Vec::new();
    for _ in 0..600 {
        stays.push(bus.publish("stays", vec![b's'; 1000]).await.unwrap().id.unwrap());
    }
    let serving = tokio::spawn(bus.serve());
    while bus.status().await.unwrap().parked < stays.len() as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let over = Arc::new(AtomicBool::new(false));
    let (publisher, is_over) = (bus.clone(), Arc::clone(&over));
    // Segments are filled, freed and used again all the while, and those that stay are carried along.
    let publishing = tokio::spawn(async move {
        while !is_over.load(Ordering::Relaxed) {
            let tickets: Vec<_> =
                (0..64).map(|_| publisher.publish_nowait("a", vec![b'a'; 16 << 10])).collect();
            for ticket in tickets {
                ticket.await.unwrap().wait().await.unwrap();
            }
        }
    });
    let path = dir.path().to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        let view = View::open(&path).unwrap();
        let before = view.status().unwrap().flushes;
        // Until the log has been written anew several times.
        let mut looks = Vec::new();
        while view.status().unwrap().written_bytes < 64 << 20 || looks.len() < 8 {
            looks.push(ids(&view, "parked"));
            assert!(ids(&view, "keys").is_sorted_by_key(|id| id.lsn));
        }
        (view.status().unwrap().flushes > before, looks)
    });
    let (has_moved, looks) = looked.await.unwrap();
    over.store(true, Ordering::Relaxed);
    publishing.await.unwrap();
    assert!(has_moved);
    for look in &looks {
        assert_eq!(look, &stays, "what is parked is listed, wherever it is being carried");
    }
    bus.close().await.unwrap();
    serving.await.unwrap().unwrap();
    assert!(!handled.lock().unwrap().is_empty());
}

/// What comes back for a line.
fn answer(directory: &Path, line: &[u8]) -> String {
    let mut stream = UnixStream::connect(directory.join("control")).unwrap();
    // Whoever is refused early need not be read to the end.
    drop(stream.write_all(line));
    let mut said = String::new();
    // One whose request was not read to its end may hear of a connection that was reset behind it.
    drop(BufReader::new(stream).read_line(&mut said));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_and_the_next_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(dir.path()).await;
    for (line, words) in [
        ("\n", "no request"),
        ("nonsense\n", "no request"),
        ("{\"version\":2,\"ask\":\"status\"}\n", "speaks version 1"),
        ("{\"ask\":\"status\"}\n", "speaks version 1"),
        ("{\"version\":1,\"ask\":\"launch\"}\n", "no request"),
        (
            "{\"version\":1,\"ask\":{\"decide\":{\"subscribe\":{\"address\":\"tcp://127.0.0.1:9\",\"topics\":[\"\"]}}}}\n",
            "topic",
        ),
        (
            "{\"version\":1,\"ask\":{\"decide\":{\"unsubscribe\":{\"address\":\"here\",\"topics\":[\"a\"]}}}}\n",
            "address",
        ),
    ] {
        let said = answer(dir.path(), line.as_bytes());
        assert!(said.contains("refused") && said.contains(words), "{line:?}: {said:?}");
    }
    // Longer than a request may be: nobody gathers it.
    answer(dir.path(), &vec![b' '; 4 * CONTROL_REQUEST_BYTES_MAX as usize]);
    assert!(answer(dir.path(), b"{\"version\":1,\"ask\":\"status\"}\n").contains("\"status\""));
    // Many ids are looked for, and more than a node reads are refused before they are sent.
    bus.send(ABSENT, "c", "one").await.unwrap();
    let view = View::open(dir.path()).unwrap();
    let id = ids(&view, "outgoing")[0];
    let of = |count| {
        let mut filter = Filter::default();
        filter.ids = vec![id; count];
        view.outgoing(&filter, None).map(|found| found.count())
    };
    assert_eq!(of(10_000).unwrap(), 1);
    let refused = of(40_000).unwrap_err();
    assert!(matches!(refused, InspectError::Control(ControlError::TooLong { .. })), "{refused:?}");
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_ask_and_do_not_read_hold_up_nobody_and_the_node_closes() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(dir.path()).await;
    for _ in 0..400 {
        bus.send(ABSENT, "c", vec![b'x'; 10_000]).await.unwrap();
    }
    let ask = b"{\"version\":1,\"ask\":{\"list\":{\"list\":\"outgoing\",\"limit\":null}}}\n";
    let idle: Vec<UnixStream> = (0..CONTROL_CONNECTIONS_MAX)
        .map(|_| {
            let mut stream = UnixStream::connect(dir.path().join("control")).unwrap();
            stream.write_all(ask).unwrap();
            stream
        })
        .collect();
    let said = answer(dir.path(), b"{\"version\":1,\"ask\":\"status\"}\n");
    assert!(said.contains("refused"), "one more than may: {said}");
    let refused = View::open(dir.path()).unwrap().status();
    assert!(matches!(refused, Err(InspectError::Control(_))), "{refused:?}");
    bus.send(ABSENT, "c", "still durable").await.unwrap();
    drop(idle);
    // Their places are free again.
    while View::open(dir.path()).unwrap().status().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut idle = UnixStream::connect(dir.path().join("control")).unwrap();
    idle.write_all(ask).unwrap();
    bus.close().await.unwrap();
    assert_eq!(holder(dir.path()).unwrap(), Holder::Nobody);
    assert_eq!(ids(&View::open(dir.path()).unwrap(), "outgoing").len(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_a_dead_process_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).await.close().await.unwrap();
    // Such as a process leaves that is killed while it makes one, and after.
    for name in ["control", "control.new"] {
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(name)).unwrap());
    }
    assert!(View::open(dir.path()).unwrap().snapshot().is_some(), "nobody holds the directory");
    let bus = open(dir.path()).await;
    assert!(View::open(dir.path()).unwrap().snapshot().is_none());
    bus.close().await.unwrap();
    assert!(!dir.path().join("control").exists() && !dir.path().join("control.new").exists());
}

/// The payloads of what passes through a node until it closes, and what was missed.
fn passing(
    directory: &Path,
    topics: &[&str],
    from_start: bool,
) -> std::thread::JoinHandle<(Vec<String>, u64)> {
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let view = View::open(directory).unwrap();
    std::thread::spawn(move || {
        let (mut seen, mut missed) = (Vec::new(), 0);
        for passing in view.tail(&topics, from_start).unwrap() {
            match passing.unwrap() {
                Passing::Message(message) => {
                    assert_ne!(message.id().node, resolute::NodeId::default());
                    seen.push(String::from_utf8(message.payload().to_vec()).unwrap());
                }
                Passing::Missed(count) => missed += count,
                other => panic!("{other:?}"),
            }
        }
        (seen, missed)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_through_a_node_is_shown_at_both_ends_and_consumed_at_none() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let paths = [dirs[0].path(), dirs[1].path()];
    let web = open(paths[0]).await;
    let handled = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&handled);
    let mail = Bus::builder(paths[1]).bind("tcp://127.0.0.1:0").every("a", move |text: String| {
        seen.lock().unwrap().push(text);
        async { Ok::<(), String>(()) }
    });
    let mail = mail.open().await.unwrap();
    let serving = tokio::spawn(mail.serve());
    mail.subscribe(web.address(), ["a", "b"]).await.unwrap().confirmed().await.unwrap();
    web.publish("a", "first").await.unwrap();
    let watch = |path, topics: &[&str], from_start| passing(path, topics, from_start);
    let (late, all, only_b) =
        (watch(paths[0], &[], false), watch(paths[0], &[], true), watch(paths[1], &["b"], true));
    let accepted = watch(paths[1], &[], true);
    // Most times the first of them has begun by then; if not, it shows the less.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for (topic, text) in [("a", "second"), ("b", "third"), ("nobody", "wants this")] {
        web.publish(topic, text).await.unwrap();
    }
    web.send(ABSENT, "c", "command").await.unwrap();
    web.batch().publish("a", "fourth").unwrap().publish("a", "fifth").unwrap().commit().await.unwrap();
    while handled.lock().unwrap().len() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    web.close().await.unwrap();
    mail.close().await.unwrap();
    serving.await.unwrap().unwrap();
    let texts = |watch: std::thread::JoinHandle<(Vec<String>, u64)>| watch.join().unwrap();
    let later = ["second", "third", "command", "fourth", "fifth"];
    let seen = texts(late).0;
    assert!(
        later.iter().rev().zip(seen.iter().rev()).all(|(a, b)| a == b) && seen.len() <= later.len(),
        "{seen:?}"
    );
    assert_eq!(texts(all).0, [&["first"][..], &later].concat());
    assert_eq!(texts(only_b).0, ["third"]);
    assert_eq!(texts(accepted).0, ["first", "second", "third", "fourth", "fifth"]);
    assert_eq!(*handled.lock().unwrap(), ["first", "second", "fourth", "fifth"], "each went to its handler");
    assert!(matches!(View::open(paths[0]).unwrap().tail(&[], true), Err(InspectError::NotRunning(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_too_slowly_is_told_what_was_missed() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::builder(dir.path()).bind("tcp://127.0.0.1:0").segment_bytes(8 << 20);
    let bus = bus.every("a", |_: Envelope| async { Ok::<(), String>(()) }).open().await.unwrap();
    bus.subscribe(bus.address(), "a").await.unwrap();
    let serving = tokio::spawn(bus.serve());
    let (path, (go_on, may_go_on)) = (dir.path().to_owned(), std::sync::mpsc::channel());
    let watching = tokio::task::spawn_blocking(move || {
        let view = View::open(&path).unwrap();
        let mut tail = view.tail(&[], true).unwrap();
        may_go_on.recv().unwrap();
        let (mut messages, mut missed) = (0_u64, 0);
        loop {
            match tail.next().unwrap().unwrap() {
                Passing::Message(message) if message.payload() == b"last" => return (messages, missed),
                Passing::Message(_) => messages += 1,
                Passing::Missed(count) => missed += count,
                other => panic!("{other:?}"),
            }
        }
    });
    // Segments are freed while nobody reads on.
    while bus.status().await.unwrap().written_bytes < 48 << 20 {
        let tickets: Vec<_> = (0..64).map(|_| bus.publish_nowait("a", vec![b'a'; 32 << 10])).collect();
        for ticket in tickets {
            ticket.await.unwrap().wait().await.unwrap();
        }
    }
    bus.publish("a", "last").await.unwrap();
    go_on.send(()).unwrap();
    let (messages, missed) = watching.await.unwrap();
    assert!(messages > 0 && missed > 0, "{messages} messages, {missed} records missed");
    bus.close().await.unwrap();
    serving.await.unwrap().unwrap();
}
