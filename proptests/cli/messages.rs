//! `publish`, `send` and `subscribe`.

use std::io::{BufRead, BufReader, Write};

use crate::program::{
    code, free_address, json_lines, resolute, run, run_with_input, stderr, text, until, wait,
};

#[test]
fn lines_go_from_one_process_to_another_and_stay_subscribed_after_the_count() {
    let dir = tempfile::tempdir().unwrap();
    let (publisher, subscriber) = (dir.path().join("p"), dir.path().join("s"));
    let (publisher, subscriber) = (text(&publisher), text(&subscriber));
    let from = free_address();
    let subscribe = |count: &str| {
        let arguments = [
            "subscribe",
            "--dir",
            subscriber,
            "--bind",
            "tcp://127.0.0.1:0",
            "--from",
            &from,
            "news",
            "--count",
            count,
        ];
        resolute(&arguments).spawn().unwrap()
    };
    let reading = subscribe("3");
    let arguments =
        ["publish", "--dir", publisher, "--bind", &from, "--header", "kind=test", "--json", "news"];
    let published = run_with_input(&arguments, b"one\nzwei \xc3\xbc\n\xff\x00\n\nfive");
    let report = &json_lines(&published)[0];
    assert_eq!(
        (&report["published"], &report["routed"], &report["undelivered"]),
        (&5.into(), &5.into(), &0.into())
    );
    let read = wait(reading);
    let lines = json_lines(&read);
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["data"], &lines[1]["data"]), (&"one".into(), &"zwei ü".into()));
    assert_eq!((&lines[2]["data"], &lines[2]["encoding"]), (&"/wA=".into(), &"base64".into()));
    assert!(lines[0].get("encoding").is_none());
    assert_eq!(lines[0]["topics"], serde_json::json!(["news"]));
    assert_eq!(lines[0]["headers"], serde_json::json!({ "kind": "test" }));
    assert!(lines[0]["published_at"].as_str().unwrap().ends_with('Z'));
    assert!(stderr(&read).contains("the subscription to news") && stderr(&read).contains("stays"));
    // What was not read waits, and what was read does not come again; the publisher is not even there.
    let rest = json_lines(&wait(subscribe("2")));
    assert_eq!(rest.iter().map(|line| line["data"].as_str().unwrap()).collect::<Vec<_>>(), ["", "five"]);
    assert_eq!(rest[1]["id"], report["last_id"]);
}

#[test]
fn a_subscription_is_ended_with_the_publishers_word() {
    let dir = tempfile::tempdir().unwrap();
    let (publisher, subscriber) = (dir.path().join("p"), dir.path().join("s"));
    let (publisher, subscriber, from) = (text(&publisher), text(&subscriber), free_address());
    let common = ["subscribe", "--dir", subscriber, "--bind", "tcp://127.0.0.1:0", "--from", &from, "news"];
    let reading = resolute(&[&common[..], &["--count", "1"]].concat()).spawn().unwrap();
    assert_eq!(code(&run(&["publish", "--dir", publisher, "--bind", &from, "news", "x"])), 0);
    wait(reading);
    let ended = run(&[&common[..], &["--unsubscribe", "--deadline", "1"]].concat());
    assert_eq!(code(&ended), 6, "the publisher is away: {ended:?}");
    // A publisher that is there: it waits for a subscription to another topic, which nobody has.
    let mut waiting =
        resolute(&["publish", "--dir", publisher, "--bind", &from, "other", "x"]).spawn().unwrap();
    let ended = run(&[&common[..], &["--unsubscribe"]].concat());
    assert_eq!(code(&ended), 0, "{ended:?}");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    assert!(json_lines(&run(&["subscribers", "--dir", publisher, "--json"])).is_empty());
}

