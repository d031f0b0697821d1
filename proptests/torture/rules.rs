//! The rules by which a history is judged, each broken once: a judge that acquits everybody is none.

// What only nodes and their driver need of it is used by those.
#[allow(dead_code)]
#[path = "cast.rs"]
mod cast;
#[path = "entry.rs"]
mod entry;
#[path = "inbox.rs"]
mod inbox;
#[path = "journal.rs"]
mod journal;
#[path = "published.rs"]
mod published;
#[path = "sequence.rs"]
mod sequence;
#[path = "story.rs"]
mod story;

use std::io::Write;
use std::path::Path;

use cast::CAST;
use entry::{Entry, KEPT_EVERY, Kind};
use inbox::Inbox;
use journal::Journal;
use published::Published;

const LOG: u64 = 77;

/// The publisher's first life ends in the middle of a group, and an atomic batch ends its second.
const ENDS: [u64; 2] = [KEPT_EVERY * 3 + 40, KEPT_EVERY + 9];

fn entry(kind: Kind, life: u32, number: u64) -> Entry {
    let lsn = u64::from(life) * 1_000_000 + 3 * number;
    Entry { kind, publisher: 0, more: 0, life, number, lsn, log: LOG }
}

fn published() -> Published {
    let mut published = Published::default();
    let said = [
        (Kind::Claimed, 1, ENDS[0] + 100),
        (Kind::Acknowledged, 1, ENDS[0] - 30),
        (Kind::Claimed, 2, ENDS[1]),
        (Kind::Acknowledged, 2, ENDS[1]),
        // It was killed before it published any of these.
        (Kind::Claimed, 3, 10),
    ];
    for (kind, life, number) in said {
        published.note(&entry(kind, life, number)).unwrap();
    }
    published
}

/// What comes of a kind, in order.
fn all(kind: Kind) -> Vec<Entry> {
    let lives = [(1, ENDS[0]), (2, ENDS[1])];
    let numbers = lives.into_iter().flat_map(|(life, end)| (1..=end).map(move |number| (life, number)));
    let is_kept = |number: u64| number.is_multiple_of(KEPT_EVERY);
    let of_kind = numbers.filter(|(_, number)| is_kept(*number) == (kind == Kind::Kept));
    of_kind.map(|(life, number)| entry(kind, life, number)).collect()
}

/// A subscriber that was killed twice, each time before some of what it had handled was marked, and closed in the end.
fn history() -> Vec<Vec<Entry>> {
    let handled = all(Kind::Handled);
    vec![handled[..400].to_vec(), handled[390..1000].to_vec(), handled[1000..].to_vec(), all(Kind::Kept)]
}

fn judge(published: &Published, history: &[Vec<Entry>]) -> Result<(u64, u64), String> {
    let mut inbox = Inbox::new(published);
    for (life, entries) in history.iter().enumerate() {
        inbox.begin(life + 1 == history.len());
        entries.iter().try_for_each(|entry| inbox.take(entry))?;
    }
    Ok((inbox.end()?.values().sum(), inbox.again()))
}

/// The verdict on a history to which something was done.
fn verdict(change: impl FnOnce(&mut Vec<Vec<Entry>>)) -> String {
    let mut history = history();
    change(&mut history);
    judge(&published(), &history).expect_err("nobody noticed")
}

#[track_caller]
fn condemned(words: &str, change: impl FnOnce(&mut Vec<Vec<Entry>>)) {
    let verdict = verdict(change);
    assert!(verdict.contains(words), "{verdict}");
}

#[test]
fn what_came_once_and_in_order_is_well_though_handlers_were_called_twice() {
    assert_eq!(judge(&published(), &history()), Ok((ENDS[0] + ENDS[1], 10)));
    assert_eq!(published().acknowledged(), ENDS[0] - 30 + ENDS[1]);
}

#[test]
fn what_was_acknowledged_and_never_came_is_lost() {
    condemned("lost", |history| {
        history[2].pop();
    });
    condemned("lost", |history| {
        history[3].pop();
    });
    condemned("lost", |history| history.iter_mut().for_each(Vec::clear));
    // Its number is not among those that were acknowledged, but later ones came.
    condemned("given after", |history| {
        history[1].remove(500);
    });
    condemned("for the first time", |history| {
        history[2].remove(0);
    });
    condemned("given after", |history| {
        history[3].remove(1);
    });
}

#[test]
fn the_rest_of_an_atomic_batch_is_lost() {
    let end = |history: &Vec<Vec<Entry>>| {
        history[2].iter().position(|entry| (entry.life, entry.number) == (1, ENDS[0])).unwrap()
    };
    condemned("lost: 3 messages of the atomic batch", |history| {
        let end = end(history);
        history[2][end].more = 3;
    });
}

#[test]
fn what_nobody_published_is_unexpected() {
    condemned("unexpected", |history| history[2].push(entry(Kind::Handled, 2, ENDS[1] + 1)));
    condemned("unexpected", |history| history[2].push(entry(Kind::Handled, 4, 1)));
    condemned("unexpected", |history| history[2].push(entry(Kind::Foreign, 1, 1)));
    condemned("unexpected", |history| history[0][7].log += 1);
    condemned("other topic", |history| history[0][7].kind = Kind::Kept);
}

