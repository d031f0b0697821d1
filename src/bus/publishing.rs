//! Publishing and sending.

use std::sync::Arc;

use super::outgoing::{NotInPassing, Outgoing, stage_in_passing};
use super::{Bus, Error, IntoTopics, Message, Receipt, Ticket, checked_address};
use crate::io::staging::{NotStaged, Prepared};
use crate::limits::{ATOMIC_BYTES_MAX, ATOMIC_MESSAGES_MAX};

/// Why a message was not staged at once.
enum NotAtOnce {
    /// There is no room just now.
    Full(Box<Outgoing>),
    Never(Error),
}

impl Bus {
    /// Publishes an event to whoever subscribes to one of its topics.
    ///
    /// Resolves when the message is on stable storage; from then on every subscriber will get it, or is told that it
    /// missed it (see [`AtLimit`](crate::AtLimit)). With nobody
    /// subscribed nothing is stored and the receipt says `routed: 0`. Waits while the staging buffer is full.
    ///
    /// Dropping the future before it was polled publishes nothing. After that the message may or may not be published,
    /// whole in any case.
    ///
    /// # Errors
    /// [`Error::InvalidMessage`], [`Error::DiskFull`], [`Error::DiskQuota`], [`Error::Backlog`], [`Error::Storage`], [`Error::Closed`].
    pub async fn publish(
        &self,
        topics: impl IntoTopics,
        message: impl Into<Message>,
    ) -> Result<Receipt, Error> {
        self.publish_nowait(topics, message).await?.wait().await
    }

    /// As [`Bus::publish`], but resolves as soon as the message has its place in the next write: many can be on their
    /// way at once. The message is safe when [`Ticket::wait`] has resolved.
    ///
    /// # Errors
    /// As [`Bus::publish`].
    pub fn publish_nowait(
        &self,
        topics: impl IntoTopics,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<Ticket, Error>> {
        let mut message = message.into();
        async move {
            match self.stage_at_once(&mut message, &topics, None) {
                Ok(ticket) => Ok(ticket),
                Err(NotAtOnce::Full(outgoing)) => self.stage_when_there_is_room(outgoing).await,
                Err(NotAtOnce::Never(error)) => Err(error),
            }
        }
    }

    /// As [`Bus::publish_nowait`], but never waits.
    ///
    /// # Errors
    /// [`Error::Full`] if there is no room just now, and as [`Bus::publish`].
    pub fn try_publish(&self, topics: impl IntoTopics, message: impl Into<Message>) -> Result<Ticket, Error> {
        self.stage_at_once(&mut message.into(), &topics, None).map_err(|not| match not {
            NotAtOnce::Full(_) => Error::Full,
            NotAtOnce::Never(error) => error,
        })
    }

    /// Sends a command to the node at `address`, whether or not anyone ever answered there: until then it waits here.
    /// Resolves when it is on stable storage.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`], and as [`Bus::publish`].
    pub async fn send(
        &self,
        address: &str,
        topics: impl IntoTopics,
        message: impl Into<Message>,
    ) -> Result<Receipt, Error> {
        self.send_nowait(address, topics, message).await?.wait().await
    }

    /// As [`Bus::send`], but resolves as soon as the command has its place in the next write.
    ///
    /// # Errors
    /// As [`Bus::send`].
    pub async fn send_nowait(
        &self,
        address: &str,
        topics: impl IntoTopics,
        message: impl Into<Message>,
    ) -> Result<Ticket, Error> {
        match self.stage_at_once(&mut message.into(), &topics, Some(&checked_address(address)?)) {
            Ok(ticket) => Ok(ticket),
            Err(NotAtOnce::Full(outgoing)) => self.stage_when_there_is_room(outgoing).await,
            Err(NotAtOnce::Never(error)) => Err(error),
        }
    }

    /// Begins a batch: events and commands of which all or none are stored, whatever happens.
    pub fn batch(&self) -> Batch {
        Batch { bus: self.clone(), messages: Vec::new() }
    }

    #[inline]
    fn outgoing(
        &self,
        message: Message,
        topics: &impl IntoTopics,
        address: Option<String>,
    ) -> Result<Outgoing, Error> {
        Outgoing::new(message, topics, address, self.shared().staging.stamp())
    }

    /// Stages a message if there is room, as there mostly is; no part of this is a future.
    #[inline(always)]
    fn stage_at_once(
        &self,
        message: &mut Message,
        topics: &impl IntoTopics,
        address: Option<&str>,
    ) -> Result<Ticket, NotAtOnce> {
        match stage_in_passing(&self.shared().staging, message, topics, address) {
            Ok(staged) => Ok(Ticket::new(Arc::clone(self.shared()), staged)),
            Err(NotInPassing::Full(outgoing)) => Err(NotAtOnce::Full(outgoing)),
            Err(NotInPassing::Not(not)) => Err(NotAtOnce::Never(self.not_staged(not))),
            Err(NotInPassing::Error(error)) => Err(NotAtOnce::Never(error)),
        }
    }

    #[cold]
    async fn stage_when_there_is_room(&self, outgoing: Box<Outgoing>) -> Result<Ticket, Error> {
        let prepared = outgoing.prepare()?;
        loop {
            let room = self.shared().staging.room();
            match self.shared().staging.stage(&prepared) {
                Ok(staged) => return Ok(Ticket::new(Arc::clone(self.shared()), staged)),
                Err(NotStaged::Full) => room.await,
                Err(not) => return Err(self.not_staged(not)),
            }
        }
    }

    #[cold]
    fn not_staged(&self, not: NotStaged) -> Error {
        match not {
            NotStaged::Full => Error::Full,
            NotStaged::TooMany(messages) => Error::BatchTooLong { messages, max: ATOMIC_MESSAGES_MAX },
            NotStaged::TooLarge(bytes) => Error::BatchTooLarge { bytes, max: ATOMIC_BYTES_MAX },
            NotStaged::Held(held) => {
                Error::Backlog(self.shared().staging.lock().name_of_held(held).into_boxed_str())
            }
            NotStaged::Gate(gate) => Error::of_gate(gate, self.shared()),
        }
    }
}

/// Events and commands that are stored together or not at all. See [`Bus::batch`].
#[must_use = "nothing is published before `commit`"]
#[derive(Debug)]
pub struct Batch {
    bus: Bus,
    messages: Vec<Outgoing>,
}

impl Batch {
    /// Adds an event.
    ///
    /// # Errors
    /// [`Error::InvalidMessage`].
    pub fn publish(mut self, topics: impl IntoTopics, message: impl Into<Message>) -> Result<Batch, Error> {
        let outgoing = self.bus.outgoing(message.into(), &topics, None)?;
        self.messages.push(outgoing);
        Ok(self)
    }

