//! What can go wrong, for those who use the bus.

use std::io;
use std::sync::Arc;

use crate::engine::apply::ApplyDefect;
use crate::engine::effect::Refusal;
use crate::format::message::MessageDefect;
use crate::io::address::NotAnAddress;
use crate::io::directory::DirectoryError;
use crate::io::node::{OpenError, ReplayDefect};
use crate::io::recover::RecoverError;
use crate::io::shared::Shared;
use crate::io::staging::Gate;
use crate::store::contents::EntryDefect;

/// What can go wrong. [`Error::is_retryable`] says whether the same call may succeed later.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node cannot be opened. The cause says why and what helps: the directory is in use, damaged or of a newer
    /// format, io_uring is not to be had, the address is taken.
    #[error("the node cannot be opened")]
    Open(#[source] Arc<OpenError>),
    /// The map or queue cannot be opened. The cause says why and what helps.
    #[error("the store cannot be opened")]
    OpenStore(#[source] Arc<OpenError>),
    /// A key, a value or an item is not as its type says, or cannot be written as JSON.
    #[error("it cannot be read or written as JSON")]
    Encoding(#[source] Arc<serde_json::Error>),
    /// A key with its value, or an item, with more bytes than an entry may have.
    #[error("the entry has {bytes} bytes, and {max} is the most that it may have")]
    EntryTooLarge {
        /// Its bytes, as JSON.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// Too many items were put between two, one right beside the other.
    #[error("there is no room between these two items for one more: remove one of them and put it back")]
    NoRoomBetween,
    /// An option is out of its range.
    #[error(transparent)]
    Option(Box<OptionOutOfRange>),
    /// Two handlers have one name, under which their progress is kept.
    #[error("two handlers are named {0:?}: give one of them another name")]
    DuplicateHandler(String),
    /// An address that is none.
    #[error(transparent)]
    InvalidAddress(Box<NotAnAddress>),
    /// A message that cannot be: a bad topic, or more bytes than it may have.
    #[error("the message cannot be published")]
    InvalidMessage(#[from] MessageDefect),
    /// A batch with more bytes than one write to the log can hold.
    #[error("the batch has {bytes} bytes, and {max} is the most that can be atomic")]
    BatchTooLarge {
        /// Its bytes.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// A batch of more messages than can be atomic.
    #[error("the batch has {messages} messages, and {max} is the most that can be atomic")]
    BatchTooLong {
        /// Its messages.
        messages: usize,
        /// How many it may have.
        max: usize,
    },
    /// More topics of one node than fit one frame.
    #[error("more topics than one node may want of another")]
    TooManyTopics,
    /// What this node knows of its peers and their wishes would no longer fit a segment of its log: open it with larger
    /// ones.
    #[error("the segments of the log are too small for more subscriptions: open the node with larger ones")]
    SegmentsTooSmall,
    /// There is no room in the buffer just now; [`crate::Bus::publish`] waits instead.
    #[error("the staging buffer is full")]
    Full,
    /// The disk has no room. Nothing was stored; what is there is still delivered, and makes room.
    #[error(
        "the disk has no room for another segment of the log: free some, or wait until messages are delivered"
    )]
    DiskFull,
    /// The log has as much of the disk as it may take: see [`Builder::disk_bytes`](crate::Builder::disk_bytes). Nothing was stored; what is
    /// there is still delivered, and makes room.
    #[error(
        "the log has as much of the disk as it may take: wait until messages are delivered, or allow it more"
    )]
    DiskQuota,
    /// Somebody who would get the message has as much waiting as it may: see [`Quota`](crate::Quota). Nothing was stored; when it has
    /// taken some of that, publishing goes on.
    #[error("{0} has as much waiting for it as it may: nothing is published that it would get")]
    Backlog(Box<str>),
    /// A subscriber is evicted after its lease, and it has none.
    #[error("a subscriber is evicted after its lease, and it has none: give it one")]
    NoLease,
    /// Nothing is known of that address.
    #[error("nothing is known of that address")]
    UnknownAddress,
    /// Someone else polls the handlers or takes the deliveries of this node already.
    #[error("the messages of this node are already being handled")]
    AlreadyServing,
    /// A write to the log failed. Whether the message is stored is not known: opening the node again may find it and
    /// deliver it. The node accepts nothing more until then.
    #[error("the log can no longer be written, and the outcome is unknown: open it again")]
    Storage {
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The node was closed. Nothing was stored.
    #[error("it is closed")]
    Closed,
}

// Every call of the hot path returns one of these or something smaller than it: what is large and rare is boxed.
const _: () = assert!(size_of::<Error>() <= 24);

/// An option that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("option {option} is {value}, and must be {range}")]
pub struct OptionOutOfRange {
    /// Which.
    pub option: &'static str,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub range: String,
}

impl From<NotAnAddress> for Error {
    fn from(not: NotAnAddress) -> Error {
        Error::InvalidAddress(Box::new(not))
    }
}

impl From<OptionOutOfRange> for Error {
    fn from(option: OptionOutOfRange) -> Error {
        Error::Option(Box::new(option))
    }
}

/// What kind of trouble an error is, for those who only tell kinds apart: exit codes of programs, answers of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The caller asked for something that cannot be.
    Invalid,
    /// What was asked for is not there.
    NotFound,
    /// Another process has the data directory.
    InUse,
    /// Something that was durable is damaged or gone.
    Corrupt,
    /// There is no room on the disk.
    DiskFull,
    /// Anything else.
    Other,
}

impl Error {
    /// What kind of trouble it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::Option(_)
            | Error::DuplicateHandler(_)
            | Error::InvalidAddress(_)
            | Error::InvalidMessage(_)
            | Error::BatchTooLarge { .. }
            | Error::TooManyTopics
            | Error::EntryTooLarge { .. }
            | Error::NoRoomBetween
            | Error::NoLease
            | Error::SegmentsTooSmall => ErrorClass::Invalid,
            Error::UnknownAddress => ErrorClass::NotFound,
            Error::DiskFull | Error::DiskQuota => ErrorClass::DiskFull,
            Error::Open(error) | Error::OpenStore(error) => class_of_opening(error),
            _ => ErrorClass::Other,
        }
    }

    /// Whether the same call may succeed later without anyone changing it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Full | Error::DiskFull | Error::DiskQuota | Error::Backlog(_))
    }

    pub(super) fn of_refusal(refusal: Refusal, shared: &Shared) -> Error {
        match refusal {
            Refusal::UnknownAddress => Error::UnknownAddress,
            Refusal::TooManyTopics => Error::TooManyTopics,
            Refusal::SegmentsTooSmall => Error::SegmentsTooSmall,
            Refusal::NoLease => Error::NoLease,
            Refusal::DiskFull => Error::DiskFull,
            Refusal::Storage => Error::ended(shared),
        }
    }

    pub(super) fn of_gate(gate: Gate, shared: &Shared) -> Error {
        match gate {
            Gate::DiskFull => Error::DiskFull,
            Gate::DiskQuota => Error::DiskQuota,
            Gate::Open | Gate::Pause => Error::Full,
            Gate::Failed | Gate::Closed => Error::ended(shared),
        }
    }

    /// The node ended: closed, or failed.
    pub(super) fn ended(shared: &Shared) -> Error {
        shared.failure().map_or(Error::Closed, |cause| Error::Storage { cause })
    }
}

