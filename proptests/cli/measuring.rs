//! `bench device`, `publish`, `deliver` and `recover`: what they say, never how fast it was.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::program::{code, free_address, json_lines, resolute, run, stderr, stdout, text, until, wait};

/// All that is said of a measurement of the bus, beside what was measured.
const NUMBERS: [&str; 15] = [
    "messages_per_second",
    "bytes_per_second",
    "p50_us",
    "p99_us",
    "p999_us",
    "max_us",
    "cpu_ns_per_message",
    "engine_cpu_ns_per_message",
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

/// Measurements share a disk, and none may have to wait for the writes of many others until the patience with it is over.
static AT_A_TIME: (Mutex<u32>, Condvar) = (Mutex::new(2), Condvar::new());

/// One of those that measure now.
struct Turn;

fn turn() -> Turn {
    let (left, freed) = &AT_A_TIME;
    let left = left.lock().unwrap_or_else(PoisonError::into_inner);
    *freed.wait_while(left, |left| *left == 0).unwrap_or_else(PoisonError::into_inner) -= 1;
    Turn
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (left, freed) = &AT_A_TIME;
        *left.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        freed.notify_one();
    }
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
    let _turn = turn();
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
        assert_rising(line, &["p50_us", "p99_us", "p999_us", "max_us"]);
        assert!(number(line, "cpu_ns_per_write") > 0.0);
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
    let _turn = turn();
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
    let _turn = turn();
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
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["bench", "deliver", "--dir", text(dir.path()), "--seconds", "1", "--size", "4096"];
    let lines =
        json_lines(&run(&[&arguments[..], &["--subscribers", "3", "--absent", "100", "--json"]].concat()));
    assert_eq!(lines.len(), 1);
    assert_report(&lines[0], "deliver", 4096.0);
    assert_deliveries(&lines[0], 3.0);
    assert_eq!(lines[0]["owed_to_absent"], 100);
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
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    // One GiB is the least; large messages, so that it is soon built.
    let arguments = ["bench", "recover", "--dir", text(dir.path()), "--seconds", "1", "--size", "131072"];
    let lines = json_lines(&run(&[&arguments[..], &["--json"]].concat()));
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!(line["what"], "recover");
    assert_facts(line);
    let of = |key| number(line, key);
    NUMBERS.into_iter().for_each(|key| assert!(of(key) > 0.0));
    assert!(of("log_bytes") >= f64::from(1 << 30));
    assert!(of("messages") * 131_072.0 < of("log_bytes"), "a log has more in it than payloads: {line}");
    is_near(of("messages_per_second") * of("seconds"), of("messages"), "messages");
    is_near(of("bytes_per_second") * of("seconds"), of("log_bytes"), "bytes are those of the log");
    let yardstick = of("yardstick_bytes_per_second");
    is_near(of("ratio_to_yardstick"), of("bytes_per_second") / yardstick, "ratio_to_yardstick");
    is_near(of("payload_ratio"), of("messages_per_second") * 131_072.0 / yardstick, "payload_ratio");
    let plain_read = of("plain_read_bytes_per_second");
    is_near(of("ratio_to_plain_read"), of("bytes_per_second") / plain_read, "ratio_to_plain_read");
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

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

/// The processes that a process has started and that still run.
fn children(of: u32) -> Vec<u32> {
    let status = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let is_child =
        |status: &str| status.contains(&format!("\nPPid:\t{of}\n")) && !status.contains("\nState:\tZ");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| is_child(&status(*pid))).collect()
}

/// Starts delivering to two receivers, for longer than anybody waits, and waits until they run.
fn deliver_for_long(dir: &Path) -> (Child, Vec<u32>) {
    let arguments = ["bench", "deliver", "--dir", text(dir), "--seconds", "3600", "--subscribers", "2"];
    let bench = resolute(&arguments).spawn().unwrap();
    let mut receivers = Vec::new();
    until("the receivers run", || {
        receivers = children(bench.id());
        receivers.len() == 2
    });
    (bench, receivers)
}

fn is_running(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| !status.contains("\nState:\tZ"))
}

#[test]
fn a_receiver_that_dies_ends_the_measurement_and_nothing_is_left() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let (bench, receivers) = deliver_for_long(dir.path());
    signal(receivers[0], Signal::SIGKILL);
    let output = wait(bench);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(stderr(&output).contains("a receiver has ended (signal: 9"), "{output:?}");
    until("the other receiver has ended", || !is_running(receivers[1]));
    assert_left_nothing(dir.path());
}

