//! What the engine asks for, as data, and what it reports.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::ids::{Incarnation, Lsn, LsnRange, NodeId, Position, SegmentNumber, StreamId};
use crate::wire::goodbye::GoodbyeCode;

/// One connection, from its first byte to its last. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId {
    /// Its place in the table.
    pub(crate) key: usize,
    /// Which of those that had this place.
    pub(crate) serial: u64,
}

/// Something the user asked for, by the number that the shell gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Bytes for one session, in pieces that lie where they were written or read. They may be spoken only once
/// everything up to `after` is durable: the engine hands them out no earlier, and the shell checks.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// To whom.
    pub session: SessionId,
    /// What it depends on.
    pub after: Lsn,
    /// The bytes.
    pub pieces: Vec<Bytes>,
}

/// Why the shell is to close a connection. The goodbye, if there is one, was handed out before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Which.
    pub session: SessionId,
    /// Why, as it was told to the peer.
    pub code: GoodbyeCode,
}

/// Messages for handlers: `range` of the inbox, whole records in `pieces`.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Which.
    pub range: LsnRange,
    /// Their records, in order.
    pub pieces: Vec<Bytes>,
    /// Who published them.
    pub node: NodeId,
    /// The life of the publisher's log.
    pub incarnation: Incarnation,
    /// For a single message that was dispatched before: how far each handler has come.
    pub progress: Option<DispatchProgress>,
}

/// What handlers have done with a message before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DispatchProgress {
    /// Handlers that are not to be called again: they succeeded, or were given up, or are not due.
    pub skip: Vec<String>,
    /// How often each of the others has failed.
    pub attempts: BTreeMap<String, u32>,
}

/// What became of a message that was dispatched, where it is not "all its handlers succeeded".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which message.
    pub lsn: Lsn,
    /// Handlers that succeeded.
    pub done: Vec<String>,
    /// Handlers that failed, and why.
    pub failed: Vec<(String, String)>,
}

/// What became of dispatched messages, gathered over a turn.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    /// All handlers of these succeeded.
    pub handled: Vec<LsnRange>,
    /// These have no handler.
    pub parked: Vec<LsnRange>,
    /// These were given back unhandled and are to be dispatched again.
    pub returned: Vec<Lsn>,
    /// All others.
    pub mixed: Vec<Outcome>,
}

/// What the engine reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The durable mark rose.
    Durable(Lsn),
    /// What was asked for is on stable storage; a change by hand met so many messages.
    Done(RequestId, u64),
    /// What was asked for cannot be.
    Refused(RequestId, Refusal),
    /// A segment's file is to be prepared.
    Prepare(SegmentNumber),
    /// A segment's file is no longer needed.
    Free(SegmentNumber),
    /// A connection to that address is wanted.
    Dial(String),
    /// A session began or ended, a peer misbehaved: for the log that people read.
    Note(Note),
}

/// Why something cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is known of that address.
    #[error("nothing is known of that address")]
    UnknownAddress,
    /// More topics than travel in one frame.
    #[error("more topics than one node may want of another")]
    TooManyTopics,
    /// What this node knows of peers and their wishes would no longer fit a segment of its log.
    #[error("the segments of the log are too small for more subscriptions")]
    SegmentsTooSmall,
    /// A subscriber is evicted after its lease, and it has none.
    #[error("a subscriber is evicted after its lease, and it has none: give it one")]
    NoLease,
    /// The disk is full, or the log has all of it that it may take.
    #[error("there is no room in the log")]
    DiskFull,
    /// The log can no longer be written.
    #[error("the log can no longer be written")]
    Storage,
}

/// Something worth a line in the log that people read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A session is established.
    Established {
        /// With whom.
        node: NodeId,
        /// What it calls itself.
        name: String,
    },
    /// A session is over.
    Ended {
        /// With whom, if that was known.
        node: Option<NodeId>,
        /// Why.
        reason: String,
    },
    /// Of two connections with one node, which both had dialled at once, the other stays.
    Redundant {
        /// Which of them this was, in words.
        reason: String,
    },
    /// Another node answers at an address than before; nothing is sent there.
    Mismatch {
        /// The address.
        address: String,
        /// Who answers now.
        node: NodeId,
    },
    /// A peer is told that what somebody took out of its stream does not come.
    TakenOut {
        /// The peer.
        node: NodeId,
        /// The stream.
        stream: StreamId,
        /// The first position that was taken out.
        first: Position,
        /// Messages that were taken out.
        count: u64,
    },
    /// A subscriber, or an address where nobody has answered yet, has as much waiting for it as it may.
    BacklogFull {
        /// What people call it.
        name: String,
        /// Whether what is published is not owed to it, instead of being refused.
        parks: bool,
    },
    /// It has room for more again.
    BacklogHasRoom {
        /// What people call it.
        name: String,
    },
    /// A subscriber was unseen for its lease: it is owed nothing more, and wants nothing until it comes back.
    Evicted {
        /// Which peer.
        node: NodeId,
        /// Messages that it was owed.
        owed: u64,
    },
    /// A peer's log began a new life: it was restored from a backup.
    NewLife {
        /// Which peer.
        node: NodeId,
    },
    /// A peer has messages of this node that its log no longer knows of: it was restored from a backup.
    Ahead {
        /// Which peer.
        node: NodeId,
        /// The stream.
        stream: StreamId,
        /// How many messages.
        count: u64,
    },
    /// One of two nodes no longer has what it acknowledged, and it is gone at the other too; or the publisher took it out.
    Gap {
        /// Which peer.
        node: NodeId,
        /// Whether this node published it, and the peer lost it.
        is_ours: bool,
        /// The publisher's stream.
        stream: StreamId,
        /// The first position that is lost.
        first: Position,
        /// Messages that are lost.
        count: u64,
    },
}

impl Note {
    /// That a session is over, which was ended with that code.
    pub(super) fn ended(node: Option<NodeId>, code: GoodbyeCode, reason: String) -> Note {
        match code {
            GoodbyeCode::Duplicate => Note::Redundant { reason },
            _ => Note::Ended { node, reason },
        }
    }
}
