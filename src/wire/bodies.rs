//! The bodies of all frames but [`Hello`](super::hello::Hello), which is refused for more reasons than these, and
//! runs, whose records are verified where they lie ([`super::records`]).
//!
//! ```text
//!  Proof              mac (32), 0 | 1, [ proposed secret (16) ], 0 | 1, [ met (24) ]
//!  Established        mac (32)
//!  Resume             durable (8), cursors
//!  Interest           generation (8), topics: for each 1 byte length, then the topic; rising, none twice
//!  InterestConfirmed  generation (8)
//!  Ack                credit (8), durable (8), cursors
//!  StreamEnd          stream (8), last position (8)
//!  Gap                stream (8), first position (8), count (8)
//!  Heartbeat          nothing
//!  Goodbye            code (2), reason: 2 bytes length, then the text
//!
//!  cursors            count (2), for each stream (8), position (8); streams rising, none twice
//! ```
//!
//! What a peer says is bounded and in its one order before anything is kept, so that whoever acts on it need not ask
//! again: no stream is the local one, and no position is so large that counting on from it could overflow.

use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::format::frame::{self, FrameKind};
use crate::format::message::check_topic;
use crate::ids::{Lsn, Position, StreamId};
use crate::limits::{CURSORS_MAX, INTEREST_BYTES_MAX, POSITION_MAX, REASON_BYTES_MAX};

use super::goodbye::GoodbyeCode;
use super::met::Met;

/// What one frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The dialling side proves who it is.
    Proof {
        /// Its proof to the other's challenge.
        mac: [u8; 32],
        /// The secret by which these two know each other from now on, if they never met before.
        proposed: Option<[u8; 16]>,
        /// The last opening of the other's log that it knows, if they met.
        met: Option<Met>,
    },
    /// The accepting side believes it, has written it down, and proves who it is itself.
    Established {
        /// Its proof to the other's challenge.
        mac: [u8; 32],
    },
    /// How far I have accepted each of your streams, on stable storage.
    Resume {
        /// The last record of my log that is durable: all of this is in it.
        durable: Lsn,
        /// Rising streams, each with the last position accepted; at most [`CURSORS_MAX`].
        cursors: Vec<(StreamId, Position)>,
    },
    /// All topics that I want from you: what is not here I no longer want.
    Interest {
        /// Which version of my wishes this is; it rises.
        generation: u64,
        /// In rising order, none twice; [`interest_bytes`] of them are at most [`INTEREST_BYTES_MAX`].
        topics: Vec<String>,
    },
    /// I have written down what you want.
    InterestConfirmed {
        /// Which version of your wishes.
        generation: u64,
    },
    /// What I have accepted on stable storage, and how much more you may send.
    Ack {
        /// Bytes of run frames, their headers counted, that you may have sent since this session began.
        credit: u64,
        /// The last record of my log that is durable: all of this is in it.
        durable: Lsn,
        /// Rising streams, each with the last position accepted; at most [`CURSORS_MAX`]. Streams
        /// about which there is nothing new may be left out.
        cursors: Vec<(StreamId, Position)>,
    },
    /// Nothing follows on this stream.
    StreamEnd {
        /// My stream.
        stream: StreamId,
        /// The last position it has; 0 if it never had one.
        last: Position,
    },
    /// Positions that I no longer have and that will not come.
    Gap {
        /// My stream.
        stream: StreamId,
        /// The first of them.
        first: Position,
        /// How many; at least 1.
        count: u64,
    },
    /// I live.
    Heartbeat,
    /// I end this session.
    Goodbye {
        /// Why.
        code: GoodbyeCode,
        /// Why, in words; what is longer than [`REASON_BYTES_MAX`] is cut when it is sent.
        reason: String,
    },
}

/// Bytes that topics take against [`INTEREST_BYTES_MAX`]: each one's own and one for its length.
#[must_use]
pub fn interest_bytes<'t>(topics: impl IntoIterator<Item = &'t str>) -> usize {
    topics.into_iter().map(|topic| topic.len() + 1).sum()
}

impl Body {
    /// The kind of frame that holds it.
    #[must_use]
    pub fn kind(&self) -> FrameKind {
        match self {
            Body::Proof { .. } => FrameKind::Proof,
            Body::Established { .. } => FrameKind::Established,
            Body::Resume { .. } => FrameKind::Resume,
            Body::Interest { .. } => FrameKind::Interest,
            Body::InterestConfirmed { .. } => FrameKind::InterestConfirmed,
            Body::Ack { .. } => FrameKind::Ack,
            Body::StreamEnd { .. } => FrameKind::StreamEnd,
            Body::Gap { .. } => FrameKind::Gap,
            Body::Heartbeat => FrameKind::Heartbeat,
            Body::Goodbye { .. } => FrameKind::Goodbye,
        }
    }

