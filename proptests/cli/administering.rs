//! `retry` and `remove`, from the command line.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Instant;

use resolute::{Bus, Message};

use crate::program::{code, json_lines, resolute, run, stderr, stdout, text, until, wait};
use crate::scene::serve_until;

/// A node with so many messages for which there is no handler, of two topics in turn.
pub async fn with_parked(directory: &Path, count: u64) -> Bus {
    let bus = Bus::builder(directory).bind("tcp://127.0.0.1:0").open().await.unwrap();
    let own = bus.address().to_owned();
    bus.subscribe(&own, ["odd", "even"]).await.unwrap();
    let mut tickets = Vec::new();
    for number in 0..count {
        let topic = ["even", "odd"][(number % 2) as usize];
        tickets.push(bus.publish_nowait(topic, Message::new(number.to_string())).await.unwrap());
    }
    for ticket in tickets {
        ticket.wait().await.unwrap();
    }
    serve_until(&bus, count, 0).await;
    bus
}

/// A node that owes so many messages to each of two addresses where nobody is.
pub async fn with_owed(directory: &Path, count: u64) -> Bus {
    let bus = Bus::builder(directory).bind("tcp://127.0.0.1:0").open().await.unwrap();
    let mut tickets = Vec::new();
    for address in [NOBODY, NOBODY_ELSE] {
        for number in 0..count {
            tickets.push(bus.send_nowait(address, "do", Message::new(number.to_string())).await.unwrap());
        }
    }
    for ticket in tickets {
        ticket.wait().await.unwrap();
    }
    bus
}

pub const NOBODY: &str = "tcp://127.0.0.1:7";
pub const NOBODY_ELSE: &str = "tcp://127.0.0.1:9";

pub fn listed(list: &str, dir: &Path) -> Vec<u64> {
    let output = run(&[list, "--dir", text(dir), "--json"]);
    json_lines(&output).iter().map(|line| line["data"].as_str().unwrap().parse().unwrap()).collect()
}