#[test]
fn what_is_in_the_inbox_twice_is_a_duplicate() {
    condemned("given after", |history| {
        let again = history[1][5];
        history[1].insert(6, again);
    });
    condemned("duplicated", |history| {
        history.push(all(Kind::Kept));
        history[3].clear();
        let again = history[4][1];
        history[3].extend(all(Kind::Kept)[..2].iter());
        history[4][0] = again;
    });
    condemned("twice in the inbox", |history| history[1][3].lsn += 1);
}

#[test]
fn what_was_marked_for_good_does_not_come_again() {
    // The life before began behind it.
    condemned("an earlier life had begun behind it", |history| {
        history.insert(2, all(Kind::Handled)[380..1000].to_vec());
    });
    condemned("after it was marked", |history| history[3].insert(0, all(Kind::Handled)[1200]));
}

#[test]
fn nothing_overtakes_anything() {
    condemned("given after", |history| history[0].swap(10, 11));
    condemned("for the first time", |history| history[3].swap(0, 1));
    condemned("came after record", |history| history[2][100].lsn -= 3);
}

#[test]
fn an_id_is_what_the_receipt_said() {
    let mut published = published();
    let receipts = &mut published.lives.get_mut(&2).unwrap().receipts;
    receipts[0].1 += 1;
    let verdict = judge(&published, &history()).expect_err("nobody noticed");
    assert!(verdict.contains("by its receipt"), "{verdict}");
}

#[test]
fn a_publisher_acknowledges_what_it_claimed_once_and_in_order() {
    let mut published = published();
    for (kind, life, number) in [(Kind::Acknowledged, 2, ENDS[1]), (Kind::Acknowledged, 3, 11)] {
        assert!(published.note(&entry(kind, life, number)).is_err());
    }
    let foreign = Entry { log: LOG + 1, ..entry(Kind::Acknowledged, 3, 10) };
    assert!(published.note(&foreign).is_err());
}

/// The journals of one life of each node: each publisher had so many messages acknowledged, and each subscriber was called
/// with so many of each, and with all of the last life that were kept.
fn write_journals(directory: &Path, acknowledged: u64, handled: u64) {
    for (node, part) in CAST.iter().enumerate() {
        let journal = Journal::create(directory, part.name, 1);
        for kind in [Kind::Claimed, Kind::Acknowledged] {
            if part.publishes && acknowledged > 0 {
                journal.write(of_publisher(kind, node, acknowledged));
            }
        }
        let last = Journal::create(directory, part.name, 2);
        for source in part.sources {
            let publisher = cast::index(source);
            for number in 1..=handled {
                let is_kept = number.is_multiple_of(KEPT_EVERY);
                let (journal, kind) = if is_kept { (&last, Kind::Kept) } else { (&journal, Kind::Handled) };
                journal.write(of_publisher(kind, publisher, number));
            }
        }
    }
}

fn of_publisher(kind: Kind, publisher: usize, number: u64) -> Entry {
    Entry { publisher: publisher as u8, ..entry(kind, 1, number) }
}

#[test]
fn journals_that_tell_less_than_there_was_acquit_nobody() {
    let story = |acknowledged: u64, handled: u64, said: (u64, u64)| {
        let directory = tempfile::tempdir().unwrap();
        write_journals(directory.path(), acknowledged, handled);
        story::read(directory.path(), &[2; 4]).and_then(|story| story.must_tell_all_of(said))
    };
    // Three publish, and seven are owed the messages of one.
    assert_eq!(story(600, 600, (1_800, 4_200)), Ok(()));
    for (acknowledged, handled, said, words) in [
        (600, 600, (1_801, 4_200), "1800 acknowledged and 4200 handled"),
        (600, 600, (1_800, 4_201), "1800 acknowledged and 4200 handled"),
        (0, 0, (0, 0), "nothing was shown"),
        (500, 500, (0, 0), "nothing was shown"),
        (600, 599, (0, 0), "lost"),
    ] {
        let verdict = story(acknowledged, handled, said).expect_err("nobody noticed");
        assert!(verdict.contains(words), "{verdict}");
    }
}

#[test]
fn half_an_entry_of_a_journal_is_not_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    write_journals(directory.path(), 600, 600);
    let journal = directory.path().join("orders.1.journal");
    std::fs::File::options().append(true).open(journal).unwrap().write_all(&[1; 7]).unwrap();
    let verdict = story::read(directory.path(), &[2; 4]).err().expect("nobody noticed");
    assert!(verdict.contains("ends within an entry"), "{verdict}");
}

#[test]
fn an_entry_reads_back_as_it_was_written() {
    let written = Entry { more: 5, ..entry(Kind::Kept, 9, u64::MAX / 4) };
    assert_eq!(Entry::from_bytes(written.to_bytes()), Ok(written));
    assert!(Entry::from_bytes([0; entry::ENTRY_BYTES]).is_err());
}
