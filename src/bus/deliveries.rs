//! Messages one after another, for those who would rather ask for them than be called.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;

use super::dispatcher::{Dispatcher, push};
use super::registry::Registry;
use super::{Bus, Envelope, Error, IntoTopics, message};
use crate::engine::effect::Outcome;
use crate::ids::Lsn;
use crate::io::handoff::Handed;
use crate::io::mailbox::Mail;
use crate::io::shared::Shared;
use crate::limits::DISPATCH_MESSAGES_MAX;

/// The name under which the attempts of deliveries are counted.
const NAME: &str = "deliveries";

/// The messages of some topics, as a stream. Ends when the node closes. See [`Bus::deliveries`].
pub struct Deliveries {
    bus: Bus,
    topics: Vec<String>,
    dispatcher: Option<Dispatcher>,
    handlers: Option<Registry>,
    out: Arc<AtomicU64>,
}

impl std::fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliveries").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl Bus {
    /// Takes the messages of these topics as a stream, in the order in which they were accepted; messages of other
    /// topics are parked. While it lives nobody else handles messages of this node. Dropping it gives back what was
    /// not [`done`](Delivery::done).
    ///
    /// # Errors
    /// [`Error::AlreadyServing`], and [`Error::InvalidMessage`] for a bad topic.
    pub fn deliveries(&self, topics: impl IntoTopics) -> Result<Deliveries, Error> {
        let topics = message::checked_topics(topics)?;
        let handlers = self.inner.registry.lock().unwrap_or_else(PoisonError::into_inner).take();
        let handlers = handlers.ok_or(Error::AlreadyServing)?;
        let dispatcher = Dispatcher::new(self.shared().clone(), Registry::new(Vec::new(), 1, None));
        dispatcher.begin();
        let out = Arc::new(AtomicU64::new(0));
        Ok(Deliveries {
            bus: self.clone(),
            topics,
            dispatcher: Some(dispatcher),
            handlers: Some(handlers),
            out,
        })
    }
}

impl Deliveries {
    /// The next message; `None` when the node is closed or its log failed. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Delivery>> {
        let Some(dispatcher) = &mut self.dispatcher else { return Poll::Ready(None) };
        loop {
            if self.out.load(Ordering::Acquire) >= DISPATCH_MESSAGES_MAX {
                dispatcher.shared().handoff.set_alarm(None, cx.waker());
                // One may have been given back before the waker was there to be woken.
                if self.out.load(Ordering::Acquire) >= DISPATCH_MESSAGES_MAX {
                    return Poll::Pending;
                }
            }
            let Some(taken) = dispatcher.take() else {
                match dispatcher.shared().take_handed(cx.waker()) {
                    Handed::Dispatch(dispatch) => dispatcher.add(dispatch),
                    Handed::Nothing => {
                        dispatcher.flush();
                        return Poll::Pending;
                    }
                    Handed::Ended => return Poll::Ready(None),
                }
                continue;
            };
            let envelope = taken.envelope(NAME);
            let wanted = envelope.topics().any(|topic| self.topics.iter().any(|wanted| wanted == topic));
            if !wanted {
                dispatcher.nobody(&taken);
                continue;
            }
            self.out.fetch_add(1, Ordering::AcqRel);
            let (shared, out) = (Arc::clone(dispatcher.shared()), Arc::clone(&self.out));
            return Poll::Ready(Some(Delivery { envelope, lsn: taken.lsn, shared, out, settled: false }));
        }
    }
}

impl Stream for Deliveries {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll(cx)
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        if let Some(dispatcher) = self.dispatcher.take() {
            drop(dispatcher.into_registry());
            self.bus.shared().handoff.begin();
            self.bus.shared().post(Mail::Serving(None));
            *self.bus.inner.registry.lock().unwrap_or_else(PoisonError::into_inner) = self.handlers.take();
        }
    }
}

/// A message that is being handled. Dropping it gives it back: it is delivered again at once.
#[must_use = "a delivery that is dropped is delivered again"]
#[derive(Debug)]
pub struct Delivery {
    envelope: Envelope,
    lsn: Lsn,
    shared: Arc<Shared>,
    out: Arc<AtomicU64>,
    settled: bool,
}

impl Delivery {
    /// The message.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The message is done and does not come again. This is written down with the next batch; a crash before that
    /// delivers it again.
    pub fn done(mut self) {
        let lsn = self.lsn;
        self.settle(|outcomes| push(&mut outcomes.handled, lsn));
    }

    /// The attempt failed: the message comes again after a pause, or is a dead letter when that was its last.
    pub fn retry(mut self, reason: impl std::fmt::Display) {
        let failed = vec![(NAME.to_owned(), reason.to_string())];
        let outcome = Outcome { lsn: self.lsn, done: Vec::new(), failed };
        self.settle(|outcomes| outcomes.mixed.push(outcome));
    }

    fn settle(&mut self, report: impl FnOnce(&mut crate::engine::effect::Outcomes)) {
        self.settled = true;
        self.shared.handoff.report(report);
        self.shared.wake.mail_left();
        if self.out.fetch_sub(1, Ordering::AcqRel) >= DISPATCH_MESSAGES_MAX {
            self.shared.handoff.nudge();
        }
    }
}

impl std::ops::Deref for Delivery {
    type Target = Envelope;

    fn deref(&self) -> &Envelope {
        &self.envelope
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.settled {
            let lsn = self.lsn;
            self.settle(|outcomes| outcomes.returned.push(lsn));
        }
    }
}
