//! `verify`: whole, torn and damaged logs, of nodes and of stores, that a process has open or not.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::program::{code, parsed_lines, run, stderr, stdout, text};
use crate::scene::{flip, node, segment};

fn verify(directory: &Path) -> (Output, Value) {
    let output = run(&["verify", "--dir", text(directory), "--json"]);
    let said = parsed_lines(&output).remove(0);
    (output, said)
}

#[tokio::test]
async fn a_log_is_whole_torn_or_damaged_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    node(dir.path(), 60).await.close().await.unwrap();
    let (output, said) = verify(dir.path());
    assert_eq!((code(&output), &said["soundness"], &said["messages"]), (0, &"clean".into(), &60.into()));
    assert!(said["bytes"].as_u64().unwrap() > 60 * 200_000, "{said}");
    assert!(said["records"].as_u64() > said["messages"].as_u64() && said["batches"].as_u64().unwrap() > 60);
    assert!(stdout(&run(&["verify", "--dir", text(dir.path())])).contains("whole"));
    // The last batch, which closed the log.
    let last = segment(dir.path(), 2);
    let whole = std::fs::read(&last).unwrap();
    flip(&last, whole.iter().rposition(|byte| *byte != 0).unwrap() as u64);
    let torn = std::fs::read(&last).unwrap();
    let (output, said) = verify(dir.path());
    assert_eq!((code(&output), &said["soundness"]), (8, &"torn-tail".into()), "{output:?}");
    assert_eq!(said["torn_tail"]["segment"], 2);
    assert!(std::fs::read(&last).unwrap() == torn, "it was changed");
    std::fs::write(&last, whole).unwrap();
    // In the payloads of two messages, each of another segment.
    flip(&segment(dir.path(), 1), 1_000_000);
    flip(&last, 500_000);
    let (output, said) = verify(dir.path());
    assert_eq!((code(&output), &said["soundness"]), (5, &"damaged".into()), "{output:?}");
    let damage = said["damage"].as_array().unwrap();
    let segments: Vec<_> = damage.iter().map(|place| place["segment"].as_u64().unwrap()).collect();
    assert_eq!(segments, [1, 2], "{said}");
    assert!(damage.iter().all(|place| place["lost"][0]["first"] == place["lost"][0]["last"]), "{said}");
    assert!(stderr(&output).contains("damaged in 2 places"), "{output:?}");
    let table = run(&["verify", "--dir", text(dir.path())]);
    assert!(stdout(&table).contains("segment 2, offset"), "{table:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_open_looks_at_its_own_log() {
    let dir = tempfile::tempdir().unwrap();
    let bus = node(dir.path(), 60).await;
    let (output, said) = verify(dir.path());
    assert_eq!((code(&output), &said["soundness"], &said["messages"]), (0, &"clean".into(), &60.into()));
    flip(&segment(dir.path(), 1), 1_000_000);
    let (output, said) = verify(dir.path());
    assert_eq!((code(&output), &said["damage"][0]["segment"]), (5, &1.into()), "{output:?}");
    bus.publish("a", "the node goes on").await.unwrap();
    flip(&segment(dir.path(), 1), 1_000_000);
    assert_eq!(code(&verify(dir.path()).0), 0);
    bus.close().await.unwrap();
}

#[test]
fn a_map_and_a_queue_are_looked_at_too_and_what_is_no_log_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let (map, queue) = (dir.path().join("map"), dir.path().join("queue"));
    for number in 0..20 {
        assert_eq!(code(&run(&["map", "set", text(&map), &format!("\"{number}\""), "\"some value\""])), 0);
    }
    assert_eq!(code(&run(&["queue", "enqueue", text(&queue), "\"an item\""])), 0);
    for path in [&map, &queue] {
        let (output, said) = verify(path);
        assert_eq!((code(&output), &said["soundness"]), (0, &"clean".into()), "{output:?}");
    }
    let log = std::fs::read(segment(&map, 1)).unwrap();
    let first = log.windows(10).position(|window| window == b"some value").unwrap();
    flip(&segment(&map, 1), first as u64);
    assert_eq!(code(&verify(&map).0), 5);
    for path in [dir.path(), &dir.path().join("missing")] {
        let output = run(&["verify", "--dir", text(path)]);
        assert_eq!(code(&output), 3, "{output:?}");
    }
}
