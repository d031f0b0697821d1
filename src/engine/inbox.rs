//! What was accepted and is not yet handled.

use std::collections::BTreeMap;

use super::ranges::LsnSet;
use crate::format::control::Place;
use crate::ids::{Incarnation, Lsn, LsnRange, PeerSlot};
use crate::time::Wall;

/// Whose messages they are: with their own LSNs, what names them for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The publisher.
    pub slot: PeerSlot,
    /// The life of its log.
    pub incarnation: Incarnation,
}

/// Messages of one origin that stand in a row in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxRun {
    /// Which records.
    pub range: LsnRange,
    /// Bytes of all, as near as is known once some were handled.
    pub bytes: u64,
    /// Whose they are.
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    count: u64,
    bytes: u64,
    origin: Origin,
}

/// How far one handler has come with one message, where that is not "not yet called".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandlerState {
    /// It succeeded, and another has not yet.
    Done,
    /// It failed and is called again.
    Failing {
        /// How often it has failed.
        attempts: u32,
        /// When it is called again.
        next_at: Wall,
        /// What it said.
        reason: String,
    },
    /// It failed for the last time.
    Dead {
        /// How often it has failed.
        attempts: u32,
        /// When it was given up.
        at: Wall,
        /// What it said last.
        reason: String,
    },
}

/// A message of which something is known beside that it is there, by handler.
pub type Progress = BTreeMap<String, HandlerState>;

/// The inbox of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inbox {
    runs: BTreeMap<Lsn, Run>,
    parked: LsnSet,
    progress: BTreeMap<Lsn, Progress>,
    messages: u64,
    bytes: u64,
    /// The same of each publisher.
    bytes_of: BTreeMap<PeerSlot, u64>,
}

/// Whether a message with that progress is given up: one handler failed for the last time, and none is to be tried
/// again.
#[must_use]
pub fn is_dead(progress: &Progress) -> bool {
    progress.values().any(|state| matches!(state, HandlerState::Dead { .. }))
        && !progress.values().any(|state| matches!(state, HandlerState::Failing { .. }))
}

/// Handlers that failed are due at once. Says whether there are any.
pub fn hurry(progress: &mut Progress) -> bool {
    let mut has_failed = false;
    for state in progress.values_mut() {
        if let HandlerState::Failing { next_at, .. } = state {
            (*next_at, has_failed) = (Wall(0), true);
        }
    }
    has_failed
}

impl Inbox {
    /// All messages: waiting, parked and dead.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the messages of one publisher.
    #[must_use]
    pub fn bytes_of(&self, slot: PeerSlot) -> u64 {
        self.bytes_of.get(&slot).copied().unwrap_or(0)
    }

    /// Bytes of the messages of the peer that has most.
    #[must_use]
    pub fn most_of_one(&self) -> u64 {
        self.bytes_of.iter().filter(|(slot, _)| **slot != PeerSlot::SELF).map(|(_, b)| *b).max().unwrap_or(0)
    }

    /// Messages for which there was no handler.
    #[must_use]
    pub fn parked(&self) -> &LsnSet {
        &self.parked
    }

    /// What is known of single messages.
    #[must_use]
    pub fn progress(&self) -> &BTreeMap<Lsn, Progress> {
        &self.progress
    }

    /// Where a message of the inbox is.
    #[must_use]
    pub fn place_of(&self, lsn: Lsn) -> Place {
        if self.parked.contains(lsn) {
            Place::Parked
        } else if self.progress.get(&lsn).is_some_and(is_dead) {
            Place::Dead
        } else {
            Place::Incoming
        }
    }

