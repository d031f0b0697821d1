//! `status`, the lists and `unlock`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::SystemTime;

use resolute::{Bus, Envelope, Retry};

use crate::program::{
    code, json_lines, parsed_lines, resolute, run, run_with_input, stderr, stdout, text, until, wait,
};
use crate::scene::serve_until;

const COMMANDS: [&str; 7] =
    ["status", "keys", "subscribers", "incoming", "outgoing", "parked", "dead-letters"];

/// Everything about a directory that reading must leave as it is.
fn fingerprint(directory: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let own = std::fs::metadata(directory).unwrap().modified().unwrap();
    found.insert(".".to_owned(), (Vec::new(), own));
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        found.insert(
            path.display().to_string(),
            (content, std::fs::metadata(&path).unwrap().modified().unwrap()),
        );
    }
    found
}

/// A node with something of everything: of its own topics one message parked, one dead, two waiting, and one owed.
async fn busy_node(directory: &Path) {
    open_busy_node(directory).await.close().await.unwrap();
}

async fn open_busy_node(directory: &Path) -> Bus {
    let fails = |_: Envelope| async { Err::<(), _>("it is broken") };
    let retry = Retry { attempts_max: 1, ..Retry::default() };
    let bus =
        Bus::builder(directory).bind("tcp://127.0.0.1:0").retry(retry).every_named("breaker", "bad", fails);
    let bus = bus.open().await.unwrap();
    let own = bus.address().to_owned();
    bus.subscribe(&own, ["bad", "odd", "later"]).await.unwrap();
    bus.publish("bad", "dead").await.unwrap();
    bus.publish("odd", "parked").await.unwrap();
    bus.send("tcp://127.0.0.1:9", "mail", "owed").await.unwrap();
    serve_until(&bus, 1, 1).await;
    bus.publish("later", "first").await.unwrap();
    bus.publish("later", "second").await.unwrap();
    bus
}

