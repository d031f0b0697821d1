//! Handlers: async functions that take a message and say whether it is done.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_util::FutureExt;

use super::{Envelope, FromEnvelope};
use crate::engine::reason::describe;

/// Why a handler failed. Texts and errors of any kind are.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// What a handler returns: `Ok` when the message is done, and an error when it is to come again.
pub type Handled = Result<(), HandlerError>;

/// One call of a handler; in the end why it failed, if it did.
pub(super) type Call = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// An async function that takes one message. `T` is what it takes of it: see [`FromEnvelope`].
pub trait Handler<T>: Send + Sync + 'static {
    /// Begins to handle a message.
    fn call(&self, envelope: Envelope) -> Pin<Box<dyn Future<Output = Handled> + Send>>;
}

impl<F, T, Fut, E> Handler<T> for F
where
    F: Fn(T) -> Fut + Send + Sync + 'static,
    T: FromEnvelope,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<HandlerError>,
{
    fn call(&self, envelope: Envelope) -> Pin<Box<dyn Future<Output = Handled> + Send>> {
        match T::from_envelope(envelope) {
            Ok(taken) => Box::pin(self(taken).map(|outcome| outcome.map_err(Into::into))),
            Err(error) => Box::pin(std::future::ready(Err(error.into()))),
        }
    }
}

/// A handler whose argument is no longer known: it takes the messages that it was called for, one or, for `all`, one for
/// each topic.
pub(super) type Erased = Box<dyn Fn(Vec<Envelope>) -> Call + Send + Sync>;

pub(super) fn erase<T>(handler: impl Handler<T>) -> Erased {
    Box::new(move |mut envelopes| {
        // Invariant: only handlers of `all` are called with more or fewer than one message.
        let envelope = envelopes.pop().expect("a handler is called for a message");
        guarded(|| handler.call(envelope))
    })
}

pub(super) fn erase_all<F, Fut, E>(handler: F) -> Erased
where
    F: Fn(Vec<Envelope>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<HandlerError>,
{
    Box::new(move |envelopes| {
        guarded(|| handler(envelopes).map(|outcome| outcome.map_err(Into::into)).boxed())
    })
}

/// A panic, in the call itself or in what it returns, is a failure like any other.
fn guarded(call: impl FnOnce() -> Pin<Box<dyn Future<Output = Handled> + Send>>) -> Call {
    match std::panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(running) => Box::pin(AssertUnwindSafe(running).catch_unwind().map(|outcome| match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(describe(&*error)),
            Err(panic) => Err(panicked(&*panic)),
        })),
        Err(panic) => Box::pin(std::future::ready(Err(panicked(&*panic)))),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("no reason given"))
}
