//! What a log holds, entry by entry.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::found::Found;
use super::records::RecordReader;
use super::{InspectError, Snapshot};
use crate::bus::{Envelope, Status};
use crate::engine::listing::{Cursor, List, Page};
use crate::ids::{Lsn, MessageId};

/// A subscription that this node serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// The id of the node that subscribed.
    pub node: String,
    /// What it calls itself.
    pub name: String,
    /// Where it can be reached; empty if it cannot.
    pub address: String,
    /// The topic.
    pub topic: String,
}

/// How far a handler has come with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It succeeded, and another has not yet.
    Done,
    /// It failed, and is called again then.
    Failing(SystemTime),
    /// It failed for the last time, then.
    Dead(SystemTime),
}

/// What one handler has done with a message so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Attempts {
    /// The handler's name.
    pub handler: String,
    /// How far it has come.
    pub standing: Standing,
    /// How often it has failed.
    pub failed: u32,
    /// What it said last.
    pub reason: String,
}

/// A message of the inbox.
#[derive(Clone, Debug)]
pub struct WaitingMessage {
    /// The message.
    pub message: Envelope,
    /// What its handlers have done so far.
    pub handlers: Vec<Attempts>,
}

/// A message that one handler gave up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The message.
    pub message: Envelope,
    /// The handler's name.
    pub handler: String,
    /// How often it was called.
    pub attempts: u32,
    /// What it said last.
    pub reason: String,
    /// When it was given up.
    pub at: SystemTime,
}

/// A message that is owed to one destination.
#[derive(Clone, Debug)]
pub struct OwedMessage {
    /// The message.
    pub message: Envelope,
    /// Where the destination is dialled, or says that it can be reached.
    pub address: String,
    /// Its node id; `None` if nobody has answered at the address yet.
    pub node: Option<String>,
    /// The stream that it is owed on.
    pub stream: u64,
    /// Its place in that stream.
    pub position: u64,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whereabouts {
    /// It waits for a handler.
    Incoming,
    /// It is owed to a peer.
    Outgoing,
    /// It has no handler.
    Parked,
    /// A handler gave it up.
    Dead,
}

/// A message that the node still has.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its id.
    pub id: MessageId,
    /// Where it is: more than one place if this node published it and subscribes to it too.
    pub places: Vec<Whereabouts>,
}

impl Snapshot {
    /// The messages of a list.
    pub(in crate::bus) fn found(
        &self,
        list: List,
    ) -> impl Iterator<Item = Result<Found, InspectError>> + use<'_> {
        let durable = Lsn(self.state.index.end().0 - 1);
        let mut reader = RecordReader::new(self.directory.clone());
        let (mut from, mut listed) = (Some(Cursor::default()), VecDeque::new());
        std::iter::from_fn(move || {
            while listed.is_empty() {
                let Page { messages, next, .. } = self.state.page(durable, list, from.take()?, None);
                (listed, from) = (messages.into(), next);
            }
            listed.pop_front().map(|listed| reader.found(&listed))
        })
    }
}

/// The subscriptions that a node serves, its own to itself first.
pub(super) fn subscribers_of(status: &Status) -> Vec<Subscriber> {
    let own = (Some(&status.node), &status.name, &status.address, &status.local_topics);
    let others = status.destinations.iter().map(|of| (of.node.as_ref(), &of.name, &of.address, &of.topics));
    let each = std::iter::once(own).chain(others).flat_map(|(node, name, address, topics)| {
        topics.iter().map(move |topic| Subscriber {
            node: node.cloned().unwrap_or_default(),
            name: name.clone(),
            // The first of the addresses that it is dialled at.
            address: address.split(' ').next().unwrap_or_default().to_owned(),
            topic: topic.clone(),
        })
    });
    each.collect()
}
