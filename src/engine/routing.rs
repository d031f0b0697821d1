//! Who gets what: from topics and addresses to the streams that a message is owed to.
//!
//! The routing changes only where records are staged, in the same critical section: a message belongs to the
//! subscriptions whose record lies before it in the log. It is what those records say, so it is never written down
//! itself.

use std::collections::{BTreeMap, BTreeSet};

use super::state::State;
use crate::format::control::{Control, StreamOwner};
use crate::ids::{PeerSlot, Position, SetId, StreamId};

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Route {
    /// The streams, as the trailer names them.
    pub set: SetId,
    /// How many they are.
    pub routed: u32,
}

/// The routing of one node. See the module.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    topics: BTreeMap<String, BTreeSet<PeerSlot>>,
    /// The stream to which a peer's messages are added.
    peers: BTreeMap<PeerSlot, StreamId>,
    /// The queues of addresses where nobody has answered yet.
    queues: BTreeMap<String, StreamId>,
    bound: BTreeMap<String, PeerSlot>,
    sets: BTreeMap<Vec<StreamId>, SetId>,
    last_stream: StreamId,
    last_set: SetId,
}

impl Routing {
    /// The routing that a log's records left behind.
    #[must_use]
    pub fn of(state: &State) -> Routing {
        let mut routing = Routing { last_stream: state.last_stream, ..Routing::default() };
        routing.peers.insert(PeerSlot::SELF, StreamId::LOCAL);
        for (slot, topics) in &state.subscribers {
            for topic in topics {
                routing.topics.entry(topic.clone()).or_default().insert(*slot);
            }
        }
        for (id, stream) in state.streams.iter().filter(|(_, stream)| !stream.ended) {
            match &stream.owner {
                StreamOwner::Peer(slot) => routing.peers.insert(*slot, *id),
                StreamOwner::Address(address) => routing.queues.insert(address.clone(), *id),
            };
        }
        for (address, known) in &state.addresses {
            if let Some(slot) = known.bound {
                routing.bound.insert(address.clone(), slot);
            }
        }
        for (set, streams) in &state.sets {
            routing.sets.insert(streams.clone(), *set);
            routing.last_set = routing.last_set.max(*set);
        }
        routing
    }

    /// Takes in a control record that is about to be staged, and puts it and those that must stand beside it into
    /// `out`, in their order.
    pub fn stage(&mut self, control: Control, out: &mut Vec<Control>) {
        match &control {
            Control::Subscriber { slot, added, topics } => {
                let (slot, added, topics) = (*slot, *added, topics.clone());
                if added {
                    self.stream_of(slot, out);
                }
                out.push(control);
                self.subscriber(slot, added, &topics, out);
            }
            Control::AddressBound { address, slot } => {
                let (address, slot) = (address.clone(), *slot);
                out.push(control);
                self.bind(address, slot, out);
            }
            Control::PeerRemoved { slot, .. } => {
                self.forget_peer(*slot);
                out.push(control);
            }
            Control::AddressRemoved { address } => {
                if let Some(queue) = self.queues.remove(address) {
                    self.drop_sets_with(queue);
                }
                self.bound.remove(address);
                out.push(control);
            }
            _ => out.push(control),
        }
    }

