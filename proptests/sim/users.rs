//! What the users of a node do.

use std::collections::BTreeSet;

use resolute::engine::deciding::Order;
use resolute::engine::effect::RequestId;
use resolute::engine::request::Request;
use resolute::engine::rewriting::Written;
use resolute::engine::stream::Stream;
use resolute::format::control::{OwnQuota, Place, Verb};
use resolute::format::message::{MessageHead, MessageParts};
use resolute::format::record::{FLAG_ATOMIC_MORE, FLAG_COMMAND};
use resolute::ids::{Lsn, LsnRange, StreamId};
use resolute::limits::BATCH_RECORD_BYTES_MAX;
use resolute::time::{Monotonic, Wall};

use super::conservation::owed;
use super::faults::Fault;
use super::model::{MessageNumber, Sent};
use super::rng::Rng;
use super::steps::TOPICS;
use super::tally::Reached;
use super::world::{Event, MS, World};

/// What publishers leave free of a batch, so that the records of a new route find room.
const ROUTE_BYTES: usize = 4096;

/// More than a message takes in a batch beside its payload.
const BESIDE_PAYLOAD_BYTES: usize = 200;

impl World {
    pub fn request(&mut self, node: usize, request: Request) -> RequestId {
        self.numbers += 1;
        let (id, now) = (RequestId(self.numbers), self.clock(node));
        if let Some(up) = &mut self.nodes[node].up {
            up.asked.insert(id, request.clone());
            up.engine.handle_request(now, id, request);
            self.turn(node);
        }
        id
    }

    /// Several requests in one turn.
    pub fn request_at_once(&mut self, node: usize, requests: Vec<Request>) -> Vec<RequestId> {
        let now = self.clock(node);
        let mut ids = Vec::new();
        for request in requests {
            self.numbers += 1;
            let id = RequestId(self.numbers);
            ids.push(id);
            let up = self.nodes[node].up.as_mut().unwrap();
            up.asked.insert(id, request.clone());
            up.engine.handle_request(now, id, request);
        }
        self.turn(node);
        ids
    }

    pub fn subscribe(&mut self, node: usize, address: &str, topic: &str) -> RequestId {
        self.request(node, Request::Subscribe { address: address.to_owned(), topics: vec![topic.to_owned()] })
    }

    pub fn unsubscribe(&mut self, node: usize, address: &str, topic: &str) -> RequestId {
        self.request(
            node,
            Request::Unsubscribe { address: address.to_owned(), topics: vec![topic.to_owned()] },
        )
    }

    /// Somebody has messages of the inbox tried again, or takes some out of there or of what is owed.
    pub fn administer(&mut self, node: usize, rng: &mut Rng) {
        let Some(up) = &self.nodes[node].up else { return };
        let (verb, place) = [
            (Verb::Retry, Place::Parked),
            (Verb::Retry, Place::Dead),
            (Verb::Retry, Place::Incoming),
            (Verb::Remove, Place::Incoming),
            (Verb::Remove, Place::Parked),
            (Verb::Remove, Place::Dead),
            (Verb::Remove, Place::Outgoing),
            (Verb::Remove, Place::Outgoing),
        ][rng.below(8) as usize];
        let all = LsnRange { first: Lsn(1), count: u64::MAX >> 1 };
        let state = up.engine.state();
        let here: BTreeSet<Lsn> = match place {
            Place::Outgoing => owed(state, |_| true),
            place => state.inbox.at_place(all, place).collect(),
        };
        let (share, most) = (10 + rng.below(80), 1 + rng.below(12) as usize);
        let one = |first| LsnRange { first, count: 1 };
        let ranges: Vec<LsnRange> =
            here.into_iter().filter(|_| rng.chance(share)).take(most).map(one).collect();
        if !ranges.is_empty() {
            self.tally.count(if place == Place::Outgoing { Fault::TakenOut } else { Fault::Administered });
            self.request(node, Request::Change { who: "zoe".to_owned(), verb, place, stream: None, ranges });
        }
    }