    /// The body. Panics if it breaks a bound or an order named at its variant: this node would say what it would
    /// itself refuse.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = BodyWriter::new();
        match self {
            Body::Proof { mac, proposed, met } => {
                out.bytes(mac).flag(proposed.is_some()).bytes(proposed.as_ref().map_or(&[], |secret| secret));
                out.flag(met.is_some());
                if let Some(met) = met {
                    met.put(&mut out);
                }
            }
            Body::Established { mac } => {
                out.bytes(mac);
            }
            Body::Resume { durable, cursors } => {
                out.u64(durable.0);
                put_cursors(&mut out, cursors);
            }
            Body::Interest { generation, topics } => {
                out.u64(*generation);
                put_topics(&mut out, topics);
            }
            Body::InterestConfirmed { generation } => {
                out.u64(*generation);
            }
            Body::Ack { credit, durable, cursors } => {
                out.u64(*credit).u64(durable.0);
                put_cursors(&mut out, cursors);
            }
            Body::StreamEnd { stream, last } => put_cursor(&mut out, *stream, *last),
            Body::Gap { stream, first, count } => {
                assert!(gap_is_sane(*first, *count));
                put_cursor(&mut out, *stream, *first);
                out.u64(*count);
            }
            Body::Heartbeat => {}
            Body::Goodbye { code, reason } => {
                out.u16(code.number()).text(cut(reason, REASON_BYTES_MAX));
            }
        }
        out.finish()
    }

    /// Appends the whole frame. Panics as [`Body::encode`] does.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        frame::append(out, self.kind(), &self.encode());
    }

    /// Reads the body of a frame of that kind. Hellos and runs are read elsewhere.
    pub fn decode(kind: FrameKind, body: &[u8]) -> Result<Body, BodyDefect> {
        let mut r = BodyReader::new(body);
        let decoded = match kind {
            FrameKind::Hello | FrameKind::Run => return Err(BodyDefect::Value("kind")),
            FrameKind::Proof => Body::Proof {
                mac: mac(&mut r)?,
                proposed: if r.flag("proposed")? { Some(r.key()?) } else { None },
                met: if r.flag("met")? { Some(Met::read(&mut r)?) } else { None },
            },
            FrameKind::Established => Body::Established { mac: mac(&mut r)? },
            FrameKind::Resume => Body::Resume { durable: Lsn(r.u64()?), cursors: cursors(&mut r)? },
            FrameKind::Interest => Body::Interest { generation: r.u64()?, topics: topics(&mut r)? },
            FrameKind::InterestConfirmed => Body::InterestConfirmed { generation: r.u64()? },
            FrameKind::Ack => {
                Body::Ack { credit: r.u64()?, durable: Lsn(r.u64()?), cursors: cursors(&mut r)? }
            }
            FrameKind::StreamEnd => {
                let (stream, last) = cursor(&mut r)?;
                Body::StreamEnd { stream, last }
            }
            FrameKind::Gap => {
                let ((stream, first), count) = (cursor(&mut r)?, r.u64()?);
                if !gap_is_sane(first, count) {
                    return Err(BodyDefect::Value("gap"));
                }
                Body::Gap { stream, first, count }
            }
            FrameKind::Heartbeat => Body::Heartbeat,
            FrameKind::Goodbye => {
                Body::Goodbye { code: GoodbyeCode::from_number(r.u16()?), reason: reason(&mut r)? }
            }
        };
        r.end()?;
        Ok(decoded)
    }
}

fn mac(reader: &mut BodyReader<'_>) -> Result<[u8; 32], BodyDefect> {
    reader.bytes(32)?.try_into().map_err(|_| BodyDefect::Truncated)
}

fn cursor(reader: &mut BodyReader<'_>) -> Result<(StreamId, Position), BodyDefect> {
    let (stream, position) = (StreamId(reader.u64()?), Position(reader.u64()?));
    if stream == StreamId::LOCAL {
        return Err(BodyDefect::Value("stream"));
    }
    if position.0 > POSITION_MAX {
        return Err(BodyDefect::Value("position"));
    }
    Ok((stream, position))
}

fn put_cursor(out: &mut BodyWriter, stream: StreamId, position: Position) {
    assert!(stream != StreamId::LOCAL && position.0 <= POSITION_MAX);
    out.u64(stream.0).u64(position.0);
}

