//! `top`, as far as it goes without a terminal.

use std::time::Duration;

use resolute::Bus;

use crate::program::{code, json_lines, run, stderr, stdout, text};

#[tokio::test(flavor = "multi_thread")]
async fn top_shows_what_goes_on_in_a_node_that_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().to_owned();
    let bus = Bus::builder(&dir).name("watched\u{1b}[31m").bind("tcp://127.0.0.1:0").open().await.unwrap();
    // Owed to an address where nobody answers.
    let away = "tcp://127.0.0.1:9";
    bus.send(away, "topic", "first").await.unwrap();
    let (publisher, sending) = (bus.clone(), std::sync::atomic::AtomicBool::new(true));
    let sending = std::sync::Arc::new(sending);
    let goes_on = std::sync::Arc::clone(&sending);
    let task = tokio::spawn(async move {
        while goes_on.load(std::sync::atomic::Ordering::Relaxed) {
            publisher.send(away, "topic", "again").await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let asked = dir.clone();
    let output = tokio::task::spawn_blocking(move || {
        run(&["top", "--dir", text(&asked), "--once", "--interval", "0.3"])
    });
    let output = output.await.unwrap();
    sending.store(false, std::sync::atomic::Ordering::Relaxed);
    task.await.unwrap();
    let screen = stdout(&output);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(
        screen.lines().count() <= 24 && screen.lines().all(|line| line.chars().count() <= 80),
        "{screen}"
    );
    assert!(!screen.contains('\u{1b}') && screen.contains("watched"), "{screen}");
    let line =
        |word: &str| screen.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{screen}"));
    assert!(!line("published").contains("published                -"), "{screen}");
    assert!(line("commits").contains("records,"), "{screen}");
    assert!(line("latency").contains("mean,"), "{screen}");
    assert!(line("peers 1").contains("0 connected"), "{screen}");
    assert!(line("(nobody yet)").contains(away) && line("(nobody yet)").contains("no"), "{screen}");
    assert!(!line("(nobody yet)").contains(" - "), "its oldest message has an age: {screen}");
    let asked = dir.clone();
    let status = tokio::task::spawn_blocking(move || run(&["status", "--dir", text(&asked), "--json"]));
    let status = &json_lines(&status.await.unwrap())[0];
    let published = status["traffic"]["published"].as_u64().unwrap();
    assert_eq!(status["outgoing"], published, "each was sent once, and is owed");
    let commits = |key: &str| status["commits"][key].as_u64().unwrap();
    assert!(
        commits("batches") >= 1 && commits("records") >= published && commits("nanoseconds") > 0,
        "{status}"
    );
    assert!(
        status["destinations"][0]["oldest_at"].is_string() && status["free_bytes"].as_u64() > Some(0),
        "{status}"
    );
    let asked = dir.clone();
    let live = tokio::task::spawn_blocking(move || run(&["top", "--dir", text(&asked)])).await.unwrap();
    assert_eq!(code(&live), 2, "{live:?}");
    assert!(stderr(&live).contains("--once"), "{live:?}");
    bus.close().await.unwrap();
    let closed = run(&["top", "--dir", text(&dir), "--once"]);
    assert_eq!(code(&closed), 1, "{closed:?}");
    assert!(stderr(&closed).contains("no process has the node in"), "{closed:?}");
    assert_eq!(code(&run(&["top", "--dir", text(&dir), "--interval", "0"])), 2);
}
