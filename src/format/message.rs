//! The body of a message record.
//!
//! ```text
//!  0                8        10       12
//!  +----------------+--------+--------+----------+------------+-----------
//!  | published at   | bytes  | bytes  | topics   | extensions | payload
//!  | (ns, UTC)      | topics | extens.|          |            |
//!  +----------------+--------+--------+----------+------------+-----------
//!  topics:      1 byte length, then the topic, for each
//!  extensions:  1 byte tag, 2 bytes length, then the value, for each
//! ```

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::body::{BodyDefect, BodyReader};
use super::checksum::{checksum, checksum_more};
use crate::limits::{EXTENSION_BYTES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, TOPIC_BYTES_MAX, TOPICS_MAX};
use crate::time::Wall;

/// The fixed part of a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MessageHeader {
    /// When `publish` was called, in nanoseconds since 1970-01-01 UTC: at the latest then, and at the earliest when the
    /// batch was begun that was being filled at that time.
    pub published_at: U64,
    /// Bytes of all topics with their lengths.
    pub topics_bytes: U16,
    /// Bytes of all extensions with their tags and lengths.
    pub extension_bytes: U16,
}

/// Bytes of a [`MessageHeader`].
pub const MESSAGE_HEADER_BYTES: usize = size_of::<MessageHeader>();
const _: () = assert!(MESSAGE_HEADER_BYTES == 12);

/// What may stand in the extensions. The numbers are the format.
pub mod extension {
    /// A header: 1 byte length of the name, the name, the value.
    pub const HEADER: u8 = 1;
    /// Where an answer is to be sent.
    pub const REPLY_TO: u8 = 2;
    /// After this time (ns, UTC; 8 bytes) the message is of no use.
    pub const DEADLINE: u8 = 3;
    /// Before this time (ns, UTC; 8 bytes) the message is not handled.
    pub const NOT_BEFORE: u8 = 4;
    /// Messages of one key are handled in their order.
    pub const ORDERING_KEY: u8 = 5;
}

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageDefect {
    /// No topic, or an empty one.
    #[error("a topic must not be empty")]
    EmptyTopic,
    /// A topic beyond the limit.
    #[error("a topic has {0} bytes, and {TOPIC_BYTES_MAX} is the most")]
    LongTopic(usize),
    /// Topics beyond the limit.
    #[error("a message has {0} topics, and {TOPICS_MAX} is the most")]
    ManyTopics(usize),
    /// A header's name that is empty or beyond the limit.
    #[error("the name of a header has {0} bytes, and 1 to {NAME_BYTES_MAX} are allowed")]
    HeaderName(usize),
    /// Headers and the other optional fields beyond the limit.
    #[error("headers take {0} bytes, and {EXTENSION_BYTES_MAX} is the most")]
    LongExtensions(usize),
    /// A payload beyond the limit.
    #[error("a payload has {0} bytes, and {PAYLOAD_BYTES_MAX} is the most")]
    LongPayload(usize),
}

/// Whether `topic` may be one.
#[inline]
pub fn check_topic(topic: &str) -> Result<(), MessageDefect> {
    match topic.len() {
        0 => Err(MessageDefect::EmptyTopic),
        1..=TOPIC_BYTES_MAX => Ok(()),
        length => Err(MessageDefect::LongTopic(length)),
    }
}

/// The topics in bytes as they stand in a message, written by a [`MessageHead`] or verified.
pub fn topics_in(written: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = written;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first()?;
        let (topic, next) = after.split_at_checked(usize::from(*length))?;
        rest = next;
        std::str::from_utf8(topic).ok()
    })
}

/// What stands before the payload of a message, checked as it is written: first the topics, then the extensions. Its
/// room can be used again, for publishers write one for each message.
#[derive(Clone, Debug)]
pub struct MessageHead {
    bytes: Vec<u8>,
    topics: usize,
    topics_end: usize,
}

