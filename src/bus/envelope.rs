//! A message as a handler sees it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::format::message::{MessageView, extension};
use crate::format::record::{FLAG_COMMAND, RECORD_HEADER_BYTES, RecordHeader};
use crate::ids::{Lsn, MessageId};

/// A header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a [u8],
}

/// A message with all that is known of it.
///
/// It borrows the buffer that it was received in, which many messages share: a handler that keeps messages for long
/// keeps their payloads, not their envelopes.
#[derive(Clone, Debug)]
pub struct Envelope {
    record: Bytes,
    id: MessageId,
    attempt: u32,
}

impl Envelope {
    /// `record` is one whole record that was verified.
    pub(super) fn new(record: Bytes, id: MessageId, attempt: u32) -> Envelope {
        Envelope { record, id, attempt }
    }

    /// The record as it lies in the log.
    pub(super) fn record(&self) -> &Bytes {
        &self.record
    }

    /// The same message, in another attempt.
    pub(super) fn with_attempt(self, attempt: u32) -> Envelope {
        Envelope { attempt, ..self }
    }

    fn header(&self) -> &RecordHeader {
        // Invariant: the record was verified before it was logged, and again if it was read back.
        RecordHeader::again(&self.record).expect("a record is damaged in memory")
    }

    fn view(&self) -> MessageView<'_> {
        // Invariant: as above; its structure was verified when it was made or accepted.
        MessageView::again(&self.record[RECORD_HEADER_BYTES..]).expect("a message is damaged in memory")
    }

    /// What names the message for ever, at every node and in every attempt: fit for a key of idempotency.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// The topics, in the order in which the publisher named them.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.view().topics()
    }

    /// Whether it was sent to this node, and not published to whoever subscribes.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.header().flags & FLAG_COMMAND != 0
    }

    /// When it was published, by the publisher's clock.
    #[must_use]
    pub fn published_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.view().published_at().0)
    }

    /// The headers.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.view().headers().map(|(name, value)| Header { name, value })
    }

    /// The value of the first header of that name.
    #[must_use]
    pub fn value_of(&self, name: &str) -> Option<&[u8]> {
        self.view().headers().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Where an answer is to be sent, if the publisher said so.
    #[must_use]
    pub fn reply_to(&self) -> Option<&str> {
        self.view().extension(extension::REPLY_TO).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.view().payload
    }

    /// Which call of this handler for this message this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// A payload is not what the handler takes.
#[derive(Debug, thiserror::Error)]
#[error("the payload cannot be decoded")]
pub struct NotDecoded(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What a handler may take: [`Envelope`] for everything, `Bytes`, `Vec<u8>` or `String` for the payload, [`Json`] for a
/// payload in JSON, or a type of your own.
pub trait FromEnvelope: Sized {
    /// Takes what the handler wants out of a message.
    ///
    /// # Errors
    /// The payload is not what it should be; the attempt counts as failed.
    fn from_envelope(envelope: Envelope) -> Result<Self, NotDecoded>;
}

impl FromEnvelope for Envelope {
    fn from_envelope(envelope: Envelope) -> Result<Envelope, NotDecoded> {
        Ok(envelope)
    }
}

impl FromEnvelope for Bytes {
    /// A copy: it may be kept for as long as wanted.
    fn from_envelope(envelope: Envelope) -> Result<Bytes, NotDecoded> {
        Ok(Bytes::copy_from_slice(envelope.payload()))
    }
}

impl FromEnvelope for Vec<u8> {
    fn from_envelope(envelope: Envelope) -> Result<Vec<u8>, NotDecoded> {
        Ok(envelope.payload().to_vec())
    }
}

impl FromEnvelope for String {
    fn from_envelope(envelope: Envelope) -> Result<String, NotDecoded> {
        let text = std::str::from_utf8(envelope.payload()).map_err(|error| NotDecoded(error.into()))?;
        Ok(text.to_owned())
    }
}

/// A payload in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(
    /// What it says.
    pub T,
);

impl<T: serde::de::DeserializeOwned> FromEnvelope for Json<T> {
    fn from_envelope(envelope: Envelope) -> Result<Json<T>, NotDecoded> {
        serde_json::from_slice(envelope.payload()).map(Json).map_err(|error| NotDecoded(error.into()))
    }
}

impl<T: serde::Serialize> TryFrom<&Json<T>> for super::Message {
    type Error = serde_json::Error;

    fn try_from(json: &Json<T>) -> Result<super::Message, serde_json::Error> {
        serde_json::to_vec(&json.0).map(super::Message::new)
    }
}

/// The id of a message: its publisher, the life of that one's log, and the number that its record had there.
pub(super) fn id_of(
    node: crate::ids::NodeId,
    incarnation: crate::ids::Incarnation,
    record: &[u8],
) -> MessageId {
    // Invariant: the record was verified before it was logged, and again if it was read back.
    let header = RecordHeader::again(record).expect("a record is damaged in memory");
    MessageId { node, incarnation, lsn: Lsn(header.lsn.get()) }
}