    fn subscriber(&mut self, slot: PeerSlot, added: bool, topics: &[String], out: &mut Vec<Control>) {
        for topic in topics {
            if added {
                self.topics.entry(topic.clone()).or_default().insert(slot);
            } else if let Some(slots) = self.topics.get_mut(topic) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.topics.remove(topic);
                }
            }
        }
        let wanted = self.topics.values().any(|slots| slots.contains(&slot))
            || self.bound.values().any(|s| *s == slot);
        if !wanted
            && slot != PeerSlot::SELF
            && let Some(id) = self.peers.remove(&slot)
        {
            out.push(Control::StreamEnded { id });
            self.drop_sets_with(id);
        }
    }

    /// The queue of an address becomes the peer's: its stream if it has none yet, and else one that ends.
    fn bind(&mut self, address: String, slot: PeerSlot, out: &mut Vec<Control>) {
        if let Some(queue) = self.queues.remove(&address) {
            let stream = *self.peers.entry(slot).or_insert(queue);
            if stream != queue {
                if slot != PeerSlot::SELF {
                    out.push(Control::StreamEnded { id: queue });
                }
                self.drop_sets_with(queue);
            }
        }
        self.bound.insert(address, slot);
    }

    fn forget_peer(&mut self, slot: PeerSlot) {
        self.topics.retain(|_, slots| {
            slots.remove(&slot);
            !slots.is_empty()
        });
        self.bound.retain(|_, bound| *bound != slot);
        if let Some(id) = self.peers.remove(&slot) {
            self.drop_sets_with(id);
        }
    }

    /// A set with a stream that takes no more messages is never used again.
    fn drop_sets_with(&mut self, id: StreamId) {
        self.sets.retain(|streams, _| !streams.contains(&id));
    }

    fn mint(&mut self, owner: StreamOwner, out: &mut Vec<Control>) -> StreamId {
        self.last_stream = self.last_stream.plus(1);
        let id = self.last_stream;
        out.push(Control::Stream { id, owner, next: Position(1), acked: Position(0), ended: false });
        id
    }

    fn stream_of(&mut self, slot: PeerSlot, out: &mut Vec<Control>) -> StreamId {
        if let Some(id) = self.peers.get(&slot) {
            return *id;
        }
        let id = self.mint(StreamOwner::Peer(slot), out);
        self.peers.insert(slot, id);
        id
    }

    fn set_of(&mut self, streams: Vec<StreamId>, out: &mut Vec<Control>) -> Route {
        let routed = streams.len() as u32;
        if streams.is_empty() {
            return Route::default();
        }
        if let Some(set) = self.sets.get(&streams) {
            return Route { set: *set, routed };
        }
        self.last_set = SetId(self.last_set.0 + 1);
        out.push(Control::DestinationSet { id: self.last_set, streams: streams.clone() });
        self.sets.insert(streams, self.last_set);
        Route { set: self.last_set, routed }
    }

    /// Where a message of these topics goes: once to each subscriber, whatever the number of its topics. Records
    /// that must be staged before the message come out in `out`.
    pub fn route<'t>(&mut self, topics: impl Iterator<Item = &'t str>, out: &mut Vec<Control>) -> Route {
        let slots: BTreeSet<PeerSlot> =
            topics.filter_map(|topic| self.topics.get(topic)).flatten().copied().collect();
        let mut streams: Vec<StreamId> = slots.into_iter().map(|slot| self.stream_of(slot, out)).collect();
        streams.sort_unstable();
        self.set_of(streams, out)
    }

    /// Where a command to that address goes. An address nobody has answered at has a queue of its own.
    pub fn route_address(&mut self, address: &str, out: &mut Vec<Control>) -> Route {
        let stream = match (self.bound.get(address).copied(), self.queues.get(address)) {
            (Some(slot), _) => self.stream_of(slot, out),
            (None, Some(queue)) => *queue,
            (None, None) => {
                let queue = self.mint(StreamOwner::Address(address.to_owned()), out);
                self.queues.insert(address.to_owned(), queue);
                queue
            }
        };
        self.set_of(vec![stream], out)
    }

    /// Sets that were minted and whose records found no room: they are minted again when they are needed.
    pub fn forget_sets(&mut self, records: &[Control]) {
        for record in records {
            if let Control::DestinationSet { streams, .. } = record {
                self.sets.remove(streams);
            }
        }
    }

    /// All topics that somebody wants, and where each goes: what publishers look up without a lock.
    pub fn table(&mut self, out: &mut Vec<Control>) -> Vec<(String, Route)> {
        let topics: Vec<String> = self.topics.keys().cloned().collect();
        topics
            .into_iter()
            .map(|topic| {
                let route = self.route(std::iter::once(topic.as_str()), out);
                (topic, route)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(routing: &mut Routing, slot: u32, topic: &str) -> Vec<Control> {
        let mut out = Vec::new();
        let topics = vec![topic.to_owned()];
        routing.stage(Control::Subscriber { slot: PeerSlot(slot), added: true, topics }, &mut out);
        out
    }

    #[test]
    fn the_first_wish_of_a_peer_brings_its_stream_before_it() {
        let mut routing = Routing::of(&State::default());
        let records = subscribe(&mut routing, 1, "a");
        assert!(matches!(records[0], Control::Stream { id: StreamId(1), .. }));
        assert!(matches!(records[1], Control::Subscriber { .. }));
        assert_eq!(subscribe(&mut routing, 1, "b").len(), 1);
    }

    #[test]
    fn a_message_of_two_topics_goes_once_to_a_subscriber_of_both() {
        let mut routing = Routing::of(&State::default());
        subscribe(&mut routing, 1, "a");
        subscribe(&mut routing, 1, "b");
        subscribe(&mut routing, 2, "b");
        let mut out = Vec::new();
        assert_eq!(routing.route(["a", "b"].into_iter(), &mut out).routed, 2);
        assert_eq!(routing.route(["b"].into_iter(), &mut out).routed, 2);
        assert_eq!(out.len(), 1, "one set serves both");
        assert_eq!(routing.route(["nobody"].into_iter(), &mut out), Route::default());
    }

    #[test]
    fn the_last_wish_gone_ends_the_stream_and_the_next_wish_mints_another() {
        let mut routing = Routing::of(&State::default());
        subscribe(&mut routing, 1, "a");
        let mut out = Vec::new();
        let topics = vec!["a".to_owned()];
        routing.stage(Control::Subscriber { slot: PeerSlot(1), added: false, topics }, &mut out);
        assert_eq!(out[1], Control::StreamEnded { id: StreamId(1) });
        let again = subscribe(&mut routing, 1, "a");
        assert!(matches!(again[0], Control::Stream { id: StreamId(2), .. }));
    }

    #[test]
    fn the_queue_of_an_address_becomes_the_stream_of_who_answers_there() {
        let mut routing = Routing::of(&State::default());
        let mut out = Vec::new();
        let before = routing.route_address("tcp://x:1", &mut out);
        routing.stage(Control::AddressBound { address: "tcp://x:1".into(), slot: PeerSlot(1) }, &mut out);
        assert_eq!(routing.route_address("tcp://x:1", &mut out), before);
        routing.route_address("tcp://x:2", &mut out);
        out.clear();
        routing.stage(Control::AddressBound { address: "tcp://x:2".into(), slot: PeerSlot(1) }, &mut out);
        assert_eq!(out[1], Control::StreamEnded { id: StreamId(2) }, "a second queue drains and ends");
        assert_eq!(routing.route_address("tcp://x:2", &mut out), before);
    }
}