    /// Somebody has a message of the inbox, or of what is owed, written anew with other contents.
    pub fn rewrite(&mut self, node: usize, rng: &mut Rng) {
        let Some(up) = &self.nodes[node].up else { return };
        let state = up.engine.state();
        let all = LsnRange { first: Lsn(1), count: u64::MAX >> 1 };
        let place = [Place::Incoming, Place::Parked, Place::Dead, Place::Outgoing, Place::Outgoing]
            [rng.below(5) as usize];
        let there: Vec<(Option<StreamId>, Lsn)> = match place {
            Place::Outgoing => {
                let streams = state.streams.iter();
                let of = |(id, stream): (&StreamId, &Stream)| {
                    stream.runs().iter().map(|run| (Some(*id), run.lsn)).collect::<Vec<_>>()
                };
                streams.flat_map(of).collect()
            }
            place => state.inbox.at_place(all, place).map(|lsn| (None, lsn)).collect(),
        };
        if there.is_empty() {
            return;
        }
        let (stream, lsn) = there[rng.below(there.len() as u64) as usize];
        let topic = TOPICS[rng.below(3) as usize];
        let request = self.rewrite_of(node, (place, stream, lsn), topic, rng.below(2_000) as usize);
        self.tally.count(Fault::Rewritten);
        self.request(node, request);
    }

    /// To write one message anew, with another number.
    pub fn rewrite_of(
        &mut self,
        node: usize,
        (place, stream, lsn): (Place, Option<StreamId>, Lsn),
        topic: &str,
        more_bytes: usize,
    ) -> Request {
        let (own, topics) = (self.nodes[node].identity.unwrap(), vec![topic.to_owned()]);
        self.numbers += 1;
        let number = self.numbers;
        let head = MessageHead::with_topics(Wall(self.now), [topic]).unwrap();
        let payload = [&number.to_le_bytes()[..], &vec![0x5a; more_bytes]].concat();
        let body = MessageParts::new(&head, &payload).unwrap().pieces().concat();
        self.model.sent.insert(number, (own, Sent::Again { topics, stream }));
        if self.nodes[node].is_astray {
            self.model.astray.insert(number);
        }
        let messages = vec![Written { lsn, flags: 0, body }];
        Request::Rewrite { who: "zoe".to_owned(), verb: Verb::Edit, place, stream, messages }
    }

    /// Somebody has a node forget another. Until that one is told the same it is turned away, and owes what it owed.
    pub fn forget(&mut self, node: usize, other: usize, address: &str) {
        let identities = [node, other].map(|index| self.nodes[index].identity);
        let ([Some(own), Some(theirs)], true) = (identities, self.nodes[node].up.is_some()) else { return };
        if own != theirs {
            self.tally.count(Fault::Removed);
            let order = Order::Forget { peer: address.to_owned() };
            self.request(node, Request::Decide { who: "zoe".to_owned(), order });
        }
    }

    /// Somebody has a node send nothing to another, or what it owes again.
    pub fn pause(&mut self, node: usize, address: &str, paused: bool) {
        if self.nodes[node].up.is_some() {
            if paused {
                self.tally.count(Fault::Paused);
            }
            let peer = address.to_owned();
            let order = if paused { Order::Pause { peer } } else { Order::Resume { peer } };
            self.request(node, Request::Decide { who: "zoe".to_owned(), order });
        }
    }

    /// Somebody gives a subscriber another quota.
    pub fn limit(&mut self, node: usize, address: &str, quota: OwnQuota) {
        if self.nodes[node].up.is_some() {
            self.tally.count(Fault::Limited);
            let order = Order::Limit { peer: address.to_owned(), resets: true, quota };
            self.request(node, Request::Decide { who: "zoe".to_owned(), order });
        }
    }

    /// In the end nobody is paused.
    pub fn resume_all(&mut self) {
        for node in 0..self.nodes.len() {
            let Some(up) = &self.nodes[node].up else { continue };
            let state = up.engine.state();
            let paused: Vec<String> =
                state.paused.iter().map(|slot| state.node_of(*slot).to_string()).collect();
            paused.iter().for_each(|peer| self.pause(node, peer, false));
        }
    }

    /// Somebody waits until another node has written down what is wanted of it, or until nothing is left to do.
    pub fn wait_for(&mut self, node: usize, address: &str, topic: &str, rng: &mut Rng) {
        let now = self.clock(node).monotonic.0;
        let request = if rng.chance(50) {
            Request::Confirmed { address: address.to_owned(), topics: vec![topic.to_owned()] }
        } else {
            Request::Drain { deadline: Monotonic(now + rng.below(20_000) * MS) }
        };
        self.request(node, request);
    }

    pub fn is_done(&self, node: usize, id: RequestId) -> bool {
        self.nodes[node].up.as_ref().is_some_and(|up| up.done.contains(&id))
    }

    pub fn publish(&mut self, node: usize, topics: &[&str], payload_bytes: usize) -> Option<MessageNumber> {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.put(node, Sent::Event(topics), payload_bytes, 0)
    }