#[tokio::test]
async fn every_list_shows_its_own_and_reading_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node");
    busy_node(&path).await;
    let before = fingerprint(&path);
    let list = |command: &str| json_lines(&run(&[command, "--dir", text(&path), "--json"]));
    let data = |command: &str| -> Vec<String> {
        list(command).iter().map(|line| line["data"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(data("incoming"), ["first", "second"]);
    assert_eq!(data("parked"), ["parked"]);
    assert_eq!(data("outgoing"), ["owed"]);
    let dead = &list("dead-letters")[0];
    assert_eq!((&dead["data"], &dead["handler"]), (&"dead".into(), &"breaker".into()));
    assert_eq!((&dead["attempts"], &dead["reason"]), (&1.into(), &"it is broken".into()));
    let topics: Vec<String> =
        list("subscribers").iter().map(|line| line["topic"].as_str().unwrap().to_owned()).collect();
    assert_eq!(topics, ["bad", "later", "odd"]);
    let places: Vec<String> =
        list("keys").iter().map(|line| line["places"][0].as_str().unwrap().to_owned()).collect();
    assert_eq!(places, ["dead", "parked", "outgoing", "incoming", "incoming"]);
    let status = &list("status")[0];
    for (key, count) in [("incoming", 2), ("parked", 1), ("dead_letters", 1), ("outgoing", 1)] {
        assert_eq!(status[key], count, "{key}");
    }
    assert_eq!((&status["closed"], &status["recovery"]), (&true.into(), &"closed cleanly".into()));
    for command in COMMANDS {
        let table = run(&[command, "--dir", text(&path)]);
        assert_eq!(code(&table), 0, "{table:?}");
        assert!(!stdout(&table).is_empty());
    }
    assert_eq!(code(&run(&["unlock", "--dir", text(&path)])), 0);
    assert!(before == fingerprint(&path), "reading has changed the directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_open_is_looked_at_with_the_same_commands() {
    let dir = tempfile::tempdir().unwrap();
    // Longer than the path of a socket may be.
    let path = dir.path().join("long".repeat(30)).join("node");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let bus = open_busy_node(&path).await;
    let mode = std::fs::metadata(path.join("control")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the socket is its owner's alone");
    let lists =
        || COMMANDS[1..].iter().map(|command| json_lines(&run(&[command, "--dir", text(&path), "--json"])));
    let live: Vec<_> = lists().collect();
    assert!(live.iter().all(|lines| !lines.is_empty()), "{live:?}");
    let status = &json_lines(&run(&["status", "--dir", text(&path), "--json"]))[0];
    for (key, count) in [("incoming", 2), ("parked", 1), ("dead_letters", 1), ("outgoing", 1)] {
        assert_eq!(status[key], count, "{key}");
    }
    assert_eq!((&status["running"], &status["closed"]), (&true.into(), &serde_json::Value::Null));
    assert!(stdout(&run(&["status", "--dir", text(&path)])).contains("open; it was found"));
    bus.close().await.unwrap();
    assert!(!path.join("control").exists(), "a node that is closed has no socket");
    assert_eq!(lists().collect::<Vec<_>>(), live, "closed, it has the same");
    assert_eq!(json_lines(&run(&["status", "--dir", text(&path), "--json"]))[0]["running"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_alike_whether_or_not_the_node_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node");
    let bus = open_busy_node(&path).await;
    let own = bus.address().to_owned();
    bus.subscribe(&own, ["many"]).await.unwrap();
    for number in 0..700 {
        drop(bus.publish_nowait(["many", "all"][number % 2], number.to_string()).await);
    }
    bus.publish("many", "last").await.unwrap();
    let data = |arguments: &[&str]| -> Vec<String> {
        let output = run(&[&["incoming", "--dir", text(&path), "--json"], arguments].concat());
        json_lines(&output).iter().map(|line| line["data"].as_str().unwrap().to_owned()).collect()
    };
    let id = {
        let line = &json_lines(&run(&["parked", "--dir", text(&path), "--json"]))[0];
        line["id"].as_str().unwrap().to_owned()
    };
    let look = || {
        let many = data(&["--topic", "many"]);
        assert_eq!((many.len(), many[350].as_str()), (351, "last"));
        assert_eq!(data(&["--topic", "many", "--limit", "3"]), ["0", "2", "4"]);
        assert_eq!(data(&["--topic", "later", "--topic", "many", "--limit", "3"]), ["first", "second", "0"]);
        assert_eq!(data(&["--limit", "0"]), [""; 0]);
        assert_eq!(data(&["--older-than", "1d"]), [""; 0]);
        assert_eq!(data(&["--older-than", "0s"]).len(), 353);
        assert_eq!(data(&["--id", &id]), [""; 0], "it is elsewhere");
        let key = &json_lines(&run(&["keys", "--dir", text(&path), "--json", "--id", &id]))[0];
        assert_eq!(key["places"][0], "parked");
        let of = |arguments: &[&str]| {
            json_lines(&run(&[&["subscribers", "--dir", text(&path), "--json"], arguments].concat())).len()
        };
        assert_eq!(
            (of(&[]), of(&["--topic", "bad"]), of(&["--topic", "no"]), of(&["--limit", "2"])),
            (4, 1, 0, 2)
        );
    };
    look();
    bus.close().await.unwrap();
    look();
    for wrong in [["--id", "x"], ["--older-than", "1"], ["--limit", "-1"]] {
        let output = run(&[&["keys", "--dir", text(&path)], &wrong[..]].concat());
        assert_eq!(code(&output), 2, "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_watched_as_they_pass_until_the_node_closes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node");
    let bus = open_busy_node(&path).await;
    let tail = |arguments: &[&str]| {
        let mut command = resolute(&[&["tail", "--dir", text(&path)], arguments].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let some = wait(tail(&["later", "odd", "--from-start", "--count", "2"]));
    assert_eq!(code(&some), 0, "{some:?}");
    let lines: Vec<String> = stdout(&some).lines().map(str::to_owned).collect();
    assert!(lines[0].ends_with("  odd  parked") && lines[1].ends_with("  later  first"), "{lines:?}");
    let mut all = tail(&["--from-start", "--json"]);
    let mut out = BufReader::new(all.stdout.take().unwrap()).lines();
    let first = out.next().unwrap().unwrap();
    bus.publish("later", "third").await.unwrap();
    bus.close().await.unwrap();
    let rest: Vec<String> = std::iter::once(first).chain(out.map(Result::unwrap)).collect();
    let all = all.wait_with_output().unwrap();
    assert_eq!(code(&all), 0, "{all:?}");
    for (line, data) in rest.iter().zip(["dead", "parked", "owed", "first", "second"]) {
        assert!(line.contains(&format!("\"data\":\"{data}\"")), "{rest:?}");
    }
    assert!(rest.len() >= 5, "{rest:?}");
    assert!(stderr(&all).contains("the node was closed"), "{all:?}");
    let closed = wait(tail(&[]));
    assert_eq!(code(&closed), 1, "{closed:?}");
    assert!(stderr(&closed).contains("no process has the node"), "{closed:?}");
    assert_eq!(
        json_lines(&run(&["incoming", "--dir", text(&path), "--json"])).len(),
        3,
        "nothing was consumed"
    );
}

#[tokio::test]
async fn a_torn_tail_is_reported_and_left_and_damage_is_code_5() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node");
    busy_node(&path).await;
    let segment = path.join("00000000000000000001.log");
    let whole = std::fs::read(&segment).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut torn = whole.clone();
    torn[end] ^= 1;
    std::fs::write(&segment, &torn).unwrap();
    let before = fingerprint(&path);
    let status = &json_lines(&run(&["status", "--dir", text(&path), "--json"]))[0];
    assert_eq!(status["torn"]["segment"], 1);
    assert!(status["torn"]["offset"].as_u64().unwrap() <= end as u64);
    assert!(stdout(&run(&["status", "--dir", text(&path)])).contains("torn"));
    assert!(before == fingerprint(&path));
    let mut damaged = whole;
    damaged[200] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();
    for command in COMMANDS {
        let output = run(&[command, "--dir", text(&path)]);
        assert_eq!(code(&output), 5, "{command}: {output:?}");
        assert!(stderr(&output).contains("offset 0"), "{output:?}");
    }
    let output = run(&["publish", "--dir", text(&path), "--bind", "tcp://127.0.0.1:0", "t", "x"]);
    assert_eq!(code(&output), 5, "{output:?}");
}

#[tokio::test]
async fn what_is_left_of_a_damaged_log_is_listed_beside_what_is_lost_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node");
    busy_node(&path).await;
    let arguments = ["salvage", "--dir", text(&path)];
    let whole = run(&[&arguments[..], &["--json"]].concat());
    assert_eq!(code(&whole), 0, "{whole:?}");
    let data = |output| {
        let mut data: Vec<_> =
            parsed_lines(output).iter().filter_map(|line| line["data"].as_str().map(str::to_owned)).collect();
        data.sort();
        data
    };
    assert_eq!(data(&whole), ["dead", "first", "owed", "parked", "second"]);
    let segment = path.join("00000000000000000001.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(5).position(|window| window == b"first").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let before = fingerprint(&path);
    let damaged = run(&[&arguments[..], &["--json"]].concat());
    assert_eq!(code(&damaged), 5, "{damaged:?}");
    assert_eq!(data(&damaged), ["dead", "owed", "parked", "second"]);
    let lines = parsed_lines(&damaged);
    let named: Vec<_> = lines.iter().filter(|line| line["damage"].is_string()).collect();
    assert_eq!((named.len(), &named[0]["segment"]), (1, &1.into()));
    assert_eq!(named[0]["lost"][0]["first"], named[0]["lost"][0]["last"]);
    let table = run(&arguments);
    assert_eq!(code(&table), 5, "{table:?}");
    assert!(stdout(&table).contains("second") && !stdout(&table).contains("first"), "{table:?}");
    assert!(stderr(&table).contains("segment 1, offset") && stderr(&table).contains("is lost"), "{table:?}");
    assert!(before == fingerprint(&path), "reading has changed the directory");
}

#[tokio::test]
async fn a_directory_in_use_is_refused_with_the_pid_and_free_when_the_process_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node");
    let mut live = resolute(&["publish", "--dir", text(&path), "--bind", "tcp://127.0.0.1:0", "t", "x"])
        .spawn()
        .unwrap();
    let pid = format!("process {}", live.id());
    until("the node has the lock", || code(&run(&["unlock", "--dir", text(&path)])) == 4);
    let control = path.join("control");
    until("the node has a control socket", || control.exists());
    for command in COMMANDS {
        let output = run(&[command, "--dir", text(&path)]);
        assert_eq!(code(&output), 0, "{command}: {output:?}");
    }
    // Without it nobody can ask: that is the error, and not what the log says of a moment ago.
    std::fs::remove_file(&control).unwrap();
    for command in COMMANDS.into_iter().chain(["unlock", "salvage"]) {
        let output = run(&[command, "--dir", text(&path)]);
        assert_eq!(code(&output), 4, "{command}: {output:?}");
        assert!(stderr(&output).contains(&pid), "{output:?}");
    }
    let second = run(&["publish", "--dir", text(&path), "--bind", "tcp://127.0.0.1:0", "t", "x"]);
    assert_eq!(code(&second), 4, "{second:?}");
    assert!(stderr(&second).contains(&pid), "{second:?}");
    live.kill().unwrap();
    live.wait().unwrap();
    let unlocked = run(&["unlock", "--dir", text(&path)]);
    assert_eq!(code(&unlocked), 0, "{unlocked:?}");
    assert!(stdout(&unlocked).contains("nothing to do"), "{unlocked:?}");
}

#[test]
fn what_is_no_data_directory_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let (missing, file) = (dir.path().join("missing"), dir.path().join("file"));
    std::fs::write(&file, "x").unwrap();
    for command in COMMANDS.into_iter().chain(["salvage"]) {
        assert_eq!(code(&run(&[command, "--dir", text(&missing)])), 3);
        assert_eq!(code(&run(&[command, "--dir", text(dir.path())])), 3);
        assert_eq!(code(&run(&[command, "--dir", text(&file)])), 1);
    }
    assert!(!missing.exists(), "looking makes no directory");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_long_list_may_be_left_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node");
    let lines: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    run_with_input(
        &["send", "--dir", text(&path), "--to", "tcp://127.0.0.1:9", "--deadline", "0", "t"],
        lines.as_bytes(),
    );
    for arguments in [&["keys", "--json"][..], &["outgoing"], &["outgoing", "--json"]] {
        let mut child = resolute(&[arguments, &["--dir", text(&path)]].concat()).spawn().unwrap();
        drop(child.stdout.take());
        let output = crate::program::wait(child);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{arguments:?}");
    }
    assert_eq!(json_lines(&run_to_file(&path, dir.path())).len(), 20_000);
}

/// The keys of a node, through a file: a pipe that is read at the end would fill up.
fn run_to_file(path: &Path, base: &Path) -> std::process::Output {
    let target = base.join("keys");
    let file = std::fs::File::create(&target).unwrap();
    let child = resolute(&["keys", "--json", "--dir", text(path)]).stdout(file).spawn().unwrap();
    let mut output = crate::program::wait(child);
    output.stdout = std::fs::read(&target).unwrap();
    output
}
