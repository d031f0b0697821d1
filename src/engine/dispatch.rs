//! Handing messages to handlers, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::Engine;
use super::Pending;
use super::backoff::retry_pause_ms;
use super::config::Retry;
use super::effect::{Dispatch, DispatchProgress, Outcome, Outcomes};
use super::inbox::{HandlerState, Progress, hurry, is_dead};
use super::ranges::LsnSet;
use super::state::State;
use crate::format::control::Control;
use crate::ids::{Lsn, LsnRange};
use crate::limits::{DISPATCH_BYTES_MAX, REASON_BYTES_MAX};
use crate::time::{Monotonic, Now, Wall};

/// How far dispatch has come, and what is to be dispatched again.
#[derive(Debug, Default)]
pub struct Dispatching {
    serving: bool,
    /// Whoever polls has as much as it can take.
    held: bool,
    /// Everything before it was dispatched since serving began.
    next: Lsn,
    /// Messages that are called again, by the time when they are.
    due: BTreeSet<(Monotonic, Lsn)>,
    /// Messages that wait for that; they are passed over when they are come across.
    waiting: BTreeSet<Lsn>,
    /// Messages that were called again before dispatch came across them: it passes over them too.
    ahead: BTreeSet<Lsn>,
    /// Messages that came into the inbox after dispatch had passed their place in the log.
    behind: LsnSet,
    /// What was decided of messages and is not applied yet.
    decided: BTreeMap<Lsn, Progress>,
    /// Messages at handlers.
    out: LsnSet,
}

impl Dispatching {
    /// Messages that failed in an earlier opening wait out what is left of their pause.
    pub(super) fn restore(&mut self, state: &State, now: Now, retry: &Retry) {
        let applied = state.inbox.progress().iter().filter(|(lsn, _)| !self.decided.contains_key(lsn));
        let all: Vec<(Lsn, Option<Wall>)> =
            applied.chain(&self.decided).map(|(l, p)| (*l, next_attempt(p))).collect();
        for (lsn, at) in all.into_iter().filter_map(|(lsn, at)| Some((lsn, at?))) {
            self.call_again(lsn, now, at, retry);
        }
    }

    fn call_again(&mut self, lsn: Lsn, now: Now, at: Wall, retry: &Retry) {
        let left_ms =
            if is_due(at, now, retry) { 0 } else { at.0.saturating_sub(now.wall.0).div_ceil(1_000_000) };
        self.due.insert((now.monotonic.plus_millis(left_ms), lsn));
        self.waiting.insert(lsn);
    }

    /// Messages that were published before are in the inbox now. Those that dispatch has yet to come across it finds
    /// by itself.
    pub(super) fn came_late(&mut self, range: LsnRange) {
        let end = range.end().min(self.next);
        if range.first < end {
            self.behind.insert(LsnRange { first: range.first, count: end.since(range.first) });
        }
    }

    /// What was decided of these messages is no longer so: they are called again. One that is at handlers now comes back from
    /// there by itself.
    pub(super) fn retried(&mut self, range: LsnRange) {
        for lsn in (0..range.count).map(|n| range.first.plus(n)) {
            self.decided.remove(&lsn);
            // If dispatch has yet to come across it, it does not pass over it.
            self.ahead.remove(&lsn);
            if !self.out.contains(lsn) {
                self.came_late(LsnRange { first: lsn, count: 1 });
            }
        }
    }

    /// Those of these messages that wait to be called again are due. One that is at handlers now comes back from there by itself,
    /// and one that dispatch has yet to come across is called then.
    pub(super) fn hurry(&mut self, messages: BTreeSet<Lsn>, now: Monotonic) {
        if messages.is_empty() {
            return;
        }
        // What was decided since counts, and waits no longer either.
        self.decided.iter_mut().filter(|(lsn, _)| messages.contains(lsn)).for_each(|(_, progress)| {
            hurry(progress);
        });
        self.due.retain(|(_, lsn)| !messages.contains(lsn));
        let waiting = messages.into_iter().filter(|lsn| self.waiting.contains(lsn));
        self.due.extend(waiting.map(|lsn| (now, lsn)));
    }

    /// Everything that was decided is applied.
    pub(super) fn all_applied(&mut self) {
        self.decided.clear();
    }

    /// When the next message is due. One that is already and was not handed over waits for a read or for room, and no time
    /// brings that.
    pub(super) fn next_at(&self, now: Monotonic) -> Option<Monotonic> {
        let later = self.due.range((Bound::Excluded((now, Lsn(u64::MAX))), Bound::Unbounded)).next();
        later.filter(|_| self.serving && !self.held).map(|(at, _)| *at)
    }
}

