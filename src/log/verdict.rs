//! What is to be said of a log, from what was found where its batches stop.
//!
//! Reading goes from batch to batch until something is not the batch that is due. Four facts are known then, and
//! every combination of them has exactly one row in [`TABLE`].
//!
//! | row | before  | place   | later       | after           | verdict                 |
//! |-----|---------|---------|-------------|-----------------|-------------------------|
//! | F   | origin  | nothing | none        | absent, blank   | fresh                   |
//! | C   | closed  | nothing | none        | absent, blank   | clean                   |
//! | U   | open    | nothing | none        | absent, blank   | unclosed                |
//! | T   | any \*  | bad     | none, unconfirmed | absent, blank | torn                |
//! | H   | any \*  | nothing | unconfirmed | absent, blank   | torn: a hole            |
//! | D   | any \*  | nothing, bad | confirmed | absent, blank | corrupt: durable batch  |
//! | X   | any \*  | misfit  | any         | absent, blank   | corrupt: broken chain   |
//! | S   | any \*  | any     | any         | written         | corrupt: sealed segment |
//! | M   | any \*  | any     | any         | missing         | corrupt: missing segment|
//! | L   | headless| any     | any         | any             | corrupt: lost head      |
//!
//! \* any but headless.

/// What ends before the place where the batches stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: the first batch of a log is due there.
    Origin,
    /// A batch that other batches were to follow.
    Open,
    /// A batch that closed the log.
    Closed,
    /// Nothing, although earlier segments were freed: the oldest segment has lost its first batch.
    Headless,
}

/// What is at the place itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Zeros, what the file held in an earlier life, or the end of the file.
    Nothing,
    /// A batch that is not whole, or remains of something that was written.
    Bad,
    /// A batch of this log which is none that could follow here.
    Misfit,
}

/// What the headers behind the place, in the same segment, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// There are none of later batches.
    None,
    /// When the later batches were submitted, the one that is due was not known durable: with two writes in flight
    /// this is an ordinary crash.
    Unconfirmed,
    /// The batch that is due was durable once: one of them says so, or lies where it could not be in flight too.
    Confirmed,
}

/// What the segments after this one say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// There are none.
    Absent,
    /// They hold nothing of the log yet: prepared, and not begun.
    Blank,
    /// One holds later batches. Rolling waits for every write of the old segment, so nothing here was in flight.
    Written,
    /// The next one's file is gone, and one after it is there.
    Missing,
}

/// What a log is, and what may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was ever written.
    Fresh,
    /// A closing batch is the last.
    Clean,
    /// No closing batch, and nothing of a later write to be seen: a crash between two writes.
    Unclosed,
    /// The last writes did not arrive whole. None of them was ever known durable: the log is cut before them.
    Torn,
    /// Something that was durable is damaged or gone. Nothing may be changed.
    Corrupt(Corruption),
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verdict::Fresh => "new",
            Verdict::Clean => "closed cleanly",
            Verdict::Unclosed => "not closed, nothing torn",
            Verdict::Torn => "not closed, the tail torn",
            Verdict::Corrupt(_) => "corrupt",
        })
    }
}

/// How it is known that durable bytes are damaged or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Corruption {
    /// A later batch proves that this one was durable.
    DurableBatch,
    /// A good batch, but not one that follows the batch before it.
    BrokenChain,
    /// The segment after this one was begun.
    SealedSegment,
    /// A segment between others has no file.
    MissingSegment,
    /// The oldest segment does not begin with a whole batch.
    LostHead,
}

/// One row of the table: it matches when each fact is among those it names.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The name of the row in tests and reports.
    pub label: &'static str,
    /// See [`Before`].
    pub before: &'static [Before],
    /// See [`Place`].
    pub place: &'static [Place],
    /// See [`Later`].
    pub later: &'static [Later],
    /// See [`After`].
    pub after: &'static [After],
    /// What follows.
    pub verdict: Verdict,
}

const KNOWN: &[Before] = &[Before::Origin, Before::Open, Before::Closed];
const ANY_PLACE: &[Place] = &[Place::Nothing, Place::Bad, Place::Misfit];
const ANY_LATER: &[Later] = &[Later::None, Later::Unconfirmed, Later::Confirmed];
const ANY_AFTER: &[After] = &[After::Absent, After::Blank, After::Written, After::Missing];
/// This segment is the last that was begun, so what is there may have been in flight.
const LAST: &[After] = &[After::Absent, After::Blank];

