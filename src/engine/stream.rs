//! What this node owes to one other: an outbound stream.

use std::collections::VecDeque;

use crate::format::control::StreamOwner;
use crate::ids::{Lsn, LsnRange, Position};

/// Messages that stand in a row both in the stream and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamRun {
    /// The place in the stream of the first.
    pub position: Position,
    /// Its record.
    pub lsn: Lsn,
    /// How many.
    pub count: u64,
    /// Bytes of all, as near as is known once some were acknowledged.
    pub bytes: u64,
}

impl StreamRun {
    const fn end(&self) -> Position {
        self.position.plus(self.count)
    }

    /// `count` of its messages, behind the first `skip`.
    const fn part(&self, skip: u64, count: u64) -> StreamRun {
        StreamRun {
            position: self.position.plus(skip),
            lsn: self.lsn.plus(skip),
            count,
            bytes: if count == self.count { self.bytes } else { self.bytes / self.count * count },
        }
    }
}

/// One stream: `acked < next`. What lies between is owed, or was taken out: a gap, of which the receiver is told when its turn
/// comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Whom it is owed to.
    pub owner: StreamOwner,
    /// The position of the next message.
    pub next: Position,
    /// Everything up to here is on the receiver's stable storage.
    pub acked: Position,
    /// No more messages will be owed.
    pub ended: bool,
    /// The newest record that took something out: of no gap may be spoken before it is durable.
    cut_at: Lsn,
    /// The newest record that was passed over: of no gap behind all that is owed may be spoken before it is durable.
    passed_at: Lsn,
    runs: VecDeque<StreamRun>,
    owed: u64,
    bytes: u64,
}

impl Stream {
    /// A stream as a record describes it; what it owes comes with records that follow.
    #[must_use]
    pub fn new(owner: StreamOwner, next: Position, acked: Position, ended: bool) -> Stream {
        Stream {
            owner,
            next,
            acked,
            ended,
            cut_at: Lsn(0),
            passed_at: Lsn(0),
            runs: VecDeque::new(),
            owed: 0,
            bytes: 0,
        }
    }

    /// Messages owed.
    #[must_use]
    pub fn owed(&self) -> u64 {
        self.owed
    }

