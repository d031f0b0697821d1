//! The bodies of all records that are not messages: what a node writes down for itself.
//!
//! They are rare beside messages, so they are plain values, written and read field by field in the order in which
//! the variants name them. Numbers are little-endian; a text has its length, two bytes, before it; a list has its
//! length, four bytes, before it.

mod accepted;
mod carried;
mod change;
mod codec;
mod decision;
mod intent_state;
mod list;
mod peer;
mod quota;
mod stream_owner;

pub use accepted::Accepted;
pub use carried::Carried;
pub use change::{Change, Place, Verb};
pub use decision::{Decided, Decision};
pub use intent_state::IntentState;
pub use peer::PeerRecord;
pub use quota::{AtLimit, OwnQuota, Quota, Standing};
pub use stream_owner::StreamOwner;

use super::record::RecordKind;
use crate::ids::{Epoch, Incarnation, Lsn, LsnRange, NodeId, PeerSlot, Position, SetId, StreamId};
use crate::time::Wall;

/// Entries of one record that is a list; longer lists become several records.
pub const LIST_ENTRIES_MAX: usize = 4096;

/// One control record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// All handlers of these inbox records are done.
    Handled(Vec<LsnRange>),
    /// These streams were accepted by their receivers up to and with these positions.
    Acked(Vec<(StreamId, Position)>),
    /// A handler failed.
    Attempt {
        /// The inbox record.
        lsn: Lsn,
        /// How often this handler has failed on it.
        attempts: u32,
        /// When it is called again.
        next_at: Wall,
        /// The handler's name.
        handler: String,
        /// What it said.
        reason: String,
    },
    /// One of several handlers of an inbox record is done and is not called again for it.
    HandlerDone {
        /// The inbox record.
        lsn: Lsn,
        /// The handler's name.
        handler: String,
    },
    /// A handler failed too often: the record is kept and no longer delivered.
    DeadLetter {
        /// The inbox record.
        lsn: Lsn,
        /// How often the handler had failed.
        attempts: u32,
        /// When it was given up.
        at: Wall,
        /// The handler's name.
        handler: String,
        /// What it said last.
        reason: String,
    },
    /// No handler wants these inbox records.
    Parked(Vec<LsnRange>),
    /// Somebody changed by hand what is in the inbox, or what is owed.
    Administered(Change),
    /// Who this node is: at the beginning of each checkpoint. Outside of one it says that the log begins a new life, because it
    /// went back to an older state: all that it owes it owes on streams that have ended, and new ones follow.
    Node {
        /// Its identity.
        id: NodeId,
        /// The life of its log.
        incarnation: Incarnation,
        /// When the directory was made.
        created: Wall,
    },
    /// A new opening of the log.
    Opened {
        /// Its number.
        epoch: Epoch,
        /// Its nonce.
        nonce: u64,
        /// When.
        at: Wall,
        /// The name the node gives itself.
        name: String,
        /// Where peers can reach it.
        address: String,
    },
    /// The newest openings of the log up to here, each with its nonce and its record, in a checkpoint.
    Openings(Vec<(Epoch, u64, Lsn)>),
    /// A peer was met, or something about it changed.
    Peer(PeerRecord),
    /// In a checkpoint: the lives of a peer's log before the one of its record, the oldest first. Whoever speaks for one of
    /// them has a copy that was left behind.
    PeerLives {
        /// The peer.
        slot: PeerSlot,
        /// Its earlier lives.
        lives: Vec<Incarnation>,
    },
    /// Somebody decided by hand how another node is treated; the records behind it do it.
    Decided(Decision),
    /// What a peer is owed stays here for now, or goes out again.
    PeerPaused {
        /// The peer.
        slot: PeerSlot,
        /// Whether it is paused from here on.
        paused: bool,
    },
    /// How much a peer may have waiting for it, and for how long, if it is not as with all others.
    PeerQuota {
        /// The peer.
        slot: PeerSlot,
        /// From here on.
        quota: OwnQuota,
    },
    /// How a peer stands that may not have more waiting for it than that.
    PeerStanding {
        /// The peer.
        slot: PeerSlot,
        /// From here on.
        standing: Standing,
    },
    /// A stream was minted or, in a checkpoint, is described.
    Stream {
        /// Its id.
        id: StreamId,
        /// Whom it is owed to.
        owner: StreamOwner,
        /// The position that the next message owed to it gets.
        next: Position,
        /// Everything up to and with this position is accepted by the receiver; less than `next`.
        acked: Position,
        /// Whether no more messages will be owed to it.
        ended: bool,
    },
    /// A stream is gone: drained after its end, or dropped.
    StreamClosed {
        /// Its id.
        id: StreamId,
        /// Messages that it still owed.
        dropped: u64,
    },
    /// No more messages will be owed to a stream; what it owes stays owed.
    StreamEnded {
        /// Its id.
        id: StreamId,
    },
    /// How far the log of a peer reaches, as far as is known.
    Seen {
        /// The peer.
        slot: PeerSlot,
        /// The life of its log.
        incarnation: Incarnation,
        /// The last of its records that was accepted here, or that it had when it acknowledged something.
        lsn: Lsn,
    },
    /// How far a stream of a peer was accepted here.
    Inbound {
        /// The peer.
        slot: PeerSlot,
        /// The stream, in the peer's numbering.
        stream: StreamId,
        /// The last position accepted.
        accepted: Position,
        /// Positions that will never come, because one side lost its data, or somebody took
        /// them out at the publisher.
        lost: u64,
        /// Whether the peer said that nothing follows.
        ended: bool,
    },
    /// What a peer, or this node itself, wants from us.
    Subscriber {
        /// Who.
        slot: PeerSlot,
        /// Whether these are wanted from here on, or no longer.
        added: bool,
        /// The topics.
        topics: Vec<String>,
    },
    /// What this node wants from others.
    Intent {
        /// From whom.
        address: String,
        /// What.
        topic: String,
        /// How far the wish has come.
        state: IntentState,
    },
    /// The node that answered at an address.
    AddressBound {
        /// The address, as the user wrote it.
        address: String,
        /// Who answered.
        slot: PeerSlot,
    },
    /// A peer was forgotten, with all that was owed to it.
    PeerRemoved {
        /// Who.
        slot: PeerSlot,
        /// Messages that were owed.
        dropped: u64,
    },
    /// An address was forgotten, with the wishes and the queue kept for it.
    AddressRemoved {
        /// The address, as the user wrote it.
        address: String,
        /// Messages that waited for it.
        dropped: u64,
    },
    /// Which streams a set stands for, in rising order.
    DestinationSet {
        /// The set.
        id: SetId,
        /// Its streams.
        streams: Vec<StreamId>,
    },
    /// What follows, up to the end, is all of the small state.
    CheckpointBegin {
        /// The highest slot ever given to a peer.
        slots: PeerSlot,
        /// The highest stream ever minted: an id is never used twice, for peers remember it.
        streams: StreamId,
        /// Messages dropped so far because their destination was removed.
        dropped: u64,
    },
    /// The checkpoint is complete.
    CheckpointEnd,
}