/// An error and all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn class_of_opening(error: &OpenError) -> ErrorClass {
    match error {
        OpenError::Directory(DirectoryError::Locked { .. }) => ErrorClass::InUse,
        OpenError::Directory(error) if error.is_disk_full() => ErrorClass::DiskFull,
        OpenError::Recover(error) => class_of_recovery(error),
        OpenError::Address(_) => ErrorClass::Invalid,
        OpenError::HalfRepaired(_) => ErrorClass::Corrupt,
        OpenError::DiskFull => ErrorClass::DiskFull,
        _ => ErrorClass::Other,
    }
}

pub(super) fn class_of_recovery(error: &RecoverError<ReplayDefect>) -> ErrorClass {
    match error {
        // It is sound, and something else.
        RecoverError::Apply(
            ReplayDefect::Entry(EntryDefect::OtherStore { .. } | EntryDefect::NotAStore(_))
            | ReplayDefect::Apply(ApplyDefect::IsAStore(_)),
        ) => ErrorClass::Invalid,
        RecoverError::Corrupt { .. } | RecoverError::ForeignSegment { .. } | RecoverError::Apply(_) => {
            ErrorClass::Corrupt
        }
        error if error.is_disk_full() => ErrorClass::DiskFull,
        _ => ErrorClass::Other,
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Error {
        Error::Open(Arc::new(error))
    }
}
