//! What becomes of what is owed when it is known who answers at an address, or when a peer or an address is forgotten.

use super::apply::Applied;
use super::inbox::Origin;
use super::state::{Address, State};
use super::stream::Stream;
use crate::format::control::StreamOwner;
use crate::ids::{LsnRange, PeerSlot, StreamId};

impl State {
    /// What waited for an address is owed to the node that answers there; to this node itself if that is who.
    pub(super) fn bind(&mut self, address: &str, slot: PeerSlot, applied: &mut Vec<Applied>) {
        let waits = |stream: &Stream| matches!(&stream.owner, StreamOwner::Address(a) if a == address);
        let waiting = self.streams.iter().filter(|(_, stream)| waits(stream));
        // More than one if some are of an earlier life of this log.
        let waiting: Vec<StreamId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            if slot != PeerSlot::SELF {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.owner = StreamOwner::Peer(slot);
                }
            } else if let Some(stream) = self.streams.remove(&id) {
                let origin = Origin { slot, incarnation: self.identity.incarnation };
                for run in stream.runs() {
                    let range = LsnRange { first: run.lsn, count: run.count };
                    self.inbox.add(range, run.bytes, origin);
                    applied.push(Applied::Inbox(range));
                }
            }
        }
    }

    pub(super) fn remove_peer(&mut self, slot: PeerSlot, dropped: u64) {
        self.dropped += dropped;
        let theirs = |stream: &Stream| matches!(stream.owner, StreamOwner::Peer(s) if s == slot);
        let gone: Vec<StreamId> = self.streams.iter().filter(|(_, s)| theirs(s)).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.close_stream(id));
        self.subscribers.remove(&slot);
        self.inbound.retain(|(from, _), _| *from != slot);
        self.finished.remove(&slot);
        self.seen.remove(&slot);
        self.forget_treatment(slot);
        self.lives.remove(&slot);
        if let Some(peer) = self.peers.get_mut(&slot) {
            self.removed += usize::from(!peer.removed);
            peer.removed = true;
        }
        for address in self.addresses.values_mut().filter(|address| address.bound == Some(slot)) {
            *address = Address::default();
        }
        self.addresses.retain(|_, address| *address != Address::default());
    }

    pub(super) fn remove_address(&mut self, address: &str) {
        let waits = |stream: &Stream| matches!(&stream.owner, StreamOwner::Address(a) if a == address);
        let waiting = self.streams.iter().filter(|(_, stream)| waits(stream));
        let waiting: Vec<StreamId> = waiting.map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.close_stream(id));
        self.addresses.remove(address);
    }
}
