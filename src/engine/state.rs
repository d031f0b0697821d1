//! All that the records of a log say, and nothing else: what a checkpoint holds and a replay brings back.

use std::collections::{BTreeMap, BTreeSet};

use super::inbox::Inbox;
use super::openings::Openings;
use super::stream::Stream;
use crate::format::control::{Control, IntentState, OwnQuota, PeerRecord, Standing};
use crate::ids::{Epoch, Incarnation, Lsn, NodeId, PeerSlot, Position, SetId, StreamId};
use crate::limits::PEERS_FORGOTTEN_KEPT;
use crate::log::index::LogIndex;
use crate::time::Wall;

/// Who this node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub id: NodeId,
    /// The life of its log.
    pub incarnation: Incarnation,
    /// When its directory was made.
    pub created: Wall,
}

/// The last opening of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Its number.
    pub epoch: Epoch,
    /// Its nonce.
    pub nonce: u64,
    /// When.
    pub at: Wall,
    /// The name the node gave itself.
    pub name: String,
    /// Where peers can reach it.
    pub address: String,
}

/// What is known of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The node that answers there.
    pub bound: Option<PeerSlot>,
    /// What this node wants from there.
    pub intents: BTreeMap<String, IntentState>,
}

/// How far a peer's stream was accepted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inbound {
    /// The last position accepted.
    pub accepted: Position,
    /// Positions that never came because one side lost its data, or somebody took them out at the publisher.
    pub lost: u64,
}

/// The last record of a peer's log that is known of: it was accepted here, or the log reached there when the peer acknowledged
/// something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The life of that log.
    pub incarnation: Incarnation,
    /// The record.
    pub lsn: Lsn,
}

impl Seen {
    /// What is seen of another life of that log takes the place of this.
    pub(super) fn take_in(&mut self, new: Seen) {
        if self.incarnation != new.incarnation || self.lsn < new.lsn {
            *self = new;
        }
    }
}

/// The durable state of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Who this node is.
    pub identity: Identity,
    /// Its last opening.
    pub opening: Opening,
    /// That and those before it.
    pub openings: Openings,
    /// The peers it met.
    pub peers: BTreeMap<PeerSlot, PeerRecord>,
    /// How many of them somebody had it forget: each newcomer asks for that.
    pub(super) removed: usize,
    /// The lives of their logs before those of their records, the oldest first.
    pub lives: BTreeMap<PeerSlot, Vec<Incarnation>>,
    /// The addresses it was told of.
    pub addresses: BTreeMap<String, Address>,
    /// What it owes.
    pub streams: BTreeMap<StreamId, Stream>,
    /// Sets of streams that trailers name, since the newest checkpoint began.
    pub sets: BTreeMap<SetId, Vec<StreamId>>,
    /// What it was sent.
    pub inbound: BTreeMap<(PeerSlot, StreamId), Inbound>,
    /// What was accepted on streams that have ended, those that ended first before the others.
    pub finished: BTreeMap<PeerSlot, Vec<(StreamId, Inbound)>>,
    /// How far the log of each peer reaches.
    pub seen: BTreeMap<PeerSlot, Seen>,
    /// Who wants which topics of it.
    pub subscribers: BTreeMap<PeerSlot, BTreeSet<String>>,
    /// Peers to whom nothing is sent for now.
    pub paused: BTreeSet<PeerSlot>,
    /// What peers may have waiting for them that have a quota of their own.
    pub quotas: BTreeMap<PeerSlot, OwnQuota>,
    /// How peers stand that are not just connected, or in want of nothing.
    pub standings: BTreeMap<PeerSlot, Standing>,
    /// Those of them to whom nothing more is owed of what is published.
    pub(super) parked_peers: BTreeSet<PeerSlot>,
    /// What is not yet handled.
    pub inbox: Inbox,
    /// Where records lie.
    pub index: LogIndex,
    /// The highest slot ever given.
    pub last_slot: PeerSlot,
    /// The highest stream ever minted.
    pub last_stream: StreamId,
    /// Messages that are owed no longer because somebody wanted it so: their destination was removed, or they were taken out.
    pub dropped: u64,
    /// Whether records are those of a checkpoint that says what is known already.
    pub(super) in_checkpoint: InCheckpoint,
}

/// Where in a checkpoint a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum InCheckpoint {
    /// No checkpoint was seen yet.
    #[default]
    Before,
    /// In the first one, which is where the state comes from.
    Loading,
    /// In a later one, which repeats what the records before it said.
    Repeating,
    /// In none.
    Outside,
}

impl State {
    /// The peer with that identity, unless it was forgotten.
    #[must_use]
    pub fn peer_of(&self, node: NodeId) -> Option<&PeerRecord> {
        self.peers.values().find(|peer| peer.node == node && !peer.removed)
    }

    /// How many peers it knows. What is left of those that somebody had it forget takes the place of nobody.
    #[must_use]
    pub fn peers_known(&self) -> usize {
        self.peers.len() - self.removed
    }

    /// What is known of a peer takes the place of what was.
    pub(super) fn put_peer(&mut self, peer: PeerRecord) {
        self.removed += usize::from(peer.removed);
        if let Some(before) = self.peers.insert(peer.slot, peer) {
            self.removed -= usize::from(before.removed);
        }
    }