/// Every combination, once. The module shows it as it is.
pub const TABLE: [Row; 10] = [
    Row {
        label: "F",
        before: &[Before::Origin],
        place: &[Place::Nothing],
        later: &[Later::None],
        after: LAST,
        verdict: Verdict::Fresh,
    },
    Row {
        label: "C",
        before: &[Before::Closed],
        place: &[Place::Nothing],
        later: &[Later::None],
        after: LAST,
        verdict: Verdict::Clean,
    },
    Row {
        label: "U",
        before: &[Before::Open],
        place: &[Place::Nothing],
        later: &[Later::None],
        after: LAST,
        verdict: Verdict::Unclosed,
    },
    // Also after a closing batch: then it was the next opening that did not get far.
    Row {
        label: "T",
        before: KNOWN,
        place: &[Place::Bad],
        later: &[Later::None, Later::Unconfirmed],
        after: LAST,
        verdict: Verdict::Torn,
    },
    Row {
        label: "H",
        before: KNOWN,
        place: &[Place::Nothing],
        later: &[Later::Unconfirmed],
        after: LAST,
        verdict: Verdict::Torn,
    },
    Row {
        label: "D",
        before: KNOWN,
        place: &[Place::Nothing, Place::Bad],
        later: &[Later::Confirmed],
        after: LAST,
        verdict: Verdict::Corrupt(Corruption::DurableBatch),
    },
    // A cut batch is made unrevivable before anything is written in its stead, so no crash leaves this behind: a
    // file was put back, or a write that the disk confirmed never happened.
    Row {
        label: "X",
        before: KNOWN,
        place: &[Place::Misfit],
        later: ANY_LATER,
        after: LAST,
        verdict: Verdict::Corrupt(Corruption::BrokenChain),
    },
    Row {
        label: "S",
        before: KNOWN,
        place: ANY_PLACE,
        later: ANY_LATER,
        after: &[After::Written],
        verdict: Verdict::Corrupt(Corruption::SealedSegment),
    },
    // Files are made and freed in the order of their numbers, so no crash leaves a gap.
    Row {
        label: "M",
        before: KNOWN,
        place: ANY_PLACE,
        later: ANY_LATER,
        after: &[After::Missing],
        verdict: Verdict::Corrupt(Corruption::MissingSegment),
    },
    // A segment is freed only when what must outlive it is durable in later ones, so the oldest always has a batch.
    Row {
        label: "L",
        before: &[Before::Headless],
        place: ANY_PLACE,
        later: ANY_LATER,
        after: ANY_AFTER,
        verdict: Verdict::Corrupt(Corruption::LostHead),
    },
];

/// The row for what was found.
#[must_use]
pub fn judge(before: Before, place: Place, later: Later, after: After) -> &'static Row {
    let mut rows = TABLE.iter().filter(|row| row.matches(before, place, later, after));
    // Invariant: every combination has its row; a test goes through them all.
    rows.next().expect("a combination without a row")
}

impl Row {
    fn matches(&self, before: Before, place: Place, later: Later, after: After) -> bool {
        self.before.contains(&before)
            && self.place.contains(&place)
            && self.later.contains(&later)
            && self.after.contains(&after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combinations() -> Vec<(Before, Place, Later, After)> {
        let mut all = Vec::new();
        for before in [Before::Origin, Before::Open, Before::Closed, Before::Headless] {
            for place in ANY_PLACE {
                for later in ANY_LATER {
                    all.extend(ANY_AFTER.iter().map(|after| (before, *place, *later, *after)));
                }
            }
        }
        assert_eq!(all.len(), 144);
        all
    }

    #[test]
    fn every_combination_has_exactly_one_row_and_every_row_has_combinations() {
        let mut matched = [0; TABLE.len()];
        for (before, place, later, after) in combinations() {
            let rows: Vec<_> =
                (0..TABLE.len()).filter(|i| TABLE[*i].matches(before, place, later, after)).collect();
            assert_eq!(rows.len(), 1, "{before:?} {place:?} {later:?} {after:?}: {rows:?}");
            matched[rows[0]] += 1;
        }
        assert!(matched.iter().all(|count| *count > 0));
    }

    #[test]
    fn nothing_that_was_ever_known_durable_is_cut() {
        for (before, place, later, after) in combinations() {
            let durable_once = later == Later::Confirmed || matches!(after, After::Written | After::Missing);
            let verdict = judge(before, place, later, after).verdict;
            assert!(
                !durable_once || matches!(verdict, Verdict::Corrupt(_)),
                "{before:?} {place:?} {later:?} {after:?}"
            );
        }
    }

    #[test]
    fn an_ordinary_crash_is_never_called_corrupt() {
        for (before, place, later, after) in combinations() {
            let crash = before != Before::Headless
                && place != Place::Misfit
                && later != Later::Confirmed
                && matches!(after, After::Absent | After::Blank);
            let verdict = judge(before, place, later, after).verdict;
            assert_eq!(
                crash,
                !matches!(verdict, Verdict::Corrupt(_)),
                "{before:?} {place:?} {later:?} {after:?}"
            );
        }
    }

    #[test]
    fn a_log_is_clean_only_if_nothing_at_all_follows_its_closing_batch() {
        for (before, place, later, after) in combinations() {
            let closed = before == Before::Closed
                && place == Place::Nothing
                && later == Later::None
                && matches!(after, After::Absent | After::Blank);
            assert_eq!(closed, judge(before, place, later, after).verdict == Verdict::Clean);
        }
    }

    #[test]
    fn the_table_in_the_comment_names_the_rows_in_their_order() {
        let shown: Vec<&str> = include_str!("verdict.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | ")?.split_whitespace().next())
            .skip(1)
            .collect();
        assert_eq!(shown, TABLE.map(|row| row.label));
    }
}