/// Whether a pause that ends at `at` is over. It ends by the wall clock, so that a restart does not begin it anew; if more
/// than the longest pause is left, that clock was set back, and nothing else says how long it has been.
fn is_due(at: Wall, now: Now, retry: &Retry) -> bool {
    at <= now.wall.plus_millis(1) || at > now.wall.plus_millis(retry.max_ms)
}

/// When the first of the handlers that failed is called again.
fn next_attempt(progress: &Progress) -> Option<Wall> {
    let failing = progress.values().filter_map(|state| match state {
        HandlerState::Failing { next_at, .. } => Some(*next_at),
        _ => None,
    });
    failing.min()
}

impl Engine {
    /// Whether someone polls the handlers.
    pub(super) fn is_serving(&self) -> bool {
        self.dispatch.serving
    }

    /// Someone polls the handlers from now on, or no longer does: what they had and did not report comes again.
    pub fn handle_serving(&mut self, now: Now, serving: bool) {
        self.now = now;
        let decided = std::mem::take(&mut self.dispatch.decided);
        self.dispatch = Dispatching { serving, decided, ..Dispatching::default() };
        self.dispatch.restore(&self.state, now, &self.config.retry);
    }

    /// Whether nothing is to be dispatched for now: whoever polls has as much as it can take.
    pub fn hold_dispatch(&mut self, held: bool) {
        self.dispatch.held = held;
    }

    /// Messages at handlers.
    #[must_use]
    pub fn dispatched(&self) -> u64 {
        self.dispatch.out.count()
    }

    /// The next messages for handlers, at most `count_max`.
    pub fn poll_dispatch(&mut self, count_max: u64) -> Option<Dispatch> {
        if !self.dispatch.serving || self.closing || count_max == 0 {
            return None;
        }
        self.poll_due().or_else(|| self.poll_next(count_max))
    }

    fn poll_due(&mut self) -> Option<Dispatch> {
        while let Some((at, lsn)) =
            self.dispatch.due.first().copied().filter(|(at, _)| *at <= self.now.monotonic)
        {
            let dispatch = if self.state.inbox.contains(lsn) { Some(self.dispatch_one(lsn)?) } else { None };
            self.dispatch.due.remove(&(at, lsn));
            self.dispatch.waiting.remove(&lsn);
            if lsn >= self.dispatch.next {
                self.dispatch.ahead.insert(lsn);
            }
            if dispatch.is_some() {
                return dispatch;
            }
        }
        None
    }

    fn poll_next(&mut self, count_max: u64) -> Option<Dispatch> {
        loop {
            let late = self.dispatch.behind.iter().next();
            let (from, limit) =
                late.map_or((self.dispatch.next, Lsn(u64::MAX)), |late| (late.first, late.end()));
            let run = self.state.inbox.next_run(from).filter(|run| run.range.first < limit);
            let Some(run) = run else {
                self.dispatch.behind.remove(late?);
                continue;
            };
            let first = run.range.first;
            if first > self.commit.durable() {
                return None;
            }
            // Handled before and not logged yet: those who serve may be others by now.
            let handled = self.handled.iter_from(first).next();
            if let Some(handled) = handled.filter(|handled| handled.first == first) {
                self.passed(from, handled.end().min(limit));
                continue;
            }
            if let Some(progress) = self.progress_at(first) {
                let passed = is_dead(progress)
                    || self.dispatch.waiting.contains(&first)
                    || self.dispatch.ahead.contains(&first)
                    || self.dispatch.out.contains(first);
                let dispatch = if passed { None } else { Some(self.dispatch_one(first)?) };
                self.dispatch.ahead.remove(&first);
                self.passed(from, first.plus(1));
                if dispatch.is_some() {
                    return dispatch;
                }
                continue;
            }
            let known = self.state.inbox.progress().range(first..).next().map(|(lsn, _)| *lsn);
            let decided = self.dispatch.decided.range(first..).next().map(|(lsn, _)| *lsn);
            let handled = handled.map(|handled| handled.first);
            let special = known.into_iter().chain(decided).chain(handled).min().unwrap_or(limit);
            let end = run.range.end().min(self.commit.durable().plus(1)).min(special).min(limit);
            let slices = self.fetch(first, end.since(first).min(count_max), DISPATCH_BYTES_MAX)?;
            let range = LsnRange { first, count: slices.count };
            self.passed(from, range.end());
            self.dispatch.out.insert(range);
            return Some(Dispatch {
                range,
                pieces: slices.pieces,
                node: self.state.node_of(run.origin.slot),
                incarnation: run.origin.incarnation,
                progress: None,
            });
        }
    }

    /// Everything from `from` up to `end` was come across.
    fn passed(&mut self, from: Lsn, end: Lsn) {
        if self.dispatch.behind.contains(from) {
            self.dispatch.behind.remove(LsnRange { first: from, count: end.since(from) });
        } else {
            self.dispatch.next = end;
            self.dispatch.ahead = self.dispatch.ahead.split_off(&end);
        }
    }

