//! Who gets what: from topics and addresses to the streams that a message is owed to.
//!
//! The routing changes only where records are staged, in the same critical section: a message belongs to the
//! subscriptions whose record lies before it in the log. It is what those records say, so it is never written down
//! itself.

use std::collections::{BTreeMap, BTreeSet};

use super::lives::streams_before;
use super::sets::Sets;
use super::state::State;
use crate::format::control::{Control, StreamOwner};
use crate::ids::{Incarnation, PeerSlot, Position, SetId, StreamId};

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Route {
    /// The streams, as the trailer names them.
    pub set: SetId,
    /// How many they are.
    pub routed: u32,
}

/// Who wants one topic.
#[derive(Clone, Debug, Default)]
struct Topic {
    slots: BTreeSet<PeerSlot>,
    /// Where its messages go, once one was published since that changed.
    route: Option<Route>,
}

/// What changed of the routing, as far as publishers that look topics up must see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Topics that others want now, or nobody: their routes count no more.
    pub topics: BTreeSet<String>,
    /// The route of no topic counts any more.
    pub all_routes: bool,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && !self.all_routes
    }
}

/// The routing of one node. See the module.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    topics: BTreeMap<String, Topic>,
    /// How many topics a peer wants, if any.
    wishes: BTreeMap<PeerSlot, usize>,
    /// The stream to which a peer's messages are added.
    peers: BTreeMap<PeerSlot, StreamId>,
    /// The queues of addresses where nobody has answered yet.
    queues: BTreeMap<String, StreamId>,
    bound: BTreeMap<String, PeerSlot>,
    sets: Sets,
    last_stream: StreamId,
    changes: Changes,
    /// Streams to which nothing more may be owed, with what people call those it would be owed to. It says nothing of the log.
    held: BTreeMap<StreamId, String>,
    /// Peers to which no commands may be owed, for these would be lost; events are not owed to them either, and they are told.
    parked: BTreeMap<PeerSlot, String>,
}

/// A message that may not be published: somebody to whom it would be owed has as much waiting as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held(
    /// What would be owed to it.
    pub StreamId,
);

impl Routing {
    /// The routing that a log's records left behind. It knows of no set: the first message of each topic mints it.
    #[must_use]
    pub fn of(state: &State) -> Routing {
        let mut routing = Routing { last_stream: state.last_stream, ..Routing::default() };
        routing.peers.insert(PeerSlot::SELF, StreamId::LOCAL);
        for (slot, topics) in &state.subscribers {
            for topic in topics {
                routing.topics.entry(topic.clone()).or_default().slots.insert(*slot);
            }
            routing.wishes.insert(*slot, topics.len());
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
            Control::AddressRemoved { address, .. } => {
                if let Some(queue) = self.queues.remove(address) {
                    self.sets.stream_ended(queue);
                }
                self.bound.remove(address);
                out.push(control);
            }
            Control::Node { incarnation, .. } => {
                self.begin_life(*incarnation);
                out.push(control);
            }
            _ => out.push(control),
        }
    }

    /// Nothing more is owed to the streams that there are.
    fn begin_life(&mut self, life: Incarnation) {
        self.last_stream = streams_before(self.last_stream, life);
        self.peers.retain(|slot, _| *slot == PeerSlot::SELF);
        self.queues.clear();
        self.forget_sets();
    }

    fn subscriber(&mut self, slot: PeerSlot, added: bool, topics: &[String], out: &mut Vec<Control>) {
        for topic in topics {
            let changed = if added {
                self.topics.entry(topic.clone()).or_default().slots.insert(slot)
            } else {
                self.topics.get_mut(topic).is_some_and(|wanted| wanted.slots.remove(&slot))
            };
            if changed {
                let wishes = self.wishes.entry(slot).or_default();
                *wishes = if added { *wishes + 1 } else { *wishes - 1 };
                self.topic_changed(topic);
            }
        }
        if added || self.wishes.get(&slot).is_some_and(|wishes| *wishes > 0) {
            return;
        }
        self.wishes.remove(&slot);
        if slot != PeerSlot::SELF
            && !self.bound.values().any(|bound| *bound == slot)
            && let Some(id) = self.peers.remove(&slot)
        {
            out.push(Control::StreamEnded { id });
            self.sets.stream_ended(id);
        }
    }

    /// Others want the topic now: the set that it led to is not its own any more.
    fn topic_changed(&mut self, name: &str) {
        if let Some(topic) = self.topics.get_mut(name) {
            if let Some(route) = topic.route.take() {
                self.sets.leave(route.set);
            }
            if topic.slots.is_empty() {
                self.topics.remove(name);
            }
        }
        self.changes.topics.insert(name.to_owned());
    }

