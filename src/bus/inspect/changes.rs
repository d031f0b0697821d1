//! What people changed by hand, as the log says it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::found::time_of;
use crate::bus::administrator::Place;
use crate::format::control::{self, Change, Control, Decided, Decision, Verb};
use crate::format::record::{RecordKind, Records};

/// A change by hand that a log still holds: see [`Administrator`](crate::Administrator).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeByHand {
    /// When.
    pub at: SystemTime,
    /// Who asked for it: the user and the process, by the word of the kernel.
    pub who: String,
    /// What was done.
    pub deed: Deed,
    /// With what.
    pub object: Object,
}

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Deed {
    /// Messages were to be handled again.
    Retried,
    /// Messages were taken out of the inbox, or of what was owed.
    Removed,
    /// Messages were put at the end, with other contents.
    Edited,
    /// Messages were put at the end.
    Requeued,
    /// A peer was sent nothing any more.
    Paused,
    /// It was sent again what it is owed.
    Resumed,
    /// It was forgotten.
    Forgotten,
    /// Topics of it were wanted.
    Subscribed,
    /// They no longer were.
    Unsubscribed,
    /// It was given another quota.
    Limited,
    /// It was unseen for its lease, and the node itself evicted it.
    Evicted,
}

/// With what something was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Object {
    /// With messages.
    Messages {
        /// Where they were.
        place: Place,
        /// Of those that were owed: on which stream.
        #[serde(default)]
        stream: Option<u64>,
        /// Their records: the first and the last of each stretch. Those that had got elsewhere by then were left alone.
        records: Vec<(u64, u64)>,
    },
    /// With another node.
    Peer {
        /// As it was named: an address, or a node id.
        name: String,
        /// The topics, where it was about some.
        #[serde(default)]
        topics: Vec<String>,
    },
}

impl From<Change> for ChangeByHand {
    fn from(change: Change) -> ChangeByHand {
        let deed = match change.verb {
            Verb::Retry => Deed::Retried,
            Verb::Remove => Deed::Removed,
            Verb::Edit => Deed::Edited,
            Verb::Requeue => Deed::Requeued,
        };
        let place = match change.place {
            control::Place::Incoming => Place::Incoming,
            control::Place::Parked => Place::Parked,
            control::Place::Dead => Place::DeadLetters,
            control::Place::Outgoing => Place::Outgoing,
        };
        let records = change.ranges.iter().map(|range| (range.first.0, range.end().0 - 1)).collect();
        let stream = change.stream.map(|stream| stream.0);
        let object = Object::Messages { place, stream, records };
        ChangeByHand { at: time_of(change.at), who: change.who, deed, object }
    }
}

impl From<Decision> for ChangeByHand {
    fn from(decision: Decision) -> ChangeByHand {
        let deed = match decision.what {
            Decided::Paused => Deed::Paused,
            Decided::Resumed => Deed::Resumed,
            Decided::Forgotten => Deed::Forgotten,
            Decided::Subscribed => Deed::Subscribed,
            Decided::Unsubscribed => Deed::Unsubscribed,
            Decided::Limited => Deed::Limited,
            Decided::Evicted => Deed::Evicted,
        };
        let object = Object::Peer { name: decision.about, topics: decision.topics };
        ChangeByHand { at: time_of(decision.at), who: decision.who, deed, object }
    }
}

/// Those among the records of a batch, which were verified.
pub(in crate::bus) fn changes_in(records: &[u8]) -> impl Iterator<Item = ChangeByHand> {
    let records = Records::new(records).filter_map(Result::ok);
    let of_people =
        records.filter(|record| matches!(record.kind, RecordKind::Administered | RecordKind::Decided));
    of_people.filter_map(|record| match Control::decode(record.kind, record.body) {
        Ok(Control::Administered(change)) => Some(change.into()),
        Ok(Control::Decided(decision)) => Some(decision.into()),
        _ => None,
    })
}
