//! A message on its way into the staging buffer.

use std::cell::Cell;

use bytes::Bytes;

use super::{Error, IntoTopics, Message};
use crate::format::message::{MessageHead, MessageParts};
use crate::format::record::FLAG_COMMAND;
use crate::io::staging::{Prepared, Target};
use crate::time::Wall;

thread_local! {
    /// Room for the next message that this thread publishes: one allocation for all of them.
    static ROOM: Cell<Option<MessageHead>> = const { Cell::new(None) };
}

/// A message and where it goes, written but for its payload.
#[derive(Debug)]
pub(super) struct Outgoing {
    head: MessageHead,
    payload: Bytes,
    /// Of a command; an event goes to whoever subscribes.
    address: Option<String>,
}

impl Outgoing {
    #[inline]
    pub(super) fn new(
        message: Message,
        topics: &impl IntoTopics,
        address: Option<String>,
        published_at: Wall,
    ) -> Result<Outgoing, Error> {
        let mut head = ROOM.take().unwrap_or_default();
        head.clear();
        let payload = message.write_head(topics, published_at, &mut head)?;
        Ok(Outgoing { head, payload, address })
    }

    /// The body with its checksum, made in the caller's thread and before any lock.
    #[inline]
    pub(super) fn prepare(&self) -> Result<Prepared<'_>, Error> {
        let parts = MessageParts::new(&self.head, &self.payload)?;
        Ok(match &self.address {
            Some(address) => Prepared { target: Target::Address(address), parts, flags: FLAG_COMMAND },
            None => Prepared { target: Target::Subscribers(self.head.topics()), parts, flags: 0 },
        })
    }

    /// It was staged: its room serves for the next.
    #[inline]
    pub(super) fn done(self) {
        ROOM.set(Some(self.head));
    }
}
