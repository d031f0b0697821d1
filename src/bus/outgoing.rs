//! A message on its way into the staging buffer.

use std::cell::RefCell;

use bytes::Bytes;

use super::{Error, IntoTopics, Message};
use crate::format::message::{MessageDefect, MessageHead, MessageParts};
use crate::format::record::FLAG_COMMAND;
use crate::io::staging::{NotStaged, Prepared, Staged, Staging, Target};
use crate::time::Wall;

thread_local! {
    /// Room for the next message that this thread publishes: one allocation for all of them.
    static ROOM: RefCell<MessageHead> = const { RefCell::new(MessageHead::new()) };
}

/// A message and where it goes, written but for its payload.
#[derive(Debug)]
pub(super) struct Outgoing {
    head: MessageHead,
    payload: Bytes,
    /// Of a command; an event goes to whoever subscribes.
    address: Option<String>,
}

/// Why a message was not staged in passing.
pub(super) enum NotInPassing {
    /// There is no room just now.
    Full(Box<Outgoing>),
    Not(NotStaged),
    Error(Error),
}

impl Outgoing {
    pub(super) fn new(
        message: Message,
        topics: &impl IntoTopics,
        address: Option<String>,
        published_at: Wall,
    ) -> Result<Outgoing, Error> {
        let mut head = MessageHead::new();
        message.write_head(topics, published_at, &mut head)?;
        Ok(Outgoing { head, payload: message.into_payload(), address })
    }

    /// The body with its checksum, made in the caller's thread and before any lock.
    pub(super) fn prepare(&self) -> Result<Prepared<'_>, Error> {
        Ok(prepare(&self.head, &self.payload, self.address.as_deref())?)
    }
}

/// Stages a message, made in room that serves for the next one too. Most messages pass here and nowhere else, so nothing is
/// moved that can be borrowed, and all of it is inlined: a result that passes through memory is read back in wider pieces than
/// it was written in, and a processor waits with that until the writes, and all before them, have reached the cache.
#[inline(always)]
pub(super) fn stage_in_passing(
    staging: &Staging,
    message: &mut Message,
    topics: &impl IntoTopics,
    address: Option<&str>,
) -> Result<Staged, NotInPassing> {
    let in_room = ROOM.try_with(|room| match room.try_borrow_mut() {
        Ok(mut head) => stage_with(&mut head, staging, message, topics, address),
        // What gives the topics may be a caller's own code, and publish something itself.
        Err(_) => stage_with(&mut MessageHead::new(), staging, message, topics, address),
    });
    // A thread that ends may publish from the destructor of something of its own, when its room is gone.
    in_room.unwrap_or_else(|_| stage_with(&mut MessageHead::new(), staging, message, topics, address))
}

#[inline(always)]
fn stage_with(
    head: &mut MessageHead,
    staging: &Staging,
    message: &mut Message,
    topics: &impl IntoTopics,
    address: Option<&str>,
) -> Result<Staged, NotInPassing> {
    head.clear();
    message.write_head(topics, staging.stamp(), head)?;
    staging.stage(&prepare(head, message.payload(), address)?).map_err(|not| match not {
        NotStaged::Full => {
            let (head, payload) = (std::mem::take(head), std::mem::take(message).into_payload());
            NotInPassing::Full(Box::new(Outgoing { head, payload, address: address.map(str::to_owned) }))
        }
        not => NotInPassing::Not(not),
    })
}

impl From<MessageDefect> for NotInPassing {
    #[cold]
    fn from(defect: MessageDefect) -> NotInPassing {
        NotInPassing::Error(defect.into())
    }
}

#[inline(always)]
fn prepare<'a>(
    head: &'a MessageHead,
    payload: &'a [u8],
    address: Option<&'a str>,
) -> Result<Prepared<'a>, MessageDefect> {
    let parts = MessageParts::new(head, payload)?;
    Ok(match address {
        Some(address) => Prepared { target: Target::Address(address), parts, flags: FLAG_COMMAND },
        None => Prepared { target: Target::Subscribers(head.topics()), parts, flags: 0 },
    })
}
