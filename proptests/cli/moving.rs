//! `export` and `import`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use resolute::{Bus, Envelope, Message, Retry};
use serde_json::{Value, json};

use crate::program::{
    code, json_lines, parsed_lines, resolute, run, run_with_input, stderr, text, until, wait,
};
use crate::scene::serve_until;

fn export(dir: &Path, more: &[&str]) -> Vec<Value> {
    json_lines(&run(&[&["export", "--dir", text(dir)], more].concat()))
}

fn import(dir: &Path, lines: &[Value], more: &[&str]) -> Output {
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    run_with_input(&[&["import", "--dir", text(dir), "--json"], more].concat(), input.as_bytes())
}

/// What a line says that an import takes with it.
fn essence(line: &Value) -> Value {
    let id = line["headers"].get("resolute-imported-from").unwrap_or(&line["id"]);
    let mut headers = line["headers"].clone();
    headers.as_object_mut().unwrap().remove("resolute-imported-from");
    let to = &line["destination"];
    json!([
        id,
        to,
        line["topics"],
        headers,
        line["data"],
        line["encoding"],
        line["reply_to"],
        line["published_at"]
    ])
}

fn essences(lines: &[Value]) -> BTreeSet<String> {
    lines.iter().map(|line| essence(line).to_string()).collect()
}

