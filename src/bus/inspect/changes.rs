//! What people changed by hand, as the log says it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::found::time_of;
use crate::bus::administrator::Place;
use crate::format::control::{self, Change, Control, Verb};
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
    /// Where the messages were.
    pub place: Place,
    /// Of those that were owed: on which stream.
    #[serde(default)]
    pub stream: Option<u64>,
    /// Their records: the first and the last of each stretch. Those that had got elsewhere by then were left alone.
    pub records: Vec<(u64, u64)>,
}

/// What somebody did with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// They were to be handled again.
    Retried,
    /// They were taken out of the inbox, or of what was owed.
    Removed,
}

impl From<Change> for ChangeByHand {
    fn from(change: Change) -> ChangeByHand {
        let deed = match change.verb {
            Verb::Retry => Deed::Retried,
            Verb::Remove => Deed::Removed,
        };
        let place = match change.place {
            control::Place::Incoming => Place::Incoming,
            control::Place::Parked => Place::Parked,
            control::Place::Dead => Place::DeadLetters,
            control::Place::Outgoing => Place::Outgoing,
        };
        let records = change.ranges.iter().map(|range| (range.first.0, range.end().0 - 1)).collect();
        let (at, stream) = (time_of(change.at), change.stream.map(|stream| stream.0));
        ChangeByHand { at, who: change.who, deed, place, stream, records }
    }
}

/// Those among the records of a batch, which were verified.
pub(in crate::bus) fn changes_in(records: &[u8]) -> impl Iterator<Item = ChangeByHand> {
    let records = Records::new(records).filter_map(Result::ok);
    let of_people = records.filter(|record| record.kind == RecordKind::Administered);
    of_people.filter_map(|record| match Control::decode(record.kind, record.body) {
        Ok(Control::Administered(change)) => Some(change.into()),
        _ => None,
    })
}
