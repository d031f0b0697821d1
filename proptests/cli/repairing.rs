//! `repair`: what becomes of a damaged log, of what lay behind the damage, and what peers are told.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use resolute::Bus;
use serde_json::Value;

use crate::program::{
    code, free_address, json_lines, parsed_lines, resolute, run, stderr, stdout, text, wait,
};
use crate::scene::{flip, node, segment};

fn repair(directory: &Path, words: &[&str]) -> (Output, Value) {
    let output = run(&[&["repair", "--dir", text(directory), "--json"], words].concat());
    let said = parsed_lines(&output).pop().unwrap_or_default();
    (output, said)
}

fn incoming(directory: &Path) -> usize {
    json_lines(&run(&["incoming", "--dir", text(directory), "--json"])).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_cut_before_the_damage_and_all_behind_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let node_dir = dir.path().join("node");
    node(&node_dir, 60).await.close().await.unwrap();
    let (output, said) = repair(&node_dir, &["--yes"]);
    assert_eq!((code(&output), &said["repaired"]), (0, &false.into()), "it is whole: {output:?}");
    let backup = dir.path().join("backup");
    assert_eq!(code(&run(&["backup", text(&backup), "--dir", text(&node_dir)])), 0);
    let at_backup = std::fs::read(segment(&backup, 1)).unwrap();
    std::fs::remove_dir_all(&backup).unwrap();
    // In the payloads of two messages, each of another segment. The first one is in what a backup has in common with it.
    let linked = dir.path().join("linked");
    std::fs::hard_link(segment(&node_dir, 1), &linked).unwrap();
    flip(&segment(&node_dir, 1), 1_100_000);
    flip(&segment(&node_dir, 2), 500_000);
    let damaged = std::fs::read(segment(&node_dir, 1)).unwrap();
    assert!(damaged != at_backup);
    assert!(Bus::builder(&node_dir).open().await.is_err());

    let (output, shown) = repair(&node_dir, &[]);
    assert_eq!((code(&output), &shown["repaired"]), (2, &false.into()), "{output:?}");
    assert!(stderr(&output).contains("repeat it with --yes"), "{output:?}");
    assert!(!node_dir.join("quarantine").exists() && std::fs::read(&linked).unwrap() == damaged);
    let table = run(&["repair", "--dir", text(&node_dir)]);
    assert!(stdout(&table).contains("cut at") && stdout(&table).contains("segment 1, offset"), "{table:?}");

    let (output, said) = repair(&node_dir, &["--yes"]);
    assert_eq!((code(&output), &said["repaired"]), (0, &true.into()), "{output:?}");
    assert_eq!(said["damage"], shown["damage"]);
    assert_eq!((said["damage"].as_array().unwrap().len(), &said["segment"]), (2, &1.into()), "{said}");
    let kept = incoming(&node_dir);
    let readable = said["readable_messages"].as_u64().unwrap() as usize;
    assert!(kept > 0 && kept + readable == 58, "{kept} and {readable} of 60, of which two are damaged");
    assert!(std::fs::read(&linked).unwrap() == damaged, "what has two names is not written to");

    let quarantine = node_dir.join("quarantine/1");
    assert_eq!(said["kept_in"], text(&quarantine));
    assert!(std::fs::read(segment(&quarantine, 1)).unwrap() == damaged, "as it was found");
    let report: Value =
        serde_json::from_slice(&std::fs::read(quarantine.join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["first_record"], &report["segment"]), (&said["first_record"], &1.into()), "{report}");
    let salvaged = run(&["salvage", "--dir", text(&quarantine), "--json"]);
    let first = said["first_record"].as_u64().unwrap();
    let found = parsed_lines(&salvaged).into_iter();
    let behind = found.filter(|line| line["record"].as_u64().is_some_and(|record| record >= first)).count();
    assert_eq!((code(&salvaged), behind), (5, readable), "all of it can be had");

    assert_eq!(json_lines(&run(&["verify", "--dir", text(&node_dir), "--json"]))[0]["soundness"], "clean");
    let bus = Bus::builder(&node_dir).bind("tcp://127.0.0.1:0").open().await.unwrap();
    let receipt = bus.publish("a", "the node goes on").await.unwrap();
    assert_eq!(receipt.routed, 1);
    let mut deliveries = bus.deliveries("a").unwrap();
    for number in 0..kept as u32 {
        let delivery = deliveries.next().await.unwrap();
        assert_eq!(delivery.payload()[..4], number.to_le_bytes());
        delivery.done();
    }
    let last = deliveries.next().await.unwrap();
    assert_eq!(last.payload(), b"the node goes on");
    last.done();
    drop(deliveries);
    bus.close().await.unwrap();
}