fn cursors(reader: &mut BodyReader<'_>) -> Result<Vec<(StreamId, Position)>, BodyDefect> {
    let count = usize::from(reader.u16()?);
    if count > CURSORS_MAX {
        return Err(BodyDefect::Value("count of cursors"));
    }
    let mut cursors: Vec<(StreamId, Position)> = Vec::new();
    for _ in 0..count {
        let next = cursor(reader)?;
        if cursors.last().is_some_and(|last| last.0 >= next.0) {
            return Err(BodyDefect::Value("order of cursors"));
        }
        cursors.push(next);
    }
    Ok(cursors)
}

fn put_cursors(out: &mut BodyWriter, cursors: &[(StreamId, Position)]) {
    assert!(cursors.len() <= CURSORS_MAX);
    assert!(cursors.is_sorted_by(|a, b| a.0 < b.0));
    out.u16(cursors.len() as u16);
    for (stream, position) in cursors {
        put_cursor(out, *stream, *position);
    }
}

fn topics(reader: &mut BodyReader<'_>) -> Result<Vec<String>, BodyDefect> {
    if reader.rest().len() > INTEREST_BYTES_MAX {
        return Err(BodyDefect::Value("bytes of topics"));
    }
    let mut topics: Vec<String> = Vec::new();
    while !reader.is_empty() {
        let length = reader.u8()?;
        let topic =
            std::str::from_utf8(reader.bytes(usize::from(length))?).map_err(|_| BodyDefect::NotUtf8)?;
        check_topic(topic).map_err(|_| BodyDefect::Value("topic"))?;
        if topics.last().is_some_and(|last| last.as_str() >= topic) {
            return Err(BodyDefect::Value("order of topics"));
        }
        topics.push(topic.to_owned());
    }
    Ok(topics)
}

fn put_topics(out: &mut BodyWriter, topics: &[String]) {
    assert!(interest_bytes(topics.iter().map(String::as_str)) <= INTEREST_BYTES_MAX);
    assert!(topics.is_sorted_by(|a, b| a < b));
    for topic in topics {
        assert!(check_topic(topic).is_ok());
        out.u8(topic.len() as u8).bytes(topic.as_bytes());
    }
}

/// At least one position, the first is a real one, and the last can be counted on from.
fn gap_is_sane(first: Position, count: u64) -> bool {
    first.0 >= 1 && count >= 1 && first.0.checked_add(count - 1).is_some_and(|last| last <= POSITION_MAX)
}

fn reason(reader: &mut BodyReader<'_>) -> Result<String, BodyDefect> {
    let text = reader.text()?;
    if text.len() > REASON_BYTES_MAX { Err(BodyDefect::Value("reason")) } else { Ok(text.to_owned()) }
}

