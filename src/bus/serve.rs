//! Polling the handlers, on the caller's own executor.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, FutureExt};
use futures_util::stream::FuturesUnordered;
use slab::Slab;

use super::dispatcher::{Dispatcher, Started};
use super::handler::Call;
use super::{Bus, Error};
use crate::ids::Lsn;
use crate::io::clock;
use crate::io::handoff::Handed;
use crate::io::mailbox::Mail;
use crate::time::Monotonic;

/// Messages begun in one poll, before other tasks of the executor have their turn.
const MESSAGES_PER_POLL: usize = 256;

/// A call that did not end at once.
struct Running {
    slot: usize,
    handler: usize,
    lsns: Vec<Lsn>,
    call: Abortable<Call>,
}

struct Ended {
    slot: usize,
    handler: usize,
    lsns: Vec<Lsn>,
    outcome: Result<(), String>,
}

impl Future for Running {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        self.call.poll_unpin(cx).map(|outcome| Ended {
            slot: self.slot,
            handler: self.handler,
            lsns: std::mem::take(&mut self.lsns),
            outcome: outcome.unwrap_or_else(|_| Err("the handler took too long".to_owned())),
        })
    }
}

/// Runs the handlers. See [`Bus::serve`].
#[must_use = "handlers run only while this is polled"]
pub struct Serve {
    bus: Bus,
    dispatcher: Option<Dispatcher>,
    running: FuturesUnordered<Running>,
    limits: Slab<(Option<Monotonic>, AbortHandle)>,
    /// Calls of messages that are for several handlers, which wait for their turn.
    waiting: VecDeque<Started>,
}

impl Bus {
    /// Runs the handlers that were registered before [`open`](super::Builder::open), at most as many at once as
    /// configured. The future runs until the node is closed: spawn it on your executor. Dropping it stops the handlers
    /// where they are; their messages are delivered again when someone serves again.
    ///
    /// Ends with `Ok` when the node was closed. It is a handle of the node too: a node that is served does not close by
    /// itself when all others are dropped.
    ///
    /// # Errors
    /// [`Error::AlreadyServing`] if another one runs, and [`Error::Storage`] as soon as the log has failed.
    pub fn serve(&self) -> Serve {
        let registry = self.inner.registry.lock().unwrap_or_else(PoisonError::into_inner).take();
        let dispatcher = registry.map(|registry| Dispatcher::new(self.shared().clone(), registry));
        if let Some(dispatcher) = &dispatcher {
            dispatcher.begin();
        }
        Serve {
            bus: self.clone(),
            dispatcher,
            running: FuturesUnordered::new(),
            limits: Slab::new(),
            waiting: VecDeque::new(),
        }
    }
}

impl std::fmt::Debug for Serve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.running.clear();
        self.waiting.clear();
        if let Some(dispatcher) = self.dispatcher.take() {
            let registry = dispatcher.into_registry();
            self.bus.shared().handoff.begin();
            self.bus.shared().post(Mail::Serving(None));
            *self.bus.inner.registry.lock().unwrap_or_else(PoisonError::into_inner) = Some(registry);
        }
    }
}

impl Future for Serve {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(dispatcher) = &mut this.dispatcher else { return Poll::Ready(Err(Error::AlreadyServing)) };
        end_late(&mut this.limits);
        for _ in 0..MESSAGES_PER_POLL {
            if dispatcher.shared().handoff.is_ended() {
                // What was not begun, or has not ended, is delivered again when the node is opened again.
                this.waiting.clear();
                let failure = this.bus.shared().failure();
                return Poll::Ready(failure.map_or(Ok(()), |cause| Err(Error::Storage { cause })));
            }
            while !this.running.is_empty()
                && let Poll::Ready(Some(ended)) = this.running.poll_next_unpin(cx)
            {
                this.limits.remove(ended.slot);
                dispatcher.finish(ended.handler, &ended.lsns, ended.outcome);
            }
            if this.running.len() >= dispatcher.registry().concurrency {
                return wait(dispatcher, &this.limits, cx);
            }
            if let Some(call) = this.waiting.pop_front() {
                begin(dispatcher, &this.running, &mut this.limits, call, cx);
                continue;
            }
            match dispatcher.take() {
                Some(taken) => {
                    if let Some(started) = dispatcher.start(taken, &mut this.waiting, cx) {
                        go_on(dispatcher, &this.running, &mut this.limits, started);
                    }
                }
                None => match dispatcher.shared().take_handed(cx.waker()) {
                    Handed::Dispatch(dispatch) => dispatcher.add(dispatch),
                    Handed::Nothing => return wait(dispatcher, &this.limits, cx),
                    Handed::Ended => continue,
                },
            }
        }
        dispatcher.flush();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Polls a call once. Most handlers are through by then, and cost no more.
fn begin(
    dispatcher: &mut Dispatcher,
    running: &FuturesUnordered<Running>,
    limits: &mut Slab<(Option<Monotonic>, AbortHandle)>,
    mut started: Started,
    cx: &mut Context<'_>,
) {
    match started.call.poll_unpin(cx) {
        Poll::Ready(outcome) => dispatcher.finish(started.handler, &started.lsns, outcome),
        Poll::Pending => go_on(dispatcher, running, limits, started),
    }
}

/// Keeps a call that was polled once and did not end.
fn go_on(
    dispatcher: &Dispatcher,
    running: &FuturesUnordered<Running>,
    limits: &mut Slab<(Option<Monotonic>, AbortHandle)>,
    started: Started,
) {
    let Started { handler, lsns, call } = started;
    let (abort, registration) = AbortHandle::new_pair();
    let timeout = dispatcher.registry().timeout;
    let deadline = timeout.map(|limit| clock::now().monotonic.plus_millis(limit.as_millis() as u64));
    let slot = limits.insert((deadline, abort));
    running.push(Running { slot, handler, lsns, call: Abortable::new(call, registration) });
    if let Some(deadline) = deadline {
        dispatcher.shared().handoff.want_alarm(deadline);
        dispatcher.shared().wake.mail_left();
    }
}

fn wait(
    dispatcher: &mut Dispatcher,
    limits: &Slab<(Option<Monotonic>, AbortHandle)>,
    cx: &Context<'_>,
) -> Poll<Result<(), Error>> {
    dispatcher.flush();
    let next = limits.iter().filter_map(|(_, (deadline, _))| *deadline).min();
    if dispatcher.shared().handoff.set_alarm(next, cx.waker()) {
        dispatcher.shared().wake.mail_left();
    }
    // What came between the look and the waker is not slept through.
    if limits.len() < dispatcher.registry().concurrency && dispatcher.shared().handoff.has_something() {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

/// Ends the calls whose time is over.
fn end_late(limits: &mut Slab<(Option<Monotonic>, AbortHandle)>) {
    if limits.is_empty() {
        return;
    }
    let now = clock::now().monotonic;
    for (_, (deadline, abort)) in limits.iter() {
        if deadline.is_some_and(|deadline| deadline <= now) {
            abort.abort();
        }
    }
}
