//! What somebody changed by hand.

use super::list::{put_ranges, ranges};
use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::ids::{LsnRange, StreamId};
use crate::time::Wall;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// It is in the inbox, and waits for a handler.
    Incoming = 0,
    /// It has no handler.
    Parked = 1,
    /// A handler gave it up.
    Dead = 2,
    /// It is owed to others.
    Outgoing = 3,
}

/// What is done with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// They are given to their handlers again, as if those had never given up.
    Retry = 0,
    /// They are taken out: of the inbox, or of what is owed.
    Remove = 1,
    /// The same, and what takes the place of one stands before this in its batch, with other contents.
    Edit = 2,
    /// The same, with the same contents.
    Requeue = 3,
}

impl Verb {
    /// Whether the messages are no longer there then.
    #[must_use]
    pub fn removes(self) -> bool {
        match self {
            Verb::Retry => false,
            Verb::Remove | Verb::Edit | Verb::Requeue => true,
        }
    }
}

/// A change that somebody asked for: its record is both what it does and who wanted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Wall,
    /// Who, in words.
    pub who: String,
    /// What is done.
    pub verb: Verb,
    /// With messages that are there. One that has got elsewhere meanwhile is left alone.
    pub place: Place,
    /// Of those that are owed: only on this stream. Without it, and of all others, wherever they are.
    pub stream: Option<StreamId>,
    /// How many of those are owed, once for each destination, when it is asked for. It is written down because who reads the record
    /// later may no longer have theirs.
    pub dropped: u64,
    /// Their records.
    pub ranges: Vec<LsnRange>,
}

pub(super) fn put_change(out: &mut BodyWriter, change: &Change) {
    out.u64(change.at.0).text(&change.who).u8(change.verb as u8).u8(change.place as u8);
    if change.place == Place::Outgoing {
        out.u64(change.stream.unwrap_or(StreamId::LOCAL).0).u64(change.dropped);
    }
    put_ranges(out, &change.ranges);
}

pub(super) fn change(reader: &mut BodyReader<'_>) -> Result<Change, BodyDefect> {
    let (at, who) = (Wall(reader.u64()?), reader.text()?.to_owned());
    let verb = match reader.u8()? {
        0 => Verb::Retry,
        1 => Verb::Remove,
        2 => Verb::Edit,
        3 => Verb::Requeue,
        _ => return Err(BodyDefect::Value("verb")),
    };
    let place = match reader.u8()? {
        0 => Place::Incoming,
        1 => Place::Parked,
        2 => Place::Dead,
        3 => Place::Outgoing,
        _ => return Err(BodyDefect::Value("place")),
    };
    let (mut stream, mut dropped) = (StreamId::LOCAL, 0);
    if place == Place::Outgoing {
        (stream, dropped) = (StreamId(reader.u64()?), reader.u64()?);
    }
    let stream = Some(stream).filter(|stream| *stream != StreamId::LOCAL);
    Ok(Change { at, who, verb, place, stream, dropped, ranges: ranges(reader)? })
}