    /// Whether the receiver has, or knows of the loss of, all that was ever owed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.acked.plus(1) == self.next
    }

    /// Bytes owed.
    #[must_use]
    pub fn owed_bytes(&self) -> u64 {
        self.bytes
    }

    /// The messages that are owed.
    #[must_use]
    pub fn runs(&self) -> &VecDeque<StreamRun> {
        &self.runs
    }

    /// Messages that were just logged are owed here too.
    pub fn extend(&mut self, lsn: Lsn, count: u64, bytes: u64) {
        assert!(!self.ended, "nothing is owed to a stream that ended");
        assert!(self.runs.back().is_none_or(|last| last.lsn.plus(last.count) <= lsn), "the log only grows");
        self.bytes += bytes;
        self.owed += count;
        match self.runs.back_mut() {
            Some(last) if last.lsn.plus(last.count) == lsn && last.end() == self.next => {
                last.count += count;
                last.bytes += bytes;
            }
            _ => self.runs.push_back(StreamRun { position: self.next, lsn, count, bytes }),
        }
        self.next = self.next.plus(count);
    }

    /// Messages that were just logged would be owed here, and are not: they leave a gap.
    pub fn pass_over(&mut self, lsn: Lsn, count: u64) {
        assert!(!self.ended, "nothing is owed to a stream that ended");
        self.next = self.next.plus(count);
        self.passed_at = self.passed_at.max(lsn.plus(count - 1));
    }

    /// A message that was carried forward. Live it is owed already; at replay it comes when all that stood after it
    /// may have come.
    pub fn carried(&mut self, position: Position, lsn: Lsn, bytes: u64) {
        if position <= self.acked {
            return;
        }
        let at = self.runs.partition_point(|run| run.position <= position);
        if at > 0 && position < self.runs[at - 1].end() {
            return;
        }
        self.bytes += bytes;
        self.owed += 1;
        if at > 0
            && self.runs[at - 1].end() == position
            && self.runs[at - 1].lsn.plus(self.runs[at - 1].count) == lsn
        {
            self.runs[at - 1].count += 1;
            self.runs[at - 1].bytes += bytes;
        } else {
            self.runs.insert(at, StreamRun { position, lsn, count: 1, bytes });
        }
    }

    /// The receiver has everything up to `position`. `gone` sees the LSNs of what is no longer owed.
    pub fn ack(&mut self, position: Position, mut gone: impl FnMut(Lsn, u64)) {
        assert!(position < self.next, "an ack beyond what was ever owed is refused before it gets here");
        self.acked = self.acked.max(position);
        while let Some(first) = self.runs.front_mut()
            && first.position <= position
        {
            let count = first.count.min(position.plus(1).since(first.position));
            let bytes = first.bytes / first.count * count;
            let bytes = if count == first.count { first.bytes } else { bytes };
            gone(first.lsn, count);
            self.bytes -= bytes;
            self.owed -= count;
            if count == first.count {
                self.runs.pop_front();
            } else {
                *first = StreamRun {
                    position: first.position.plus(count),
                    lsn: first.lsn.plus(count),
                    count: first.count - count,
                    bytes: first.bytes - bytes,
                };
            }
        }
    }

    /// Takes out what is owed of these records, as the record `at` says. Says how many messages that were.
    pub fn take_out(&mut self, range: LsnRange, at: Lsn) -> u64 {
        let (first, end) = (range.first, range.end());
        let begin = self.first_run_after(|run| run.lsn.plus(run.count) <= first);
        let after = self.first_run_after(|run| run.lsn < end).max(begin);
        let (mut left, mut count) = (Vec::new(), 0);
        for run in self.runs.drain(begin..after) {
            let (skip, keep) = (first.0.saturating_sub(run.lsn.0), end.since(run.lsn).min(run.count));
            let kept = [run.part(0, skip), run.part(keep, run.count - keep)];
            count += keep - skip;
            self.bytes -= run.bytes - (kept[0].bytes + kept[1].bytes);
            left.extend(kept.into_iter().filter(|part| part.count > 0));
        }
        // Of all that it touches only the first and the last leave something.
        for (index, part) in left.into_iter().enumerate() {
            self.runs.insert(begin + index, part);
        }
        self.owed -= count;
        if count > 0 {
            self.cut_at = self.cut_at.max(at);
        }
        count
    }

    /// How many positions from `position` on were taken out or passed over, and the record that must be durable before that is said.
    #[must_use]
    pub fn gap_at(&self, position: Position) -> Option<(u64, Lsn)> {
        let next = self.at(position);
        let end = next.map_or(self.next, |run| run.position);
        // What was passed over before something that is owed lies before it in the log.
        let passed_at = next.map_or(self.passed_at, |run| self.passed_at.min(run.lsn));
        (position < end).then(|| (end.since(position), self.cut_at.max(passed_at)))
    }

    /// The owed message at `position`, and those in a row with it; if that was taken out, the next.
    #[must_use]
    pub fn at(&self, position: Position) -> Option<StreamRun> {
        let at = self.runs.partition_point(|run| run.end() <= position);
        let run = *self.runs.get(at)?;
        if run.position > position {
            return Some(run);
        }
        let skip = position.since(run.position);
        Some(StreamRun { position, lsn: run.lsn.plus(skip), count: run.count - skip, bytes: run.bytes })
    }

    /// The place of the first run that is not passed over; those that are come before it.
    fn first_run_after(&self, is_passed: impl Fn(&StreamRun) -> bool) -> usize {
        self.runs.partition_point(is_passed)
    }

    /// The owed messages whose records lie in `first..end` of the log.
    pub fn owed_in(&self, first: Lsn, end: Lsn) -> impl Iterator<Item = StreamRun> + '_ {
        // What stands later in the stream lies later in the log, so the runs have one order.
        let begin = self.first_run_after(|run| run.lsn.plus(run.count) <= first);
        self.runs.range(begin..).take_while(move |run| run.lsn < end).filter_map(move |run| {
            let from = run.lsn.max(first);
            let to = run.lsn.plus(run.count).min(end);
            (from < to).then(|| StreamRun {
                position: run.position.plus(from.since(run.lsn)),
                lsn: from,
                count: to.since(from),
                bytes: run.bytes,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PeerSlot;

    fn stream() -> Stream {
        Stream::new(StreamOwner::Peer(PeerSlot(1)), Position(1), Position(0), false)
    }

    #[test]
    fn a_row_in_the_log_and_the_stream_is_one_run() {
        let mut stream = stream();
        stream.extend(Lsn(10), 5, 50);
        stream.extend(Lsn(15), 5, 50);
        stream.extend(Lsn(30), 1, 10);
        assert_eq!((stream.runs().len(), stream.owed(), stream.owed_bytes()), (2, 11, 110));
        let run = stream.at(Position(4)).unwrap();
        assert_eq!((run.position, run.lsn, run.count), (Position(4), Lsn(13), 7));
    }

    #[test]
    fn an_ack_releases_what_it_covers_and_nothing_else() {
        let mut stream = stream();
        stream.extend(Lsn(10), 5, 50);
        stream.extend(Lsn(30), 5, 50);
        let mut gone = Vec::new();
        stream.ack(Position(7), |lsn, count| gone.push((lsn.0, count)));
        assert_eq!(gone, [(10, 5), (30, 2)]);
        assert_eq!((stream.owed(), stream.at(Position(1)).unwrap().lsn), (3, Lsn(32)));
        stream.ack(Position(3), |_, _| panic!("an old ack releases nothing"));
        assert_eq!(stream.acked, Position(7));
    }

    #[test]
    fn a_carried_message_is_owed_once() {
        let mut live = stream();
        live.extend(Lsn(10), 3, 30);
        live.carried(Position(2), Lsn(11), 10);
        assert_eq!(live.owed(), 3);
        let mut replayed = Stream::new(StreamOwner::Peer(PeerSlot(1)), Position(4), Position(0), false);
        for (position, lsn) in [(2, 11), (1, 10), (3, 12)] {
            replayed.carried(Position(position), Lsn(lsn), 10);
        }
        assert_eq!(replayed.owed_in(Lsn(0), Lsn(99)).map(|run| run.count).sum::<u64>(), 3);
        assert_eq!(replayed.at(Position(1)).unwrap().lsn, Lsn(10));
    }

    #[test]
    fn what_is_owed_in_a_part_of_the_log_is_what_a_look_at_all_of_it_finds() {
        let mut stream = stream();
        for index in 0..50 {
            // Runs of one and of two, some side by side and some apart.
            stream.extend(Lsn(10 + 5 * index + index % 2), 1 + index % 3 % 2, 10);
        }
        let all: Vec<Lsn> = (0..300).map(Lsn).filter(|lsn| is_owed(&stream, *lsn)).collect();
        assert_eq!(all.len() as u64, stream.next.0 - 1);
        for first in 0..300 {
            for end in [first, first + 1, first + 7, 300] {
                let found = stream.owed_in(Lsn(first), Lsn(end));
                let found: Vec<Lsn> =
                    found.flat_map(|run| (0..run.count).map(move |n| run.lsn.plus(n))).collect();
                let expected = all.iter().filter(|lsn| (first..end).contains(&lsn.0));
                assert!(found.iter().eq(expected), "{first}..{end}: {found:?}");
            }
        }
    }

    #[test]
    fn what_is_taken_out_leaves_a_gap_and_nothing_else() {
        // Positions 1 to 5 are records 10 to 14, 6 to 10 are 30 to 34.
        let fresh = || {
            let mut stream = stream();
            stream.extend(Lsn(10), 5, 50);
            stream.extend(Lsn(30), 5, 50);
            stream
        };
        for first in 8..36 {
            for count in 1..30 {
                let (mut stream, range) = (fresh(), LsnRange { first: Lsn(first), count });
                let is_out = |lsn: u64| (first..first + count).contains(&lsn);
                let lsn_at = |position: u64| if position <= 5 { position + 9 } else { position + 24 };
                let expected: Vec<u64> = (1..=10).filter(|position| !is_out(lsn_at(*position))).collect();
                let taken = stream.take_out(range, Lsn(77));
                assert_eq!((taken, stream.owed()), (10 - expected.len() as u64, expected.len() as u64));
                assert_eq!(stream.owed_bytes(), 10 * expected.len() as u64);
                for position in 1..=10 {
                    let next = expected.iter().find(|owed| **owed >= position).copied();
                    let run = stream.at(Position(position));
                    assert_eq!(run.map(|run| (run.position.0, run.lsn.0)), next.map(|at| (at, lsn_at(at))));
                    let missing = next.unwrap_or(11) - position;
                    let gap = (missing > 0).then_some((missing, Lsn(77)));
                    assert_eq!(stream.gap_at(Position(position)), gap, "{first} {count} {position}");
                }
                assert_eq!((stream.gap_at(Position(11)), stream.is_settled()), (None, false));
                assert_eq!(stream.take_out(range, Lsn(78)), 0);
                stream.ack(Position(10), |lsn, count| {
                    (0..count).for_each(|n| assert!(!is_out(lsn.plus(n).0)));
                });
                assert_eq!((stream.owed(), stream.owed_bytes(), stream.is_settled()), (0, 0, true));
            }
        }
    }

    /// By a look at every run.
    fn is_owed(stream: &Stream, lsn: Lsn) -> bool {
        stream.runs.iter().any(|run| run.lsn <= lsn && lsn < run.lsn.plus(run.count))
    }

    #[test]
    fn the_search_for_what_is_owed_looks_at_few_of_many_runs() {
        let mut stream = stream();
        (0..200_000).for_each(|index| stream.extend(Lsn(2 * index), 1, 10));
        let looks = std::cell::Cell::new(0);
        let begin = stream.first_run_after(|run| {
            looks.set(looks.get() + 1);
            run.lsn.plus(run.count) <= Lsn(300_000)
        });
        assert_eq!((begin, stream.owed_in(Lsn(300_000), Lsn(300_001)).count()), (150_000, 1));
        assert!(looks.get() < 40, "{} looks", looks.get());
    }

    // As long as something was passed over, none of the gaps before could be spoken of.
    #[test]
    fn a_gap_is_durable_with_what_comes_behind_it() {
        let mut stream = stream();
        stream.extend(Lsn(10), 1, 10);
        stream.pass_over(Lsn(11), 3);
        stream.extend(Lsn(20), 1, 10);
        stream.pass_over(Lsn(21), 5);
        assert_eq!(stream.gap_at(Position(2)), Some((3, Lsn(20))));
        assert_eq!(stream.gap_at(Position(6)), Some((5, Lsn(25))));
        assert_eq!((stream.gap_at(Position(1)), stream.gap_at(Position(5))), (None, None));
    }
}
