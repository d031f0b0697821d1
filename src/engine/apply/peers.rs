//! The records that are about other nodes.

use super::Applied;
use crate::engine::state::{Address, Inbound, Seen, State};
use crate::engine::stream::Stream;
use crate::format::control::{Control, IntentState, OwnQuota, Standing};
use crate::ids::{Lsn, PeerSlot, StreamId};

impl State {
    /// Those control records that are about other nodes.
    pub(super) fn apply_peer_control(&mut self, lsn: Lsn, control: Control, applied: &mut Vec<Applied>) {
        match control {
            Control::Peer(peer) => {
                self.last_slot = self.last_slot.max(peer.slot);
                self.note_life(&peer);
                // Who takes the place of another is treated as nobody decided otherwise.
                if self.peers.get(&peer.slot).is_some_and(|known| known.node != peer.node) {
                    self.forget_treatment(peer.slot);
                }
                self.put_peer(peer);
            }
            Control::PeerLives { slot, lives } => drop(self.lives.insert(slot, lives)),
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
            Control::StreamClosed { id, dropped } => {
                self.dropped += dropped;
                self.close_stream(id);
            }
            Control::Inbound { slot, stream, accepted, lost, ended } => {
                let inbound = Inbound { accepted, lost };
                if ended {
                    self.finish(slot, stream, inbound);
                } else {
                    *self.resume_finished(slot, stream) = inbound;
                    applied.push(Applied::Lost { slot, stream, last: accepted, lsn });
                }
            }
            Control::Seen { slot, incarnation, lsn } => self.seen(slot, Seen { incarnation, lsn }),
            Control::Subscriber { slot, added, topics } => self.subscriber(slot, added, topics),
            Control::PeerPaused { slot, paused: true } => drop(self.paused.insert(slot)),
            Control::PeerPaused { slot, paused: false } => drop(self.paused.remove(&slot)),
            Control::PeerQuota { slot, quota } => {
                if quota == OwnQuota::default() {
                    self.quotas.remove(&slot);
                } else {
                    self.quotas.insert(slot, quota);
                }
                applied.push(Applied::Quotas);
            }
            Control::PeerStanding { slot, standing } => {
                self.put_standing(slot, standing);
                applied.push(Applied::Standing);
            }
            // What was decided is done by the records behind it.
            Control::Decided(_) => {}
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
            Control::AddressRemoved { address, dropped } => {
                self.dropped += dropped;
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

    fn put_standing(&mut self, slot: PeerSlot, standing: Standing) {
        if standing == Standing::default() {
            self.standings.remove(&slot);
        } else {
            self.standings.insert(slot, standing);
        }
        if standing.parked {
            self.parked_peers.insert(slot);
        } else {
            self.parked_peers.remove(&slot);
        }
    }

    /// A peer is treated as nobody decided otherwise.
    pub(in crate::engine) fn forget_treatment(&mut self, slot: PeerSlot) {
        self.paused.remove(&slot);
        self.quotas.remove(&slot);
        self.put_standing(slot, Standing::default());
    }

    pub(in crate::engine) fn close_if_done(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(|stream| stream.ended && stream.is_settled()) {
            self.streams.remove(&id);
        }
    }

    /// What it still owed is counted by the record that says so: at a replay some of it may be gone already.
    pub(in crate::engine) fn close_stream(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.remove(&id) {
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
}