pub fn with(words: &[&str], dir: &Path) -> std::process::Output {
    run(&[words, &["--dir", text(dir)]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_removed_and_retried_whether_or_not_the_node_is_open() {
    for is_open in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let bus = with_parked(dir, 10).await;
        if !is_open {
            bus.close().await.unwrap();
        }
        // Which of them must be said, and it must be meant.
        assert_eq!(code(&with(&["remove", "parked", "--yes"], dir)), 2);
        assert_eq!(code(&with(&["remove", "parked", "--all", "--topic", "odd", "--yes"], dir)), 2);
        assert_eq!(code(&with(&["remove", "parked", "--all", "--to", "tcp://127.0.0.1:9", "--yes"], dir)), 2);
        assert_eq!(code(&with(&["remove", "outgoing", "--all", "--yes"], dir)), 3);
        assert_eq!(code(&with(&["retry", "outgoing", "--all"], dir)), 2);
        assert_eq!(code(&with(&["retry", "incoming", "--all"], dir)), 3, "nothing failed");
        let shown = with(&["purge", "parked", "--topic", "odd", "--limit", "3"], dir);
        assert_eq!(code(&shown), 2, "{shown:?}");
        assert!(
            stderr(&shown).contains("3 messages are removed, for good: repeat it with --yes"),
            "{shown:?}"
        );
        assert!(stdout(&shown).contains("3 in all"), "what would go is listed: {shown:?}");
        assert_eq!(listed("parked", dir), (0..10).collect::<Vec<_>>(), "nothing is gone");
        let removed = with(&["remove", "parked", "--topic", "odd", "--limit", "3", "--yes", "--json"], dir);
        assert_eq!((code(&removed), &json_lines(&removed)[0]["removed"]), (0, &3.into()), "{removed:?}");
        assert_eq!(listed("parked", dir), [0, 2, 4, 6, 7, 8, 9]);
        let retried = with(&["retry", "parked", "--topic", "even"], dir);
        assert_eq!((code(&retried), stdout(&retried).trim()), (0, "5 messages are to be handled again"));
        assert_eq!(listed("parked", dir), [7, 9], "the others wait again");
        assert_eq!(code(&with(&["retry", "dead-letters", "--all"], dir)), 3, "there are none");
        let removed = with(&["remove", "incoming", "--older-than", "0s", "--yes"], dir);
        assert_eq!((code(&removed), stdout(&removed).trim()), (0, "5 messages are removed"), "{removed:?}");
        let made = json_lines(&with(&["changes", "--json"], dir));
        let word = |of: &serde_json::Value, key: &str| of[key].as_str().unwrap().to_owned();
        let said: Vec<_> = made.iter().map(|of| (word(of, "what"), word(of, "where"))).collect();
        let expected = [("removed", "parked"), ("retried", "parked"), ("removed", "incoming")];
        assert_eq!(
            said,
            expected.map(|(what, place)| (what.to_owned(), place.to_owned())),
            "open: {is_open}"
        );
        let count = |of: &serde_json::Value| -> u64 {
            let stretches = of["records"].as_array().unwrap().iter();
            stretches.map(|one| one["last"].as_u64().unwrap() + 1 - one["first"].as_u64().unwrap()).sum()
        };
        assert_eq!(made.iter().map(count).collect::<Vec<_>>(), [3, 5, 5]);
        assert!(made.iter().all(|of| word(of, "who").contains("process ") && word(of, "at").contains('T')));
        assert!(made.iter().map(|of| word(of, "at")).is_sorted());
        assert_eq!(json_lines(&with(&["changes", "--json", "--limit", "2"], dir)), made[..2]);
        assert!(stdout(&with(&["changes"], dir)).contains("3 in all"));
        if is_open {
            bus.close().await.unwrap();
        }
        let keys = json_lines(&with(&["keys", "--json"], dir)).len();
        assert_eq!((listed("parked", dir), keys), (vec![7, 9], 2));
    }
}

/// Another directory with the same files.
pub fn copy_of(dir: &Path, name: &str) -> PathBuf {
    let copy = dir.with_file_name(name);
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let to = copy.join(entry.file_name());
        std::fs::copy(entry.path(), &to).unwrap();
        // Or whoever reads it first waits for that, and takes longer than the one before.
        std::fs::File::open(to).unwrap().sync_all().unwrap();
    }
    copy
}

/// Who is killed in the middle of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// The command, which has the node open itself.
    Alone,
    /// The command, which asks the process that has the node open.
    Client,
    /// That process.
    Node,
}

