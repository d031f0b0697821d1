//! `bench device`, `publish`, `deliver` and `recover`: what they say, never how fast it was.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::program::{code, json_lines, run, stderr, stdout, text};

/// All that is said of a measurement of the bus, beside what was measured.
const NUMBERS: [&str; 14] = [
    "messages_per_second",
    "bytes_per_second",
    "p50_us",
    "p99_us",
    "p999_us",
    "max_us",
    "cpu_ns_per_message",
    "peak_rss_bytes",
    "flushes",
    "yardstick_bytes_per_second",
    "yardstick_p50_us",
    "ratio_to_yardstick",
    "payload_ratio",
    "messages_per_yardstick_gb",
];

/// On what it was measured.
const FACTS: [&str; 4] = ["kernel", "file_system", "device", "write_cache"];

/// Measurements share a disk, and none may have to wait for another's writes until the patience with it is over.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(line: &Value, key: &str) -> f64 {
    let number = line[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {line}"));
    assert!(number.is_finite() && number > 0.0, "{key} is {number}");
    number
}

fn is_near(is: f64, expected: f64, what: &str) {
    assert!((is - expected).abs() <= expected * 1e-6, "{what}: {is}, and not {expected}");
}

fn assert_facts(line: &Value) {
    for key in FACTS.into_iter().chain(["durable"]) {
        assert!(!line[key].as_str().unwrap_or_default().is_empty(), "{key} in {line}");
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(line["kernel"], kernel.trim());
    assert!(line["cores"].as_u64().unwrap() > 0);
}

fn assert_rising(line: &Value, keys: &[&str]) {
    let values: Vec<f64> = keys.iter().map(|key| number(line, key)).collect();
    assert!(values.is_sorted(), "{keys:?} in {line}");
}

/// A report of the bus: complete, and in agreement with itself.
fn assert_report(line: &Value, what: &str, size: f64) {
    assert_eq!(line["what"], what);
    assert_facts(line);
    let of = |key| number(line, key);
    NUMBERS.into_iter().for_each(|key| assert!(of(key) > 0.0));
    for key in ["messages", "flushes", "peak_rss_bytes"] {
        assert!(line[key].as_u64().unwrap() >= 1, "{key} is counted");
    }
    assert_rising(line, &["p50_us", "p99_us", "p999_us", "max_us"]);
    is_near(of("messages_per_second") * of("seconds"), of("messages"), "messages");
    is_near(of("bytes_per_second"), of("messages_per_second") * size, "bytes are those of the payloads");
    let yardstick = of("yardstick_bytes_per_second");
    is_near(of("payload_ratio"), of("bytes_per_second") / yardstick, "payload_ratio");
    is_near(
        of("messages_per_yardstick_gb"),
        of("messages_per_second") / (yardstick / 1e9),
        "messages_per_yardstick_gb",
    );
    assert!(of("ratio_to_yardstick") > of("payload_ratio"), "a log has more in it than payloads: {line}");
    assert!(of("engine_cpu_ns_per_message") > 0.0);
}

fn assert_says_facts(output: &std::process::Output, line: &Value) {
    assert_eq!(code(output), 0, "{output:?}");
    for key in FACTS {
        assert!(stdout(output).contains(line[key].as_str().unwrap()), "{key} in {output:?}");
    }
}

fn assert_left_nothing(dir: &Path) {
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0, "what was measured with is gone again");
}

