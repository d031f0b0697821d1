//! Handlers: async functions that take a message and say whether it is done.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::Either;

use super::{Envelope, FromEnvelope};
use crate::engine::reason::describe;

/// Why a handler failed. Texts and errors of any kind are.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// What a handler returns: `Ok` when the message is done, and an error when it is to come again.
pub type Handled = Result<(), HandlerError>;

/// How a call ended: why it failed, if it did.
pub(super) type Outcome = Result<(), String>;

/// A call of a handler that goes on.
pub(super) type Call = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A call that was begun.
pub(super) enum Begun {
    /// It was through at once, as most are.
    Ended(Outcome),
    Running(Call),
}

/// An async function that takes one message. `T` is what it takes of it: see [`FromEnvelope`].
pub trait Handler<T>: Send + Sync + 'static {
    /// Begins to handle a message.
    fn call(&self, envelope: Envelope) -> impl Future<Output = Handled> + Send + 'static + use<Self, T>;
}

impl<F, T, Fut, E> Handler<T> for F
where
    F: Fn(T) -> Fut + Send + Sync + 'static,
    T: FromEnvelope,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<HandlerError> + 'static,
{
    fn call(&self, envelope: Envelope) -> impl Future<Output = Handled> + Send + 'static + use<F, T, Fut, E> {
        match T::from_envelope(envelope) {
            Ok(taken) => Either::Left(self(taken).map(|outcome| outcome.map_err(|error| error.into()))),
            Err(error) => Either::Right(std::future::ready(Err(error.into()))),
        }
    }
}

/// A handler whose argument is no longer known.
pub(super) trait Erased: Send {
    /// Calls it for one message, and polls the call once.
    fn begin(&mut self, envelope: Envelope, cx: &mut Context<'_>) -> Begun;

    /// Calls it for the messages of a call, one or, for `all`, one for each topic.
    fn call(&mut self, envelopes: Vec<Envelope>) -> Call;
}

/// A handler of single messages, with room for one call that it keeps from message to message: a call that ends at once
/// costs no allocation.
struct OfOne<C, Fut> {
    call: C,
    room: Pin<Box<Option<Fut>>>,
}

pub(super) fn erase<T: 'static>(handler: impl Handler<T>) -> Box<dyn Erased> {
    Box::new(OfOne { call: move |envelope| handler.call(envelope), room: Box::pin(None) })
}

impl<C, Fut> Erased for OfOne<C, Fut>
where
    C: Fn(Envelope) -> Fut + Send,
    Fut: Future<Output = Handled> + Send + 'static,
{
    fn begin(&mut self, envelope: Envelope, cx: &mut Context<'_>) -> Begun {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            self.room.set(Some((self.call)(envelope)));
            // Invariant: it was put there just now.
            let polled = self.room.as_mut().as_pin_mut().expect("a call in its room").poll(cx);
            if polled.is_ready() {
                self.room.set(None);
            }
            polled
        }));
        match polled {
            Ok(Poll::Ready(handled)) => Begun::Ended(outcome(Ok(handled))),
            Ok(Poll::Pending) => Begun::Running(guarded(self.leave_room())),
            Err(panic) => {
                drop(self.leave_room());
                Begun::Ended(outcome(Err(panic)))
            }
        }
    }

    fn call(&mut self, mut envelopes: Vec<Envelope>) -> Call {
        // Invariant: only handlers of `all` are called with more or fewer than one message.
        let envelope = envelopes.pop().expect("a handler is called for a message");
        match catch_unwind(AssertUnwindSafe(|| (self.call)(envelope))) {
            Ok(running) => guarded(running),
            Err(panic) => Box::pin(std::future::ready(outcome(Err(panic)))),
        }
    }
}

impl<C, Fut: Future<Output = Handled>> OfOne<C, Fut> {
    /// What is in the room stays where it is, and goes on elsewhere; the next call has a room of its own.
    fn leave_room(&mut self) -> InRoom<Fut> {
        InRoom(std::mem::replace(&mut self.room, Box::pin(None)))
    }
}

/// A call that goes on where it was begun.
struct InRoom<Fut>(Pin<Box<Option<Fut>>>);

impl<Fut: Future<Output = Handled>> Future for InRoom<Fut> {
    type Output = Handled;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Handled> {
        // Invariant: a room is left with a call in it.
        self.0.as_mut().as_pin_mut().expect("a call in its room").poll(cx)
    }
}

struct OfAll<H>(H);