impl Default for MessageHead {
    fn default() -> MessageHead {
        MessageHead::new()
    }
}

impl MessageHead {
    /// A head with nothing in it yet.
    #[must_use]
    pub const fn new() -> MessageHead {
        MessageHead { bytes: Vec::new(), topics: 0, topics_end: 0 }
    }

    /// A finished head with these topics and no extensions.
    pub fn with_topics<'t>(
        published_at: Wall,
        topics: impl IntoIterator<Item = &'t str>,
    ) -> Result<MessageHead, MessageDefect> {
        let mut head = MessageHead::new();
        topics.into_iter().try_for_each(|topic| head.topic(topic))?;
        head.finish(published_at)?;
        Ok(head)
    }

    /// Forgets what is in it.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.topics, self.topics_end) = (0, 0);
    }

    /// Adds a topic. All topics come before the first extension.
    #[inline]
    pub fn topic(&mut self, topic: &str) -> Result<(), MessageDefect> {
        assert!(self.bytes.len() == self.topics_end, "topics come before extensions");
        check_topic(topic)?;
        self.topics += 1;
        // What is refused in the end is not written, however much it is.
        if self.topics <= TOPICS_MAX {
            if self.bytes.is_empty() {
                // The fixed part is written last.
                self.bytes.extend_from_slice(&[0; MESSAGE_HEADER_BYTES]);
            }
            self.bytes.push(topic.len() as u8);
            self.bytes.extend_from_slice(topic.as_bytes());
            self.topics_end = self.bytes.len();
        }
        Ok(())
    }

    /// Adds the extension `tag` with that value.
    pub fn extension(&mut self, tag: u8, value: &[&[u8]]) -> Result<(), MessageDefect> {
        let length: usize = value.iter().map(|part| part.len()).sum();
        let all = self.bytes.len() - self.topics_end + 3 + length;
        if all > EXTENSION_BYTES_MAX {
            return Err(MessageDefect::LongExtensions(all));
        }
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&(length as u16).to_le_bytes());
        value.iter().for_each(|part| self.bytes.extend_from_slice(part));
        Ok(())
    }

    /// Writes the fixed part, the last of it.
    #[inline]
    pub fn finish(&mut self, published_at: Wall) -> Result<(), MessageDefect> {
        match self.topics {
            0 => return Err(MessageDefect::EmptyTopic),
            1..=TOPICS_MAX => {}
            count => return Err(MessageDefect::ManyTopics(count)),
        }
        let header = MessageHeader {
            published_at: U64::new(published_at.0),
            topics_bytes: U16::new((self.topics_end - MESSAGE_HEADER_BYTES) as u16),
            extension_bytes: U16::new((self.bytes.len() - self.topics_end) as u16),
        };
        self.bytes[..MESSAGE_HEADER_BYTES].copy_from_slice(header.as_bytes());
        Ok(())
    }

    /// The topics, as they stand in the message.
    #[must_use]
    #[inline]
    pub fn topics(&self) -> &[u8] {
        &self.bytes[MESSAGE_HEADER_BYTES..self.topics_end]
    }
}

/// A message's body before it is written, with its checksum: what the caller's thread makes before any lock.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    head: &'a [u8],
    payload: &'a [u8],
    crc: u32,
}