    /// The node behind a slot, this one included.
    #[must_use]
    pub fn node_of(&self, slot: PeerSlot) -> NodeId {
        if slot == PeerSlot::SELF {
            return self.identity.id;
        }
        self.peers.get(&slot).map_or(NodeId::default(), |peer| peer.node)
    }

    /// Messages owed to all peers and addresses.
    #[must_use]
    pub fn owed(&self) -> u64 {
        self.streams.values().map(Stream::owed).sum()
    }

    /// The addresses at which a peer answers.
    pub fn addresses_of(&self, slot: PeerSlot) -> impl Iterator<Item = (&String, &Address)> {
        self.addresses.iter().filter(move |(_, address)| address.bound == Some(slot))
    }

    /// Whether there was a whole checkpoint: before one, nobody knows whose log it is.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !matches!(self.in_checkpoint, InCheckpoint::Before | InCheckpoint::Loading)
    }

    /// Whether the newest segment lacks a complete checkpoint, because the node died while it wrote one.
    #[must_use]
    pub(super) fn needs_checkpoint(&self) -> bool {
        matches!(self.in_checkpoint, InCheckpoint::Loading | InCheckpoint::Repeating)
    }

    /// Forgets removed peers of whom nothing is left in the inbox.
    pub(super) fn prune(&mut self) {
        let State { peers, removed: count, inbox, lives, finished, .. } = self;
        let left = |slot| {
            inbox.runs_in(crate::ids::Lsn(0), crate::ids::Lsn(u64::MAX)).any(|run| run.origin.slot == slot)
        };
        let newest: BTreeMap<NodeId, PeerSlot> =
            peers.iter().map(|(slot, peer)| (peer.node, *slot)).collect();
        // The last that is known of a node is kept even if it was removed: its secret proves that it is the same one
        // if it comes back. Of many that were, those that were met last.
        let removed =
            peers.iter().filter(|(slot, peer)| peer.removed && newest.get(&peer.node) == Some(slot));
        let kept: BTreeSet<PeerSlot> =
            removed.map(|(slot, _)| *slot).rev().take(PEERS_FORGOTTEN_KEPT).collect();
        peers.retain(|slot, peer| !peer.removed || left(*slot) || kept.contains(slot));
        *count = peers.values().filter(|peer| peer.removed).count();
        lives.retain(|slot, _| peers.contains_key(slot));
        finished.retain(|slot, _| peers.contains_key(slot));
    }

    /// All of the small state, as records. What it says of single messages is not part of it: their records stay as
    /// long as the messages, and go with them when they are carried forward. Nor are sets: they are forgotten where a
    /// checkpoint begins, and a message behind it has the record of its set before it.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<Control> {
        let mut out = vec![Control::CheckpointBegin {
            slots: self.last_slot,
            streams: self.last_stream,
            dropped: self.dropped,
        }];
        let Identity { id, incarnation, created } = self.identity;
        out.push(Control::Node { id, incarnation, created });
        let Opening { epoch, nonce, at, name, address } = self.opening.clone();
        out.push(Control::Opened { epoch, nonce, at, name, address });
        out.push(Control::Openings(self.openings.list()));
        out.extend(self.peers.values().cloned().map(Control::Peer));
        for (slot, lives) in &self.lives {
            out.push(Control::PeerLives { slot: *slot, lives: lives.clone() });
        }
        for (id, stream) in &self.streams {
            let Stream { owner, next, acked, ended, .. } = stream;
            out.push(Control::Stream {
                id: *id,
                owner: owner.clone(),
                next: *next,
                acked: *acked,
                ended: *ended,
            });
        }
        for (address, known) in &self.addresses {
            if let Some(slot) = known.bound {
                out.push(Control::AddressBound { address: address.clone(), slot });
            }
            for (topic, state) in &known.intents {
                out.push(Control::Intent { address: address.clone(), topic: topic.clone(), state: *state });
            }
        }
        for ((slot, stream), inbound) in &self.inbound {
            let Inbound { accepted, lost } = *inbound;
            out.push(Control::Inbound { slot: *slot, stream: *stream, accepted, lost, ended: false });
        }
        for (slot, finished) in &self.finished {
            for (stream, Inbound { accepted, lost }) in finished.iter().copied() {
                out.push(Control::Inbound { slot: *slot, stream, accepted, lost, ended: true });
            }
        }
        for (slot, seen) in &self.seen {
            let Seen { incarnation, lsn } = *seen;
            out.push(Control::Seen { slot: *slot, incarnation, lsn });
        }
        out.extend(self.paused.iter().map(|slot| Control::PeerPaused { slot: *slot, paused: true }));
        let quotas = self.quotas.iter();
        out.extend(quotas.map(|(slot, quota)| Control::PeerQuota { slot: *slot, quota: *quota }));
        let standings = self.standings.iter();
        out.extend(
            standings.map(|(slot, standing)| Control::PeerStanding { slot: *slot, standing: *standing }),
        );
        for (slot, topics) in &self.subscribers {
            let topics: Vec<String> = topics.iter().cloned().collect();
            for part in super::apply::topic_parts(&topics) {
                out.push(Control::Subscriber { slot: *slot, added: true, topics: part.to_vec() });
            }
        }
        out.push(Control::CheckpointEnd);
        out
    }
}
