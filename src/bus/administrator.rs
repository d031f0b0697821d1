//! Changing by hand what a node has, whether or not it is open.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::control::{Caller, Client, ControlError, Decree, Desk, Hand, NoAnswer, VerbName};
use super::error::{Error, chain};
use super::inspect::{Filter, Holder, InspectError, holder};
use super::message::checked_topics;
use super::{IntoTopics, QuotaChange, checked_address};
use crate::engine::config::Retry;
use crate::format::control::Quota;
use crate::format::segment::segment_name;
use crate::io::address::Address;
use crate::io::credentials;
use crate::io::directory::Directory;
use crate::io::node::{Node, NodeOptions, open_blocking};
use crate::limits::{INBOX_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// Where in a node a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// It is in the inbox, and waits for a handler or is at one.
    Incoming,
    /// There was no handler for it.
    Parked,
    /// A handler gave it up.
    DeadLetters,
    /// It is owed to others.
    Outgoing,
}

/// Changes by hand what is in the inbox of a node, and what it owes.
///
/// If a process has the node open, it is asked to; if none has, the node is opened here meanwhile: it then speaks to no peer and
/// runs no handler. Each change is a record of the log that says who asked for it and when, by the user and the process that the
/// kernel names; it is on stable storage when the call returns. A process that dies in the middle leaves some of the messages
/// changed and the others as they were.
///
/// Its calls block: they are for programs of their own, or threads that may wait.
#[derive(Debug)]
pub struct Administrator(Kind);

#[derive(Debug)]
enum Kind {
    Live(Client),
    Alone(Box<(Node, Desk)>),
}

/// Why nothing is changed, or not all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdministerError {
    /// The node cannot be looked at.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Nobody has the node open, and it cannot be opened.
    #[error(transparent)]
    Open(#[from] Error),
    /// Nothing is known of that peer.
    #[error("nothing is known of {0}")]
    UnknownPeer(String),
    /// The node does not do it.
    #[error("the node does not do it: {0}")]
    Refused(String),
}

impl From<ControlError> for AdministerError {
    fn from(error: ControlError) -> AdministerError {
        InspectError::from(error).into()
    }
}

impl From<NoAnswer> for AdministerError {
    fn from(error: NoAnswer) -> AdministerError {
        match error {
            NoAnswer::Inspect(error) => error.into(),
            other => AdministerError::Refused(chain(&other)),
        }
    }
}

impl Administrator {
    /// Of the node in that directory.
    ///
    /// # Errors
    /// There is none, it cannot be opened, or the process that has it open cannot be asked.
    pub fn open(directory: &Path) -> Result<Administrator, AdministerError> {
        if let Holder::Process(pid) = holder(directory)? {
            return Ok(Administrator(Kind::Live(Client::of(directory, pid)?)));
        }
        let opened = Directory::open_read_only(directory).map_err(InspectError::from)?;
        let options = alone(&opened)?;
        let node = open_blocking(options).map_err(Error::from)?;
        let desk = Desk::new(directory.to_owned(), std::sync::Arc::clone(&node.shared));
        Ok(Administrator(Kind::Alone(Box::new((node, desk)))))
    }

    /// Has messages that failed, are parked or dead handled again: those that a filter admits, at most `limit`. Handlers that
    /// succeeded are not called again, those that gave up begin anew. Says how many messages that concerned.
    ///
    /// Of what still waits for a handler, [`Place::Incoming`], that is what failed and waits to be called again: it is called at once, and
    /// its attempts go on to count. What is owed is tried for ever, and left as it is.
    ///
    /// # Errors
    /// The node ended, or its log can no longer be written. What was done before stays done.
    pub fn retry(&self, place: Place, filter: &Filter, limit: Option<u64>) -> Result<u64, AdministerError> {
        self.change(Hand { verb: VerbName::Retry, place }, filter, limit)
    }

