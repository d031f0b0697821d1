//! `backup`: copies of nodes and stores, that a process has open or not.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use resolute::{Bus, Envelope};

use crate::program::{code, json_lines, resolute, run, stderr, stdout, text, until, wait};

const PAYLOAD_BYTES: usize = 200_000;

/// A node that handles nothing of what it publishes to itself, in small segments.
async fn node(directory: &Path) -> Bus {
    let bus = Bus::builder(directory).bind("tcp://127.0.0.1:0").segment_bytes(8 << 20).open().await.unwrap();
    let own = bus.address().to_owned();
    bus.subscribe(&own, ["a"]).await.unwrap();
    bus
}

async fn publish(bus: &Bus, numbers: std::ops::Range<u64>) {
    for number in numbers {
        bus.publish("a", [&number.to_le_bytes()[..], &[b'x'; PAYLOAD_BYTES]].concat()).await.unwrap();
    }
}

/// The number in a message.
fn number(message: &Envelope) -> u64 {
    u64::from_le_bytes(message.payload()[..8].try_into().unwrap())
}

fn segments(directory: &Path) -> Vec<u64> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let numbers = names.filter_map(|name| name.to_str()?.strip_suffix(".log")?.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

/// Every file of a directory.
fn bytes_of(directory: &Path) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap())).collect()
}