#[test]
fn a_measurement_that_is_interrupted_leaves_nothing() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let (bench, receivers) = deliver_for_long(dir.path());
    signal(bench.id(), Signal::SIGTERM);
    let output = wait(bench);
    assert_eq!(code(&output), 128 + 15, "{output:?}");
    until("the receivers have ended", || !receivers.iter().any(|pid| is_running(*pid)));
    assert_left_nothing(dir.path());
    for what in ["device", "publish", "recover"] {
        let bench =
            resolute(&["bench", what, "--dir", text(dir.path()), "--seconds", "3600"]).spawn().unwrap();
        until("it has begun", || std::fs::read_dir(dir.path()).unwrap().count() > 0);
        signal(bench.id(), Signal::SIGINT);
        let output = wait(bench);
        assert_eq!(code(&output), 128 + 2, "{what}: {output:?}");
        assert_left_nothing(dir.path());
    }
}

#[test]
fn a_receiver_ends_with_whoever_started_it_also_before_it_has_subscribed() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = free_address();
    let arguments = ["bench-receiver", "--dir", text(dir.path()), "--from", &nobody];
    let mut receiver = resolute(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    drop(receiver.stdin.take());
    let output = wait(receiver);
    assert!(output.status.signal().is_none() && code(&output) == 0, "{output:?}");
}

/// Memory that is as fast as any disk would fill as fast: the disk alone is measured, which needs no more than its file.
#[test]
fn nothing_is_called_durable_in_memory() {
    let _turn = turn();
    let memory = Path::new("/dev/shm");
    let room = nix::sys::statvfs::statvfs(memory)
        .map_or(0, |facts| facts.blocks_available() * facts.fragment_size());
    if room < 1 << 30 {
        println!("skipped: /dev/shm has no GiB of room");
        return;
    }
    let dir = tempfile::tempdir_in(memory).unwrap();
    let arguments = ["bench", "device", "--dir", text(dir.path()), "--seconds", "1", "--size", "4096"];
    for line in json_lines(&run(&[&arguments[..], &["--json"]].concat())) {
        let durable = line["durable"].as_str().unwrap();
        assert!(durable.contains("durability is not real here"), "{line}");
    }
    assert!(stdout(&run(&arguments)).contains("durability is not real here"));
    assert_left_nothing(dir.path());
}

#[test]
fn a_sweep_is_drawn_where_it_was_asked_for() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let (picture, measured) = (dir.path().join("picture.svg"), dir.path().join("measured"));
    std::fs::create_dir(&measured).unwrap();
    let arguments = ["bench", "deliver", "--dir", text(&measured), "--seconds", "1", "--json"];
    let lines = json_lines(&run(&[&arguments[..], &["--plot", text(&picture)]].concat()));
    assert_eq!(lines.len(), 7);
    lines.iter().for_each(|line| assert_report(line, "deliver", 128.0));
    let yardsticks: Vec<f64> = lines.iter().map(|line| number(line, "yardstick_bytes_per_second")).collect();
    assert!(yardsticks.iter().all(|one| *one == yardsticks[0]), "one yardstick for all: {yardsticks:?}");
    let drawn = std::fs::read_to_string(&picture).unwrap();
    assert_eq!(drawn.matches("<circle").count(), 14, "{drawn}");
    assert_left_nothing(&measured);
}

#[test]
fn stores_are_changed_by_many_and_beside_the_yardstick() {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    for (change, left) in [("set-and-clear", false), ("enqueue", true)] {
        let output =
            run(&["bench", "store", change, "--dir", text(directory.path()), "--seconds", "1", "--json"]);
        let line = &json_lines(&output)[0];
        assert_facts(line);
        assert_eq!(line["what"], change);
        let keys =
            ["changes_per_second", "p50_us", "p99_us", "max_us", "cpu_ns_per_change", "peak_rss_bytes"];
        assert!(keys.iter().all(|key| number(line, key) > 0.0));
        let [changes, seconds] = ["changes", "seconds"].map(|key| number(line, key));
        is_near(number(line, "changes_per_second"), changes / seconds, "changes a second");
        let gb = number(line, "yardstick_bytes_per_second") / 1e9;
        is_near(number(line, "changes_per_yardstick_gb"), changes / seconds / gb, "for each GB/s");
        assert_eq!(line["entries"].as_u64().unwrap() > 0, left, "{line}");
        assert!(number(line, "directory_bytes_max") > 0.0 && number(line, "directory_bytes") > 0.0);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "something is left");
}
