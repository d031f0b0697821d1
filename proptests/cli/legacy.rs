//! `import-legacy`: what the ancestor left behind, from files that it wrote itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;

use resolute::Bus;
use serde_json::{Value, json};

use crate::program::{code, json_lines, parsed_lines, run, stderr, stdout, text};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("proptests/cli/legacy")
}

/// What the ancestor read from a file.
fn expected(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(samples().join(format!("{name}.expected.ndjson"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn take_over(from: &Path, dir: &Path, more: &[&str]) -> Output {
    run(&[&["import-legacy", text(from), "--dir", text(dir), "--json"], more].concat())
}

fn exported(dir: &Path) -> Vec<Value> {
    json_lines(&run(&["export", "--dir", text(dir)]))
}

/// A copy whose files are preallocated, as the ancestor has them.
fn preallocated(name: &str, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(samples().join(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "shulz") {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.resize((bytes.len() + 1).next_multiple_of(128 << 10), 0);
            std::fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
}

/// What the envelope of the ancestor is as a line that is exported.
fn is_the_same(line: &Value, envelope: &Value) {
    assert_eq!(line["topics"], envelope["keys"]);
    assert_eq!(line["headers"]["resolute-imported-from"], envelope["id"]);
    assert_eq!(line["headers"]["content-type"], "application/json");
    assert_eq!(serde_json::from_str::<Value>(line["data"].as_str().unwrap()).unwrap(), envelope["data"]);
    // Both as RFC 3339 has it, one with zeros at the end.
    let [here, there] =
        [&line["published_at"], &envelope["sent"]].map(|at| at.as_str().unwrap().trim_end_matches('Z'));
    assert_eq!(here, there.trim_end_matches('0').trim_end_matches('.'));
}

#[test]
fn what_a_node_owed_and_had_is_a_nodes_again_and_once() {
    let scratch = tempfile::tempdir().unwrap();
    let (web, email) = (scratch.path().join("web"), scratch.path().join("email"));
    let from = scratch.path().join("preallocated");
    preallocated("web", &from);
    std::fs::write(from.join("outgoing.shulz.lock"), "").unwrap();
    let checked = take_over(&from, &web, &["--check"]);
    assert_eq!(json_lines(&checked)[0]["imported"], 256, "{checked:?}");
    assert!(!web.exists(), "nothing was made");
    let report = take_over(&from, &web, &[]);
    assert!(stderr(&report).contains("a service was killed, or still runs"), "{report:?}");
    let said = &json_lines(&report)[0];
    assert_eq!((&said["imported"], &said["damaged"], &said["refused"]), (&256.into(), &0.into(), &0.into()));
    let command = "resolute subscribe --dir ITS_DIRECTORY --bind tcp://127.0.0.1:54321 --from ADDRESS_OF_THIS_NODE \
                   -- newsletter signup";
    let subscriber =
        json!({"address": "tcp://127.0.0.1:54321", "topics": ["newsletter", "signup"], "command": command});
    assert_eq!(said["subscriptions"], json!([subscriber]));
    let subscriptions: BTreeSet<String> =
        expected("web/subscriptions").iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(json!(subscriptions), subscriber["topics"]);
    // Owed address by address, and there in the order in which the ancestor had it.
    let owed = exported(&web);
    assert_eq!(owed.len(), 256);
    for address in ["tcp://127.0.0.1:12399", "tcp://127.0.0.1:54321"] {
        let here = owed.iter().filter(|line| line["destination"] == address);
        let there: Vec<Value> =
            expected("web/outgoing").into_iter().map(|line| line["value"].clone()).collect();
        let there: Vec<&Value> = there.iter().filter(|value| value["addresses"][0] == address).collect();
        assert_eq!(here.clone().count(), there.len());
        here.zip(there).for_each(|(line, envelope)| is_the_same(line, envelope));
    }
    let report = take_over(&samples().join("email"), &email, &[]);
    assert_eq!(json_lines(&report)[0]["imported"], 40, "{report:?}");
    let had = exported(&email);
    assert_eq!(had.len(), 40);
    for (line, there) in had.iter().zip(expected("email/incoming")) {
        assert_eq!(line["place"], "incoming");
        is_the_same(line, &there["value"]);
    }
    // Once more, and nothing comes of it; not even of what was handled meanwhile.
    assert_eq!(
        code(&run(&[
            "remove",
            "incoming",
            "--dir",
            text(&email),
            "--limit",
            "7",
            "--older-than",
            "0s",
            "--yes"
        ])),
        0
    );
    for (name, dir, count) in [("web", &web, 256), ("email", &email, 33)] {
        let said = &json_lines(&take_over(&samples().join(name), dir, &[]))[0];
        assert_eq!((&said["imported"], exported(dir).len()), (&0.into(), count), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_over_is_delivered_to_who_answers_at_the_address() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("web");
    let mailer = Bus::builder(scratch.path().join("mailer")).bind("tcp://127.0.0.1:0").open().await.unwrap();
    // The same messages, owed to an address where somebody is.
    let from = scratch.path().join("ancestor");
    std::fs::create_dir(&from).unwrap();
    let envelopes: Vec<Value> =
        expected("web/outgoing").into_iter().map(|line| line["value"].clone()).collect();
    let wanted: Vec<Value> =
        envelopes.into_iter().filter(|value| value["keys"][0] == "signup").take(20).collect();
    let entries = wanted.iter().map(|envelope| {
        let mut envelope = envelope.clone();
        envelope["addresses"] = json!([mailer.address()]);
        (envelope["id"].as_str().unwrap().to_owned(), envelope)
    });
    std::fs::write(from.join("outgoing.shulz"), shulz(entries)).unwrap();
    assert_eq!(json_lines(&take_over(&from, &dir, &[]))[0]["imported"], 20);
    let mut deliveries = mailer.deliveries(["signup"]).unwrap();
    let web = Bus::builder(&dir).bind("tcp://127.0.0.1:0").open().await.unwrap();
    for envelope in &wanted {
        let delivery = deliveries.next().await.unwrap();
        let message = delivery.envelope();
        assert_eq!(serde_json::from_slice::<Value>(message.payload()).unwrap(), envelope["data"]);
        assert_eq!(message.value_of("resolute-imported-from"), envelope["id"].as_str().map(str::as_bytes));
        delivery.done();
    }
    // Delivered, it is still not taken over again.
    assert_eq!(web.drain(std::time::Duration::from_secs(60)).await.unwrap().undelivered, 0);
    assert_eq!(code(&take_over(&from, &dir, &[])), 4, "it is open");
    web.close().await.unwrap();
    assert_eq!(json_lines(&take_over(&from, &dir, &[]))[0]["imported"], 0);
    assert_eq!(json_lines(&take_over(&from, &dir, &["--again", "--check"]))[0]["imported"], 20);
    mailer.close().await.unwrap();
}

/// A map as the ancestor writes it.
fn shulz(entries: impl IntoIterator<Item = (String, Value)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let word = |bytes: &mut Vec<u8>, number: usize| bytes.extend_from_slice(&(number as u32).to_be_bytes());
    for (key, value) in entries {
        word(&mut bytes, 1);
        for text in [key, value.to_string()] {
            word(&mut bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

#[test]
fn what_makes_no_sense_is_named_with_its_place_and_the_rest_is_taken_over() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, dir) = (scratch.path().join("ancestor"), scratch.path().join("node"));
    std::fs::create_dir(&from).unwrap();
    let mut bytes = std::fs::read(samples().join("email/incoming.shulz")).unwrap();
    // In the data of what is there: the brace that opens it.
    let id = b"\"id\":\"cmwt2os6g00rj4n7daslzza08\"";
    let at = bytes.windows(id.len()).position(|window| window == id).unwrap();
    bytes[at - 1] = b'[';
    let envelope = |id: &str, topics: Value, address: &str, data: Value| {
        (
            id.to_owned(),
            json!({"id": id, "keys": topics, "addresses": [address], "sent": "2026-11-23T09:37:57.474Z", "data": data}),
        )
    };
    let odd = [
        envelope("good", json!(["weather update"]), "tcp://127.0.0.1:9", json!("CLOUDY")),
        envelope("no-topic", json!([]), "tcp://127.0.0.1:9", json!(1)),
        envelope("no-address", json!(["t"]), "ipc:///tmp/x", json!(1)),
        envelope("large", json!(["t"]), "tcp://127.0.0.1:9", json!("x".repeat(300_000))),
        ("no-envelope".to_owned(), json!({"some": "thing"})),
        (
            "asks".to_owned(),
            json!({"id": "asks", "keys": ["_subscribe"], "addresses": "tcp://127.0.0.1:9",
            "data": {"keys": ["news"], "address": "tcp://127.0.0.1:1"}}),
        ),
    ];
    std::fs::write(from.join("outgoing.shulz"), shulz(odd)).unwrap();
    std::fs::write(from.join("incoming.shulz"), &bytes).unwrap();
    for check in [&["--check"][..], &[]] {
        let output = take_over(&from, &dir, check);
        assert_eq!(code(&output), 5, "{output:?}");
        let said = &parsed_lines(&output)[0];
        assert_eq!(
            (&said["imported"], &said["damaged"], &said["refused"]),
            (&40.into(), &1.into(), &4.into()),
            "{output:?}"
        );
        assert_eq!(said["wishes"], 1);
        let complaints = stderr(&output);
        for word in [
            "a value is no JSON",
            "incoming.shulz: offset ",
            "must not be empty",
            "tcp://",
            "no envelope",
            "245760",
        ] {
            assert!(complaints.contains(word), "{word}: {complaints}");
        }
    }
    let data: Vec<String> =
        exported(&dir).iter().map(|line| line["data"].as_str().unwrap().to_owned()).collect();
    assert!(data.contains(&"\"CLOUDY\"".to_owned()), "a text is JSON too");
    let status = &json_lines(&run(&["status", "--dir", text(&dir), "--json"]))[0];
    assert!(
        status["destinations"].to_string().contains("news"),
        "what was asked for is asked for again: {status}"
    );
    // Nothing else is anything of the ancestor's.
    assert_eq!(code(&take_over(&dir, &scratch.path().join("x"), &[])), 3);
    assert_eq!(code(&take_over(&from.join("none.seuss"), &dir, &[])), 3);
    std::fs::write(from.join("text"), "").unwrap();
    assert_eq!(code(&take_over(&from.join("text"), &dir, &[])), 2);
}

#[test]
fn a_queue_and_a_map_in_files_of_their_own_become_stores() {
    let scratch = tempfile::tempdir().unwrap();
    let (jobs, map) = (scratch.path().join("jobs"), scratch.path().join("map"));
    let file = samples().join("jobs.seuss");
    assert_eq!(json_lines(&take_over(&file, &jobs, &["--check"]))[0]["imported"], 160);
    assert!(!jobs.exists());
    let said = take_over(&file, &jobs, &[]);
    assert_eq!(json_lines(&said)[0]["imported"], 160, "{said:?}");
    let cat = |kind: &str, dir: &Path| stdout(&run(&[kind, "cat", text(dir)]));
    let there = std::fs::read_to_string(samples().join("jobs.expected.ndjson")).unwrap();
    assert_eq!(cat("queue", &jobs), there, "to the letter");
    // Some are done, and do not come again.
    assert_eq!(code(&run(&["queue", "rm", text(&jobs), "0..60", "--yes"])), 0);
    let said = take_over(&file, &jobs, &[]);
    assert_eq!(
        (&json_lines(&said)[0]["imported"], &json_lines(&said)[0]["already_there"]),
        (&0.into(), &160.into())
    );
    assert_eq!(cat("queue", &jobs).lines().count(), 100);
    assert_eq!(
        json_lines(&take_over(&samples().join("empty.seuss"), &scratch.path().join("empty"), &[]))[0]["imported"],
        0
    );
    // A map keeps what a service has made of it since.
    let file = samples().join("web/subscriptions.shulz");
    assert_eq!(json_lines(&take_over(&file, &map, &[]))[0]["imported"], 2);
    let address = r#"{"tcp://127.0.0.1:54321":true}"#;
    assert_eq!(
        cat("map", &map),
        format!(
            "{{\"key\":\"newsletter\",\"value\":{address}}}\n{{\"key\":\"signup\",\"value\":{address}}}\n"
        )
    );
    assert_eq!(code(&run(&["map", "set", text(&map), "\"signup\"", "{}"])), 0);
    assert_eq!(code(&run(&["map", "clear", text(&map), "\"newsletter\""])), 0);
    let said = &json_lines(&take_over(&file, &map, &[]))[0];
    assert_eq!((&said["imported"], &said["other_values"]), (&0.into(), &1.into()), "{said}");
    assert_eq!(cat("map", &map), "{\"key\":\"signup\",\"value\":{}}\n");
    assert_eq!(json_lines(&take_over(&file, &map, &["--again"]))[0]["imported"], 2);
    assert_eq!(cat("map", &map).lines().count(), 2);
}

#[test]
fn an_import_of_a_queue_that_was_interrupted_goes_on_where_it_was() {
    let scratch = tempfile::tempdir().unwrap();
    let (jobs, file) = (scratch.path().join("jobs"), samples().join("jobs.seuss"));
    assert_eq!(code(&take_over(&file, &jobs, &[])), 0);
    // As a process leaves it that dies before it can say that the items are there, of which the last did not come down.
    let ledger = std::fs::read_to_string(jobs.join("imported")).unwrap();
    let begun = &ledger[..ledger.rfind("done").unwrap()];
    std::fs::write(jobs.join("imported"), begun).unwrap();
    assert_eq!(code(&run(&["queue", "rm", text(&jobs), "150..", "--yes"])), 0);
    let said = take_over(&file, &jobs, &[]);
    assert_eq!(
        (&json_lines(&said)[0]["imported"], &json_lines(&said)[0]["perhaps_twice"]),
        (&10.into(), &0.into())
    );
    let there = std::fs::read_to_string(samples().join("jobs.expected.ndjson")).unwrap();
    assert_eq!(stdout(&run(&["queue", "cat", text(&jobs)])), there);
    // If a service took all of it meanwhile, nobody knows, and it is said.
    std::fs::write(jobs.join("imported"), begun).unwrap();
    assert_eq!(code(&run(&["queue", "purge", text(&jobs), "--yes"])), 0);
    let said = take_over(&file, &jobs, &[]);
    assert_eq!(json_lines(&said)[0]["perhaps_twice"], 160);
    assert!(stderr(&said).contains("may have been imported before"), "{said:?}");
}
