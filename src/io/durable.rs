//! The durable mark, as those see it who wait for their message: one number and a list, not a channel for each.

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::ids::Lsn;

struct Waiter {
    lsn: Lsn,
    waker: Waker,
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Waiter) -> bool {
        self.lsn == other.lsn
    }
}

impl Eq for Waiter {}

impl PartialOrd for Waiter {
    fn partial_cmp(&self, other: &Waiter) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiter {
    /// The lowest LSN is the greatest: a heap gives the greatest first.
    fn cmp(&self, other: &Waiter) -> Order {
        other.lsn.cmp(&self.lsn)
    }
}

/// The durable mark of one node.
#[derive(Default)]
pub struct DurableMark {
    mark: AtomicU64,
    failed: AtomicBool,
    waiters: Mutex<BinaryHeap<Waiter>>,
}

/// What became of a record is not known: the log failed before it was seen to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeUnknown;

impl std::fmt::Debug for DurableMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DurableMark").field("mark", &self.get()).finish_non_exhaustive()
    }
}

impl DurableMark {
    /// The mark.
    #[must_use]
    #[inline]
    pub fn get(&self) -> Lsn {
        Lsn(self.mark.load(Ordering::Acquire))
    }

    fn waiters(&self) -> MutexGuard<'_, BinaryHeap<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mark rose: all that waited for it go on.
    pub fn rise(&self, mark: Lsn) {
        self.mark.store(mark.0, Ordering::Release);
        let mut ready = Vec::new();
        let mut waiters = self.waiters();
        while waiters.peek().is_some_and(|waiter| waiter.lsn <= mark) {
            ready.extend(waiters.pop());
        }
        drop(waiters);
        ready.into_iter().for_each(|waiter| waiter.waker.wake());
    }

    /// Nothing more will become durable: all that wait are told so.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        let waiters = std::mem::take(&mut *self.waiters());
        waiters.into_iter().for_each(|waiter| waiter.waker.wake());
    }

    /// Whether record `lsn` is durable; if it is not yet, whoever polls is woken when it is. `asked` remembers whom that
    /// is, so that asking again and again takes one place in the list.
    #[inline]
    pub fn poll(
        &self,
        lsn: Lsn,
        asked: &mut Option<Waker>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), OutcomeUnknown>> {
        if self.get() >= lsn {
            return Poll::Ready(Ok(()));
        }
        self.join(lsn, asked, cx)
    }

    fn join(
        &self,
        lsn: Lsn,
        asked: &mut Option<Waker>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), OutcomeUnknown>> {
        let mut waiters = self.waiters();
        // Looked at again under the lock: the mark rises before the list is gone through.
        if self.get() >= lsn {
            return Poll::Ready(Ok(()));
        }
        if self.failed.load(Ordering::Acquire) {
            return Poll::Ready(Err(OutcomeUnknown));
        }
        if !asked.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            waiters.push(Waiter { lsn, waker: cx.waker().clone() });
            *asked = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;
    use std::time::Duration;

    use super::*;
    use futures_util::task::noop_waker_ref;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Sleeper(AtomicU64);

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(mark: &DurableMark, lsn: u64) -> Poll<Result<(), OutcomeUnknown>> {
        mark.poll(Lsn(lsn), &mut None, &Context::from_waker(noop_waker_ref()))
    }

    #[test]
    fn a_waiter_is_released_by_its_own_record_and_not_by_one_before_it() {
        let mark = DurableMark::default();
        assert!(poll(&mark, 5).is_pending());
        mark.rise(Lsn(4));
        assert!(poll(&mark, 5).is_pending());
        mark.rise(Lsn(5));
        assert_eq!(poll(&mark, 5), Poll::Ready(Ok(())));
    }

    #[test]
    fn asking_again_takes_one_place_in_the_list() {
        let (mark, mut asked) = (DurableMark::default(), None);
        for _ in 0..10 {
            let cx = Context::from_waker(noop_waker_ref());
            assert!(mark.poll(Lsn(5), &mut asked, &cx).is_pending());
        }
        assert_eq!(mark.waiters().len(), 1);
    }

    #[test]
    fn after_a_failure_what_is_durable_is_and_of_the_rest_nothing_is_known() {
        let mark = DurableMark::default();
        mark.rise(Lsn(5));
        mark.fail();
        assert_eq!(poll(&mark, 5), Poll::Ready(Ok(())));
        assert_eq!(poll(&mark, 6), Poll::Ready(Err(OutcomeUnknown)));
    }

    #[test]
    fn whoever_waits_is_woken_when_the_mark_rises_far_enough_or_never_will() {
        let mark = DurableMark::default();
        let sleepers = [5, 6].map(|lsn| {
            let sleeper = Arc::new(Sleeper::default());
            let waker = Waker::from(Arc::clone(&sleeper));
            assert!(mark.poll(Lsn(lsn), &mut None, &Context::from_waker(&waker)).is_pending());
            sleeper
        });
        let woken = || sleepers.each_ref().map(|sleeper| sleeper.0.load(Ordering::Relaxed));
        mark.rise(Lsn(4));
        assert_eq!(woken(), [0, 0]);
        mark.rise(Lsn(5));
        assert_eq!(woken(), [1, 0]);
        mark.fail();
        assert_eq!(woken(), [1, 1]);
    }

    #[test]
    fn a_mark_that_rises_while_somebody_joins_the_list_is_seen() {
        for _ in 0..20 {
            let mark = DurableMark::default();
            let list = mark.waiters();
            std::thread::scope(|scope| {
                let asking = scope.spawn(|| poll(&mark, 5));
                // By then the other has looked at the mark and waits for the list; if not, this round shows nothing.
                std::thread::sleep(Duration::from_millis(2));
                // What `rise` does, where nobody is in the list yet.
                mark.mark.store(5, Ordering::Release);
                drop(list);
                assert_eq!(asking.join().unwrap(), Poll::Ready(Ok(())));
            });
        }
    }
}