/// The longest start of `text` of at most `most` bytes that is a text.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, Incarnation};

    fn one_of_each() -> [Body; 11] {
        let cursors = vec![(StreamId(1), Position(0)), (StreamId(9), Position(POSITION_MAX))];
        [
            Body::Proof { mac: [1; 32], proposed: Some([2; 16]), met: None },
            Body::Proof {
                mac: [1; 32],
                proposed: None,
                met: Some(Met { incarnation: Incarnation(2), epoch: Epoch(3), nonce: 4, seen: Lsn(5) }),
            },
            Body::Established { mac: [3; 32] },
            Body::Resume { durable: Lsn(3), cursors: cursors.clone() },
            Body::Interest { generation: 4, topics: vec!["a".to_owned(), "ä".to_owned()] },
            Body::InterestConfirmed { generation: 5 },
            Body::Ack { credit: 6, durable: Lsn(7), cursors },
            Body::StreamEnd { stream: StreamId(7), last: Position(0) },
            Body::Gap { stream: StreamId(8), first: Position(1), count: POSITION_MAX },
            Body::Heartbeat,
            Body::Goodbye { code: GoodbyeCode::Clone, reason: "zwei".to_owned() },
        ]
    }

    #[test]
    fn every_body_reads_back_and_no_part_of_it_does() {
        for body in one_of_each() {
            let bytes = body.encode();
            assert_eq!(Body::decode(body.kind(), &bytes), Ok(body.clone()));
            // A shorter interest may be one too: it has no count.
            let prefixes = if matches!(body, Body::Interest { .. }) { 8 } else { bytes.len() };
            for length in 0..prefixes {
                assert!(Body::decode(body.kind(), &bytes[..length]).is_err(), "{body:?} cut to {length}");
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert!(Body::decode(body.kind(), &longer).is_err(), "{body:?} with a byte more");
        }
    }

    #[test]
    fn the_bytes_of_bodies_are_pinned() {
        assert_eq!(
            Body::Proof { mac: [7; 32], proposed: None, met: None }.encode(),
            [[7; 32].as_slice(), &[0, 0]].concat()
        );
        let cursors = vec![(StreamId(2), Position(3))];
        let numbers = [9_u64.to_le_bytes(), 8_u64.to_le_bytes()].concat();
        let expected = [&numbers[..], &[1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(Body::Ack { credit: 9, durable: Lsn(8), cursors }.encode(), expected);
        let interest = Body::Interest { generation: 1, topics: vec!["ab".to_owned(), "c".to_owned()] };
        assert_eq!(interest.encode(), [1, 0, 0, 0, 0, 0, 0, 0, 2, b'a', b'b', 1, b'c']);
        let goodbye = Body::Goodbye { code: GoodbyeCode::Closing, reason: "x".to_owned() };
        assert_eq!(goodbye.encode(), [1, 0, 1, 0, b'x']);
    }

    #[test]
    fn hellos_and_runs_are_read_elsewhere() {
        assert_eq!(Body::decode(FrameKind::Hello, &[]), Err(BodyDefect::Value("kind")));
        assert_eq!(Body::decode(FrameKind::Run, &[]), Err(BodyDefect::Value("kind")));
    }

    fn resume(count: u16, cursors: &[(u64, u64)]) -> Result<Body, BodyDefect> {
        let mut out = BodyWriter::new();
        out.u64(4).u16(count);
        for (stream, position) in cursors {
            out.u64(*stream).u64(*position);
        }
        Body::decode(FrameKind::Resume, &out.finish())
    }

    #[test]
    fn cursors_are_few_and_rising_and_never_of_the_local_stream() {
        assert!(resume(2, &[(1, 5), (2, 5)]).is_ok());
        assert_eq!(resume(CURSORS_MAX as u16 + 1, &[(1, 1)]), Err(BodyDefect::Value("count of cursors")));
        assert_eq!(resume(2, &[(2, 5), (2, 5)]), Err(BodyDefect::Value("order of cursors")));
        assert_eq!(resume(1, &[(0, 5)]), Err(BodyDefect::Value("stream")));
        assert_eq!(resume(1, &[(1, POSITION_MAX + 1)]), Err(BodyDefect::Value("position")));
    }

    fn interest(topics: &[u8]) -> Result<Body, BodyDefect> {
        Body::decode(FrameKind::Interest, &[&[0; 8], topics].concat())
    }

    #[test]
    fn topics_are_rising_and_valid() {
        assert!(interest(&[1, b'a', 1, b'b']).is_ok());
        assert_eq!(interest(&[1, b'b', 1, b'a']), Err(BodyDefect::Value("order of topics")));
        assert_eq!(interest(&[1, b'a', 1, b'a']), Err(BodyDefect::Value("order of topics")));
        assert_eq!(interest(&[0]), Err(BodyDefect::Value("topic")));
        assert_eq!(interest(&[1, 0xff]), Err(BodyDefect::NotUtf8));
        assert_eq!(interest(&vec![1; INTEREST_BYTES_MAX + 1]), Err(BodyDefect::Value("bytes of topics")));
    }

    fn gap(first: u64, count: u64) -> Result<Body, BodyDefect> {
        let mut out = BodyWriter::new();
        out.u64(1).u64(first).u64(count);
        Body::decode(FrameKind::Gap, &out.finish())
    }

    #[test]
    fn a_gap_holds_real_positions_only() {
        assert!(gap(POSITION_MAX, 1).is_ok());
        for (first, count) in [(0, 1), (1, 0), (2, u64::MAX), (POSITION_MAX, 2)] {
            assert_eq!(gap(first, count), Err(BodyDefect::Value("gap")), "{first} {count}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_when_sent_and_refused_when_received() {
        let reason = format!("{}ü", "x".repeat(REASON_BYTES_MAX - 1));
        let sent = Body::Goodbye { code: GoodbyeCode::Other(99), reason: reason.clone() }.encode();
        let Ok(Body::Goodbye { reason: received, .. }) = Body::decode(FrameKind::Goodbye, &sent) else {
            panic!("a cut reason must read back");
        };
        assert_eq!(received, "x".repeat(REASON_BYTES_MAX - 1));
        let mut out = BodyWriter::new();
        out.u16(1).text(&reason);
        assert_eq!(Body::decode(FrameKind::Goodbye, &out.finish()), Err(BodyDefect::Value("reason")));
    }

    #[test]
    #[should_panic(expected = "is_sorted_by")]
    fn topics_out_of_order_are_never_sent() {
        let _ = Body::Interest { generation: 1, topics: vec!["b".to_owned(), "a".to_owned()] }.encode();
    }
}
