//! Between the engine's thread and whoever polls the handlers: ranges of messages out, what became of them back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::engine::effect::{Dispatch, Outcomes};
use crate::limits::{DISPATCH_BYTES_MAX, DISPATCH_MESSAGES_MAX};
use crate::time::Monotonic;

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Dispatch>,
    queued: u64,
    queued_bytes: usize,
    outcomes: Outcomes,
    waker: Option<Waker>,
    alarm: Option<Monotonic>,
    /// Which of those who ever polled does now; what was dispatched for another is not handed over.
    generation: u64,
}

impl Inner {
    fn is_low(&self) -> bool {
        self.queued < DISPATCH_MESSAGES_MAX / 2 && self.queued_bytes < DISPATCH_BYTES_MAX
    }
}

/// The handoff of one node.
#[derive(Debug, Default)]
pub struct Handoff {
    inner: Mutex<Inner>,
    /// Set under the lock, and looked at for each message without it.
    ended: AtomicBool,
}

/// What a look into the handoff found.
#[derive(Debug)]
pub enum Handed {
    /// Messages.
    Dispatch(Dispatch),
    /// Nothing just now; the waker is kept.
    Nothing,
    /// Nothing will come any more: the node closed.
    Ended,
}

impl Handoff {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many more messages there is room for.
    #[must_use]
    pub fn room(&self) -> u64 {
        DISPATCH_MESSAGES_MAX.saturating_sub(self.inner().queued)
    }

    /// Someone begins to poll, or ceases to: what was handed over and not taken is forgotten. Returns its number.
    pub fn begin(&self) -> u64 {
        let mut inner = self.inner();
        inner.queue.clear();
        (inner.queued, inner.queued_bytes) = (0, 0);
        inner.generation += 1;
        inner.generation
    }

    /// Whether nothing will come any more.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Hands messages over that were dispatched for whoever has that number.
    pub fn push(&self, generation: u64, dispatches: Vec<Dispatch>) {
        let mut inner = self.inner();
        if self.is_ended() || inner.generation != generation {
            return;
        }
        inner.queued += dispatches.iter().map(|dispatch| dispatch.range.count).sum::<u64>();
        inner.queued_bytes += dispatches.iter().map(bytes_of).sum::<usize>();
        inner.queue.extend(dispatches);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes messages; if there are none, `waker` is woken when there are, or when the alarm goes off. Calls `ring` when there
    /// is room for more, which the engine may sleep for.
    pub fn take(&self, waker: &Waker, ring: impl FnOnce()) -> Handed {
        let mut inner = self.inner();
        match inner.queue.pop_front().filter(|_| !self.is_ended()) {
            Some(dispatch) => {
                let was_low = inner.is_low();
                inner.queued -= dispatch.range.count;
                inner.queued_bytes -= bytes_of(&dispatch);
                let has_room = !was_low && inner.is_low();
                drop(inner);
                if has_room {
                    ring();
                }
                Handed::Dispatch(dispatch)
            }
            None if self.is_ended() => Handed::Ended,
            None => {
                inner.waker = Some(waker.clone());
                Handed::Nothing
            }
        }
    }

    /// Whether there is so little to take that the engine is to be asked for more.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.inner().is_low()
    }

    /// Reports what became of messages. The caller then rings.
    pub fn report(&self, report: impl FnOnce(&mut Outcomes)) {
        report(&mut self.inner().outcomes);
    }

    /// Takes all reports.
    #[must_use]
    pub fn take_outcomes(&self) -> Outcomes {
        std::mem::take(&mut self.inner().outcomes)
    }

    /// Whether there are reports to take.
    #[must_use]
    pub fn has_outcomes(&self) -> bool {
        let Outcomes { handled, parked, returned, mixed } = &self.inner().outcomes;
        !(handled.is_empty() && parked.is_empty() && returned.is_empty() && mixed.is_empty())
    }

    /// Asks that the poller be woken at that time, at the latest. Returns whether the engine's thread must be rung for it.
    pub fn set_alarm(&self, at: Option<Monotonic>, waker: &Waker) -> bool {
        let mut inner = self.inner();
        let is_earlier = at.is_some_and(|at| inner.alarm.is_none_or(|before| at < before));
        inner.alarm = at;
        inner.waker = Some(waker.clone());
        is_earlier
    }

    /// As [`Handoff::set_alarm`], if there is none yet that goes off earlier.
    pub fn want_alarm(&self, at: Monotonic) {
        let mut inner = self.inner();
        inner.alarm = Some(inner.alarm.map_or(at, |earlier| earlier.min(at)));
    }

    /// Whether there is something to take.
    #[must_use]
    pub fn has_something(&self) -> bool {
        let inner = self.inner();
        self.is_ended() || !inner.queue.is_empty()
    }

    /// Wakes whoever takes, for a reason of its own.
    pub fn nudge(&self) {
        let waker = self.inner().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// When the alarm is to go off.
    #[must_use]
    pub fn alarm(&self) -> Option<Monotonic> {
        self.inner().alarm
    }

    /// The alarm goes off if it is time.
    pub fn ring_alarm(&self, now: Monotonic) {
        let mut inner = self.inner();
        if inner.alarm.is_some_and(|at| at <= now) {
            inner.alarm = None;
            let waker = inner.waker.take();
            drop(inner);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// The node closed, or its log failed.
    pub fn end(&self) {
        let mut inner = self.inner();
        self.ended.store(true, Ordering::Release);
        inner.queue.clear();
        (inner.queued, inner.queued_bytes) = (0, 0);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn bytes_of(dispatch: &Dispatch) -> usize {
    dispatch.pieces.iter().map(bytes::Bytes::len).sum()
}