impl Control {
    /// The kind of record that holds it.
    #[must_use]
    pub fn kind(&self) -> RecordKind {
        match self {
            Control::Handled(_) => RecordKind::Handled,
            Control::Acked(_) => RecordKind::Acked,
            Control::Attempt { .. } => RecordKind::Attempt,
            Control::HandlerDone { .. } => RecordKind::HandlerDone,
            Control::DeadLetter { .. } => RecordKind::DeadLetter,
            Control::Parked(_) => RecordKind::Parked,
            Control::Administered(_) => RecordKind::Administered,
            Control::Node { .. } => RecordKind::Node,
            Control::Opened { .. } => RecordKind::Opened,
            Control::Openings(_) => RecordKind::Openings,
            Control::Peer(_) => RecordKind::Peer,
            Control::PeerLives { .. } => RecordKind::PeerLives,
            Control::Decided(_) => RecordKind::Decided,
            Control::PeerPaused { .. } => RecordKind::PeerPaused,
            Control::PeerQuota { .. } => RecordKind::PeerQuota,
            Control::PeerStanding { .. } => RecordKind::PeerStanding,
            Control::Stream { .. } => RecordKind::Stream,
            Control::StreamClosed { .. } => RecordKind::StreamClosed,
            Control::StreamEnded { .. } => RecordKind::StreamEnded,
            Control::Inbound { .. } => RecordKind::Inbound,
            Control::Seen { .. } => RecordKind::Seen,
            Control::Subscriber { .. } => RecordKind::Subscriber,
            Control::Intent { .. } => RecordKind::Intent,
            Control::AddressBound { .. } => RecordKind::AddressBound,
            Control::PeerRemoved { .. } => RecordKind::PeerRemoved,
            Control::AddressRemoved { .. } => RecordKind::AddressRemoved,
            Control::DestinationSet { .. } => RecordKind::DestinationSet,
            Control::CheckpointBegin { .. } => RecordKind::CheckpointBegin,
            Control::CheckpointEnd => RecordKind::CheckpointEnd,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::body::BodyDefect;

    fn samples() -> Vec<Control> {
        let peer = PeerRecord {
            slot: PeerSlot(1),
            node: NodeId(2),
            incarnation: Incarnation(3),
            epoch: Epoch(4),
            nonce: 5,
            secret: [6; 16],
            secret_confirmed: true,
            address: "tcp://a:1".into(),
            name: "web".into(),
            removed: false,
        };
        let (handler, reason) = ("h".to_owned(), "because".to_owned());
        let range = LsnRange { first: Lsn(7), count: 3 };
        vec![
            Control::Handled(vec![range]),
            Control::Acked(vec![(StreamId(1), Position(9))]),
            Control::Attempt {
                lsn: Lsn(1),
                attempts: 2,
                next_at: Wall(3),
                handler: handler.clone(),
                reason: reason.clone(),
            },
            Control::HandlerDone { lsn: Lsn(1), handler: handler.clone() },
            Control::DeadLetter { lsn: Lsn(1), attempts: 2, at: Wall(3), handler, reason },
            Control::Parked(vec![range, range]),
            Control::Administered(Change {
                at: Wall(1),
                who: "zoe".into(),
                verb: Verb::Remove,
                place: Place::Dead,
                stream: None,
                dropped: 0,
                ranges: vec![range],
            }),
            Control::Administered(Change {
                at: Wall(1),
                who: "zoe".into(),
                verb: Verb::Remove,
                place: Place::Outgoing,
                stream: Some(StreamId(7)),
                dropped: 2,
                ranges: vec![range],
            }),
            Control::Node { id: NodeId(1), incarnation: Incarnation(2), created: Wall(3) },
            Control::Opened { epoch: Epoch(1), nonce: 2, at: Wall(3), name: "n".into(), address: "a".into() },
            Control::Openings(vec![(Epoch(1), 2, Lsn(3)), (Epoch(2), 3, Lsn(4))]),
            Control::Peer(peer),
            Control::PeerLives { slot: PeerSlot(1), lives: vec![Incarnation(2), Incarnation(3)] },
            Control::PeerPaused { slot: PeerSlot(1), paused: true },
            Control::PeerQuota { slot: PeerSlot(1), quota: OwnQuota::default() },
            Control::PeerQuota {
                slot: PeerSlot(1),
                quota: OwnQuota { backlog_bytes: Some(1), at_limit: Some(AtLimit::Evict), lease_ms: Some(3) },
            },
            Control::PeerStanding {
                slot: PeerSlot(1),
                standing: Standing { unseen_since: Wall(2), parked: true },
            },
            Control::Decided(Decision {
                at: Wall(1),
                who: "zoe".into(),
                what: Decided::Subscribed,
                about: "tcp://shop:7000".into(),
                topics: vec!["orders".into()],
            }),
            Control::Stream {
                id: StreamId(1),
                owner: StreamOwner::Peer(PeerSlot(2)),
                next: Position(3),
                acked: Position(1),
                ended: false,
            },
            Control::Stream {
                id: StreamId(1),
                owner: StreamOwner::Address("x".into()),
                next: Position(3),
                acked: Position(1),
                ended: true,
            },
            Control::StreamClosed { id: StreamId(1), dropped: 2 },
            Control::StreamEnded { id: StreamId(1) },
            Control::Seen { slot: PeerSlot(1), incarnation: Incarnation(2), lsn: Lsn(3) },
            Control::Inbound {
                slot: PeerSlot(1),
                stream: StreamId(2),
                accepted: Position(3),
                lost: 4,
                ended: false,
            },
            Control::Subscriber { slot: PeerSlot(1), added: true, topics: vec!["a".into(), "b".into()] },
            Control::Intent { address: "x".into(), topic: "t".into(), state: IntentState::Removing },
            Control::AddressBound { address: "x".into(), slot: PeerSlot(1) },
            Control::PeerRemoved { slot: PeerSlot(1), dropped: 2 },
            Control::AddressRemoved { address: "x".into(), dropped: 3 },
            Control::DestinationSet { id: SetId(1), streams: vec![StreamId(1), StreamId(2)] },
            Control::CheckpointBegin { slots: PeerSlot(3), streams: StreamId(9), dropped: 4 },
            Control::CheckpointEnd,
        ]
    }

    #[test]
    fn every_control_record_reads_back() {
        for control in samples() {
            assert_eq!(Control::decode(control.kind(), &control.encode()), Ok(control));
        }
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        for control in samples() {
            let mut body = control.encode();
            for length in 0..body.len() {
                assert!(
                    Control::decode(control.kind(), &body[..length]).is_err(),
                    "{control:?} cut at {length}"
                );
            }
            body.push(0);
            assert_eq!(Control::decode(control.kind(), &body), Err(BodyDefect::TrailingBytes(1)));
        }
    }

    #[test]
    fn every_kind_of_record_has_a_sample_here() {
        for kind in RecordKind::ALL {
            let elsewhere = matches!(
                kind,
                RecordKind::Message | RecordKind::Accepted | RecordKind::Carried | RecordKind::Entry
            );
            assert!(elsewhere || samples().iter().any(|sample| sample.kind() == kind), "{kind:?}");
        }
    }

    #[test]
    fn values_that_would_break_who_counts_with_them_are_refused() {
        let stream = |next, acked| Control::Stream {
            id: StreamId(1),
            owner: StreamOwner::Peer(PeerSlot(1)),
            next: Position(next),
            acked: Position(acked),
            ended: false,
        };
        let refused = |control: Control| Control::decode(control.kind(), &control.encode()).unwrap_err();
        assert_eq!(refused(stream(3, 3)), BodyDefect::Value("acked"));
        let range = |first, count| Control::Handled(vec![LsnRange { first: Lsn(first), count }]);
        assert_eq!(refused(range(1, 0)), BodyDefect::Value("range"));
        assert_eq!(refused(range(u64::MAX, 1)), BodyDefect::Value("range"));
        let empty = Accepted {
            slot: PeerSlot(1),
            incarnation: Incarnation(1),
            stream: StreamId(1),
            first_position: Position(1),
            count: 0,
            bytes: 0,
            last_lsn: Lsn(1),
        };
        assert_eq!(Accepted::decode(&empty.encode()), Err(BodyDefect::Value("count")));
    }

    #[test]
    fn accepted_and_carried_read_back() {
        let accepted = Accepted {
            slot: PeerSlot(1),
            incarnation: Incarnation(8),
            stream: StreamId(2),
            first_position: Position(3),
            count: 4,
            bytes: 5,
            last_lsn: Lsn(6),
        };
        assert_eq!(Accepted::decode(&accepted.encode()), Ok(accepted));
        let carried = Carried {
            lsn: Lsn(9),
            slot: PeerSlot(1),
            incarnation: Incarnation(8),
            in_inbox: true,
            owed: vec![(StreamId(1), Position(2))],
            record: b"record",
        };
        assert_eq!(Carried::decode(&carried.encode()), Ok(carried));
    }
}
