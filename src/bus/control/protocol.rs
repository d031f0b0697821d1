//! What is said on a control socket.

use serde::{Deserialize, Serialize};

use crate::bus::administrator::Place;
use crate::bus::inspect::{ChangeByHand, Filter, Said, Verification};
use crate::bus::message::checked_topics;
use crate::bus::{Error, QuotaChange, Status, checked_address};
use crate::engine::deciding::Order;
use crate::engine::listing::List;
use crate::format::control::{self, Verb};
use crate::limits::ADDRESS_BYTES_MAX;

/// The version of all this. A request of another one is refused.
pub(in crate::bus) const VERSION: u32 = 1;

/// What is asked, in one line.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::bus) struct Request {
    pub version: u32,
    pub ask: Ask,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::bus) enum Ask {
    /// The node at one look.
    Status,
    /// A look at every byte of what is durable.
    Verify,
    /// What people changed by hand, as far as the log still says it.
    Changes,
    /// The messages of a list that a filter admits, at most so many.
    List {
        list: ListName,
        #[serde(default)]
        filter: Filter,
        limit: Option<u64>,
    },
    /// To leave what is durable now where it is, until a line comes that says that it was copied.
    Pin,
    /// To hear of each message of these topics from now on, of all if there are none; or of those in the log first.
    Tail { topics: Vec<String>, from_start: bool },
    /// To do something with the messages of a place that a filter admits, at most so many.
    Change {
        hand: Hand,
        #[serde(default)]
        filter: Filter,
        limit: Option<u64>,
    },
    /// To write the messages of a place that a filter admits anew, at most so many: with that payload, if there is one.
    Rewrite {
        place: Place,
        #[serde(default)]
        filter: Filter,
        limit: Option<u64>,
        payload: Option<Vec<u8>>,
    },
    /// To treat another node otherwise.
    Decide(Decree),
}

/// How another node is to be treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::bus) enum Decree {
    Pause { peer: String },
    Resume { peer: String },
    Limit { peer: String, change: QuotaChange },
    Forget { peer: String },
    Subscribe { address: String, topics: Vec<String> },
    Unsubscribe { address: String, topics: Vec<String> },
}

impl Decree {
    /// Whether there can be such a peer.
    pub fn check(&self) -> Result<bool, Error> {
        let peer = match self {
            Decree::Pause { peer } | Decree::Resume { peer } | Decree::Forget { peer } => peer,
            Decree::Limit { peer, change } => {
                change.check()?;
                peer
            }
            Decree::Subscribe { address, topics } | Decree::Unsubscribe { address, topics } => {
                checked_topics(topics.as_slice())?;
                checked_address(address)?;
                return Ok(true);
            }
        };
        Ok(peer.len() <= ADDRESS_BYTES_MAX)
    }
}

impl From<Decree> for Order {
    fn from(decree: Decree) -> Order {
        match decree {
            Decree::Pause { peer } => Order::Pause { peer },
            Decree::Resume { peer } => Order::Resume { peer },
            Decree::Limit { peer, change } => {
                Order::Limit { peer, resets: change.resets, quota: change.into() }
            }
            Decree::Forget { peer } => Order::Forget { peer },
            Decree::Subscribe { address, topics } => Order::Subscribe { address, topics },
            Decree::Unsubscribe { address, topics } => Order::Unsubscribe { address, topics },
        }
    }
}

/// What is done, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bus) struct Hand {
    pub verb: VerbName,
    pub place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::bus) enum VerbName {
    Retry,
    Remove,
}

impl From<VerbName> for Verb {
    fn from(name: VerbName) -> Verb {
        match name {
            VerbName::Retry => Verb::Retry,
            VerbName::Remove => Verb::Remove,
        }
    }
}

impl From<Place> for control::Place {
    fn from(place: Place) -> control::Place {
        match place {
            Place::Incoming => control::Place::Incoming,
            Place::Parked => control::Place::Parked,
            Place::DeadLetters => control::Place::Dead,
            Place::Outgoing => control::Place::Outgoing,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::bus) enum ListName {
    Keys,
    Incoming,
    Parked,
    DeadLetters,
    Outgoing,
}

impl From<ListName> for List {
    fn from(name: ListName) -> List {
        match name {
            ListName::Keys => List::Keys,
            ListName::Incoming => List::Incoming,
            ListName::Parked => List::Parked,
            ListName::DeadLetters => List::DeadLetters,
            ListName::Outgoing => List::Outgoing,
        }
    }
}

impl From<List> for ListName {
    fn from(list: List) -> ListName {
        match list {
            List::Keys => ListName::Keys,
            List::Incoming => ListName::Incoming,
            List::Parked => ListName::Parked,
            List::DeadLetters => ListName::DeadLetters,
            List::Outgoing => ListName::Outgoing,
        }
    }
}

/// What comes back, in lines.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::bus) enum Answer {
    Status(Box<Status>),
    /// So many records of so many are seen.
    Verifying {
        done: u64,
        total: u64,
    },
    /// What a look at every byte came to.
    Verified(Verification),
    /// What stays where it is: segments from the first to the last, of that so many bytes, up to that record.
    Pinned {
        first: u64,
        last: u64,
        end: u64,
        record: u64,
    },
    /// Whether it did stay until the line came.
    Unpinned {
        stayed: bool,
    },
    /// Something that somebody changed by hand.
    ByHand(ChangeByHand),
    /// A message; its record follows this line.
    Message {
        id: String,
        bytes: usize,
        said: Said,
    },
    /// So many records were gone before they could be read.
    Missed(u64),
    /// Nothing is known of that peer, and nothing follows.
    UnknownPeer,
    /// So many messages were changed, and nothing follows.
    Changed(u64),
    /// Nothing follows.
    Done,
    /// It cannot be, and nothing follows.
    Refused(String),
}