impl<'a> MessageParts<'a> {
    /// The body of a finished head and a payload.
    #[inline]
    pub fn new(head: &'a MessageHead, payload: &'a [u8]) -> Result<MessageParts<'a>, MessageDefect> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(MessageDefect::LongPayload(payload.len()));
        }
        let head = head.bytes.as_slice();
        Ok(MessageParts { head, payload, crc: checksum_more(checksum(head), payload) })
    }

    /// A body that was written before.
    ///
    /// # Errors
    /// It is none.
    pub fn of_body(body: &'a [u8]) -> Result<MessageParts<'a>, BodyDefect> {
        let payload = MessageView::parse(body)?.payload;
        let head = &body[..body.len() - payload.len()];
        Ok(MessageParts { head, payload, crc: checksum(body) })
    }

    /// The pieces in the order in which they stand.
    #[must_use]
    #[inline]
    pub fn pieces(&self) -> [&'a [u8]; 2] {
        [self.head, self.payload]
    }

    /// Bytes of the body.
    #[must_use]
    #[inline]
    pub fn body_bytes(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// The checksum of the body.
    #[must_use]
    #[inline]
    pub fn crc(&self) -> u32 {
        self.crc
    }
}

/// A message's body, its structure verified once.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// The fixed part.
    pub header: &'a MessageHeader,
    topics: &'a [u8],
    extensions: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> MessageView<'a> {
    /// Parses the body of a message record whose checksum was verified.
    pub fn parse(body: &'a [u8]) -> Result<MessageView<'a>, BodyDefect> {
        let view = MessageView::again(body)?;
        check_topics(view.topics)?;
        check_extensions(view.extensions)?;
        Ok(view)
    }

    /// The body of a message that was parsed before: only its lengths are looked at, not at each topic and extension again.
    #[inline]
    pub fn again(body: &'a [u8]) -> Result<MessageView<'a>, BodyDefect> {
        let mut reader = BodyReader::new(body);
        let header: &MessageHeader = reader.fixed()?;
        let topics = reader.bytes(usize::from(header.topics_bytes.get()))?;
        let extensions = reader.bytes(usize::from(header.extension_bytes.get()))?;
        Ok(MessageView { header, topics, extensions, payload: reader.rest() })
    }

    /// When `publish` was called. See [`MessageHeader::published_at`].
    #[must_use]
    pub fn published_at(&self) -> Wall {
        Wall(self.header.published_at.get())
    }

    /// The topics, in the order in which the publisher named them.
    pub fn topics(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        topics_in(self.topics)
    }

    /// The extensions: tag and value.
    pub fn extensions(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut reader = BodyReader::new(self.extensions);
        std::iter::from_fn(move || {
            let tag = reader.u8().ok()?;
            let length = reader.u16().ok()?;
            Some((tag, reader.bytes(usize::from(length)).ok()?))
        })
    }

    /// The headers: name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.extensions().filter(|(tag, _)| *tag == extension::HEADER).filter_map(|(_, value)| {
            let (length, rest) = value.split_first()?;
            let (name, value) = rest.split_at_checked(usize::from(*length))?;
            Some((std::str::from_utf8(name).ok()?, value))
        })
    }

    /// The value of the first extension of that tag.
    #[must_use]
    pub fn extension(&self, tag: u8) -> Option<&'a [u8]> {
        self.extensions().find(|(found, _)| *found == tag).map(|(_, value)| value)
    }
}

fn check_topics(topics: &[u8]) -> Result<(), BodyDefect> {
    let mut reader = BodyReader::new(topics);
    let mut count = 0;
    while !reader.is_empty() {
        let length = reader.u8()?;
        std::str::from_utf8(reader.bytes(usize::from(length))?).map_err(|_| BodyDefect::NotUtf8)?;
        count += 1;
        if length == 0 || count > TOPICS_MAX {
            return Err(BodyDefect::Value("topics"));
        }
    }
    if count == 0 { Err(BodyDefect::Value("topics")) } else { Ok(()) }
}

