//! What a publisher gets back.

use std::future::poll_fn;
use std::sync::Arc;

use super::Error;
use crate::ids::MessageId;
use crate::io::shared::Shared;
use crate::io::staging::Staged;

/// A message that is on stable storage, or that nobody wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What names the message for ever; `None` if it goes to nobody and was not stored.
    pub id: Option<MessageId>,
    /// To how many subscribers it goes, each of which will get it or is told that it missed it: exactly those whose subscription
    /// lies before the message in the log. 0 is no error: nobody was subscribed.
    pub routed: u32,
}

/// A message that was accepted and is on its way to the disk. [`Ticket::wait`] resolves when it is there; dropping this
/// takes nothing back.
#[must_use = "a message is safe only once `wait` has resolved"]
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
    staged: Staged,
}

impl Ticket {
    #[inline]
    pub(super) fn new(shared: Arc<Shared>, staged: Staged) -> Ticket {
        Ticket { shared, staged }
    }

    /// To how many subscribers the message goes.
    #[must_use]
    pub fn routed(&self) -> u32 {
        self.staged.routed
    }

    /// Resolves when the message is on stable storage, and with it every message for which this node gave a ticket before:
    /// whoever publishes many may keep one ticket in a hundred and wait for that. A ticket of a message that goes to nobody
    /// resolves at once and speaks for no other. Dropping the future changes nothing about the message.
    ///
    /// # Errors
    /// [`Error::Storage`]: the log failed, and whether the message is stored is not known.
    pub async fn wait(self) -> Result<Receipt, Error> {
        let Staged { lsn, routed } = self.staged;
        if routed == 0 {
            return Ok(Receipt { id: None, routed: 0 });
        }
        let mut asked = None;
        let durable = poll_fn(|cx| self.shared.durable.poll(lsn, &mut asked, cx)).await;
        durable.map_err(|_| Error::ended(&self.shared))?;
        let id = MessageId { node: self.shared.node, incarnation: self.shared.incarnation, lsn };
        Ok(Receipt { id: Some(id), routed })
    }
}