// The log is cut where a segment begins, and goes on in the one before, which a backup had in common with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_stays_as_it_is_where_the_log_goes_on_in_a_segment_that_it_has_too() {
    let dir = tempfile::tempdir().unwrap();
    let (node_dir, backup) = (dir.path().join("node"), dir.path().join("backup"));
    node(&node_dir, 60).await.close().await.unwrap();
    assert_eq!(code(&run(&["backup", text(&backup), "--dir", text(&node_dir)])), 0);
    let content = |number| std::fs::read(segment(&backup, number)).unwrap();
    let (first, second) = (content(1), content(2));
    // Its own file, for a backup has only one name for what is still written to.
    flip(&segment(&node_dir, 2), 40);
    let (output, said) = repair(&node_dir, &["--yes"]);
    assert_eq!((code(&output), &said["segment"], &said["offset"]), (0, &2.into(), &0.into()), "{said}");
    let bus = Bus::builder(&node_dir).segment_bytes(8 << 20).open().await.unwrap();
    bus.publish("a", "it goes on").await.unwrap();
    bus.close().await.unwrap();
    assert!(content(1) == first, "what has two names is not written to");
    assert_eq!(content(2).len(), second.len());
    // Without its head a backup is none, though each segment of it would do as one.
    std::fs::remove_file(segment(&backup, 1)).unwrap();
    let output = run(&["restore", text(&backup), "--dir", text(&dir.path().join("restored"))]);
    assert_eq!(code(&output), 5, "{output:?}");
    assert!(stderr(&output).contains("began with segment 1"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_repair_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let node_dir = dir.path().join("node");
    node(&node_dir, 60).await.close().await.unwrap();
    let bus = Bus::builder(&node_dir).bind("tcp://127.0.0.1:0").open().await.unwrap();
    assert_eq!(code(&run(&["repair", "--dir", text(&node_dir), "--yes"])), 4, "it is open");
    bus.close().await.unwrap();
    assert_eq!(code(&run(&["repair", "--dir", text(&dir.path().join("missing")), "--yes"])), 3);
    // The first record of all, without which nobody knows whose log it is.
    flip(&segment(&node_dir, 1), 130);
    let (output, _) = repair(&node_dir, &["--yes"]);
    assert_eq!(code(&output), 5, "{output:?}");
    assert!(stderr(&output).contains("nothing would be left of the node"), "{output:?}");
    assert!(!node_dir.join("quarantine").exists() && !node_dir.join("repairing").exists());
    let map = dir.path().join("map");
    assert_eq!(code(&run(&["map", "set", text(&map), "\"key\"", "\"value\""])), 0);
    assert_eq!(code(&run(&["repair", "--dir", text(&map), "--yes"])), 2, "a map is no node");
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_learn_what_a_repair_took() {
    let dir = tempfile::tempdir().unwrap();
    let (node_dir, peer_dir) = (dir.path().join("node"), dir.path().join("peer"));
    let (address, peer_address) = (free_address(), free_address());
    let open = async |dir: &Path, address: &str| Bus::builder(dir).bind(address).open().await.unwrap();
    let eventually = async |what: &str, bus: &Bus, is_so: &dyn Fn(&resolute::Status) -> bool| {
        let began = Instant::now();
        while !is_so(&bus.status().await.unwrap()) {
            assert!(began.elapsed() < Duration::from_secs(60), "waited too long: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (node, peer) = (open(&node_dir, &address).await, open(&peer_dir, &peer_address).await);
    node.subscribe(&peer_address, ["b"]).await.unwrap();
    peer.subscribe(&address, ["a"]).await.unwrap();
    let subscribed = |status: &resolute::Status| {
        let of = &status.destinations[0];
        of.topics.len() == 1 && of.wanted.iter().all(|wanted| wanted.confirmed)
    };
    eventually("the peer subscribed", &node, &subscribed).await;
    eventually("the node subscribed", &peer, &subscribed).await;
    for number in 0..10_u64 {
        peer.publish("b", format!("from the peer {number}")).await.unwrap();
        eventually("it is there", &node, &|status| status.incoming == number + 1).await;
        node.publish("a", format!("from the node {number}")).await.unwrap();
        eventually("and the other", &peer, &|status| status.incoming == number + 1).await;
        eventually("the node knows", &node, &|status| status.outgoing == 0).await;
        eventually("the peer knows", &peer, &|status| status.outgoing == 0).await;
    }
    node.close().await.unwrap();
    let log = std::fs::read(segment(&node_dir, 1)).unwrap();
    let sixth = log.windows(15).position(|window| window == b"from the peer 6").unwrap();
    flip(&segment(&node_dir, 1), sixth as u64);
    let (output, said) = repair(&node_dir, &["--yes"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(said["damage"][0]["lost"].as_array().unwrap().len(), 1, "{said}");

    let node = open(&node_dir, &address).await;
    assert_eq!(node.publish("a", "from the node again").await.unwrap().routed, 1);
    eventually("it has a stream of its own", &peer, &|status| status.incoming == 11).await;
    peer.publish("b", "from the peer again").await.unwrap();
    eventually("what went on is there", &node, &|status| status.incoming == 7).await;
    let status = node.status().await.unwrap();
    assert_eq!(status.destinations[0].lost, 4, "of ten that it had acknowledged: {status:?}");
    node.close().await.unwrap();
    peer.close().await.unwrap();
    let at_peer = json_lines(&run(&["incoming", "--dir", text(&peer_dir), "--json"]));
    let at_peer: Vec<&str> = at_peer.iter().map(|line| line["data"].as_str().unwrap()).collect();
    let mut expected: Vec<String> = (0..10).map(|number| format!("from the node {number}")).collect();
    expected.push("from the node again".to_owned());
    assert_eq!(at_peer, expected, "nothing twice, and nothing passed over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_killed_in_the_middle_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    node(&original, 45).await.close().await.unwrap();
    flip(&segment(&original, 1), 1_100_000);
    let copy = |name: &str| {
        let to = dir.path().join(name);
        std::fs::create_dir(&to).unwrap();
        for number in 1..=2 {
            std::fs::copy(segment(&original, number), segment(&to, number)).unwrap();
        }
        to
    };
    let start = |of: &Path| resolute(&["repair", "--yes", "--dir", text(of)]).spawn().unwrap();
    let whole = copy("whole");
    let began = Instant::now();
    assert_eq!(code(&wait(start(&whole))), 0);
    let (takes, expected) = (began.elapsed(), incoming(&whole));
    let (mut untouched, mut begun, mut done) = (0, 0, 0);
    for round in 1..=8 {
        let one = copy(&round.to_string());
        let mut child = start(&one);
        std::thread::sleep(takes * round / 8);
        // One that has ended already is as good.
        drop(child.kill());
        wait(child);
        let is_pending = one.join("repairing").exists();
        let opened = Bus::builder(&one).bind("tcp://127.0.0.1:0").open().await;
        match (&opened, is_pending) {
            (Ok(_), false) => done += 1,
            (Err(error), true) => {
                begun += 1;
                let cause = std::error::Error::source(error).unwrap().to_string();
                assert!(cause.contains("repair"), "{cause}");
            }
            (Err(_), false) => untouched += 1,
            (Ok(_), true) => panic!("a node is opened on half a repair"),
        }
        if let Ok(bus) = opened {
            bus.close().await.unwrap();
        }
        assert_eq!(code(&wait(start(&one))), 0, "round {round}");
        assert_eq!(incoming(&one), expected, "round {round}");
        assert!(!one.join("repairing").exists());
        let kept = std::fs::read_dir(one.join("quarantine")).unwrap().count();
        assert_eq!(kept, 1, "it is set aside once");
        std::fs::remove_dir_all(one).unwrap();
    }
    println!("{untouched} were as before, {begun} half done, {done} done");
}
