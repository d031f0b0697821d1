//! Handing messages to handlers, and what becomes of them.

use std::collections::BTreeSet;

use super::Engine;
use super::Pending;
use super::backoff::retry_pause_ms;
use super::effect::{Dispatch, DispatchProgress, Outcome, Outcomes};
use super::inbox::{HandlerState, Progress, is_dead};
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
    /// Everything before it was dispatched since serving began.
    next: Lsn,
    /// Messages that are called again, by the time when they are.
    due: BTreeSet<(Monotonic, Lsn)>,
    /// Messages that wait for that; they are passed over when they are come across.
    waiting: BTreeSet<Lsn>,
    /// Messages at handlers.
    out: LsnSet,
}

impl Dispatching {
    /// Messages that failed in an earlier opening wait out what is left of their pause.
    pub(super) fn restore(&mut self, state: &State, now: Now) {
        self.due.clear();
        self.waiting.clear();
        for (lsn, progress) in state.inbox.progress() {
            if let Some(at) = next_attempt(progress) {
                let left_ms = at.0.saturating_sub(now.wall.0) / 1_000_000;
                self.due.insert((now.monotonic.plus_millis(left_ms), *lsn));
                self.waiting.insert(*lsn);
            }
        }
    }

    pub(super) fn next_at(&self) -> Option<Monotonic> {
        self.due.first().filter(|_| self.serving).map(|(at, _)| *at)
    }
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
    /// Someone polls the handlers from now on, or no longer does: what they had and did not report comes again.
    pub fn handle_serving(&mut self, now: Now, serving: bool) {
        self.now = now;
        self.dispatch = Dispatching { serving, ..Dispatching::default() };
        self.dispatch.restore(&self.state, now);
    }

    /// Messages at handlers.
    #[must_use]
    pub fn dispatched(&self) -> u64 {
        self.dispatch.out.count()
    }

    /// The next messages for handlers, at most `count_max`.
    pub fn poll_dispatch(&mut self, count_max: u64) -> Option<Dispatch> {
        if !self.dispatch.serving || count_max == 0 {
            return None;
        }
        self.poll_due().or_else(|| self.poll_next(count_max))
    }

    fn poll_due(&mut self) -> Option<Dispatch> {
        while let Some((at, lsn)) =
            self.dispatch.due.first().copied().filter(|(at, _)| *at <= self.now.monotonic)
        {
            if !self.state.inbox.contains(lsn) {
                self.dispatch.due.remove(&(at, lsn));
                self.dispatch.waiting.remove(&lsn);
                continue;
            }
            let dispatch = self.dispatch_one(lsn)?;
            self.dispatch.due.remove(&(at, lsn));
            self.dispatch.waiting.remove(&lsn);
            return Some(dispatch);
        }
        None
    }

    fn poll_next(&mut self, count_max: u64) -> Option<Dispatch> {
        loop {
            let run = self.state.inbox.next_run(self.dispatch.next)?;
            let first = run.range.first;
            if first > self.commit.durable() {
                return None;
            }
            if let Some(progress) = self.state.inbox.progress().get(&first) {
                if is_dead(progress) || self.dispatch.waiting.contains(&first) {
                    self.dispatch.next = first.plus(1);
                    continue;
                }
                let dispatch = self.dispatch_one(first)?;
                self.dispatch.next = first.plus(1);
                return Some(dispatch);
            }
            let special = self.state.inbox.progress().range(first..).next().map(|(lsn, _)| *lsn);
            let end =
                run.range.end().min(self.commit.durable().plus(1)).min(special.unwrap_or(Lsn(u64::MAX)));
            let slices = self.fetch(first, end.since(first).min(count_max), DISPATCH_BYTES_MAX)?;
            let range = LsnRange { first, count: slices.count };
            self.dispatch.next = range.end();
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

    fn dispatch_one(&mut self, lsn: Lsn) -> Option<Dispatch> {
        let run = self.state.inbox.next_run(lsn)?;
        let slices = self.fetch(lsn, 1, DISPATCH_BYTES_MAX)?;
        let range = LsnRange { first: lsn, count: 1 };
        self.dispatch.out.insert(range);
        let progress = self.state.inbox.progress().get(&lsn).map(|progress| self.progress_of(progress));
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
                    if *next_at <= self.now.wall.plus_millis(1) =>
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
        let mut progress = self.state.inbox.progress().get(&lsn).cloned().unwrap_or_default();
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
            self.handled.insert(LsnRange { first: lsn, count: 1 });
            return;
        }
        if let Some(at) = next_attempt(&progress) {
            let pause_ms = at.0.saturating_sub(self.now.wall.0) / 1_000_000;
            self.dispatch.due.insert((self.now.monotonic.plus_millis(pause_ms), lsn));
            self.dispatch.waiting.insert(lsn);
        }
        self.write_down(lsn, &progress);
    }

    fn failure(&mut self, attempts: u32, reason: String) -> HandlerState {
        if attempts >= self.config.retry.attempts_max {
            return HandlerState::Dead { attempts, at: self.now.wall, reason };
        }
        let pause_ms = retry_pause_ms(&self.config.retry, attempts, &mut self.entropy);
        HandlerState::Failing { attempts, next_at: self.now.wall.plus_millis(pause_ms), reason }
    }

    fn write_down(&mut self, lsn: Lsn, progress: &Progress) {
        let known = self.state.inbox.progress().get(&lsn);
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