/// All that waits in a node that is not open, handled.
async fn handled(directory: &Path) -> Vec<u64> {
    let bus = Bus::builder(directory).bind("tcp://127.0.0.1:0").open().await.unwrap();
    let mut deliveries = bus.deliveries("a").unwrap();
    let mut numbers = Vec::new();
    for _ in 0..bus.status().await.unwrap().incoming {
        let delivery = deliveries.next().await.unwrap();
        numbers.push(number(&delivery));
        delivery.done();
    }
    drop(deliveries);
    bus.close().await.unwrap();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_node_that_goes_on_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (original, copy) = (dir.path().join("node"), dir.path().join("copy"));
    let bus = node(&original).await;
    publish(&bus, 0..90).await;
    let made = json_lines(&run(&["backup", text(&copy), "--dir", text(&original), "--json"])).remove(0);
    assert_eq!((&made["live"], &made["linked"], &made["copied"]), (&true.into(), &2.into(), &1.into()));
    let first = copy.join(format!("{:020}.log", 1));
    let inode = std::fs::metadata(&first).unwrap().ino();
    assert_eq!(inode, std::fs::metadata(original.join(first.file_name().unwrap())).unwrap().ino());
    let verified = run(&["verify", "--dir", text(&copy), "--json"]);
    assert_eq!(json_lines(&verified)[0]["messages"], 90, "all that was acknowledged is in it");
    let before = bytes_of(&copy);
    // All of it is handled, and much more: the segments of then are let go.
    let mut deliveries = bus.deliveries("a").unwrap();
    for published in 0..200 {
        if published < 110 {
            publish(&bus, 90 + published..91 + published).await;
        }
        let delivery = deliveries.next().await.unwrap();
        assert_eq!(number(&delivery), published);
        delivery.done();
    }
    until("the segments that were linked are let go", || segments(&original)[0] > 3);
    publish(&bus, 200..250).await;
    assert!(*segments(&original).last().unwrap() > 5, "the node has rolled");
    assert!(bytes_of(&copy) == before, "the copy is another");
    assert_eq!(std::fs::metadata(&first).unwrap().nlink(), 1, "the node has a name for it no more");
    drop(deliveries);
    bus.close().await.unwrap();
    assert_eq!(handled(&copy).await, (0..90).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_copied_is_not_freed_and_then_is() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("node");
    let bus = node(&original).await;
    publish(&bus, 0..60).await;
    // As the command does, and takes its time.
    let mut pin = UnixStream::connect(original.join("control")).unwrap();
    pin.write_all(b"{\"version\":1,\"ask\":\"pin\"}\n").unwrap();
    let mut answers = BufReader::new(pin.try_clone().unwrap());
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    let pinned: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&pinned["pinned"]["first"], &pinned["pinned"]["last"]), (&1.into(), &2.into()), "{answer}");
    let mut deliveries = bus.deliveries("a").unwrap();
    for published in 0..150 {
        if published < 90 {
            publish(&bus, 60 + published..61 + published).await;
        }
        deliveries.next().await.unwrap().done();
    }
    let status = || json_lines(&run(&["status", "--dir", text(&original), "--json"])).remove(0);
    until("the node needs none of them", || status()["segments"].as_u64().unwrap() == 1);
    assert_eq!(segments(&original)[..3], [1, 2, 3]);
    pin.write_all(b"\n").unwrap();
    answer.clear();
    answers.read_line(&mut answer).unwrap();
    assert_eq!(answer.trim(), "{\"unpinned\":{\"stayed\":true}}");
    until("they are freed", || segments(&original)[0] > 3);
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_and_stores_that_nobody_has_open_are_copied_too() {
    let dir = tempfile::tempdir().unwrap();
    let (original, map) = (dir.path().join("node"), dir.path().join("map"));
    let bus = node(&original).await;
    publish(&bus, 0..50).await;
    bus.close().await.unwrap();
    assert_eq!(code(&run(&["map", "set", text(&map), "\"key\"", "\"value\""])), 0);
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let output = run(&["backup", text(&copy), "--dir", text(&original)]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("segments linked") && stderr(&output).is_empty(), "{output:?}");
    let verified = run(&["verify", "--dir", text(&copy), "--json"]);
    assert_eq!(json_lines(&verified)[0]["soundness"], "clean");
    assert_eq!(handled(&copy).await, (0..50).collect::<Vec<_>>());
    assert_eq!(handled(&original).await, (0..50).collect::<Vec<_>>(), "each has its own");
    let of_map = dir.path().join("copy of map");
    assert_eq!(code(&run(&["backup", text(&of_map), "--dir", text(&map)])), 0);
    assert_eq!(stdout(&run(&["map", "get", text(&of_map), "\"key\""])).trim(), "\"value\"");

    let taken = run(&["backup", text(&copy), "--dir", text(&original)]);
    assert_eq!(code(&taken), 2, "{taken:?}");
    assert!(stderr(&taken).contains("no empty directory"), "{taken:?}");
    for missing in ["missing", "."] {
        let missing = dir.path().join(missing);
        let output = run(&["backup", text(&dir.path().join("to")), "--dir", text(&missing)]);
        assert_eq!(code(&output), 3, "{output:?}");
    }
    assert!(!dir.path().join("to").exists() && !dir.path().join("missing").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_can_be_no_second_names_files_are_copied_and_that_is_said() {
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
    let dir = tempfile::tempdir().unwrap();
    let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
    if device(dir.path()) == device(elsewhere.path()) {
        return;
    }
    let bus = node(dir.path()).await;
    publish(&bus, 0..50).await;
    let copy = elsewhere.path().join("copy");
    let output = run(&["backup", text(&copy), "--dir", text(dir.path()), "--json"]);
    let made = json_lines(&output).remove(0);
    assert_eq!((&made["linked"], &made["copied"]), (&0.into(), &2.into()));
    assert!(made["copied_bytes"].as_u64().unwrap() > 50 * PAYLOAD_BYTES as u64, "{made}");
    assert!(stderr(&output).contains("all segments were copied"), "{output:?}");
    bus.close().await.unwrap();
    assert_eq!(handled(&copy).await, (0..50).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_killed_in_the_middle_leaves_nothing_that_looks_whole() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("node");
    let bus = node(&original).await;
    publish(&bus, 0..36).await;
    let back_up = |to: &Path| resolute(&["backup", text(to), "--dir", text(&original)]).spawn().unwrap();
    let began = Instant::now();
    assert_eq!(code(&wait(back_up(&dir.path().join("whole")))), 0);
    let takes = began.elapsed();
    let (mut before, mut after) = (Duration::ZERO, takes * 2);
    let (mut whole, mut none) = (0, 0);
    for round in 0..8 {
        let copy = dir.path().join(format!("copy {round}"));
        let mut child = back_up(&copy);
        let moment = (before + after) / 2;
        std::thread::sleep(moment);
        // One that has ended already is as good.
        drop(child.kill());
        wait(child);
        if copy.exists() {
            (whole, after) = (whole + 1, moment);
        } else {
            (none, before) = (none + 1, moment);
            assert_eq!(code(&wait(back_up(&copy))), 0, "the next try takes up what was left");
        }
        assert!(!dir.path().join(format!("copy {round}.partial")).exists());
        let verified = run(&["verify", "--dir", text(&copy), "--json"]);
        assert_eq!(json_lines(&verified)[0]["messages"], 36, "round {round}");
    }
    println!("{whole} were whole, {none} were not there");
    bus.close().await.unwrap();
}
