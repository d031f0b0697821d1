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
use crate::limits::{EXTENSION_BYTES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, TOPIC_BYTES_MAX, TOPICS_MAX};
use crate::time::Wall;

/// The fixed part of a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MessageHeader {
    /// When `publish` was called, in nanoseconds since 1970-01-01 UTC.
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
pub fn check_topic(topic: &str) -> Result<(), MessageDefect> {
    match topic.len() {
        0 => Err(MessageDefect::EmptyTopic),
        1..=TOPIC_BYTES_MAX => Ok(()),
        length => Err(MessageDefect::LongTopic(length)),
    }
}

/// Appends the extension `tag` with that value. The caller checks the sum against [`EXTENSION_BYTES_MAX`].
pub fn put_extension(out: &mut Vec<u8>, tag: u8, value: &[&[u8]]) {
    let length: usize = value.iter().map(|part| part.len()).sum();
    out.push(tag);
    // A value beyond two bytes of length is beyond EXTENSION_BYTES_MAX too, and refused with it.
    out.extend_from_slice(&(length.min(usize::from(u16::MAX)) as u16).to_le_bytes());
    for part in value {
        out.extend_from_slice(part);
    }
}

/// A message's body in pieces, before it is written: what the caller's thread checks and checksums.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    /// The fixed part.
    pub header: MessageHeader,
    /// The topics, as written.
    pub topics: &'a [u8],
    /// The extensions, as written.
    pub extensions: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// Writes one topic as it stands in a message.
pub fn put_topic(out: &mut Vec<u8>, topic: &str) -> Result<(), MessageDefect> {
    check_topic(topic)?;
    out.reserve(topic.len() + 1);
    out.push(topic.len() as u8);
    out.extend_from_slice(topic.as_bytes());
    Ok(())
}

/// The topics in bytes that [`put_topics`] wrote, or that were verified.
pub fn topics_in(written: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = written;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first()?;
        let (topic, next) = after.split_at_checked(usize::from(*length))?;
        rest = next;
        std::str::from_utf8(topic).ok()
    })
}

/// Writes topics as they stand in a message, into a buffer that the caller keeps.
pub fn put_topics<'t>(
    out: &mut Vec<u8>,
    topics: impl IntoIterator<Item = &'t str>,
) -> Result<(), MessageDefect> {
    let mut count = 0;
    for topic in topics {
        put_topic(out, topic)?;
        count += 1;
    }
    match count {
        0 => Err(MessageDefect::EmptyTopic),
        1..=TOPICS_MAX => Ok(()),
        _ => Err(MessageDefect::ManyTopics(count)),
    }
}

impl<'a> MessageParts<'a> {
    /// Checks the limits and makes the fixed part. `topics` and `extensions` as [`put_topics`] and
    /// [`put_extension`] write them.
    pub fn new(
        published_at: Wall,
        topics: &'a [u8],
        extensions: &'a [u8],
        payload: &'a [u8],
    ) -> Result<MessageParts<'a>, MessageDefect> {
        if extensions.len() > EXTENSION_BYTES_MAX {
            return Err(MessageDefect::LongExtensions(extensions.len()));
        }
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(MessageDefect::LongPayload(payload.len()));
        }
        let header = MessageHeader {
            published_at: U64::new(published_at.0),
            topics_bytes: U16::new(topics.len() as u16),
            extension_bytes: U16::new(extensions.len() as u16),
        };
        Ok(MessageParts { header, topics, extensions, payload })
    }

    /// The pieces in the order in which they stand.
    #[must_use]
    pub fn pieces(&self) -> [&[u8]; 4] {
        [self.header.as_bytes(), self.topics, self.extensions, self.payload]
    }

    /// Bytes of the body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.pieces().iter().map(|piece| piece.len()).sum()
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
        let mut reader = BodyReader::new(body);
        let header: &MessageHeader = reader.fixed()?;
        let topics = reader.bytes(usize::from(header.topics_bytes.get()))?;
        let extensions = reader.bytes(usize::from(header.extension_bytes.get()))?;
        check_topics(topics)?;
        check_extensions(extensions)?;
        Ok(MessageView { header, topics, extensions, payload: reader.rest() })
    }

    /// When `publish` was called.
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

    fn body(topics: &[&str], extensions: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut written = Vec::new();
        put_topics(&mut written, topics.iter().copied()).unwrap();
        MessageParts::new(Wall(5), &written, extensions, payload).unwrap().pieces().concat()
    }

    #[test]
    fn a_plain_message_costs_37_bytes_beyond_topic_and_payload() {
        let overhead = body(&["t"], &[], b"p").len() - 2 + super::super::record::RECORD_HEADER_BYTES;
        assert_eq!(overhead, 37);
    }

    #[test]
    fn a_message_reads_back() {
        let mut extensions = Vec::new();
        put_extension(&mut extensions, extension::HEADER, &[&[5], b"trace", b"value"]);
        put_extension(&mut extensions, extension::REPLY_TO, &[b"tcp://a:1"]);
        let bytes = body(&["a", "b"], &extensions, b"payload");
        let view = MessageView::parse(&bytes).unwrap();
        assert_eq!(view.topics().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(view.headers().collect::<Vec<_>>(), [("trace", b"value".as_slice())]);
        assert_eq!(view.extension(extension::REPLY_TO), Some(b"tcp://a:1".as_slice()));
        assert_eq!((view.published_at(), view.payload), (Wall(5), b"payload".as_slice()));
    }

    #[test]
    fn topics_have_limits() {
        assert_eq!(put_topics(&mut Vec::new(), []), Err(MessageDefect::EmptyTopic));
        assert_eq!(put_topics(&mut Vec::new(), [""]), Err(MessageDefect::EmptyTopic));
        assert_eq!(check_topic(&"x".repeat(256)), Err(MessageDefect::LongTopic(256)));
        assert_eq!(put_topics(&mut Vec::new(), ["a"; 17]), Err(MessageDefect::ManyTopics(17)));
    }

    #[test]
    fn a_body_that_lies_about_its_lengths_is_refused() {
        let good = body(&["topic"], &[], b"");
        for (index, value) in [(8, 200), (10, 200), (12, 99), (12, 0)] {
            let mut bad = good.clone();
            bad[index] = value;
            assert!(MessageView::parse(&bad).is_err(), "byte {index} = {value}");
        }
    }
}
