//! One message of a list and what the list says of it, wherever it was read.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Attempts, DeadLetter, Key, OwedMessage, Standing, WaitingMessage, Whereabouts};
use crate::bus::Envelope;
use crate::engine::inbox::{HandlerState, Progress};
use crate::engine::listing::{self, Remark};
use crate::ids::MessageId;
use crate::io::clock;
use crate::time::Wall;

/// What a list says of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::bus) enum Said {
    /// Where it is.
    Places(Vec<Whereabouts>),
    /// What its handlers have done.
    Handlers(Vec<Attempts>),
    /// To whom it is owed.
    Owed { stream: u64, position: u64, node: Option<String>, address: String },
}

/// A message of a list.
#[derive(Clone, Debug)]
pub(in crate::bus) struct Found {
    pub message: Envelope,
    pub said: Said,
}

impl Found {
    /// Whether a filter wants it.
    pub fn is_admitted_by(&self, filter: &Filter) -> bool {
        let is_for = || match &self.said {
            Said::Owed { node, address, .. } => {
                filter.destinations.iter().any(|to| to == address || Some(to) == node.as_ref())
            }
            _ => false,
        };
        filter.admits(&self.message) && (filter.destinations.is_empty() || is_for())
    }

    pub(super) fn into_key(self) -> Key {
        let places = if let Said::Places(places) = self.said { places } else { Vec::new() };
        Key { id: self.message.id(), places }
    }

    fn handlers(self) -> (Envelope, Vec<Attempts>) {
        (self.message, if let Said::Handlers(handlers) = self.said { handlers } else { Vec::new() })
    }

    pub(super) fn into_waiting(self) -> WaitingMessage {
        let (message, handlers) = self.handlers();
        let failed = handlers.iter().map(|handler| handler.failed).max().unwrap_or(0);
        WaitingMessage { message: message.with_attempt(failed + 1), handlers }
    }

    /// One for each handler that gave it up.
    pub(super) fn into_dead_letters(self) -> impl Iterator<Item = DeadLetter> {
        let (message, handlers) = self.handlers();
        handlers.into_iter().filter_map(move |Attempts { handler, standing, failed, reason }| {
            let Standing::Dead(at) = standing else { return None };
            let message = message.clone().with_attempt(failed);
            Some(DeadLetter { message, handler, attempts: failed, reason, at })
        })
    }

    pub(super) fn into_owed(self) -> Option<OwedMessage> {
        let Said::Owed { stream, position, node, address } = self.said else { return None };
        Some(OwedMessage { message: self.message, address, node, stream, position })
    }
}

impl From<&Remark> for Said {
    fn from(remark: &Remark) -> Said {
        match remark {
            Remark::Places(places) => Said::Places(places.iter().copied().map(Whereabouts::from).collect()),
            Remark::Handlers(progress) => Said::Handlers(attempts(progress)),
            Remark::Owed { stream, position, node, address } => Said::Owed {
                stream: stream.0,
                position: position.0,
                node: node.map(|node| node.to_string()),
                address: address.clone(),
            },
        }
    }
}

impl From<listing::Whereabouts> for Whereabouts {
    fn from(place: listing::Whereabouts) -> Whereabouts {
        match place {
            listing::Whereabouts::Incoming => Whereabouts::Incoming,
            listing::Whereabouts::Outgoing => Whereabouts::Outgoing,
            listing::Whereabouts::Parked => Whereabouts::Parked,
            listing::Whereabouts::Dead => Whereabouts::Dead,
        }
    }
}

fn attempts(progress: &Progress) -> Vec<Attempts> {
    let of = |(handler, state): (&String, &HandlerState)| {
        let (standing, failed, reason) = match state.clone() {
            HandlerState::Done => (Standing::Done, 0, String::new()),
            HandlerState::Failing { attempts, next_at, reason } => {
                (Standing::Failing(time_of(next_at)), attempts, reason)
            }
            HandlerState::Dead { attempts, at, reason } => (Standing::Dead(time_of(at)), attempts, reason),
        };
        Attempts { handler: handler.clone(), standing, failed, reason }
    };
    progress.iter().map(of).collect()
}

pub(in crate::bus) fn time_of(wall: Wall) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(wall.0)
}

/// Which messages of a list are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Filter {
    /// Those with one of these topics; all if there are none.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Those of these ids; all if there are none.
    #[serde(default, with = "ids")]
    pub ids: Vec<MessageId>,
    /// Those that are owed to one of these, each an address or the id of a node; all if there are none.
    #[serde(default)]
    pub destinations: Vec<String>,
    /// Those that were published before that moment, by their publisher's clock.
    #[serde(default)]
    pub published_before: Option<SystemTime>,
}

impl Filter {
    /// Only what was published at least so long before now, by its publisher's clock.
    pub fn older_than(&mut self, age: Duration) {
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        self.published_before = Some(time_of(Wall(clock::now().wall.0.saturating_sub(age))));
    }

    /// Whether a message is wanted, whoever it may be owed to.
    #[must_use]
    pub fn admits(&self, message: &Envelope) -> bool {
        let has_topic = || message.topics().any(|topic| self.topics.iter().any(|wanted| wanted == topic));
        (self.ids.is_empty() || self.ids.contains(&message.id()))
            && (self.topics.is_empty() || has_topic())
            && self.published_before.is_none_or(|moment| message.published_at() < moment)
    }
}

/// Ids as they are written.
mod ids {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::ids::MessageId;

    pub fn serialize<S: Serializer>(ids: &[MessageId], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(ids.iter().map(MessageId::to_string))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<MessageId>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}
