//! `requeue` and `edit`, from the command line.

use std::path::Path;

use crate::administering::{
    Killed, NOBODY, NOBODY_ELSE, copy_of, kill_at_moments, listed, with, with_owed, with_parked,
};
use crate::program::{code, json_lines, resolute, stderr, stdout, text};

fn ids(list: &str, dir: &Path) -> Vec<String> {
    let lines = json_lines(&with(&[list, "--json"], dir));
    lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_the_inbox_are_requeued_and_edited_whether_or_not_the_node_is_open() {
    for is_open in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let bus = with_parked(dir, 6).await;
        if !is_open {
            bus.close().await.unwrap();
        }
        let before = ids("parked", dir);
        assert_eq!(code(&with(&["requeue", "parked"], dir)), 2, "which of them must be said");
        assert_eq!(code(&with(&["requeue", "dead-letters", "--all"], dir)), 3, "there are none");
        let requeued = with(&["requeue", "parked", "--topic", "odd"], dir);
        assert_eq!((code(&requeued), stdout(&requeued).as_str()), (0, "3 messages are at the end\n"));
        assert_eq!((listed("parked", dir), listed("incoming", dir)), (vec![0, 2, 4], vec![1, 3, 5]));
        assert!(ids("incoming", dir).iter().all(|id| !before.contains(id)), "they are messages of their own");

        // It is shown first what would be changed, and a payload is needed.
        assert_eq!(code(&with(&["edit", "parked", "--all", "--yes"], dir)), 2);
        let one = before[2].as_str();
        let shown = with(&["edit", "parked", "--id", one, "--payload", "77"], dir);
        assert_eq!((code(&shown), listed("parked", dir)), (2, vec![0, 2, 4]), "{shown:?}");
        assert!(
            stderr(&shown).contains("1 message is given another payload: repeat it with --yes"),
            "{shown:?}"
        );
        let edited = with(&["edit", "parked", "--id", one, "--payload", "77", "--yes", "--json"], dir);
        assert_eq!((code(&edited), &json_lines(&edited)[0]["edited"]), (0, &1.into()), "{edited:?}");
        assert_eq!((listed("parked", dir), listed("incoming", dir)), (vec![0, 4], vec![1, 3, 5, 77]));
        let last = json_lines(&with(&["incoming", "--json"], dir)).pop().unwrap();
        assert_eq!(last["topics"], serde_json::json!(["even"]), "all but the payload is as it was: {last}");
        // What has not been handled yet is there to be changed, too.
        assert_eq!(code(&with(&["requeue", "incoming", "--all", "--limit", "1"], dir)), 0);
        assert_eq!(listed("incoming", dir), [3, 5, 77, 1]);

        let too_long = dir.join("long");
        std::fs::write(&too_long, vec![b'x'; 240 * 1024 + 1]).unwrap();
        let refused = with(&["edit", "parked", "--all", "--payload-file", text(&too_long), "--yes"], dir);
        assert_ne!(code(&refused), 0, "{refused:?}");
        assert_eq!(listed("parked", dir), [0, 4]);
        std::fs::write(&too_long, vec![b'9'; 240 * 1024]).unwrap();
        assert_eq!(
            code(&with(&["edit", "parked", "--all", "--payload-file", text(&too_long), "--yes"], dir)),
            0
        );
        let longest = json_lines(&with(&["incoming", "--json"], dir));
        assert!(longest[4..].iter().all(|line| line["data"].as_str().unwrap().len() == 240 * 1024));

        let changes = json_lines(&with(&["changes", "--json"], dir));
        let said: Vec<_> = changes.iter().map(|line| line["what"].as_str().unwrap()).collect();
        assert_eq!(said, [["requeued"; 3].as_slice(), &["edited", "requeued", "edited", "edited"]].concat());
        if is_open {
            bus.close().await.unwrap();
        }
        // What was written anew is still so when the log is read again.
        assert_eq!((ids("incoming", dir).len(), ids("parked", dir).len()), (6, 0), "open: {is_open}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_is_requeued_and_edited_for_one_destination_or_all() {
    for is_open in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let bus = with_owed(dir, 3).await;
        if !is_open {
            bus.close().await.unwrap();
        }
        let some = with(&["requeue", "outgoing", "--to", NOBODY, "--all", "--limit", "1"], dir);
        assert_eq!((code(&some), stdout(&some).as_str()), (0, "1 message is at the end\n"), "{some:?}");
        assert_eq!(listed("outgoing", dir), [1, 2, 0, 0, 1, 2], "open: {is_open}");
        let edit = ["edit", "outgoing", "--to", NOBODY_ELSE, "--all", "--payload", "7"];
        assert_eq!(code(&with(&edit, dir)), 2);
        assert_eq!(code(&with(&[&edit[..], &["--yes"]].concat(), dir)), 0);
        assert_eq!(listed("outgoing", dir), [1, 2, 0, 7, 7, 7]);
        let status = &json_lines(&with(&["status", "--json"], dir))[0];
        assert_eq!((&status["outgoing"], &status["dropped"]), (&6.into(), &0.into()), "{status}");
        if is_open {
            bus.close().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_while_it_requeues_loses_nothing_and_doubles_nothing() {
    for (killed, list) in [(Killed::Alone, "parked"), (Killed::Node, "outgoing")] {
        kill_in_the_middle(killed, list).await;
    }
}

async fn kill_in_the_middle(killed: Killed, list: &str) {
    const COUNT: u64 = 2_000;
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("node");
    let bus = match list {
        "outgoing" => with_owed(&dir, COUNT / 2).await,
        _ => with_parked(&dir, COUNT).await,
    };
    bus.close().await.unwrap();
    let requeue = |dir: &Path| resolute(&["requeue", list, "--all", "--dir", text(dir)]).spawn().unwrap();
    let all = |dir: &Path| {
        let mut all = listed(list, dir);
        if list != "outgoing" {
            all.extend(listed("incoming", dir));
        }
        all.sort_unstable();
        all
    };
    let (before_all, is_old) = (all(&dir), ids(list, &dir));
    let whole = copy_of(&dir, "whole");
    kill_at_moments(
        killed,
        &dir,
        &whole,
        requeue,
        |copy| {
            assert!(all(copy) == before_all, "each is there once: {killed:?} {list}");
            let now = ids(list, copy);
            is_old.iter().filter(|id| !now.contains(id)).count() as u64
        },
        COUNT,
    );
    assert!(all(&whole) == before_all);
}