/// A process that has a node open and runs no handler.
pub fn holder(dir: &Path) -> Child {
    let bind = ["--bind", "tcp://127.0.0.1:0", "--subscribers", "99", "--deadline", "300"];
    let child = resolute(&[&["publish", "--dir", text(dir)], &bind[..], &["nobody's", "x"]].concat())
        .spawn()
        .unwrap();
    until("the node has a control socket", || dir.join("control").exists());
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_while_it_removes_leaves_what_comes_last() {
    for killed in [Killed::Alone, Killed::Client, Killed::Node] {
        kill_in_the_middle(killed, "parked").await;
    }
    kill_in_the_middle(Killed::Node, "outgoing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_is_removed_of_one_destination_or_of_all() {
    for is_open in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let bus = with_owed(dir, 5).await;
        if !is_open {
            bus.close().await.unwrap();
        }
        let shown = with(&["remove", "outgoing", "--to", NOBODY, "--all"], dir);
        let rows = stdout(&shown).lines().filter(|line| line.contains(NOBODY)).count();
        assert_eq!((code(&shown), rows), (2, 5), "{shown:?}");
        assert!(stderr(&shown).contains("5 messages are removed, for good"), "{shown:?}");
        assert_eq!(listed("outgoing", dir).len(), 10);
        let some = with(&["remove", "outgoing", "--to", NOBODY, "--all", "--limit", "2", "--yes"], dir);
        assert_eq!((code(&some), stdout(&some).as_str()), (0, "2 messages are removed\n"), "{some:?}");
        assert_eq!(listed("outgoing", dir), [2, 3, 4, 0, 1, 2, 3, 4], "open: {is_open}");
        let to = json_lines(&with(&["outgoing", "--to", NOBODY_ELSE, "--json"], dir));
        assert!(to.len() == 5 && to.iter().all(|line| line["destination"] == NOBODY_ELSE), "{to:?}");
        assert_eq!(code(&with(&["remove", "outgoing", "--all", "--yes", "--json"], dir)), 0);
        assert_eq!(listed("outgoing", dir), [0; 0]);
        let status = &json_lines(&with(&["status", "--json"], dir))[0];
        assert_eq!((&status["outgoing"], &status["dropped"]), (&0.into(), &10.into()), "{status}");
        let changes = json_lines(&with(&["changes", "--json"], dir));
        let first = &changes[0];
        assert_eq!((&first["what"], &first["where"]), (&"removed".into(), &"outgoing".into()), "{first}");
        assert_eq!((changes.len(), &first["stream"]), (3, &1.into()), "{changes:?}");
        if is_open {
            bus.close().await.unwrap();
        }
    }
}

async fn kill_in_the_middle(killed: Killed, list: &str) {
    const COUNT: u64 = 4_000;
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("node");
    let bus = match list {
        "outgoing" => with_owed(&dir, COUNT / 2).await,
        _ => with_parked(&dir, COUNT).await,
    };
    bus.close().await.unwrap();
    let remove =
        |dir: &Path| resolute(&["remove", list, "--all", "--yes", "--dir", text(dir)]).spawn().unwrap();
    let before_all = listed(list, &dir);
    let whole = copy_of(&dir, "whole");
    kill_at_moments(
        killed,
        &dir,
        &whole,
        remove,
        |copy| {
            let left = json_lines(&with(&["status", "--json"], copy))[0][list].as_u64().unwrap();
            if left > 0 && left < COUNT {
                assert!(
                    listed(list, copy) == before_all[(COUNT - left) as usize..],
                    "they go in their order, and no other: {killed:?}"
                );
                assert_eq!(code(&wait(remove(copy))), 0, "and the next who comes takes the rest");
            }
            COUNT - left
        },
        COUNT,
    );
}

/// Does a change on copies of a directory, one of which is changed to the end, and kills what is to be killed at moments between one
/// when it had not begun and one when it was done. `look` says how many of so many messages it had changed.
pub fn kill_at_moments(
    killed: Killed,
    dir: &Path,
    whole: &Path,
    change: impl Fn(&Path) -> Child,
    mut look: impl FnMut(&Path) -> u64,
    count: u64,
) {
    let mut node = (killed != Killed::Alone).then(|| holder(whole));
    let began = Instant::now();
    assert_eq!(code(&wait(change(whole))), 0);
    let takes = began.elapsed();
    node.iter_mut().for_each(end);
    let (mut before, mut after) = (takes / 4, takes * 2);
    let (mut none, mut some, mut all) = (0, 0, 0);
    for round in 0..4 {
        let copy = copy_of(dir, &round.to_string());
        let mut node = (killed != Killed::Alone).then(|| holder(&copy));
        let mut child = change(&copy);
        let moment = (before + after) / 2;
        std::thread::sleep(moment);
        if killed == Killed::Node {
            node.iter_mut().for_each(end);
        } else {
            child.kill().unwrap();
        }
        wait(child);
        node.iter_mut().for_each(end);
        match look(&copy) {
            0 => (none, before) = (none + 1, moment),
            changed if changed == count => (all, after) = (all + 1, moment),
            _ => some += 1,
        }
        std::fs::remove_dir_all(copy).unwrap();
    }
    println!("{killed:?}: {none} times none was changed, {some} times some, {all} times all");
}

/// Ends a process as nothing lets it prepare for.
pub fn end(child: &mut Child) {
    // One that has ended already is as good.
    drop(child.kill());
    child.wait().unwrap();
}
