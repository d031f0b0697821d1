//! `pause`, `resume`, `forget` and `subscriptions`, from the command line, whether or not the node is open.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use resolute::Bus;
use serde_json::Value;

use crate::program::{code, json_lines, run, stderr, stdout, text};

fn with(words: &[&str], dir: &Path) -> Output {
    run(&[words, &["--dir", text(dir)]].concat())
}

fn peer(dir: &Path) -> Value {
    json_lines(&with(&["status", "--json"], dir))[0]["destinations"][0].clone()
}

async fn open(directory: &Path) -> Bus {
    Bus::builder(directory).bind("tcp://127.0.0.1:0").open().await.unwrap()
}

/// A node that is not to be open meanwhile is closed first, and opened again where it was: the command opens it, alone.
async fn command(bus: &mut Bus, is_open: bool, directory: &Path, words: &[&str]) -> Output {
    if is_open {
        return with(words, directory);
    }
    let address = bus.address().to_owned();
    bus.close().await.unwrap();
    let output = with(words, directory);
    *bus = Bus::builder(directory).bind(address).open().await.unwrap();
    output
}

async fn has_incoming(bus: &Bus, count: u64) {
    for _ in 0..4_000 {
        if bus.status().await.unwrap().incoming == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{count} messages did not come: {:?}", bus.status().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_paused_resumed_and_forgotten() {
    for is_open in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("shop");
        let mut shop = open(&dir).await;
        let address = shop.address().to_owned();
        let email = open(&directory.path().join("email")).await;
        email.subscribe(&address, ["a"]).await.unwrap().confirmed().await.unwrap();
        let name = email.address().to_owned();
        let node = peer(&dir)["node"].as_str().unwrap().to_owned();

        let paused = command(&mut shop, is_open, &dir, &["pause", &name]).await;
        assert_eq!((code(&paused), stdout(&paused)), (0, format!("{name} is paused\n")), "{paused:?}");
        assert_eq!(peer(&dir)["paused"], true);
        assert!(stdout(&with(&["status"], &dir)).contains("paused"));
        for number in 0..3_u8 {
            shop.publish("a", vec![number]).await.unwrap();
        }
        // Others would have theirs long before.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(email.status().await.unwrap().incoming, 0, "open: {is_open}");
        assert_eq!(peer(&dir)["owed"], 3);

        let resumed = command(&mut shop, is_open, &dir, &["resume", &node, "--json"]).await;
        assert_eq!((code(&resumed), &json_lines(&resumed)[0]["resumed"]), (0, &node.as_str().into()));
        has_incoming(&email, 3).await;

        assert_eq!(
            code(&command(&mut shop, is_open, &dir, &["pause", "tcp://127.0.0.1:9"]).await),
            3,
            "nobody knows of it"
        );
        assert_eq!(code(&command(&mut shop, is_open, &dir, &["forget", "nobody", "--yes"]).await), 3);
        let long = "x".repeat(70_000);
        assert_eq!(code(&command(&mut shop, is_open, &dir, &["pause", &long]).await), 3, "open: {is_open}");
        let shown = command(&mut shop, is_open, &dir, &["forget", &name]).await;
        assert_eq!(code(&shown), 2, "{shown:?}");
        assert!(stderr(&shown).contains("1 subscription") && stderr(&shown).contains("--yes"), "{shown:?}");
        assert_eq!(peer(&dir)["node"], node.as_str(), "it is still there");
        email.close().await.unwrap();
        let forgotten = command(&mut shop, is_open, &dir, &["forget", &name, "--yes"]).await;
        assert_eq!(code(&forgotten), 0, "{forgotten:?}");
        assert_eq!(peer(&dir), Value::Null);
        let changes = json_lines(&with(&["changes", "--json"], &dir));
        let said: Vec<_> = changes.iter().map(|change| (&change["what"], &change["peer"])).collect();
        let [name, node] = [name, node].map(Value::from);
        let what = ["paused", "resumed", "forgotten"].map(Value::from);
        assert_eq!(said, [(&what[0], &name), (&what[1], &node), (&what[2], &name)]);
        assert!(changes.iter().all(|change| change["who"].as_str().unwrap().contains("process ")));
        assert!(stdout(&with(&["changes"], &dir)).contains("forgotten"));
        shop.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_is_limited() {
    for is_open in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("shop");
        let mut shop = open(&dir).await;
        let email = open(&directory.path().join("email")).await;
        email.subscribe(shop.address(), ["a"]).await.unwrap().confirmed().await.unwrap();
        let name = email.address().to_owned();
        email.close().await.unwrap();
        let name = name.as_str();
        let own = |words: &[&'static str]| [&["limit", name], words].concat();
        for (words, expected) in [
            (
                vec!["--backlog-bytes", "4194304", "--at-limit", "park"],
                (4_194_304.into(), "park".into(), Value::Null),
            ),
            (vec!["--lease", "2h"], (4_194_304.into(), "park".into(), 7_200.0.into())),
            (vec!["--at-limit", "evict"], (4_194_304.into(), "evict".into(), 7_200.0.into())),
            (vec!["--reset", "--lease", "30d"], (Value::Null, Value::Null, 2_592_000.0.into())),
            (vec!["--no-lease"], (Value::Null, Value::Null, 0.0.into())),
            (vec!["--reset"], (Value::Null, Value::Null, Value::Null)),
        ] {
            let output = command(&mut shop, is_open, &dir, &own(&words)).await;
            assert_eq!((code(&output), stdout(&output)), (0, format!("{name} is limited\n")), "{output:?}");
            let quota = peer(&dir)["quota"].clone();
            let found =
                (quota["backlog_bytes"].clone(), quota["at_limit"].clone(), quota["lease_seconds"].clone());
            assert_eq!(found, expected, "{words:?}");
        }
        for (words, why) in [
            (vec![], "required"),
            (vec!["--backlog-bytes", "4194303"], "4194304"),
            (vec!["--at-limit", "drop"], "refuse, park or evict"),
        ] {
            let output = command(&mut shop, is_open, &dir, &own(&words)).await;
            assert!(code(&output) != 0 && stderr(&output).contains(why), "{words:?}: {output:?}");
        }
        // With what its program opens it nobody knows of a node that is not open.
        if is_open {
            let output = with(&own(&["--at-limit", "evict"]), &dir);
            assert!(code(&output) != 0 && stderr(&output).contains("it has none"), "{output:?}");
        }
        assert_eq!(code(&command(&mut shop, is_open, &dir, &["limit", "nobody", "--no-lease"]).await), 3);

        // It is never seen again.
        shop.publish("a", "1").await.unwrap();
        let output = command(&mut shop, is_open, &dir, &own(&["--lease", "1s"])).await;
        assert_eq!(code(&output), 0);
        let mut changes = Vec::new();
        let is_evicted = |changes: &[Value]| changes.iter().any(|change| change["what"] == "evicted");
        for _ in 0..400 {
            changes = json_lines(&with(&["changes", "--json"], &dir));
            if is_evicted(&changes) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(is_evicted(&changes), "open: {is_open}: {changes:?}, {:?}", shop.status().await);
        assert_eq!(shop.status().await.unwrap().outgoing, 0);
        let last = changes.iter().rfind(|change| change["what"] == "evicted").unwrap();
        assert_eq!((&last["peer"], &last["who"]), (&name.into(), &"the node: its lease is over".into()));
        assert_eq!(changes.iter().filter(|change| change["what"] == "limited").count(), 7);
        assert_eq!(peer(&dir)["topics"], Value::Array(Vec::new()));
        shop.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_subscribed_without_its_program() {
    for is_open in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("email");
        let mut email = open(&dir).await;
        let shop = open(&directory.path().join("shop")).await;
        let address = shop.address();
        if !is_open {
            email.close().await.unwrap();
        }
        let added = with(&["subscriptions", "add", address, "a", "b"], &dir);
        assert_eq!((code(&added), stdout(&added)), (0, format!("subscribed: {address}\n")), "{added:?}");
        assert_eq!(code(&with(&["subscriptions", "add", "nowhere", "a"], &dir)), 2, "that is no address");
        if !is_open {
            let listed = json_lines(&with(&["subscriptions", "list", "--json"], &dir));
            let wish = |line: &Value| (line["topic"].clone(), line["confirmed"].clone());
            let expected = [("a".into(), false.into()), ("b".into(), false.into())];
            assert_eq!(listed.iter().map(wish).collect::<Vec<_>>(), expected);
            email = open(&dir).await;
        }
        shop.subscribers("b", 1).await.unwrap();
        shop.publish("a", "one").await.unwrap();
        has_incoming(&email, 1).await;
        let removed = with(&["subscriptions", "remove", address, "a", "--json"], &dir);
        assert_eq!((code(&removed), &json_lines(&removed)[0]["unsubscribed"]), (0, &address.into()));
        let listed = stdout(&with(&["subscriptions", "list"], &dir));
        assert!(listed.contains("1 in all") && listed.contains(" b "), "{listed}");
        let changes = json_lines(&with(&["changes", "--json"], &dir));
        let said: Vec<_> = changes.iter().map(|change| (&change["what"], &change["topics"])).collect();
        let (both, one) = (Value::from(vec!["a", "b"]), Value::from(vec!["a"]));
        assert_eq!(said, [(&"subscribed".into(), &both), (&"unsubscribed".into(), &one)]);
        email.close().await.unwrap();
        shop.close().await.unwrap();
    }
}