#[test]
fn the_device_is_measured_by_size_and_depth() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let common = ["bench", "device", "--dir", text(dir.path()), "--seconds", "1"];
    let lines = json_lines(&run(&[&common[..], &["--json"]].concat()));
    let patterns: Vec<(u64, u64)> = lines
        .iter()
        .map(|line| (line["block_bytes"].as_u64().unwrap(), line["depth"].as_u64().unwrap()))
        .collect();
    let expected: Vec<(u64, u64)> = [4096, 16_384, 65_536, 262_144, 1_048_576]
        .into_iter()
        .flat_map(|block_bytes| [1, 2, 4].map(|depth| (block_bytes, depth)))
        .collect();
    assert_eq!(patterns, expected);
    for line in &lines {
        assert_facts(line);
        assert_rising(line, &["p50_us", "p99_us"]);
        assert!(line["direct"].is_boolean());
        let rate = number(line, "bytes_per_second") / number(line, "block_bytes");
        is_near(number(line, "writes_per_second"), rate, "writes_per_second");
    }
    let table = run(&[&common[..], &["--size", "8192"]].concat());
    assert_says_facts(&table, &lines[0]);
    let rows = stdout(&table).lines().filter(|row| row.trim_start().starts_with("8192 ")).count();
    assert_eq!(rows, 3, "one size, each depth: {table:?}");
    assert_left_nothing(dir.path());
}

#[test]
fn publishing_on_top_of_a_backlog_is_reported_beside_the_yardstick() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    // The log is given as many segments as the disk could fill in the time: one such run is enough.
    let arguments = ["bench", "publish", "--dir", text(dir.path()), "--seconds", "1", "--size", "512"];
    let others = ["--owed", "20000", "--subscriptions", "5001", "--json"];
    let lines = json_lines(&run(&[&arguments[..], &others].concat()));
    assert_eq!(lines.len(), 1);
    assert_report(&lines[0], "publish", 512.0);
    assert_eq!((&lines[0]["owed_before"], &lines[0]["subscriptions"]), (&20_000.into(), &5_001.into()));
    assert!(lines[0]["memory_per_owed_message_bytes"].as_f64().unwrap() >= 0.0);
    assert_left_nothing(dir.path());
}

#[test]
fn delivering_is_reported_beside_the_yardstick() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let common = ["bench", "deliver", "--dir", text(dir.path()), "--seconds", "1"];
    let lines = json_lines(&run(&[&common[..], &["--json"]].concat()));
    assert_eq!(lines.len(), 1);
    assert_report(&lines[0], "deliver", 128.0);
    assert_deliveries(&lines[0], 1.0);
    let said = run(&[&common[..], &["--publishers", "1", "--pipeline", "1"]].concat());
    assert_says_facts(&said, &lines[0]);
    for name in ["messages a second", "latency p99.9, us", "peak memory", "yardstick", "payload bytes to the"]
    {
        assert!(stdout(&said).contains(name), "{name} in {said:?}");
    }
    assert_columns(&said);
    assert_left_nothing(dir.path());
}

#[test]
fn every_subscriber_is_delivered_every_message() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["bench", "deliver", "--dir", text(dir.path()), "--seconds", "1", "--size", "4096"];
    let lines = json_lines(&run(&[&arguments[..], &["--subscribers", "3", "--json"]].concat()));
    assert_eq!(lines.len(), 1);
    assert_report(&lines[0], "deliver", 4096.0);
    assert_deliveries(&lines[0], 3.0);
    assert!(number(&lines[0], "ratio_to_yardstick") > 4.0 * number(&lines[0], "payload_ratio"), "four logs");
    assert_left_nothing(dir.path());
}

fn assert_deliveries(line: &Value, subscribers: f64) {
    let of = |key| number(line, key);
    is_near(of("subscribers"), subscribers, "subscribers");
    is_near(of("deliveries"), subscribers * of("messages"), "deliveries");
    is_near(of("deliveries_per_second"), subscribers * of("messages_per_second"), "deliveries_per_second");
    let ours = of("publisher_cpu_ns_per_delivery") * subscribers;
    assert!(ours < of("cpu_ns_per_message"), "the publisher's is a part of all: {line}");
}

/// Whatever is said stands in two columns, with room between.
fn assert_columns(output: &std::process::Output) {
    let said = stdout(output);
    let values: Vec<_> = said.lines().map(|line| line.rfind("  ").unwrap_or_default() + 2).collect();
    assert!(values.len() > 10 && values.iter().all(|at| *at == values[0]), "{said}");
}