/// A node with messages at each place: one parked, one dead, one waiting, and one owed to each of two addresses.
async fn busy(dir: &Path, address: &str) -> Bus {
    let fails = |_: Envelope| async { Err::<(), _>("it is broken") };
    let retry = Retry { attempts_max: 1, ..Retry::default() };
    let bus = Bus::builder(dir).bind("tcp://127.0.0.1:0").retry(retry);
    let bus =
        bus.every_named("first", "bad", fails).every_named("second", "bad", fails).open().await.unwrap();
    let own = bus.address().to_owned();
    bus.subscribe(&own, ["bad", "odd", "later"]).await.unwrap();
    bus.publish("bad", "dead").await.unwrap();
    bus.publish("odd", Message::new(vec![0xff, 0]).header("bytes", vec![0xfe]).header("text", "é"))
        .await
        .unwrap();
    let owed = Message::new("owed").header("many", "a").header("many", "b").reply_to("tcp://127.0.0.1:8");
    bus.send(address, ["mail", "mail.new"], owed).await.unwrap();
    bus.send("tcp://127.0.0.1:9", "mail", "waits").await.unwrap();
    serve_until(&bus, 1, 1).await;
    bus.publish("later", "waiting").await.unwrap();
    bus
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_imported_elsewhere_and_delivered_from_there() {
    let scratch = tempfile::tempdir().unwrap();
    let (old, new) = (scratch.path().join("old"), scratch.path().join("new"));
    let address = crate::program::free_address();
    let bus = busy(&old, &address).await;
    let live = export(&old, &[]);
    bus.close().await.unwrap();
    let lines = export(&old, &[]);
    assert_eq!(lines, live, "open or not, it is the same");
    let places: Vec<&str> = lines.iter().map(|line| line["place"].as_str().unwrap()).collect();
    assert_eq!(places, ["incoming", "parked", "dead", "outgoing", "outgoing"]);
    assert_eq!(
        lines[2]["handlers"].as_array().unwrap().len(),
        2,
        "one message, though two handlers gave it up"
    );
    for (place, lines) in [
        ("incoming", &lines[..1]),
        ("parked", &lines[1..2]),
        ("dead-letters", &lines[2..3]),
        ("outgoing", &lines[3..]),
    ] {
        assert_eq!(export(&old, &[place]), lines, "{place}");
    }
    assert_eq!(export(&old, &["--limit", "2"]), lines[..2]);
    assert_eq!(export(&old, &["--topic", "mail.new"]), lines[3..4]);
    let counts = |output: &Output| -> Vec<u64> {
        let said = &parsed_lines(output)[0];
        ["imported", "already_there", "refused"].map(|key| said[key].as_u64().unwrap()).to_vec()
    };
    assert_eq!(counts(&import(&old, &lines, &["--check"])), [0, 5, 0], "the node that has them");
    assert_eq!(counts(&import(&new, &lines, &["--check"])), [5, 0, 0]);
    assert!(!new.exists());
    let imported = import(&new, &lines, &[]);
    assert_eq!((code(&imported), counts(&imported)), (0, vec![5, 0, 0]), "{imported:?}");
    assert_eq!(essences(&export(&new, &[])), essences(&lines));
    assert_eq!(counts(&import(&new, &lines, &[])), [0, 5, 0]);
    // Also by way of a third node a message is known by its first name.
    assert_eq!(counts(&import(&old, &export(&new, &[]), &[])), [0, 5, 0]);

    let other = Bus::builder(scratch.path().join("other")).bind(&address).open().await.unwrap();
    let mut deliveries = other.deliveries(["mail"]).unwrap();
    let bus = Bus::builder(&new).bind("tcp://127.0.0.1:0").open().await.unwrap();
    let delivery = deliveries.next().await.unwrap();
    assert_eq!(delivery.envelope().payload(), b"owed");
    assert_eq!(delivery.envelope().reply_to(), Some("tcp://127.0.0.1:8"));
    delivery.done();
    let mut inbox = bus.deliveries(["bad", "odd", "later"]).unwrap();
    let mut had = BTreeSet::new();
    for _ in 0..3 {
        let delivery = inbox.next().await.unwrap();
        had.insert(delivery.envelope().payload().to_vec());
        delivery.done();
    }
    assert_eq!(had, BTreeSet::from([b"dead".to_vec(), vec![0xff, 0], b"waiting".to_vec()]));
    let refused = import(&new, &lines, &[]);
    assert_eq!(code(&refused), 4, "it is open: {refused:?}");
    assert_eq!(counts(&import(&new, &lines, &["--check"])), [0, 5, 0], "that can be asked all the same");
    bus.close().await.unwrap();
    other.close().await.unwrap();
    assert_eq!(
        counts(&import(&new, &lines, &[])),
        [0, 5, 0],
        "delivered and handled, they do not come again"
    );
    assert_eq!(counts(&import(&new, &lines, &["--again"])), [5, 0, 0]);
}

#[test]
fn lines_that_are_no_messages_are_named_and_the_others_imported() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("node");
    let lines = "{\"place\":\"incoming\",\"topics\":[\"t\"],\"data\":\"twice\"}\n\
                 {\"place\":\"incoming\",\"topics\":[\"t\"],\"data\":\"twice\"}\n\
                 \n\
                 no JSON\n\
                 {\"place\":\"incoming\",\"topics\":[],\"data\":\"\"}\n\
                 {\"destination\":\"tcp://127.0.0.1:0\",\"topics\":[\"t\"],\"data\":\"\"}\n\
                 {\"destination\":\"tcp://127.0.0.1:9\",\"topics\":[\"t\"],\"data\":\"last\"}";
    for (more, imported) in [(&["--check"][..], 3), (&[], 3), (&[], 0)] {
        let output =
            run_with_input(&[&["import", "--dir", text(&dir), "--json"], more].concat(), lines.as_bytes());
        assert_eq!(
            (code(&output), &parsed_lines(&output)[0]["imported"]),
            (2, &imported.into()),
            "{output:?}"
        );
        assert_eq!(parsed_lines(&output)[0]["refused"], 3);
        for (line, why) in [(4, "expected"), (5, "a topic must not be empty"), (6, "port 0")] {
            let complaint = stderr(&output);
            assert!(
                complaint.lines().any(|said| said.contains(&format!("line {line}: ")) && said.contains(why)),
                "{complaint}"
            );
        }
    }
    let file = scratch.path().join("lines");
    std::fs::write(&file, lines).unwrap();
    assert_eq!(code(&run(&["import", "--dir", text(&dir), text(&file)])), 2);
    assert_eq!(export(&dir, &[]).len(), 3);
    assert_eq!(code(&run(&["import", "--dir", text(&dir), text(&scratch.path().join("none"))])), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_is_run_again_and_nothing_is_there_twice() {
    const COUNT: usize = 6_000;
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("node");
    let line = |n: usize| {
        let to = ["tcp://127.0.0.1:9", "tcp://127.0.0.1:10"][n % 2];
        json!({"id": format!("m{n}"), "place": "outgoing", "destination": to, "topics": ["t"], "data": n.to_string()})
    };
    let lines: Vec<Value> = (0..COUNT).map(line).collect();
    let mut child = resolute(&["import", "--dir", text(&dir)]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // It is fed until it is killed, and so in the middle of something.
    let feed = lines.clone();
    let feeder = std::thread::spawn(move || feed.iter().all(|line| writeln!(input, "{line}").is_ok()));
    until("something is imported", || {
        std::fs::read_to_string(dir.join("imported")).is_ok_and(|said| said.contains("done"))
    });
    child.kill().unwrap();
    wait(child);
    feeder.join().unwrap();
    let before = export(&dir, &[]).len();
    let file = scratch.path().join("lines");
    std::fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let again = || run(&["import", "--dir", text(&dir), "--json", text(&file)]);
    let output = again();
    let said = &json_lines(&output)[0];
    assert_eq!(said["imported"].as_u64(), Some((COUNT - before) as u64), "{before} were there: {output:?}");
    assert_eq!(said["perhaps_twice"].as_u64(), Some(0));
    let found = export(&dir, &[]);
    assert_eq!((found.len(), essences(&found).len()), (COUNT, COUNT));
    println!("{before} of {COUNT} were imported when it was killed");

    // As a process leaves it that dies before it can say that messages are there.
    let ledger = std::fs::read_to_string(dir.join("imported")).unwrap();
    let begun = &ledger[..ledger.rfind("done").unwrap()];
    let count = ledger[..begun.len()].lines().rev().take_while(|line| !line.starts_with("epoch")).count();
    std::fs::write(dir.join("imported"), begun).unwrap();
    let said = &json_lines(&again())[0];
    assert_eq!((&said["imported"], &said["perhaps_twice"]), (&0.into(), &0.into()), "they are there");
    assert_eq!(export(&dir, &[]).len(), COUNT);
    // If they were delivered meanwhile nobody knows; they come again, and it is said.
    std::fs::write(dir.join("imported"), begun).unwrap();
    let bus = Bus::builder(&dir).bind("tcp://127.0.0.1:0").open().await.unwrap();
    bus.remove_destination("tcp://127.0.0.1:9").await.unwrap();
    bus.remove_destination("tcp://127.0.0.1:10").await.unwrap();
    bus.close().await.unwrap();
    let output = again();
    let said = &json_lines(&output)[0];
    assert_eq!((&said["imported"], &said["perhaps_twice"]), (&count.into(), &count.into()), "{output:?}");
    assert!(stderr(&output).contains("may have been imported before"), "{output:?}");
    // What says so is damaged: better nothing than twice.
    std::fs::write(dir.join("imported"), ledger.replacen("done", "dome", 1)).unwrap();
    assert_eq!(code(&again()), 5);
}

// Killed between the disk of the node and the word that it is done: lines without a name are known again all the same.
#[test]
fn lines_without_an_id_come_once_though_an_import_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("node");
    let line = |id: Value, data: &str| json!({"id": id, "place": "incoming", "topics": ["a"], "data": data});
    // Two that are alike are two.
    let lines = [line(Value::Null, "x"), line("".into(), "y"), line("".into(), "z"), line(Value::Null, "x")];
    let said = |output: &Output| parsed_lines(output).pop().unwrap();
    let first = import(&dir, &lines, &[]);
    assert_eq!((code(&first), &said(&first)["imported"]), (0, &4.into()), "{first:?}");
    let ledger = dir.join("imported");
    let written = std::fs::read_to_string(&ledger).unwrap();
    let end = written.find("done ").unwrap();
    std::fs::write(&ledger, &written[..end]).unwrap();
    let again = import(&dir, &lines, &[]);
    let said = said(&again);
    assert_eq!(
        (code(&again), &said["imported"], &said["already_there"]),
        (0, &0.into(), &4.into()),
        "{said}"
    );
    assert_eq!(export(&dir, &[]).len(), 4);
}

// A node that answers at two addresses is listed under one of them: nobody can tell whether what was begun for the other had come.
#[test]
fn what_was_begun_for_another_name_of_a_destination_is_said_to_come_twice_perhaps() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("node");
    let line =
        |to: &str| json!({"id": "m", "place": "outgoing", "destination": to, "topics": ["a"], "data": ""});
    assert_eq!(code(&import(&dir, &[line("tcp://127.0.0.1:9")], &[])), 0);
    let ledger = dir.join("imported");
    let written = std::fs::read_to_string(&ledger).unwrap();
    // As it would stand there if the same message had been begun for the other name, and was listed under this one.
    let other = directory.path().join("other");
    assert_eq!(code(&import(&other, &[line("tcp://127.0.0.1:8")], &[])), 0);
    let begun = std::fs::read_to_string(other.join("imported")).unwrap();
    let begun = &begun[..begun.find("done ").unwrap()];
    std::fs::write(&ledger, format!("{written}{begun}")).unwrap();
    let output = import(&dir, &[line("tcp://127.0.0.1:8")], &[]);
    let said = parsed_lines(&output).pop().unwrap();
    assert_eq!((&said["imported"], &said["perhaps_twice"]), (&1.into(), &1.into()), "{said}");
}
