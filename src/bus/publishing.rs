//! Publishing and sending.

use std::sync::Arc;

use super::message::Encoded;
use super::{Bus, Error, IntoTopics, Message, Receipt, Ticket, checked_address};
use crate::format::checksum::checksum_more;
use crate::format::record::FLAG_COMMAND;
use crate::io::staging::{Gate, NotStaged, Prepared, Target};
use crate::limits::{ATOMIC_BYTES_MAX, ATOMIC_MESSAGES_MAX};

/// A message and where it goes.
#[derive(Clone, Debug)]
struct Outgoing {
    encoded: Encoded,
    /// Of a command; an event goes to whoever subscribes.
    address: Option<String>,
}

impl Outgoing {
    fn new(message: Message, topics: impl IntoTopics, address: Option<String>) -> Result<Outgoing, Error> {
        Ok(Outgoing { encoded: Encoded::new(message, &topics)?, address })
    }

    fn prepare(&self) -> Result<Prepared<'_>, Error> {
        let parts = self.encoded.parts()?;
        let body_crc = parts.pieces().iter().fold(0, |crc, piece| checksum_more(crc, piece));
        let (target, flags) = match &self.address {
            Some(address) => (Target::Address(address), FLAG_COMMAND),
            None => (Target::Subscribers(self.encoded.topics()), 0),
        };
        Ok(Prepared { target, parts, body_crc, flags })
    }
}

impl Bus {
    /// Publishes an event to whoever subscribes to one of its topics.
    ///
    /// Resolves when the message is on stable storage; from then on every subscriber will get it. With nobody
    /// subscribed nothing is stored and the receipt says `routed: 0`. Waits while the staging buffer is full.
    ///
    /// Dropping the future before it was polled publishes nothing. After that the message may or may not be published,
    /// whole in any case.
    ///
    /// # Errors
    /// [`Error::InvalidMessage`], [`Error::DiskFull`], [`Error::Storage`], [`Error::Closed`].
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
    pub async fn publish_nowait(
        &self,
        topics: impl IntoTopics,
        message: impl Into<Message>,
    ) -> Result<Ticket, Error> {
        let outgoing = Outgoing::new(message.into(), topics, None)?;
        self.stage(&outgoing).await
    }

    /// As [`Bus::publish_nowait`], but never waits.
    ///
    /// # Errors
    /// [`Error::Full`] if there is no room just now, and as [`Bus::publish`].
    pub fn try_publish(&self, topics: impl IntoTopics, message: impl Into<Message>) -> Result<Ticket, Error> {
        let outgoing = Outgoing::new(message.into(), topics, None)?;
        self.try_stage(&outgoing)
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
        let outgoing = Outgoing::new(message.into(), topics, Some(checked_address(address)?))?;
        self.stage(&outgoing).await
    }

    /// Begins a batch: events and commands of which all or none are stored, whatever happens.
    pub fn batch(&self) -> Batch {
        Batch { bus: self.clone(), messages: Vec::new() }
    }

    async fn stage(&self, outgoing: &Outgoing) -> Result<Ticket, Error> {
        let prepared = outgoing.prepare()?;
        // Mostly there is room, and then nothing is made ready to wait for it.
        match self.stage_now(&prepared) {
            Err(Error::Full) => self.stage_when_there_is_room(&prepared).await,
            outcome => outcome,
        }
    }

    async fn stage_when_there_is_room(&self, prepared: &Prepared<'_>) -> Result<Ticket, Error> {
        loop {
            let room = self.shared().staging.room();
            match self.stage_now(prepared) {
                Err(Error::Full) => {
                    self.shared().wake.record_staged();
                    room.await;
                }
                outcome => return outcome,
            }
        }
    }

    fn try_stage(&self, outgoing: &Outgoing) -> Result<Ticket, Error> {
        self.stage_now(&outgoing.prepare()?)
    }

    fn stage_now(&self, prepared: &Prepared<'_>) -> Result<Ticket, Error> {
        let staged = self.shared().staging.stage(prepared).map_err(|not| self.not_staged(not))?;
        self.shared().wake.record_staged();
        Ok(Ticket::new(Arc::clone(self.shared()), staged))
    }

    fn not_staged(&self, not: NotStaged) -> Error {
        match not {
            NotStaged::Full => Error::Full,
            NotStaged::TooMany(messages) => Error::BatchTooLong { messages, max: ATOMIC_MESSAGES_MAX },
            NotStaged::TooLarge(bytes) => Error::BatchTooLarge { bytes, max: ATOMIC_BYTES_MAX },
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
        self.messages.push(Outgoing::new(message.into(), topics, None)?);
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
        self.messages.push(Outgoing::new(message.into(), topics, Some(checked_address(address)?))?);
        Ok(self)
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
                    shared.wake.record_staged();
                    return Ok(staged.into_iter().map(|one| Ticket::new(Arc::clone(shared), one)).collect());
                }
                Err(NotStaged::Full | NotStaged::Gate(Gate::Checkpoint)) => {
                    // New routes may have been staged: that they are written makes the room.
                    shared.wake.record_staged();
                    room.await;
                }
                Err(not) => return Err(self.bus.not_staged(not)),
            }
        }
    }
}