    /// Publishes until the batch that is being filled has not one byte left. Says how many messages that took.
    pub fn fill_batch(&mut self, node: usize, topic: &str) -> u64 {
        let first = self.numbers;
        let used = |world: &World| world.nodes[node].up.as_ref().unwrap().builder.record_bytes();
        let beside_payload = [0, 1].map(|_| {
            let before = used(self);
            assert!(self.publish(node, &[topic], 8).is_some());
            used(self) - before - 8
        });
        // The first one may have brought its route.
        let beside_payload = beside_payload[1];
        while BATCH_RECORD_BYTES_MAX - used(self) > 200_000 {
            assert!(self.publish(node, &[topic], 100_000).is_some());
        }
        let payload_bytes = BATCH_RECORD_BYTES_MAX - used(self) - beside_payload;
        let sent = Sent::Event([topic.to_owned()].into());
        assert!(self.put_leaving(node, sent, payload_bytes, 0, beside_payload).is_some());
        assert_eq!(used(self), BATCH_RECORD_BYTES_MAX);
        self.numbers - first
    }

    /// Messages that recovery keeps all or none of, if they can be published now.
    pub fn publish_batch(&mut self, node: usize, topics: &[&str], payload_bytes: &[usize]) -> bool {
        let most: usize = payload_bytes.iter().map(|bytes| bytes + BESIDE_PAYLOAD_BYTES).sum();
        let up = self.nodes[node].up.as_ref();
        if up.is_none_or(|up| !up.builder.has_room(most + ROUTE_BYTES)) {
            return false;
        }
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let mut numbers = Vec::new();
        for (index, bytes) in payload_bytes.iter().enumerate() {
            let more = if index + 1 < payload_bytes.len() { FLAG_ATOMIC_MORE } else { 0 };
            let put = self.put_leaving(node, Sent::Event(topics.clone()), *bytes, more, BESIDE_PAYLOAD_BYTES);
            assert!(put.is_some() || index == 0, "there is room for all of it");
            numbers.extend(put);
            if numbers.is_empty() {
                return false;
            }
        }
        self.model.atomic.push((numbers, false));
        true
    }

    pub fn send(&mut self, node: usize, address: &str, payload_bytes: usize) -> Option<MessageNumber> {
        self.put(node, Sent::Command(address.to_owned()), payload_bytes, 0)
    }

    fn put(&mut self, node: usize, sent: Sent, payload_bytes: usize, more: u8) -> Option<MessageNumber> {
        self.put_leaving(node, sent, payload_bytes, more, ROUTE_BYTES)
    }

    /// As publishers do it, in one critical section: route, stage what the routing needs, stage the message. Beside the
    /// payload there must be room for `beside` bytes.
    fn put_leaving(
        &mut self,
        node: usize,
        sent: Sent,
        payload_bytes: usize,
        more: u8,
        beside: usize,
    ) -> Option<MessageNumber> {
        let now = self.now;
        let up = self.nodes[node].up.as_mut()?;
        let most = payload_bytes + beside;
        let waits = up.failed || up.engine.is_in_checkpoint() || up.engine.awaits_segment();
        if waits || up.engine.is_disk_full() || !up.builder.has_room(most) {
            return None;
        }
        let mut records = Vec::new();
        let (routed, names, flags) = match &sent {
            Sent::Event(topics) => {
                (up.routing.route(topics.iter().map(String::as_str), &mut records), topics.clone(), 0)
            }
            Sent::Again { .. } => unreachable!("nobody publishes that"),
            Sent::Command(address) => {
                (up.routing.route_address(address, &mut records), vec!["cmd".to_owned()], FLAG_COMMAND)
            }
        };
        // Whoever is to get it has as much waiting as it may.
        let Ok(route) = routed else {
            self.tally.count(Reached::Refused);
            return None;
        };
        if route.routed == 0 {
            // What is staged and not sealed the model does not know yet.
            let is_known = up.builder.is_empty() && !up.engine.has_decided() && !self.nodes[node].is_clone;
            self.check_nobody_wants(node, is_known, &names);
            return None;
        }
        for record in &records {
            up.builder.push_control(&mut up.buffer, record);
        }
        self.numbers += 1;
        let number = self.numbers;
        let mut payload = vec![0x5a; payload_bytes.max(8)];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        let head = MessageHead::with_topics(Wall(now), names.iter().map(String::as_str)).unwrap();
        let parts = MessageParts::new(&head, &payload).unwrap();
        up.builder.push_message(&mut up.buffer, &parts, flags | more, route.set);
        let own = up.engine.state().identity.id;
        self.model.sent.insert(number, (own, sent));
        if self.nodes[node].is_astray {
            self.model.astray.insert(number);
        }
        let life = self.nodes[node].life;
        self.at(now, Event::Wake(node, life));
        Some(number)
    }
}