    /// Adds a command.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`], [`Error::InvalidMessage`].
    pub fn send(
        mut self,
        address: &str,
        topics: impl IntoTopics,
        message: impl Into<Message>,
    ) -> Result<Batch, Error> {
        let outgoing = self.bus.outgoing(message.into(), &topics, Some(checked_address(address)?))?;
        self.messages.push(outgoing);
        Ok(self)
    }

    /// Adds what was checked elsewhere.
    #[cfg(feature = "cli")]
    pub(super) fn extend(&mut self, messages: impl Iterator<Item = Outgoing>) {
        self.messages.extend(messages);
    }

    /// Publishes the batch. Resolves when all of it is on stable storage, with a receipt for each message in turn.
    ///
    /// # Errors
    /// [`Error::BatchTooLarge`], [`Error::BatchTooLong`], and as [`Bus::publish`].
    pub async fn commit(self) -> Result<Vec<Receipt>, Error> {
        let tickets = self.commit_nowait().await?;
        let mut receipts = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            receipts.push(ticket.wait().await?);
        }
        Ok(receipts)
    }

    /// As [`Batch::commit`], but resolves as soon as the batch has its place in the next write.
    ///
    /// # Errors
    /// As [`Batch::commit`].
    pub async fn commit_nowait(self) -> Result<Vec<Ticket>, Error> {
        let shared = self.bus.shared();
        let prepared: Vec<Prepared<'_>> =
            self.messages.iter().map(Outgoing::prepare).collect::<Result<_, _>>()?;
        loop {
            let room = shared.staging.room();
            match shared.staging.stage_atomic(&prepared) {
                Ok(staged) => {
                    return Ok(staged.into_iter().map(|one| Ticket::new(Arc::clone(shared), one)).collect());
                }
                // New routes may have been staged: that they are written makes the room.
                Err(NotStaged::Full) => room.await,
                Err(not) => return Err(self.bus.not_staged(not)),
            }
        }
    }
}