    /// The queue of an address becomes the peer's: its stream if it has none yet, and else one that ends.
    fn bind(&mut self, address: String, slot: PeerSlot, out: &mut Vec<Control>) {
        if let Some(queue) = self.queues.remove(&address) {
            let stream = *self.peers.entry(slot).or_insert(queue);
            if stream != queue {
                if slot != PeerSlot::SELF {
                    out.push(Control::StreamEnded { id: queue });
                }
                self.sets.stream_ended(queue);
            }
        }
        self.bound.insert(address, slot);
    }

    fn forget_peer(&mut self, slot: PeerSlot) {
        let wanted =
            self.topics.iter_mut().filter_map(|(name, topic)| topic.slots.remove(&slot).then_some(name));
        let wanted: Vec<String> = wanted.cloned().collect();
        wanted.iter().for_each(|topic| self.topic_changed(topic));
        self.wishes.remove(&slot);
        self.bound.retain(|_, bound| *bound != slot);
        if let Some(id) = self.peers.remove(&slot) {
            self.sets.stream_ended(id);
        }
    }

    /// To these streams nothing more may be owed, and no commands to these peers; and to all others again.
    pub fn hold(&mut self, held: BTreeMap<StreamId, String>, parked: BTreeMap<PeerSlot, String>) {
        if held == self.held && parked == self.parked {
            return;
        }
        (self.held, self.parked) = (held, parked);
        self.changes.all_routes = true;
    }

    /// What people call whoever a stream is owed to, if nothing more may be.
    #[must_use]
    pub fn name_of_held(&self, held: Held) -> Option<&str> {
        let parked = || {
            let slot = self.peers.iter().find(|(_, stream)| **stream == held.0).map(|(slot, _)| slot)?;
            self.parked.get(slot)
        };
        self.held.get(&held.0).or_else(parked).map(String::as_str)
    }

    fn check_held(&self, mut slots: impl Iterator<Item = PeerSlot>) -> Result<(), Held> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = slots.find_map(|slot| self.peers.get(&slot).filter(|id| self.held.contains_key(id)));
        held.map_or(Ok(()), |id| Err(Held(*id)))
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

    fn streams_of(&mut self, slots: &BTreeSet<PeerSlot>, out: &mut Vec<Control>) -> Vec<StreamId> {
        let mut streams: Vec<StreamId> = slots.iter().map(|slot| self.stream_of(*slot, out)).collect();
        streams.sort_unstable();
        streams
    }