pub(super) fn erase_all<F, Fut, E>(handler: F) -> Box<dyn Erased>
where
    F: Fn(Vec<Envelope>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<HandlerError> + 'static,
{
    Box::new(OfAll(move |envelopes| handler(envelopes).map(|outcome| outcome.map_err(|error| error.into()))))
}

impl<H, Fut> Erased for OfAll<H>
where
    H: Fn(Vec<Envelope>) -> Fut + Send,
    Fut: Future<Output = Handled> + Send + 'static,
{
    fn begin(&mut self, envelope: Envelope, _: &mut Context<'_>) -> Begun {
        Begun::Running(self.call(vec![envelope]))
    }

    fn call(&mut self, envelopes: Vec<Envelope>) -> Call {
        match catch_unwind(AssertUnwindSafe(|| (self.0)(envelopes))) {
            Ok(running) => guarded(running),
            Err(panic) => Box::pin(std::future::ready(outcome(Err(panic)))),
        }
    }
}

/// A panic, in the call itself or in what it returns, is a failure like any other.
fn guarded(running: impl Future<Output = Handled> + Send + 'static) -> Call {
    Box::pin(AssertUnwindSafe(running).catch_unwind().map(outcome))
}

fn outcome(ended: std::thread::Result<Handled>) -> Outcome {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(describe(&*error)),
        Err(panic) => Err(panicked(&*panic)),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("no reason given"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;
    use futures_util::task::noop_waker_ref;

    use super::*;
    use crate::ids::{Incarnation, Lsn, MessageId, NodeId};

    fn envelope() -> Envelope {
        let id = MessageId { node: NodeId(1), incarnation: Incarnation(1), lsn: Lsn(1) };
        Envelope::new(Bytes::new(), id, 1)
    }

    fn begin(handler: &mut Box<dyn Erased>) -> Begun {
        handler.begin(envelope(), &mut Context::from_waker(noop_waker_ref()))
    }

    fn ended(begun: Begun) -> Outcome {
        match begun {
            Begun::Ended(outcome) => outcome,
            Begun::Running(_) => panic!("it goes on"),
        }
    }

    /// A handler whose calls do, one after the other, what `step` says of their numbers from 0: they are polled twice.
    fn handler(step: fn(u32)) -> Box<dyn Erased> {
        let calls = AtomicU32::new(0);
        erase(move |_: Envelope| {
            let number = calls.fetch_add(1, Ordering::Relaxed);
            async move {
                step(number);
                if number.is_multiple_of(2) {
                    tokio::task::yield_now().await;
                    step(number + 100);
                }
                Ok::<(), String>(())
            }
        })
    }

    #[test]
    fn a_call_that_goes_on_keeps_its_place_while_the_next_one_begins() {
        let mut handler = handler(|_| {});
        let Begun::Running(mut first) = begin(&mut handler) else { panic!("it has ended") };
        assert_eq!(ended(begin(&mut handler)), Ok(()));
        let mut cx = Context::from_waker(noop_waker_ref());
        assert_eq!(first.poll_unpin(&mut cx), Poll::Ready(Ok(())));
    }

    #[test]
    fn a_panic_ends_its_own_call_and_no_other() {
        let mut at_once = handler(|number| assert!(number != 1, "in its first poll"));
        assert!(matches!(begin(&mut at_once), Begun::Running(_)));
        assert_eq!(ended(begin(&mut at_once)), Err("the handler panicked: in its first poll".to_owned()));
        assert!(matches!(begin(&mut at_once), Begun::Running(_)), "its room is as good as new");
        let mut later = handler(|number| assert!(number != 100, "in a later poll"));
        let Begun::Running(mut call) = begin(&mut later) else { panic!("it has ended") };
        let mut cx = Context::from_waker(noop_waker_ref());
        let outcome = Err("the handler panicked: in a later poll".to_owned());
        assert_eq!(call.poll_unpin(&mut cx), Poll::Ready(outcome));
        assert_eq!(ended(begin(&mut later)), Ok(()));
    }

    #[test]
    fn a_panic_before_there_is_a_future_is_a_failure_too() {
        let mut handler =
            erase(|_: Envelope| -> std::future::Ready<Result<(), String>> { panic!("at once") });
        assert_eq!(ended(begin(&mut handler)), Err("the handler panicked: at once".to_owned()));
    }

    #[test]
    fn an_error_is_told_with_its_text() {
        let mut handler = erase(|_: Envelope| std::future::ready(Err::<(), _>("no room")));
        assert_eq!(ended(begin(&mut handler)), Err("no room".to_owned()));
    }
}