    /// What is known of a message, decided though it may not be applied yet.
    fn progress_at(&self, lsn: Lsn) -> Option<&Progress> {
        self.dispatch.decided.get(&lsn).or_else(|| self.state.inbox.progress().get(&lsn))
    }

    fn dispatch_one(&mut self, lsn: Lsn) -> Option<Dispatch> {
        let run = self.state.inbox.next_run(lsn)?;
        let slices = self.fetch(lsn, 1, DISPATCH_BYTES_MAX)?;
        let range = LsnRange { first: lsn, count: 1 };
        self.dispatch.out.insert(range);
        let progress = self.progress_at(lsn).map(|progress| self.progress_of(progress));
        Some(Dispatch {
            range,
            pieces: slices.pieces,
            node: self.state.node_of(run.origin.slot),
            incarnation: run.origin.incarnation,
            progress,
        })
    }

    fn progress_of(&self, progress: &Progress) -> DispatchProgress {
        let mut known = DispatchProgress::default();
        for (handler, state) in progress {
            match state {
                HandlerState::Failing { attempts, next_at, .. }
                    if is_due(*next_at, self.now, &self.config.retry) =>
                {
                    known.attempts.insert(handler.clone(), *attempts);
                }
                _ => known.skip.push(handler.clone()),
            }
        }
        known
    }

    /// What became of dispatched messages.
    pub fn handle_outcomes(&mut self, now: Now, outcomes: Outcomes) {
        self.now = now;
        for range in outcomes.handled {
            self.dispatch.out.remove(range);
            self.traffic.handled += range.count;
            self.handled.insert(range);
        }
        for range in outcomes.parked {
            self.dispatch.out.remove(range);
            let unknown = !self.state.inbox.parked().contains(range.first) || range.count > 1;
            if unknown {
                self.parked.insert(range);
            }
        }
        for lsn in outcomes.returned {
            self.dispatch.out.remove(LsnRange { first: lsn, count: 1 });
            self.dispatch.due.insert((now.monotonic, lsn));
            self.dispatch.waiting.insert(lsn);
        }
        outcomes.mixed.into_iter().for_each(|outcome| self.handle_outcome(outcome));
    }

    /// Failures are written down before those handlers that gave up: of a message that is dead nothing more is
    /// tried, so all others must be known by then.
    fn handle_outcome(&mut self, outcome: Outcome) {
        let Outcome { lsn, done, failed } = outcome;
        self.dispatch.out.remove(LsnRange { first: lsn, count: 1 });
        if !self.state.inbox.contains(lsn) {
            return;
        }
        let mut progress = self.progress_at(lsn).cloned().unwrap_or_default();
        for handler in &done {
            progress.insert(handler.clone(), HandlerState::Done);
        }
        for (handler, reason) in failed {
            let before = match progress.get(&handler) {
                Some(HandlerState::Failing { attempts, .. }) => *attempts,
                _ => 0,
            };
            let state = self.failure(before + 1, cut(&reason));
            progress.insert(handler, state);
        }
        if progress.values().all(|state| *state == HandlerState::Done) {
            self.traffic.handled += 1;
            self.handled.insert(LsnRange { first: lsn, count: 1 });
            return;
        }
        if let Some(at) = next_attempt(&progress) {
            self.dispatch.call_again(lsn, self.now, at, &self.config.retry);
        }
        self.write_down(lsn, &progress);
        self.dispatch.decided.insert(lsn, progress);
    }

    fn failure(&mut self, attempts: u32, reason: String) -> HandlerState {
        if attempts >= self.config.retry.attempts_max {
            self.traffic.given_up += 1;
            return HandlerState::Dead { attempts, at: self.now.wall, reason };
        }
        self.traffic.retried += 1;
        let pause_ms = retry_pause_ms(&self.config.retry, attempts, &mut self.entropy);
        HandlerState::Failing { attempts, next_at: self.now.wall.plus_millis(pause_ms), reason }
    }

    fn write_down(&mut self, lsn: Lsn, progress: &Progress) {
        let known = self.progress_at(lsn);
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for (handler, state) in progress {
            if known.and_then(|known| known.get(handler)) == Some(state) {
                continue;
            }
            let handler = handler.clone();
            match state.clone() {
                HandlerState::Done => first.push(Control::HandlerDone { lsn, handler }),
                HandlerState::Failing { attempts, next_at, reason } => {
                    first.push(Control::Attempt { lsn, attempts, next_at, handler, reason });
                }
                HandlerState::Dead { attempts, at, reason } => {
                    last.push(Control::DeadLetter { lsn, attempts, at, handler, reason });
                }
            }
        }
        self.pending.extend(first.into_iter().chain(last).map(Pending::Control));
    }
}

/// A reason, no longer than what is kept of it.
fn cut(reason: &str) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}