    /// Where a message of these topics goes: once to each subscriber, whatever the number of its topics. Records
    /// that must be staged before the message come out in `out`.
    ///
    /// # Errors
    /// It may not be owed to one of them.
    pub fn route<'t>(
        &mut self,
        topics: impl Iterator<Item = &'t str>,
        out: &mut Vec<Control>,
    ) -> Result<Route, Held> {
        let mut wanted: Vec<&str> = topics.filter(|topic| self.topics.contains_key(*topic)).collect();
        wanted.dedup();
        let wanting =
            wanted.iter().filter_map(|topic| self.topics.get(*topic)).flat_map(|topic| &topic.slots);
        self.check_held(wanting.copied())?;
        if let [topic] = wanted[..] {
            return Ok(self.route_topic(topic, out));
        }
        let slots =
            wanted.into_iter().filter_map(|topic| self.topics.get(topic)).flat_map(|topic| &topic.slots);
        let slots = slots.copied().collect();
        let streams = self.streams_of(&slots, out);
        Ok(self.sets.of(streams, out))
    }

    fn route_topic(&mut self, name: &str, out: &mut Vec<Control>) -> Route {
        let Some(topic) = self.topics.get_mut(name) else { return Route::default() };
        if let Some(route) = topic.route {
            return route;
        }
        let slots = std::mem::take(&mut topic.slots);
        let streams = self.streams_of(&slots, out);
        let route = self.sets.of(streams, out);
        self.sets.lead(route.set);
        if let Some(topic) = self.topics.get_mut(name) {
            (topic.slots, topic.route) = (slots, Some(route));
        }
        route
    }

    /// Where a command to that address goes. An address nobody has answered at has a queue of its own.
    ///
    /// # Errors
    /// It may not be owed to whoever is there.
    pub fn route_address(&mut self, address: &str, out: &mut Vec<Control>) -> Result<Route, Held> {
        let stream = self.stream_to(address, out);
        let is_parked = self.bound.get(address).is_some_and(|slot| self.parked.contains_key(slot));
        if is_parked || self.held.contains_key(&stream) {
            return Err(Held(stream));
        }
        Ok(self.sets.of(vec![stream], out))
    }

    fn stream_to(&mut self, address: &str, out: &mut Vec<Control>) -> StreamId {
        match (self.bound.get(address).copied(), self.queues.get(address)) {
            (Some(slot), _) => self.stream_of(slot, out),
            (None, Some(queue)) => *queue,
            (None, None) => {
                let queue = self.mint(StreamOwner::Address(address.to_owned()), out);
                self.queues.insert(address.to_owned(), queue);
                queue
            }
        }
    }

    /// Whether something may still be owed there: a peer that wants nothing any more only gets what it is owed already.
    pub(super) fn leads_to(&self, owner: &StreamOwner) -> bool {
        match owner {
            StreamOwner::Peer(slot) => self.peers.contains_key(slot),
            StreamOwner::Address(_) => true,
        }
    }

    /// Where a message goes that takes the place of one which is owed to somebody already, or is in the node's own inbox.
    pub(super) fn route_owner(&mut self, owner: &StreamOwner, out: &mut Vec<Control>) -> Route {
        let stream = match owner {
            StreamOwner::Peer(slot) => self.stream_of(*slot, out),
            StreamOwner::Address(address) => self.stream_to(address, out),
        };
        self.sets.of(vec![stream], out)
    }

    /// A checkpoint begins: it holds no sets, so no message behind it may use one whose record lies before it.
    pub fn forget_sets(&mut self) {
        self.sets.forget();
        self.topics.values_mut().for_each(|topic| topic.route = None);
        self.changes.all_routes = true;
    }

    /// What changed since this was last asked.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Whether somebody wants a topic.
    #[must_use]
    pub fn is_wanted(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// All topics that somebody wants.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// How many sets may be used without a record that says anew what they are.
    #[must_use]
    pub fn sets(&self) -> usize {
        self.sets.count()
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
        assert_eq!(routing.route(["a", "b"].into_iter(), &mut out).unwrap().routed, 2);
        assert_eq!(routing.route(["b"].into_iter(), &mut out).unwrap().routed, 2);
        assert_eq!(out.len(), 1, "one set serves both");
        assert_eq!(routing.route(["nobody"].into_iter(), &mut out).unwrap(), Route::default());
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
        let before = routing.route_address("tcp://x:1", &mut out).unwrap();
        routing.stage(Control::AddressBound { address: "tcp://x:1".into(), slot: PeerSlot(1) }, &mut out);
        assert_eq!(routing.route_address("tcp://x:1", &mut out).unwrap(), before);
        routing.route_address("tcp://x:2", &mut out).unwrap();
        out.clear();
        routing.stage(Control::AddressBound { address: "tcp://x:2".into(), slot: PeerSlot(1) }, &mut out);
        assert_eq!(out[1], Control::StreamEnded { id: StreamId(2) }, "a second queue drains and ends");
        assert_eq!(routing.route_address("tcp://x:2", &mut out).unwrap(), before);
    }

    fn apply(state: &mut State, record: Control) {
        if let Control::DestinationSet { id, streams } = record {
            state.sets.insert(id, streams);
        }
    }

    #[test]
    fn subscribers_of_one_topic_that_join_one_by_one_leave_one_set_behind() {
        let (mut routing, mut state) = (Routing::of(&State::default()), State::default());
        for slot in 1..=50 {
            let mut records = subscribe(&mut routing, slot, "shared");
            assert_eq!(records.len(), 2, "a set is minted for a message and not before");
            let route = routing.route(["shared"].into_iter(), &mut records).unwrap();
            assert_eq!(route.routed, slot);
            records.into_iter().for_each(|record| apply(&mut state, record));
            assert_eq!(state.sets[&route.set].len(), slot as usize);
        }
        assert_eq!((routing.sets(), state.sets.len()), (1, 1));
        let mut out = Vec::new();
        let topics = vec!["shared".to_owned()];
        routing.stage(Control::Subscriber { slot: PeerSlot(7), added: false, topics }, &mut out);
        assert_eq!(routing.sets(), 0, "it is not used again");
    }

    #[test]
    fn what_changes_is_told_of_the_topics_that_it_concerns_and_no_others() {
        let mut routing = Routing::of(&State::default());
        subscribe(&mut routing, 1, "a");
        subscribe(&mut routing, 1, "b");
        assert_eq!(routing.take_changes().topics, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        subscribe(&mut routing, 2, "b");
        subscribe(&mut routing, 1, "a");
        assert_eq!(routing.take_changes().topics, BTreeSet::from(["b".to_owned()]), "a was wanted already");
        routing.stage(Control::PeerRemoved { slot: PeerSlot(1), dropped: 0 }, &mut Vec::new());
        assert_eq!(routing.take_changes().topics, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert!(!routing.is_wanted("a") && routing.is_wanted("b"));
    }

    #[test]
    fn behind_a_checkpoint_a_message_says_its_set_again() {
        let mut routing = Routing::of(&State::default());
        subscribe(&mut routing, 1, "a");
        let mut out = Vec::new();
        let before = routing.route(["a"].into_iter(), &mut out).unwrap();
        assert_eq!(routing.route(["a"].into_iter(), &mut out).unwrap(), before);
        assert_eq!(out.len(), 1);
        routing.forget_sets();
        routing.route(["a"].into_iter(), &mut out).unwrap();
        assert_eq!(out.len(), 2);
    }
}
