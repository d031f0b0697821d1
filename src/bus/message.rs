//! What a service publishes.

use bytes::Bytes;

use super::Error;
use crate::format::message::{MessageDefect, MessageHead, check_topic, extension};
use crate::limits::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX};
use crate::time::Wall;

/// A message to be published or sent: a payload, and headers if it needs any. Plain bytes and texts are messages too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    payload: Bytes,
    /// What most messages do not have, and so none of them carries around.
    extras: Option<Box<Extras>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Extras {
    headers: Vec<(String, Vec<u8>)>,
    reply_to: Option<String>,
}

impl Message {
    /// A message with that payload, at most [`PAYLOAD_BYTES_MAX`](crate::limits::PAYLOAD_BYTES_MAX) bytes.
    #[inline]
    pub fn new(payload: impl Into<Bytes>) -> Message {
        Message { payload: payload.into(), extras: None }
    }

    /// Adds a header: a name of 1 to 128 bytes and any value. All headers of a message have room for 8 KiB.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Message {
        self.extras.get_or_insert_default().headers.push((name.into(), value.into()));
        self
    }

    /// Says where an answer is to be sent.
    #[must_use]
    pub fn reply_to(mut self, address: impl Into<String>) -> Message {
        self.extras.get_or_insert_default().reply_to = Some(address.into());
        self
    }

    #[inline]
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(super) fn into_payload(self) -> Bytes {
        self.payload
    }

    /// Writes what stands before the payload into `head`.
    #[inline]
    pub(super) fn write_head(
        &self,
        topics: &impl IntoTopics,
        published_at: Wall,
        head: &mut MessageHead,
    ) -> Result<(), MessageDefect> {
        let mut written = Ok(());
        topics.for_each(&mut |topic| {
            if written.is_ok() {
                written = head.topic(topic);
            }
        });
        written?;
        if let Some(extras) = &self.extras {
            extras.write(head)?;
        }
        head.finish(published_at)
    }
}

impl Extras {
    fn write(&self, head: &mut MessageHead) -> Result<(), MessageDefect> {
        for (name, value) in &self.headers {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(MessageDefect::HeaderName(name.len()));
            }
            head.extension(extension::HEADER, &[&[name.len() as u8], name.as_bytes(), value])?;
        }
        if let Some(address) = &self.reply_to {
            if address.len() > ADDRESS_BYTES_MAX {
                return Err(MessageDefect::LongExtensions(address.len()));
            }
            head.extension(extension::REPLY_TO, &[address.as_bytes()])?;
        }
        Ok(())
    }
}

impl<T: Into<Bytes>> From<T> for Message {
    fn from(payload: T) -> Message {
        Message::new(payload)
    }
}

/// One topic or several: what [`crate::Bus::publish`] and [`crate::Bus::subscribe`] take.
pub trait IntoTopics {
    /// Shows each of the topics in turn.
    fn for_each(&self, see: &mut dyn FnMut(&str));
}

impl IntoTopics for &str {
    fn for_each(&self, see: &mut dyn FnMut(&str)) {
        see(self);
    }
}

impl IntoTopics for String {
    fn for_each(&self, see: &mut dyn FnMut(&str)) {
        see(self);
    }
}

impl IntoTopics for &String {
    fn for_each(&self, see: &mut dyn FnMut(&str)) {
        see(self);
    }
}

impl<const N: usize> IntoTopics for [&str; N] {
    fn for_each(&self, see: &mut dyn FnMut(&str)) {
        self.iter().for_each(|topic| see(topic));
    }
}

impl IntoTopics for &[&str] {
    fn for_each(&self, see: &mut dyn FnMut(&str)) {
        self.iter().for_each(|topic| see(topic));
    }
}

impl IntoTopics for Vec<String> {
    fn for_each(&self, see: &mut dyn FnMut(&str)) {
        self.iter().for_each(|topic| see(topic));
    }
}

impl IntoTopics for &[String] {
    fn for_each(&self, see: &mut dyn FnMut(&str)) {
        self.iter().for_each(|topic| see(topic));
    }
}

/// The topics, as they were given.
pub(super) fn collected(topics: &impl IntoTopics) -> Vec<String> {
    let mut all = Vec::new();
    topics.for_each(&mut |topic| all.push(topic.to_owned()));
    all
}

/// Topics to subscribe to: any number, each of them valid.
pub(super) fn checked_topics(topics: impl IntoTopics) -> Result<Vec<String>, Error> {
    let topics = collected(&topics);
    if topics.is_empty() {
        return Err(MessageDefect::EmptyTopic.into());
    }
    topics.iter().try_for_each(|topic| check_topic(topic))?;
    Ok(topics)
}