#[test]
fn recovery_is_reported_beside_a_plain_read() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    // One GiB is the least; large messages, so that it is soon built.
    let arguments = ["bench", "recover", "--dir", text(dir.path()), "--seconds", "1", "--size", "131072"];
    let lines = json_lines(&run(&[&arguments[..], &["--json"]].concat()));
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!(line["what"], "recover");
    assert_facts(line);
    let of = |key| number(line, key);
    NUMBERS.into_iter().filter(|key| *key != "yardstick_p50_us").for_each(|key| assert!(of(key) > 0.0));
    assert!(of("log_bytes") >= f64::from(1 << 30));
    assert!(of("messages") * 131_072.0 < of("log_bytes"), "a log has more in it than payloads: {line}");
    is_near(of("messages_per_second") * of("seconds"), of("messages"), "messages");
    is_near(of("bytes_per_second") * of("seconds"), of("log_bytes"), "bytes are those of the log");
    let yardstick = of("yardstick_bytes_per_second");
    is_near(of("ratio_to_yardstick"), of("bytes_per_second") / yardstick, "ratio_to_yardstick");
    is_near(of("payload_ratio"), of("messages_per_second") * 131_072.0 / yardstick, "payload_ratio");
    assert!(of("openings") >= 3.0 && of("max_us") * of("openings") >= of("seconds") * 1e6);
    assert_rising(line, &["p50_us", "p99_us", "p999_us", "max_us"]);
    assert!(line["cache_dropped"].is_boolean());
    assert_left_nothing(dir.path());
}

#[test]
fn measurements_that_cannot_be_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &[][..],
        &["nothing"],
        &["device", "--size", "5000"],
        &["device", "--size", "7"],
        &["device", "--seconds", "0"],
        &["device", "--plot", "x.svg"],
        &["publish", "--seconds", "0"],
        &["publish", "--size", "245761"],
        &["publish", "--size", "7"],
        &["publish", "--owed", "-1"],
        &["publish", "--subscribers", "2"],
        &["deliver", "--size", "245761"],
        &["deliver", "--subscribers", "0"],
        &["deliver", "--owed", "1"],
        &["recover", "--size", "245761"],
        &["publish", "--publishers", "0"],
        &["deliver", "--pipeline", "0"],
        &["deliver", "--seconds", "soon"],
        &["recover", "--gib", "0"],
        &["recover", "--gib", "0.5"],
    ] {
        let mut all = [&["bench"], arguments].concat();
        if !arguments.is_empty() {
            all.extend(["--dir", text(dir.path())]);
        }
        let output = run(&all);
        assert_eq!(code(&output), 2, "{arguments:?}: {output:?}");
        assert!(stdout(&output).is_empty() && !stderr(&output).is_empty(), "{output:?}");
        // The bus would refuse such a payload too, but only once the disk was measured.
        let too_large = arguments.last() == Some(&"245761");
        assert!(!too_large || stderr(&output).contains("245761 is not in 8..=245760"), "{output:?}");
    }
    assert_left_nothing(dir.path());
    let missing = dir.path().join("missing");
    for what in ["device", "publish", "deliver", "recover"] {
        let output = run(&["bench", what, "--dir", text(&missing)]);
        assert_eq!(code(&output), 1, "{what}: {output:?}");
        assert!(stderr(&output).contains("cannot make a directory"), "{output:?}");
        let help = run(&["bench", what, "--help"]);
        assert!(code(&help) == 0 && stdout(&help).contains("Exit codes"), "{help:?}");
    }
    assert!(!missing.exists());
}

#[test]
fn a_picture_that_cannot_be_written_is_refused_before_anything_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("missing").join("picture.svg");
    for what in ["publish", "deliver"] {
        let output = run(&["bench", what, "--dir", text(dir.path()), "--plot", text(&picture)]);
        assert_eq!(code(&output), 1, "{output:?}");
        let said = format!("cannot write {}", text(&picture));
        assert!(stdout(&output).is_empty() && stderr(&output).contains(&said), "{output:?}");
    }
    assert_left_nothing(dir.path());
}