    /// Takes messages out of the inbox, or of what is owed, for good: those that a filter admits, at most `limit`. Says how many. A
    /// handler that has one of them already is not stopped. What is owed counts once for each destination; each of them is told
    /// that so many messages do not come, in their place, and shows them as lost. One that was sent already may come all the same.
    ///
    /// # Errors
    /// As [`Administrator::retry`].
    pub fn remove(&self, place: Place, filter: &Filter, limit: Option<u64>) -> Result<u64, AdministerError> {
        self.change(Hand { verb: VerbName::Remove, place }, filter, limit)
    }

    /// Puts messages at the end, behind all that came or was published before: those that a filter admits, at most `limit`. Says how
    /// many. Each is written anew as a message of this node, with another id and what it said before, and the old one is taken out in
    /// the same batch: of one that is owed the receiver is told in its old place that it does not come there. All handlers are called
    /// with it, as if it had just come. Of one that is owed to several, each has one of its own then. What a handler is just called
    /// with, or was sent already, may be handled both times. What is owed to a
    /// subscriber that is parked, or wants nothing any more, is left alone.
    ///
    /// # Errors
    /// [`AdministerError::Refused`] while the disk is full, and as [`Administrator::retry`].
    pub fn requeue(&self, place: Place, filter: &Filter, limit: Option<u64>) -> Result<u64, AdministerError> {
        self.rewrite(place, filter, limit, None)
    }

    /// The same, with another payload: at most 240 KiB. Topics and headers stay as they were.
    ///
    /// # Errors
    /// The payload is too large; as [`Administrator::requeue`].
    pub fn edit(
        &self,
        place: Place,
        filter: &Filter,
        limit: Option<u64>,
        payload: &[u8],
    ) -> Result<u64, AdministerError> {
        self.rewrite(place, filter, limit, Some(payload))
    }

    fn rewrite(
        &self,
        place: Place,
        filter: &Filter,
        limit: Option<u64>,
        payload: Option<&[u8]>,
    ) -> Result<u64, AdministerError> {
        match &self.0 {
            Kind::Live(client) => Ok(client.rewrite(place, filter, limit, payload)?),
            Kind::Alone(node) => {
                let (who, limit) = (credentials::own(), limit.unwrap_or(u64::MAX));
                Ok(node.1.rewrite((place, payload), filter, limit, &who, &Caller)?)
            }
        }
    }

    /// Sends nothing to a peer that it is owed, until [`Administrator::resume`]. What it is owed waits on disk, and counts against
    /// what the log may take; what comes of the peer is taken as before. The peer is named by an address or its node id.
    ///
    /// # Errors
    /// [`AdministerError::UnknownPeer`]; the node ended, or its log can no longer be written.
    pub fn pause(&self, peer: &str) -> Result<(), AdministerError> {
        self.decide(peer, |peer| Decree::Pause { peer })
    }

    /// Sends a peer again what it is owed.
    ///
    /// # Errors
    /// As [`Administrator::pause`].
    pub fn resume(&self, peer: &str) -> Result<(), AdministerError> {
        self.decide(peer, |peer| Decree::Resume { peer })
    }

    /// Gives a peer another quota: how much it may have waiting for it, what happens then, and for how long it may be unseen. The
    /// peer is named by an address or its node id. One that is to be evicted at its limit needs a lease; of a node that is not open it
    /// is not known whether it is opened with one, and without any such a peer is refused more for ever.
    ///
    /// # Errors
    /// [`Error::Option`] in [`AdministerError::Open`], and as [`Administrator::pause`].
    pub fn limit(&self, peer: &str, change: &QuotaChange) -> Result<(), AdministerError> {
        change.check().map_err(Error::from)?;
        self.decide(peer, |peer| Decree::Limit { peer, change: *change })
    }

    /// Forgets a peer, or an address where nobody has answered yet, with all that it is owed and all that is wanted of it. Messages
    /// that were accepted from it stay in the inbox. One that still wants something here comes back as a stranger.
    ///
    /// # Errors
    /// As [`Administrator::pause`].
    pub fn forget(&self, peer: &str) -> Result<(), AdministerError> {
        self.decide(peer, |peer| Decree::Forget { peer })
    }