    /// Those of a range that are at that place.
    pub fn at_place(&self, range: LsnRange, place: Place) -> impl Iterator<Item = Lsn> + '_ {
        let here = self.runs_in(range.first, range.end());
        let all = here.flat_map(|run| (0..run.range.count).map(move |n| run.range.first.plus(n)));
        all.filter(move |lsn| self.place_of(*lsn) == place)
    }

    /// A message is as if it had neither been parked nor given up. Handlers that succeeded are not called again.
    pub fn retry(&mut self, lsn: Lsn) {
        self.parked.remove(LsnRange { first: lsn, count: 1 });
        if let Some(progress) = self.progress.get_mut(&lsn) {
            progress.retain(|_, state| !matches!(state, HandlerState::Dead { .. }));
            if progress.is_empty() {
                self.progress.remove(&lsn);
            }
        }
    }

    /// Handlers that failed with a message are due at once. Says whether there are any.
    pub fn hurry(&mut self, lsn: Lsn) -> bool {
        self.progress.get_mut(&lsn).is_some_and(hurry)
    }

    /// How many messages are given up.
    #[must_use]
    pub fn dead(&self) -> u64 {
        self.progress.values().filter(|progress| is_dead(progress)).count() as u64
    }

    /// Messages that still wait to be handled.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.messages - self.parked.count() - self.dead()
    }

    /// Messages were accepted.
    pub fn add(&mut self, range: LsnRange, bytes: u64, origin: Origin) {
        self.messages += range.count;
        self.bytes += bytes;
        *self.bytes_of.entry(origin.slot).or_default() += bytes;
        if let Some((first, last)) = self.runs.range_mut(..range.first).next_back()
            && first.plus(last.count) == range.first
            && last.origin == origin
        {
            last.count += range.count;
            last.bytes += bytes;
            return;
        }
        self.runs.insert(range.first, Run { count: range.count, bytes, origin });
    }

    /// Whether a message is here.
    #[must_use]
    pub fn contains(&self, lsn: Lsn) -> bool {
        self.runs.range(..=lsn).next_back().is_some_and(|(first, run)| lsn < first.plus(run.count))
    }

    /// Messages were handled. What is not here is passed over: at replay its record may be freed already.
    pub fn remove(&mut self, range: LsnRange) {
        let end = range.end();
        while let Some((first, run)) = self.runs.range(..end).next_back().map(|(first, run)| (*first, *run))
            && first.plus(run.count) > range.first
        {
            self.runs.remove(&first);
            let (from, to) = (first.max(range.first), first.plus(run.count).min(end));
            let mean = run.bytes / run.count;
            let after = Run { count: first.plus(run.count).since(to), ..run };
            let before = Run { count: from.since(first), ..run };
            let kept = (before.count + after.count) * mean;
            if after.count > 0 {
                self.runs.insert(to, Run { bytes: after.count * mean, ..after });
            }
            if before.count > 0 {
                self.runs.insert(first, Run { bytes: before.count * mean, ..before });
            }
            self.messages -= to.since(from);
            self.bytes -= run.bytes - kept;
            self.gone(run.origin.slot, run.bytes - kept);
        }
        self.parked.remove(range);
        while let Some(lsn) = self.progress.range(range.first..end).next().map(|(lsn, _)| *lsn) {
            self.progress.remove(&lsn);
        }
    }

    fn gone(&mut self, slot: PeerSlot, bytes: u64) {
        if let Some(held) = self.bytes_of.get_mut(&slot) {
            *held -= bytes;
            if *held == 0 {
                self.bytes_of.remove(&slot);
            }
        }
    }

    /// No handler wants these. What is not here is passed over.
    pub fn park(&mut self, range: LsnRange) {
        let here: Vec<LsnRange> = self.runs_in(range.first, range.end()).map(|run| run.range).collect();
        for range in here {
            self.parked.insert(range);
        }
    }

    /// A handler has come so far with a message. It is no longer parked, if it was.
    pub fn set_progress(&mut self, lsn: Lsn, handler: &str, state: HandlerState) {
        if self.contains(lsn) {
            self.parked.remove(LsnRange { first: lsn, count: 1 });
            self.progress.entry(lsn).or_default().insert(handler.to_owned(), state);
        }
    }

    /// The messages whose records lie in `first..end` of the log.
    pub fn runs_in(&self, first: Lsn, end: Lsn) -> impl Iterator<Item = InboxRun> + '_ {
        let start = self.runs.range(..=first).next_back().map_or(first, |(lsn, _)| *lsn);
        self.runs.range(start..end.max(start)).filter_map(move |(lsn, run)| {
            let (from, to) = ((*lsn).max(first), lsn.plus(run.count).min(end));
            (from < to).then(|| InboxRun {
                range: LsnRange { first: from, count: to.since(from) },
                bytes: run.bytes,
                origin: run.origin,
            })
        })
    }

    /// The first message at or after `lsn`, and those in a row with it.
    #[must_use]
    pub fn next_run(&self, lsn: Lsn) -> Option<InboxRun> {
        self.runs_in(lsn, Lsn(u64::MAX)).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { slot: PeerSlot(1), incarnation: Incarnation(1) };

    fn range(first: u64, count: u64) -> LsnRange {
        LsnRange { first: Lsn(first), count }
    }

    fn flat(inbox: &Inbox) -> Vec<u64> {
        inbox.runs_in(Lsn(0), Lsn(1000)).flat_map(|run| run.range.first.0..run.range.end().0).collect()
    }

    #[test]
    fn what_is_handled_goes_and_the_rest_stays() {
        let mut inbox = Inbox::default();
        inbox.add(range(1, 10), 100, ORIGIN);
        inbox.add(range(20, 10), 100, ORIGIN);
        inbox.remove(range(8, 15));
        assert_eq!(flat(&inbox), [1, 2, 3, 4, 5, 6, 7, 23, 24, 25, 26, 27, 28, 29]);
        assert_eq!((inbox.messages(), inbox.bytes()), (14, 140));
        assert_eq!(
            (inbox.bytes_of(PeerSlot(1)), inbox.bytes_of(PeerSlot(2)), inbox.most_of_one()),
            (140, 0, 140)
        );
        inbox.remove(range(0, 1000));
        assert_eq!(inbox, Inbox::default());
        assert_eq!((inbox.messages(), inbox.bytes()), (0, 0));
    }

    #[test]
    fn a_message_is_dead_when_one_handler_gave_up_and_none_goes_on() {
        let mut inbox = Inbox::default();
        inbox.add(range(1, 2), 20, ORIGIN);
        let dead = HandlerState::Dead { attempts: 3, at: Wall(1), reason: "no".into() };
        let failing = HandlerState::Failing { attempts: 1, next_at: Wall(1), reason: "no".into() };
        inbox.set_progress(Lsn(1), "a", dead);
        inbox.set_progress(Lsn(1), "b", failing);
        assert_eq!((inbox.dead(), inbox.waiting()), (0, 2));
        inbox.set_progress(Lsn(1), "b", HandlerState::Done);
        assert_eq!((inbox.dead(), inbox.waiting()), (1, 1));
    }

    #[test]
    fn what_is_retried_waits_again_and_only_handlers_that_gave_up_forget_it() {
        let mut inbox = Inbox::default();
        inbox.add(range(1, 3), 30, ORIGIN);
        let dead = HandlerState::Dead { attempts: 3, at: Wall(1), reason: "no".into() };
        inbox.set_progress(Lsn(1), "a", dead.clone());
        inbox.set_progress(Lsn(1), "b", HandlerState::Done);
        inbox.set_progress(Lsn(2), "a", dead);
        inbox.park(range(3, 1));
        let at =
            |inbox: &Inbox, place| inbox.at_place(range(0, 10), place).map(|lsn| lsn.0).collect::<Vec<_>>();
        assert_eq!((at(&inbox, Place::Dead), at(&inbox, Place::Parked)), (vec![1, 2], vec![3]));
        (1..4).for_each(|lsn| inbox.retry(Lsn(lsn)));
        assert_eq!(at(&inbox, Place::Incoming), [1, 2, 3]);
        assert_eq!(inbox.progress().get(&Lsn(1)).map(|progress| progress.len()), Some(1));
        assert_eq!((inbox.progress().len(), inbox.waiting()), (1, 3));
    }

    #[test]
    fn what_is_not_here_is_neither_parked_nor_remembered() {
        let mut inbox = Inbox::default();
        inbox.add(range(5, 2), 20, ORIGIN);
        inbox.park(range(1, 5));
        inbox.set_progress(Lsn(1), "a", HandlerState::Done);
        assert_eq!((inbox.parked().count(), inbox.progress().len()), (1, 0));
    }
}
