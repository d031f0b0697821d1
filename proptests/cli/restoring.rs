//! `restore`: what a node that is made of a backup says to those it knew, and they to it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use resolute::{Bus, Deliveries};
use serde_json::Value;

use crate::program::{code, free_address, json_lines, resolute, run, stderr, stdout, text, until, wait};

async fn open(directory: &Path, address: &str) -> Bus {
    Bus::builder(directory).bind(address).segment_bytes(8 << 20).open().await.unwrap()
}

async fn publish(bus: &Bus, topic: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let receipt = bus.publish(topic, number.to_string()).await.unwrap();
        assert_eq!(receipt.routed, 1);
    }
}

/// The next messages, and what names them.
async fn take(deliveries: &mut Deliveries, count: usize) -> (Vec<u64>, Vec<String>) {
    let (mut numbers, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let next = tokio::time::timeout(Duration::from_secs(60), deliveries.next());
        let delivery = next.await.expect("no message comes").unwrap();
        numbers.push(std::str::from_utf8(delivery.payload()).unwrap().parse().unwrap());
        ids.push(delivery.id().to_string());
        delivery.done();
    }
    (numbers, ids)
}

async fn eventually(what: &str, bus: &Bus, is_so: impl Fn(&resolute::Status) -> bool) {
    let began = Instant::now();
    while !is_so(&bus.status().await.unwrap()) {
        assert!(began.elapsed() < Duration::from_secs(60), "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn restore(from: &Path, to: &Path) -> Value {
    json_lines(&run(&["restore", text(from), "--dir", text(to), "--json"])).remove(0)
}

/// Two nodes that subscribed to each other, and a directory for all that becomes of one of them.
struct Two {
    dir: tempfile::TempDir,
    node: PathBuf,
    peer_dir: PathBuf,
    address: String,
    peer_address: String,
}

impl Two {
    fn new() -> Two {
        let dir = tempfile::tempdir().unwrap();
        let (node, peer_dir) = (dir.path().join("node"), dir.path().join("peer"));
        Two { dir, node, peer_dir, address: free_address(), peer_address: free_address() }
    }

    async fn open(&self) -> (Bus, Bus) {
        (open(&self.node, &self.address).await, open(&self.peer_dir, &self.peer_address).await)
    }

    /// Node publishes "a" to the peer, and the peer "b" to it.
    async fn meet(&self, node: &Bus, peer: &Bus) {
        node.subscribe(&self.peer_address, ["b"]).await.unwrap();
        peer.subscribe(&self.address, ["a"]).await.unwrap();
        for bus in [node, peer] {
            eventually("both subscribed", bus, |status| {
                let of = &status.destinations[0];
                of.topics.len() == 1 && of.wanted.iter().all(|wanted| wanted.confirmed)
            })
            .await;
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_restored_begins_a_new_life_and_nothing_is_passed_over_in_silence() {
    let two = Two::new();
    let (node, peer) = two.open().await;
    two.meet(&node, &peer).await;
    publish(&node, "a", 0..10).await;
    publish(&peer, "b", 0..5).await;
    let mut at_peer = peer.deliveries("a").unwrap();
    let (numbers, early) = take(&mut at_peer, 10).await;
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    eventually("the node has them", &node, |status| status.incoming == 5).await;
    // What waits for the peer is in the backup, and goes out before the node is destroyed.
    drop(at_peer);
    peer.close().await.unwrap();
    publish(&node, "a", 10..15).await;
    let backup = two.path("backup");
    assert_eq!(code(&run(&["backup", text(&backup), "--dir", text(&two.node)])), 0);
    let peer = open(&two.peer_dir, &two.peer_address).await;
    let mut at_peer = peer.deliveries("a").unwrap();
    assert_eq!(take(&mut at_peer, 5).await.0, [10, 11, 12, 13, 14]);
    publish(&node, "a", 15..20).await;
    assert_eq!(take(&mut at_peer, 3).await.0, [15, 16, 17]);
    publish(&peer, "b", 5..10).await;
    eventually("the node has these too", &node, |status| status.incoming == 10).await;
    eventually("the peer was told so", &peer, |status| status.outgoing == 0).await;
    eventually("and the node", &node, |status| status.outgoing == 0).await;
    node.close().await.unwrap();
    std::fs::rename(&two.node, two.path("original")).unwrap();

    let restored = restore(&backup, &two.node);
    assert!(!early[0].contains(restored["incarnation"].as_str().unwrap()), "{restored}");
    assert!(std::fs::metadata(two.node.join("00000000000000000001.log")).unwrap().len() > 0);
    let node = open(&two.node, &two.address).await;
    publish(&node, "a", 100..102).await;
    // What the peer had taken of the earlier life it has, what it had before is not given to it again, and no more is missing.
    let (numbers, late) = take(&mut at_peer, 4).await;
    assert_eq!(numbers, [18, 19, 100, 101]);
    assert!(late[3].contains(restored["incarnation"].as_str().unwrap()), "{late:?}");
    // What the peer was told that it need not keep is a gap here.
    publish(&peer, "b", 200..201).await;
    eventually("the node goes on behind the gap", &node, |status| status.incoming == 6).await;
    let status = node.status().await.unwrap();
    assert_eq!(status.destinations[0].lost, 5, "{status:?}");
    let mut at_node = node.deliveries("b").unwrap();
    assert_eq!(take(&mut at_node, 6).await.0, [0, 1, 2, 3, 4, 200]);
    eventually("all is said", &node, |status| status.outgoing == 0).await;
    drop(at_node);
    node.close().await.unwrap();
    let node = open(&two.node, &two.address).await;
    publish(&node, "a", 102..103).await;
    assert_eq!(take(&mut at_peer, 1).await.0, [102], "after another opening too");
    assert_eq!(node.status().await.unwrap().destinations[0].lost, 5);

    // What is left of the earlier life is refused, for good.
    let speak = |dir: &str| {
        let arguments =
            ["publish", "--dir", dir, "--bind", "tcp://127.0.0.1:0", "--deadline", "1", "-v", "a", "x"];
        run(&arguments)
    };
    for is_node_there in [true, false] {
        if !is_node_there {
            node.close().await.unwrap();
        }
        let output = speak(text(&two.path("original")));
        assert_eq!(code(&output), 6, "{output:?}");
        assert!(stderr(&output).contains("restored from a backup, and the one that speaks"), "{output:?}");
    }
    publish(&peer, "b", 201..202).await;
    let node = open(&two.node, &two.address).await;
    eventually("the one that is meant is not", &node, |status| status.incoming == 1).await;
    assert_eq!(peer.status().await.unwrap().incoming, 0);
    drop(at_peer);
    node.close().await.unwrap();
    peer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_were_restored_from_one_backup_are_not_taken_for_each_other() {
    let two = Two::new();
    let (node, peer) = two.open().await;
    two.meet(&node, &peer).await;
    publish(&node, "a", 0..3).await;
    let backup = two.path("backup");
    assert_eq!(code(&run(&["backup", text(&backup), "--dir", text(&two.node)])), 0);
    node.close().await.unwrap();
    std::fs::remove_dir_all(&two.node).unwrap();
    restore(&backup, &two.node);
    restore(&backup, &two.path("second"));
    let mut at_peer = peer.deliveries("a").unwrap();
    let node = open(&two.node, &two.address).await;
    publish(&node, "a", 10..13).await;
    assert_eq!(take(&mut at_peer, 6).await.0, [0, 1, 2, 10, 11, 12]);
    // While one of them is connected the other is none.
    let second = two.path("second");
    let arguments = ["publish", "--dir", text(&second), "--bind", "tcp://127.0.0.1:0"];
    let output = run(&[&arguments[..], &["--deadline", "1", "-v", "a", "7"]].concat());
    assert_eq!(code(&output), 6, "{output:?}");
    assert!(stderr(&output).contains("another copy of this node is connected"), "{output:?}");
    // Once it is gone, the other takes its place, with streams of its own: nothing of it is taken for something known.
    node.close().await.unwrap();
    let node = open(&second, &two.address).await;
    publish(&node, "a", 20..23).await;
    let (numbers, _) = take(&mut at_peer, 4).await;
    assert_eq!(numbers, [7, 20, 21, 22]);
    drop(at_peer);
    node.close().await.unwrap();
    peer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_is_refused_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let (node, backup, to) = (dir.path().join("node"), dir.path().join("backup"), dir.path().join("to"));
    let bus = open(&node, "tcp://127.0.0.1:0").await;
    bus.subscribe(bus.address(), ["a"]).await.unwrap();
    publish(&bus, "a", 0..20).await;
    let made = json_lines(&run(&["backup", text(&backup), "--dir", text(&node), "--json"])).remove(0);
    let refused = |from: &Path, to: &Path| run(&["restore", text(from), "--dir", text(to)]);
    let output = refused(&node, &to);
    assert_eq!(code(&output), 4, "a node has it open: {output:?}");
    bus.close().await.unwrap();
    assert_eq!(code(&refused(&dir.path().join("missing"), &to)), 3);
    assert_eq!(code(&refused(&backup, &node)), 2, "there is something already");
    // A log that nothing closed, and whose last batch is gone: it looks as if that had never been written.
    let last = backup.join("00000000000000000001.log");
    let whole = std::fs::read(&last).unwrap();
    std::fs::write(&last, &whole[..whole.len() - 4096]).unwrap();
    assert_eq!(code(&run(&["verify", "--dir", text(&backup)])), 0);
    let output = refused(&backup, &to);
    assert_eq!(code(&output), 5, "{output:?}");
    assert!(stderr(&output).contains(&format!("with record {} when", made["last_record"])), "{output:?}");
    let mut damaged = whole.clone();
    damaged[4096 + 110] ^= 1;
    std::fs::write(&last, damaged).unwrap();
    assert_eq!(code(&refused(&backup, &to)), 5);
    assert!(!to.exists() && !dir.path().join("to.partial").exists());
    std::fs::write(&last, whole).unwrap();
    let output = refused(&backup, &to);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("life of its log"), "{output:?}");
    assert_eq!(json_lines(&run(&["incoming", "--dir", text(&to), "--json"])).len(), 20);

    let (map, copy, restored) =
        (dir.path().join("map"), dir.path().join("copy"), dir.path().join("restored"));
    assert_eq!(code(&run(&["map", "set", text(&map), "\"key\"", "\"value\""])), 0);
    assert_eq!(code(&run(&["backup", text(&copy), "--dir", text(&map)])), 0);
    assert_eq!(restore(&copy, &restored)["incarnation"], Value::Null);
    assert_eq!(stdout(&run(&["map", "get", text(&restored), "\"key\""])).trim(), "\"value\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_in_the_middle_leaves_nothing_that_looks_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (node, backup) = (dir.path().join("node"), dir.path().join("backup"));
    let bus = open(&node, "tcp://127.0.0.1:0").await;
    bus.subscribe(bus.address(), ["a"]).await.unwrap();
    publish(&bus, "a", 0..50).await;
    assert_eq!(code(&run(&["backup", text(&backup), "--dir", text(&node)])), 0);
    bus.close().await.unwrap();
    let start = |to: &Path| resolute(&["restore", text(&backup), "--dir", text(to)]).spawn().unwrap();
    let began = Instant::now();
    assert_eq!(code(&wait(start(&dir.path().join("whole")))), 0);
    let takes = began.elapsed();
    let (mut whole, mut none) = (0, 0);
    for round in 1..=8 {
        let to = dir.path().join(format!("to {round}"));
        let mut child = start(&to);
        std::thread::sleep(takes * round / 8);
        // One that has ended already is as good.
        drop(child.kill());
        wait(child);
        if to.exists() {
            whole += 1;
        } else {
            none += 1;
            until("the next try takes up what was left", || code(&wait(start(&to))) == 0);
        }
        assert!(!dir.path().join(format!("to {round}.partial")).exists());
        assert_eq!(json_lines(&run(&["incoming", "--dir", text(&to), "--json"])).len(), 50, "round {round}");
    }
    println!("{whole} were whole, {none} were not there");
}
