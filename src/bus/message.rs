//! What a service publishes.

use bytes::Bytes;

use super::Error;
use crate::format::message::{MessageDefect, MessageParts, check_topic, extension, put_extension, put_topic};
use crate::io::clock;
use crate::limits::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX, TOPICS_MAX};

/// A message to be published or sent: a payload, and headers if it needs any. Plain bytes and texts are messages too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    payload: Bytes,
    headers: Vec<(String, Vec<u8>)>,
    reply_to: Option<String>,
}

impl Message {
    /// A message with that payload, at most [`PAYLOAD_BYTES_MAX`](crate::limits::PAYLOAD_BYTES_MAX) bytes.
    pub fn new(payload: impl Into<Bytes>) -> Message {
        Message { payload: payload.into(), ..Message::default() }
    }

    /// Adds a header: a name of 1 to 128 bytes and any value. All headers of a message have room for 8 KiB.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Message {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Says where an answer is to be sent.
    #[must_use]
    pub fn reply_to(mut self, address: impl Into<String>) -> Message {
        self.reply_to = Some(address.into());
        self
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
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

/// The bytes of a message before they are staged: made in the caller's thread, before any lock.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    topics: Vec<u8>,
    extensions: Vec<u8>,
    message: Message,
}

impl Encoded {
    pub(super) fn new(message: Message, topics: &impl IntoTopics) -> Result<Encoded, Error> {
        let (mut written, mut count, mut defect) = (Vec::new(), 0, None);
        topics.for_each(&mut |topic| {
            count += 1;
            // What is refused is not written, whatever its length.
            if defect.is_none() && count <= TOPICS_MAX {
                defect = put_topic(&mut written, topic).err();
            }
        });
        match (count, defect) {
            (0, _) => return Err(MessageDefect::EmptyTopic.into()),
            (_, Some(defect)) => return Err(defect.into()),
            (1..=TOPICS_MAX, None) => {}
            (count, None) => return Err(MessageDefect::ManyTopics(count).into()),
        }
        let mut extensions = Vec::new();
        for (name, value) in &message.headers {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(MessageDefect::HeaderName(name.len()).into());
            }
            put_extension(&mut extensions, extension::HEADER, &[&[name.len() as u8], name.as_bytes(), value]);
        }
        if let Some(address) = &message.reply_to {
            if address.len() > ADDRESS_BYTES_MAX {
                return Err(MessageDefect::LongExtensions(address.len()).into());
            }
            put_extension(&mut extensions, extension::REPLY_TO, &[address.as_bytes()]);
        }
        Ok(Encoded { topics: written, extensions, message })
    }

    /// The topics, as they stand in the message.
    pub(super) fn topics(&self) -> &[u8] {
        &self.topics
    }

    pub(super) fn parts(&self) -> Result<MessageParts<'_>, Error> {
        let now = clock::wall();
        Ok(MessageParts::new(now, &self.topics, &self.extensions, self.message.payload())?)
    }
}
