//! The records that are about other nodes.

use super::Applied;
use crate::engine::inbox::Origin;
use crate::engine::state::{Address, Inbound, Seen, State};
use crate::engine::stream::Stream;
use crate::format::control::{Control, IntentState, StreamOwner};
use crate::ids::{Lsn, LsnRange, PeerSlot, StreamId};

impl State {
    /// Those control records that are about other nodes.
    pub(super) fn apply_peer_control(&mut self, lsn: Lsn, control: Control, applied: &mut Vec<Applied>) {
        match control {
            Control::Peer(peer) => {
                self.last_slot = self.last_slot.max(peer.slot);
                self.peers.insert(peer.slot, peer);
            }
            Control::Stream { id, owner, next, acked, ended } => {
                self.last_stream = self.last_stream.max(id);
                self.streams.insert(id, Stream::new(owner, next, acked, ended));
                applied.push(Applied::Streams);
            }
            Control::StreamEnded { id } => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.ended = true;
                }
                self.close_if_done(id);
                applied.push(Applied::Streams);
            }
            Control::StreamClosed { id, .. } => self.close_stream(id),
            Control::Inbound { slot, stream, accepted, lost, ended } => {
                if ended {
                    self.inbound.remove(&(slot, stream));
                } else {
                    self.inbound.insert((slot, stream), Inbound { accepted, lost });
                    applied.push(Applied::Lost { slot, stream, last: accepted, lsn });
                }
            }
            Control::Seen { slot, incarnation, lsn } => self.seen(slot, Seen { incarnation, lsn }),
            Control::Subscriber { slot, added, topics } => self.subscriber(slot, added, topics),
            Control::Intent { address, topic, state } => {
                let known = self.addresses.entry(address).or_default();
                match state {
                    IntentState::Removed => known.intents.remove(&topic),
                    state => known.intents.insert(topic, state),
                };
                // What nothing is known of is no part of a checkpoint either.
                self.addresses.retain(|_, known| *known != Address::default());
                applied.push(Applied::Addresses);
            }
            Control::AddressBound { address, slot } => {
                self.bind(&address, slot, applied);
                self.addresses.entry(address).or_default().bound = Some(slot);
                applied.extend([Applied::Streams, Applied::Addresses]);
            }
            Control::PeerRemoved { slot, dropped } => {
                self.remove_peer(slot, dropped);
                applied.extend([Applied::Streams, Applied::Addresses]);
            }
            Control::AddressRemoved { address } => {
                self.remove_address(&address);
                applied.extend([Applied::Streams, Applied::Addresses]);
            }
            Control::DestinationSet { id, streams } => {
                // In place of what the number stood for before: no message behind this is owed to that.
                self.sets.insert(id, streams);
            }
            // Invariant: `apply_control` keeps all others for itself.
            _ => unreachable!("not about another node"),
        }
    }

    pub(super) fn close_if_done(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(|stream| stream.ended && stream.is_settled()) {
            self.streams.remove(&id);
        }
    }

    fn close_stream(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.remove(&id) {
            self.dropped += stream.owed();
            for run in stream.runs() {
                self.forget_carried(run.lsn, run.count);
            }
        }
    }

    fn subscriber(&mut self, slot: PeerSlot, added: bool, topics: Vec<String>) {
        let wanted = self.subscribers.entry(slot).or_default();
        for topic in topics {
            if added {
                wanted.insert(topic);
            } else {
                wanted.remove(&topic);
            }
        }
        if wanted.is_empty() {
            self.subscribers.remove(&slot);
        }
    }

    /// What waited for an address is owed to the node that answers there; to this node itself if that is who.
    fn bind(&mut self, address: &str, slot: PeerSlot, applied: &mut Vec<Applied>) {
        let waits = |stream: &Stream| matches!(&stream.owner, StreamOwner::Address(a) if a == address);
        let Some(id) = self.streams.iter().find(|(_, stream)| waits(stream)).map(|(id, _)| *id) else {
            return;
        };
        if slot != PeerSlot::SELF {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.owner = StreamOwner::Peer(slot);
            }
            return;
        }
        if let Some(stream) = self.streams.remove(&id) {
            let origin = Origin { slot, incarnation: self.identity.incarnation };
            for run in stream.runs() {
                let range = LsnRange { first: run.lsn, count: run.count };
                self.inbox.add(range, run.bytes, origin);
                applied.push(Applied::Inbox(range));
            }
        }
    }

    fn remove_peer(&mut self, slot: PeerSlot, dropped: u64) {
        self.dropped += dropped;
        let theirs = |stream: &Stream| matches!(stream.owner, StreamOwner::Peer(s) if s == slot);
        let gone: Vec<StreamId> = self.streams.iter().filter(|(_, s)| theirs(s)).map(|(id, _)| *id).collect();
        let before = self.dropped;
        gone.into_iter().for_each(|id| self.close_stream(id));
        self.dropped = before;
        self.subscribers.remove(&slot);
        self.inbound.retain(|(from, _), _| *from != slot);
        self.seen.remove(&slot);
        if let Some(peer) = self.peers.get_mut(&slot) {
            peer.removed = true;
        }
        for address in self.addresses.values_mut().filter(|address| address.bound == Some(slot)) {
            *address = Address::default();
        }
        self.addresses.retain(|_, address| *address != Address::default());
    }

    fn remove_address(&mut self, address: &str) {
        let waits = |stream: &Stream| matches!(&stream.owner, StreamOwner::Address(a) if a == address);
        if let Some(id) = self.streams.iter().find(|(_, stream)| waits(stream)).map(|(id, _)| *id) {
            self.close_stream(id);
        }
        self.addresses.remove(address);
    }
}
