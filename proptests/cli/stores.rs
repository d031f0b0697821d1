//! `map` and `queue`.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use resolute::Map;
use tempfile::tempdir;

use crate::program::{code, resolute, run, run_with_input, stderr, stdout, text, wait};

fn map(command: &str, directory: &Path, rest: &[&str]) -> Output {
    run(&[&["map", command, text(directory)], rest].concat())
}

fn queue(command: &str, directory: &Path, rest: &[&str]) -> Output {
    run(&[&["queue", command, text(directory)], rest].concat())
}

/// What a command wrote that did what it should.
fn said(output: &Output) -> Vec<String> {
    assert_eq!(code(output), 0, "{output:?}");
    stdout(output).lines().map(str::to_owned).collect()
}

#[test]
fn a_map_is_kept_from_the_command_line() {
    let directory = tempdir().unwrap();
    let dir = &directory.path().join("map");
    assert_eq!(code(&map("cat", dir, &[])), 3, "there is none yet");
    for (key, value) in
        [("fruit", "grapefruit"), ("7", "[1,2]"), ("\"7\"", "{\"a\":null}"), ("fruit", "ärger")]
    {
        said(&map("set", dir, &[key, value]));
    }
    assert_eq!(
        said(&map("cat", dir, &[])),
        [
            "{\"key\":\"7\",\"value\":{\"a\":null}}",
            "{\"key\":\"fruit\",\"value\":\"ärger\"}",
            "{\"key\":7,\"value\":[1,2]}"
        ]
    );
    assert_eq!(said(&map("get", dir, &["fruit"])), ["\"ärger\""]);
    assert_eq!(code(&map("get", dir, &["vegetable"])), 3);
    assert!(stdout(&map("print", dir, &[])).contains("3 in all"));
    said(&map("clear", dir, &["7"]));
    assert_eq!(code(&map("clear", dir, &["7"])), 3);
    said(&map("compact", dir, &[]));
    assert_eq!(said(&map("cat", dir, &[])).len(), 2);
    let refused = map("purge", dir, &[]);
    assert!(code(&refused) == 2 && stderr(&refused).contains("2 keys are taken away"), "{refused:?}");
    assert_eq!(said(&map("cat", dir, &[])).len(), 2);
    said(&map("purge", dir, &["--yes"]));
    assert!(said(&map("cat", dir, &[])).is_empty());
}

#[test]
fn a_queue_is_kept_from_the_command_line() {
    let directory = tempdir().unwrap();
    let dir = &directory.path().join("queue");
    assert_eq!(code(&queue("dequeue", dir, &[])), 3);
    assert!(!dir.exists(), "what takes away makes nothing");
    let input = b"zero\n1\n{\"two\":2}\n3\n4\n";
    let enqueued = run_with_input(&["queue", "enqueue", text(dir)], input);
    assert!(code(&enqueued) == 0 && stderr(&enqueued).contains("5 items"), "{enqueued:?}");
    said(&queue("enqueue", dir, &["five"]));
    said(&queue("insert", dir, &["1", "half"]));
    let all = ["\"zero\"", "\"half\"", "1", "{\"two\":2}", "3", "4", "\"five\""];
    assert_eq!(said(&queue("cat", dir, &[])), all);
    assert_eq!(said(&queue("peek", dir, &[])), all[..1]);
    assert_eq!(said(&queue("peek", dir, &["2..4"])), all[2..4]);
    assert_eq!(said(&queue("dequeue", dir, &[])), all[..1]);
    let refused = queue("rm", dir, &["1.."]);
    assert!(code(&refused) == 2 && stderr(&refused).contains("5 items are removed"), "{refused:?}");
    said(&queue("rm", dir, &["1..4", "--yes"]));
    assert_eq!(code(&queue("rm", dir, &["9", "--yes"])), 3);
    said(&queue("compact", dir, &[]));
    assert_eq!(said(&queue("cat", dir, &[])), ["\"half\"", "4", "\"five\""]);
    assert_eq!(code(&queue("purge", dir, &[])), 2);
    said(&queue("purge", dir, &["--yes"]));
    assert!(said(&queue("cat", dir, &[])).is_empty());
    let wrong = map("cat", dir, &[]);
    assert!(code(&wrong) == 2 && stderr(&wrong).contains("this is a queue, not a map"), "{wrong:?}");
}

#[tokio::test]
async fn a_store_that_is_open_is_left_alone() {
    let directory = tempdir().unwrap();
    let open: Map<String, u64> = Map::open(directory.path()).await.unwrap();
    open.set("a", &1).await.unwrap();
    let pid = std::process::id().to_string();
    for output in [map("cat", directory.path(), &[]), map("set", directory.path(), &["a", "2"])] {
        assert!(code(&output) == 4 && stderr(&output).contains(&pid), "{output:?}");
    }
    assert_eq!(open.get("a").await.unwrap(), Some(1));
}

#[test]
fn who_is_killed_while_it_enqueues_leaves_what_came_first() {
    let directory = tempdir().unwrap();
    let dir = directory.path();
    // It is there, however early the first of them dies.
    run_with_input(&["queue", "enqueue", text(dir)], b"0\n");
    let mut before = 1;
    for round in 0..30_u64 {
        // On a machine that has much else to do, a process may die before it did anything.
        if round >= 5 && before > 100 {
            break;
        }
        let mut child = resolute(&["queue", "enqueue", text(dir)]).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            // Until the other side is gone.
            let number = (before..).find(|number: &u64| writeln!(input, "{number}").is_err());
            number.unwrap()
        });
        std::thread::sleep(Duration::from_millis(150 + 40 * round));
        child.kill().unwrap();
        wait(child);
        let written = writer.join().unwrap();
        let items: Vec<u64> =
            said(&queue("cat", dir, &[])).iter().map(|line| line.parse().unwrap()).collect();
        assert!(items.iter().copied().eq(0..items.len() as u64), "round {round}: a gap or a double");
        assert!(items.len() as u64 >= before && items.len() as u64 <= written);
        before = items.len() as u64;
    }
    assert!(before > 100, "too little happened: {before}");
}

#[test]
fn who_is_killed_while_it_purges_leaves_all_or_nothing() {
    let directory = tempdir().unwrap();
    let dir = directory.path();
    let (mut all, mut none) = (0, 0);
    for round in 0..12_u64 {
        let lines: String = (0..200).map(|number| format!("{number}\n")).collect();
        if dir.join("lock").exists() || round > 0 {
            said(&queue("purge", dir, &["--yes"]));
        }
        run_with_input(&["queue", "enqueue", text(dir)], lines.as_bytes());
        let mut child = resolute(&["queue", "purge", text(dir), "--yes"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 * round));
        child.kill().unwrap();
        wait(child);
        match said(&queue("cat", dir, &[])).len() {
            200 => all += 1,
            0 => none += 1,
            other => panic!("{other} items are left"),
        }
    }
    println!("{all} times all was left, {none} times nothing");
}