    /// Wants topics of the node at an address, as [`Bus::subscribe`](crate::Bus::subscribe) does: on disk here when this returns, and
    /// known there when that node is reached.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`] and [`Error::InvalidMessage`] in [`AdministerError::Open`], and as [`Administrator::pause`].
    pub fn subscribe(&self, address: &str, topics: impl IntoTopics) -> Result<(), AdministerError> {
        let topics = checked_topics(topics)?;
        checked_address(address)?;
        self.decide(address, |address| Decree::Subscribe { address, topics })
    }

    /// Wants them no longer. What was published before still comes.
    ///
    /// # Errors
    /// As [`Administrator::subscribe`].
    pub fn unsubscribe(&self, address: &str, topics: impl IntoTopics) -> Result<(), AdministerError> {
        let topics = checked_topics(topics)?;
        checked_address(address)?;
        self.decide(address, |address| Decree::Unsubscribe { address, topics })
    }

    fn decide(&self, name: &str, decree: impl FnOnce(String) -> Decree) -> Result<(), AdministerError> {
        // What is no address is the id of a node.
        let peer = checked_address(name).unwrap_or_else(|_| name.to_owned());
        let is_known = match &self.0 {
            Kind::Live(client) => client.decide(decree(peer))?,
            Kind::Alone(node) => node.1.decide(decree(peer), &credentials::own())?,
        };
        if is_known { Ok(()) } else { Err(AdministerError::UnknownPeer(name.to_owned())) }
    }

    fn change(&self, hand: Hand, filter: &Filter, limit: Option<u64>) -> Result<u64, AdministerError> {
        match &self.0 {
            Kind::Live(client) => Ok(client.change(hand, filter, limit)?),
            Kind::Alone(node) => {
                let (_, desk) = &**node;
                Ok(desk.change(hand, filter, limit.unwrap_or(u64::MAX), &credentials::own(), &Caller)?)
            }
        }
    }
}

/// A node that is opened without its peers, to change something in it.
pub(super) fn alone(opened: &Directory) -> Result<NodeOptions, InspectError> {
    let Some(segment_bytes) = segment_bytes_of(opened)? else {
        return Err(InspectError::NoLog(opened.path().to_owned()));
    };
    Ok(NodeOptions {
        directory: opened.path().to_owned(),
        name: String::new(),
        // It listens nowhere.
        bind: Address::loopback(),
        advertise: None,
        retry: Retry::default(),
        segment_bytes,
        inbox_bytes_max: INBOX_BYTES_DEFAULT,
        // Whoever makes room is not kept from it.
        disk_bytes_max: u64::MAX,
        sender_bytes_max: u64::MAX,
        quota: Quota::UNLIMITED,
        is_alone: true,
        begins_life: false,
    })
}

impl Drop for Administrator {
    fn drop(&mut self) {
        if let Kind::Alone(node) = &mut self.0 {
            // Of a panic there the log knows nothing worse than of a crash.
            drop(node.0.close().map(std::thread::JoinHandle::join));
        }
    }
}

/// Bytes of the segments of a node; none if there is no directory, or no log in it.
#[cfg(feature = "cli")]
pub(super) fn segment_bytes_in(directory: &Path) -> Result<Option<u64>, InspectError> {
    match holder(directory) {
        Err(InspectError::NoDirectory(_)) => Ok(None),
        found => {
            found?;
            segment_bytes_of(&Directory::open_read_only(directory)?)
        }
    }
}

/// With another size, files of that would be made, and those that wait to be used again thrown away. The last of a backup is short.
fn segment_bytes_of(opened: &Directory) -> Result<Option<u64>, InspectError> {
    let mut bytes = None;
    for segment in opened.list()?.segments {
        bytes = bytes.max(Some(opened.metadata(&segment_name(segment))?.len()));
    }
    Ok(bytes.map(|bytes| bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)))
}
