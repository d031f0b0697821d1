//! What the engine reports, and the end of it all.

use std::sync::{Arc, Weak};

use super::{Closing, Driver};
use crate::engine::effect::{Event, Note};
use crate::io::pin::Pin;
use crate::io::prewriter::Speed;

impl Driver {
    pub(super) fn report(&mut self) {
        while let Some(event) = self.parts.engine.poll_event() {
            match event {
                Event::Durable(mark) => self.parts.shared.durable.rise(mark),
                Event::Done(id, messages) => {
                    if let Some(reply) = self.replies.remove(&id) {
                        // Whoever asked may have gone.
                        reply.send(Ok(messages)).unwrap_or_default();
                    }
                }
                Event::Refused(id, refusal) => {
                    if let Some(reply) = self.replies.remove(&id) {
                        reply.send(Err(refusal)).unwrap_or_else(drop);
                    }
                }
                Event::Prepare(number) => self.parts.prewriter.prepare(number, Speed::Paced),
                Event::Free(number) => {
                    self.parts.files.close(number);
                    self.to_free.push_back(number);
                }
                Event::Dial(address) => self.parts.dialler.dial(address),
                Event::Note(note) => tell(&note),
            }
        }
        if let Some(number) = self.parts.engine.segment_wanted_now() {
            self.parts.prewriter.hurry(number);
        }
    }

    /// Segments that nobody reads or copies any more go, none before one that is older: the log would have a hole.
    pub(super) fn free_idle(&mut self) {
        self.pins.retain(|pin| pin.strong_count() > 0);
        if !self.pins.is_empty() && self.parts.engine.segments().is_at_limit_beside(self.to_free.len()) {
            self.break_pins();
        }
        if !self.pins.is_empty() {
            return;
        }
        while let Some(number) =
            self.to_free.front().copied().filter(|number| self.parts.files.is_idle(*number))
        {
            self.to_free.pop_front();
            self.parts.prewriter.free(number);
        }
    }

    /// What is durable stays where it is until whoever asked is through with it.
    pub(super) fn pin(&mut self) -> Option<Arc<Pin>> {
        let engine = &self.parts.engine;
        let part = engine.state().index.durable_part(engine.durable())?;
        let pin = Arc::new(Pin::new(part, Arc::clone(&self.parts.shared)));
        self.pins.push(Arc::downgrade(&pin));
        Some(pin)
    }

    /// The disk is full, or what the log may take of it: no copy of the log is worth that the node cannot go on.
    pub(super) fn break_pins(&mut self) {
        if self.to_free.is_empty() {
            return;
        }
        for pin in std::mem::take(&mut self.pins).iter().filter_map(Weak::upgrade) {
            tracing::warn!("there is no more room: segments are freed although somebody copies the log");
            pin.give_way();
        }
    }

    /// Closing goes on: what is staged is written, then the batch that says that nothing follows.
    pub(super) fn go_on_closing(&mut self) {
        // What the kernel still reads or writes is waited for, even if it is of no use any more: a file that is in its
        // hands cannot be opened again by another node.
        let (failed, idle) = (self.parts.engine.has_failed(), self.operations == 0);
        match self.closing {
            Closing::Flushing if failed && idle => self.closing = Closing::Over,
            Closing::Flushing if !failed && self.parts.engine.is_quiet() && self.is_staging_empty() => {
                self.closing = if self.write_closing_batch() { Closing::Sealed } else { Closing::Last };
            }
            // On a full disk nothing more can be written, and what is not yet written was not acknowledged.
            Closing::Flushing if idle && self.parts.engine.is_stuck() => self.closing = Closing::Over,
            Closing::Sealed | Closing::Last if idle => self.closing = Closing::Over,
            _ => {}
        }
        if self.closing == Closing::Over {
            self.parts.shared.handoff.end();
        }
    }

    fn is_staging_empty(&self) -> bool {
        self.parts.shared.staging.lock().is_empty()
    }
}

fn tell(note: &Note) {
    match note {
        Note::Established { node, name } => tracing::info!(%node, name, "session established"),
        Note::Ended { node: Some(node), reason } => tracing::info!(%node, reason, "session ended"),
        Note::Ended { node: None, reason } => {
            tracing::warn!(reason, "a connection ended before it was a session")
        }
        Note::Redundant { reason } => tracing::debug!(reason, "a second connection with a node ended"),
        Note::Mismatch { address, node } => {
            tracing::warn!(address, %node, "another node answers at this address than before; nothing is sent there");
        }
        Note::NewLife { node } => {
            tracing::warn!(%node, "the peer was restored from a backup, and lacks what came since");
        }
        Note::Ahead { node, stream, count } => {
            let what =
                "the peer has messages that this node no longer knows of: it was restored from a backup";
            tracing::warn!(%node, %stream, count, "{what}");
        }
        Note::Gap { node, is_ours, stream, first, count } => {
            let what = if *is_ours {
                "the peer lost messages: it went back to an older state"
            } else {
                "messages do not come: this node went back to an older state, or somebody took them out at the peer"
            };
            tracing::error!(%node, %stream, %first, count, "{what}");
        }
        Note::BacklogFull { name, parks } => {
            let what = if *parks {
                "a subscriber has as much waiting for it as it may: what is published is not kept for it"
            } else {
                "a subscriber has as much waiting for it as it may: nothing is published that it would get"
            };
            tracing::warn!(name, "{what}");
        }
        Note::BacklogHasRoom { name } => {
            tracing::info!(name, "the subscriber may have more waiting for it again")
        }
        Note::Evicted { node, owed } => {
            tracing::warn!(%node, owed, "the subscriber was unseen for its lease, and is evicted");
        }
        Note::TakenOut { node, stream, first, count } => {
            tracing::warn!(%node, %stream, %first, count, "the peer is told that messages were taken out");
        }
    }
}