fn check_extensions(extensions: &[u8]) -> Result<(), BodyDefect> {
    let mut reader = BodyReader::new(extensions);
    while !reader.is_empty() {
        let tag = reader.u8()?;
        let length = usize::from(reader.u16()?);
        let value = reader.bytes(length)?;
        match tag {
            extension::HEADER => {
                let (name_length, rest) = value.split_first().ok_or(BodyDefect::Truncated)?;
                let name = rest.get(..usize::from(*name_length)).ok_or(BodyDefect::Truncated)?;
                std::str::from_utf8(name).map_err(|_| BodyDefect::NotUtf8)?;
            }
            extension::REPLY_TO | extension::ORDERING_KEY => {
                std::str::from_utf8(value).map_err(|_| BodyDefect::NotUtf8)?;
            }
            extension::DEADLINE | extension::NOT_BEFORE if value.len() != 8 => {
                return Err(BodyDefect::Value("time"));
            }
            // A later version's optional field: carried, not understood.
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(topics: &[&str]) -> MessageHead {
        MessageHead::with_topics(Wall(5), topics.iter().copied()).unwrap()
    }

    fn body(head: &MessageHead, payload: &[u8]) -> Vec<u8> {
        MessageParts::new(head, payload).unwrap().pieces().concat()
    }

    #[test]
    fn a_plain_message_costs_37_bytes_beyond_topic_and_payload() {
        let overhead = body(&head(&["t"]), b"p").len() - 2 + super::super::record::RECORD_HEADER_BYTES;
        assert_eq!(overhead, 37);
    }

    #[test]
    fn a_message_reads_back() {
        let mut head = head(&["a", "b"]);
        head.extension(extension::HEADER, &[&[5], b"trace", b"value"]).unwrap();
        head.extension(extension::REPLY_TO, &[b"tcp://a:1"]).unwrap();
        head.finish(Wall(5)).unwrap();
        let bytes = body(&head, b"payload");
        let view = MessageView::parse(&bytes).unwrap();
        assert_eq!(view.topics().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(view.headers().collect::<Vec<_>>(), [("trace", b"value".as_slice())]);
        assert_eq!(view.extension(extension::REPLY_TO), Some(b"tcp://a:1".as_slice()));
        assert_eq!((view.published_at(), view.payload), (Wall(5), b"payload".as_slice()));
    }

    #[test]
    fn topics_have_limits() {
        let with = |topics: &[&str]| MessageHead::with_topics(Wall(1), topics.iter().copied()).err();
        assert_eq!(with(&[]), Some(MessageDefect::EmptyTopic));
        assert_eq!(with(&[""]), Some(MessageDefect::EmptyTopic));
        assert_eq!(with(&[&"x".repeat(256)]), Some(MessageDefect::LongTopic(256)));
        assert_eq!(with(&["a"; 17]), Some(MessageDefect::ManyTopics(17)));
    }

    #[test]
    fn extensions_have_room_for_so_much_and_not_a_byte_more() {
        let mut head = head(&["t"]);
        head.extension(extension::HEADER, &[&vec![0; EXTENSION_BYTES_MAX - 7]]).unwrap();
        let refused = head.extension(extension::REPLY_TO, &[b"xx"]);
        assert_eq!(refused, Err(MessageDefect::LongExtensions(EXTENSION_BYTES_MAX + 1)));
        assert_eq!(head.extension(extension::REPLY_TO, &[b"x"]), Ok(()));
    }

    #[test]
    fn a_head_that_was_cleared_is_as_a_new_one() {
        let mut used = head(&["first", "second"]);
        used.extension(extension::REPLY_TO, &[b"tcp://a:1"]).unwrap();
        used.clear();
        assert_eq!(used.finish(Wall(1)), Err(MessageDefect::EmptyTopic));
        used.topic("t").unwrap();
        used.finish(Wall(5)).unwrap();
        assert_eq!(body(&used, b"p"), body(&head(&["t"]), b"p"));
    }

    #[test]
    fn the_checksum_is_that_of_the_body() {
        let head = head(&["t"]);
        assert_eq!(MessageParts::new(&head, b"payload").unwrap().crc(), checksum(&body(&head, b"payload")));
    }

    #[test]
    fn a_body_that_lies_about_its_lengths_is_refused() {
        let good = body(&head(&["topic"]), b"");
        for (index, value) in [(8, 200), (10, 200), (12, 99), (12, 0)] {
            let mut bad = good.clone();
            bad[index] = value;
            assert!(MessageView::parse(&bad).is_err(), "byte {index} = {value}");
        }
    }
}
