//! What the engine's thread and all others share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use tokio::sync::oneshot;

use super::durable::DurableMark;
use super::handoff::{Handed, Handoff};
use super::mailbox::{Mail, Mailbox};
use super::staging::Staging;
use super::wake::Wake;
use crate::engine::effect::{Refusal, RequestId};
use crate::engine::request::Request;
use crate::ids::{Incarnation, NodeId};

/// The node ended before it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// The shared part of one node.
#[derive(Debug)]
pub struct Shared {
    /// Where publishers put their messages.
    pub staging: Staging,
    /// The durable mark.
    pub durable: Arc<DurableMark>,
    /// Messages for handlers, and what became of them.
    pub handoff: Handoff,
    /// The bell of the engine's thread.
    pub wake: Arc<Wake>,
    /// The node.
    pub node: NodeId,
    /// The life of its log.
    pub incarnation: Incarnation,
    mailbox: Mailbox,
    requests: AtomicU64,
    failure: Mutex<Option<Arc<std::io::Error>>>,
}

impl Shared {
    /// The shared part of a node that is being opened.
    #[must_use]
    pub fn new(staging: Staging, wake: Arc<Wake>, node: NodeId, incarnation: Incarnation) -> Shared {
        Shared {
            staging,
            durable: Arc::default(),
            handoff: Handoff::default(),
            wake,
            node,
            incarnation,
            mailbox: Mailbox::default(),
            requests: AtomicU64::new(1),
            failure: Mutex::new(None),
        }
    }

    /// The mailbox, for the engine's thread.
    #[must_use]
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The engine's thread ends: what is asked from now on gets no answer.
    pub fn close_mailbox(&self) {
        self.mailbox.close();
    }

    /// Takes messages for handlers as [`Handoff::take`] does, and tells the engine's thread when there is room for more.
    pub fn take_handed(&self, waker: &Waker) -> Handed {
        self.handoff.take(waker, || self.wake.mail_left())
    }

    /// Leaves something for the engine's thread.
    pub fn post(&self, mail: Mail) {
        self.mailbox.put(mail);
        self.wake.mail_left();
    }

    /// Asks for something and waits for the answer. Whoever drops this no longer waits; what was asked for may happen
    /// all the same.
    pub async fn request(&self, request: Request) -> Result<Result<u64, Refusal>, Gone> {
        let id = RequestId(self.requests.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        self.post(Mail::Request(id, request, reply));
        let forget = Forget { shared: self, id };
        let answer = answer.await.map_err(|_| Gone);
        std::mem::forget(forget);
        answer
    }

    /// As [`Shared::request`], for a thread that has nothing else to do. It must not be one that runs async code.
    pub fn request_blocking(&self, request: Request) -> Result<Result<u64, Refusal>, Gone> {
        let id = RequestId(self.requests.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        self.post(Mail::Request(id, request, reply));
        answer.blocking_recv().map_err(|_| Gone)
    }

    /// Why the log can no longer be written, if it cannot.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<std::io::Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log can no longer be written.
    pub fn set_failure(&self, error: std::io::Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| Arc::new(error));
    }
}

/// Tells the engine, if a request is dropped before its answer, that nobody waits any more.
struct Forget<'a> {
    shared: &'a Shared,
    id: RequestId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.post(Mail::Forget(self.id));
    }
}