#[test]
fn what_nobody_takes_within_the_deadline_stays_and_is_code_6() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("p");
    let to = free_address();
    let arguments =
        ["send", "--dir", text(&directory), "--to", &to, "--deadline", "0", "--json", "mail.send"];
    let sent = run_with_input(&arguments, b"a\nb\n");
    assert_eq!(code(&sent), 6, "{sent:?}");
    let owed = json_lines(&run(&["outgoing", "--dir", text(&directory), "--json"]));
    assert_eq!(owed.iter().map(|line| line["data"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((&owed[1]["destination"], &owed[1]["position"]), (&to.into(), &2.into()));
    assert_eq!((&owed[1]["command"], &owed[1]["node"]), (&true.into(), &serde_json::Value::Null));
}

#[test]
fn without_subscribers_publish_waits_as_long_as_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let directory = text(dir.path()).to_owned() + "/p";
    let common = ["publish", "--dir", &directory, "--bind", "tcp://127.0.0.1:0", "news", "x"];
    let waited = run(&[&common[..], &["--wait", "0"]].concat());
    assert_eq!(code(&waited), 6, "{waited:?}");
    let at_once = run(&[&common[..], &["--subscribers", "0", "--json"]].concat());
    assert_eq!(json_lines(&at_once)[0]["unrouted"], 1);
}

#[test]
fn topics_and_addresses_that_cannot_be_are_usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    let directory = text(dir.path()).to_owned() + "/p";
    let long = "t".repeat(256);
    for (bind, topic) in [
        ("tcp://127.0.0.1:0", ""),
        ("tcp://127.0.0.1:0", &long),
        ("127.0.0.1:0", "news"),
        ("tcp://x", "news"),
    ] {
        let output = run(&["publish", "--dir", &directory, "--bind", bind, topic, "x"]);
        assert_eq!(code(&output), 2, "{bind} {topic}: {output:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
    }
    let long_line = vec![b'x'; 300_000];
    let arguments =
        ["publish", "--dir", &directory, "--bind", "tcp://127.0.0.1:0", "--subscribers", "0", "news"];
    // It ends before it has read everything, so the pipe may be closed by then.
    let mut child = resolute(&arguments).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let _: std::io::Result<()> = input.write_all(b"ok\n").and_then(|()| input.write_all(&long_line));
    drop(input);
    let output = wait(child);
    assert_eq!(code(&output), 2, "{output:?}");
    assert!(stderr(&output).contains("line 2"), "{output:?}");
}

#[test]
fn a_reader_that_goes_away_loses_nothing_and_a_signal_ends_in_good_order() {
    let dir = tempfile::tempdir().unwrap();
    let (publisher, subscriber) = (dir.path().join("p"), dir.path().join("s"));
    let (publisher, subscriber, from) = (text(&publisher), text(&subscriber), free_address());
    let common = ["subscribe", "--dir", subscriber, "--bind", "tcp://127.0.0.1:0", "--from", &from, "news"];
    // It reads one, and closes its end.
    let mut reading = resolute(&common).spawn().unwrap();
    let mut out = BufReader::new(reading.stdout.take().unwrap());
    let lines: String = (1..=3000).map(|number| format!("{number}\n")).collect();
    let publishing = std::thread::spawn({
        let (publisher, from) = (publisher.to_owned(), from.clone());
        move || {
            let arguments = ["publish", "--dir", &publisher, "--bind", &from, "--deadline", "2", "news"];
            run_with_input(&arguments, lines.as_bytes())
        }
    });
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    drop(out);
    assert!(first.contains("\"data\":\"1\""));
    let ended = wait(reading);
    assert_eq!(code(&ended), 0, "{ended:?}");
    publishing.join().unwrap();
    // Another reads the rest: all that was not handed to the first one, with nothing missing in between.
    let publishing =
        resolute(&["publish", "--dir", publisher, "--bind", &from, "news", "3001"]).spawn().unwrap();
    let mut reading = resolute(&common).spawn().unwrap();
    let mut out = BufReader::new(reading.stdout.take().unwrap());
    let mut numbers: Vec<u64> = Vec::new();
    until("all of them", || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        numbers.push(line["data"].as_str().unwrap().parse().unwrap());
        numbers.last() == Some(&3001)
    });
    assert_eq!(numbers, (numbers[0]..=3001).collect::<Vec<u64>>());
    assert_eq!(code(&wait(publishing)), 0);
    let pid = reading.id().to_string();
    std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    let ended = wait(reading);
    assert_eq!(code(&ended), 0, "{ended:?}");
    let status = json_lines(&run(&["status", "--dir", subscriber, "--json"]));
    assert_eq!((&status[0]["closed"], &status[0]["incoming"]), (&true.into(), &0.into()));
}
