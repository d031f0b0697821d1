//! What the user asks for beside publishing.

use std::collections::BTreeMap;

use super::deciding::Order;
use super::effect::{Event, Refusal, RequestId};
use super::requests::{Drain, Requests};
use super::rewriting::Written;
use super::stream::Stream;
use super::{Engine, Pending};
use crate::format::control::{Change, Control, IntentState, Place, StreamOwner, Verb};
use crate::format::record::RECORD_HEADER_BYTES;
use crate::ids::{Lsn, LsnRange, PeerSlot, StreamId};
use crate::limits::INTEREST_BYTES_MAX;
use crate::time::{Monotonic, Now};
use crate::wire::bodies::interest_bytes;
use crate::wire::goodbye::GoodbyeCode;

/// Something the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To get messages of these topics from the node at that address. Done when the wish is durable.
    Subscribe {
        /// The address.
        address: String,
        /// The topics.
        topics: Vec<String>,
    },
    /// To get them no longer. Done when that is durable; what was published before still comes.
    Unsubscribe {
        /// The address.
        address: String,
        /// The topics.
        topics: Vec<String>,
    },
    /// To know when the publisher has written down these wishes, or their end.
    Confirmed {
        /// The address.
        address: String,
        /// The topics.
        topics: Vec<String>,
    },
    /// To forget a peer, with all that it is owed and all that is wanted of it.
    RemoveDestination {
        /// Its address.
        address: String,
    },
    /// To know when nothing is owed and nothing waits for a handler, at the latest at that time.
    Drain {
        /// When to give up.
        deadline: Monotonic,
    },
    /// To change what is in the inbox, or owed, by hand. Done when that is durable.
    Change {
        /// Who asks for it.
        who: String,
        /// What is done.
        verb: Verb,
        /// With messages that are there.
        place: Place,
        /// Of those that are owed: only on this stream.
        stream: Option<StreamId>,
        /// Which: at most [`LIST_ENTRIES_MAX`](crate::format::control::LIST_ENTRIES_MAX).
        ranges: Vec<LsnRange>,
    },
    /// To write messages anew, at the end of the log, in place of those that are there. Done when that is durable. Refused while the disk is full.
    Rewrite {
        /// Who asks for it.
        who: String,
        /// Whether their contents are others.
        verb: Verb,
        /// Where they are.
        place: Place,
        /// Of those that are owed: on which stream.
        stream: Option<StreamId>,
        /// What is to stand in their place.
        messages: Vec<Written>,
    },
    /// To treat another node otherwise, by hand. Done when that is durable.
    Decide {
        /// Who asks for it.
        who: String,
        /// What is to be done.
        order: Order,
    },
    /// To know when at least so many subscriptions match a topic.
    Subscribers {
        /// The topic.
        topic: String,
        /// How many.
        count: usize,
    },
}

impl Engine {
    /// The user asks for something. It ends in an event of that id.
    pub fn handle_request(&mut self, now: Now, id: RequestId, request: Request) {
        self.now = now;
        if self.failed {
            self.events.push_back(Event::Refused(id, Refusal::Storage));
            return;
        }
        match request {
            Request::Subscribe { address, topics } => self.subscribe(id, &address, topics),
            Request::Unsubscribe { address, topics } => self.unsubscribe(id, &address, topics),
            Request::Confirmed { address, topics } => {
                self.requests.confirmed.push((id, address, topics));
                self.check_confirmed();
            }
            Request::Change { who, verb, place, stream, ranges } => {
                let is_owed = place == Place::Outgoing && verb.removes();
                let dropped = if is_owed { self.state.owed_of(stream, &ranges) } else { 0 };
                let change = Change { at: now.wall, who, verb, place, stream, dropped, ranges };
                self.pending.push_back(Pending::Control(Control::Administered(change)));
                self.requests.changes_for(id);
                self.pending.push_back(Pending::Done(id));
            }
            Request::Rewrite { who, verb, place, stream, messages } => {
                self.rewrite(id, (who, verb), (place, stream), messages);
            }
            Request::RemoveDestination { address } => self.remove_destination(id, &address),
            Request::Decide { who, order } => self.decide(id, who, order),
            Request::Drain { deadline } => {
                // What was staged before is not seen yet.
                self.requests.drains.insert(id, Drain { deadline, after: None });
                self.pending.push_back(Pending::Drain(id));
            }
            Request::Subscribers { topic, count } => {
                self.requests.subscribers.push((id, topic, count));
                self.check_subscribers();
            }
        }
    }

    /// The log failed: what is waited for never comes, and all who asked are told.
    pub(super) fn refuse_requests(&mut self) {
        let requests = std::mem::take(&mut self.requests);
        let to_be_written =
            std::mem::take(&mut self.pending).into_iter().filter_map(|pending| match pending {
                Pending::Done(id) => Some(id),
                _ => None,
            });
        let being_written = std::mem::take(&mut self.done).into_iter().map(|(_, id)| id);
        let confirmed = requests.confirmed.into_iter().map(|(id, ..)| id);
        let subscribers = requests.subscribers.into_iter().map(|(id, ..)| id);
        let waiting = confirmed.chain(subscribers).chain(requests.drains.into_keys());
        for id in being_written.chain(to_be_written).chain(waiting) {
            self.events.push_back(Event::Refused(id, Refusal::Storage));
        }
    }

    /// Nobody waits any more for what was asked for.
    pub fn forget_request(&mut self, id: RequestId) {
        self.requests.confirmed.retain(|(waiting, ..)| *waiting != id);
        self.requests.subscribers.retain(|(waiting, ..)| *waiting != id);
        self.requests.drains.remove(&id);
    }

    pub(super) fn slot_at(&self, address: &str) -> Option<PeerSlot> {
        if self.config.own_addresses.iter().any(|own| own == address) {
            return Some(PeerSlot::SELF);
        }
        self.state.addresses.get(address).and_then(|known| known.bound)
    }

    /// What was written down, and what is about to be, of the wishes at an address.
    pub(super) fn intents(&self, address: &str) -> BTreeMap<String, IntentState> {
        let mut intents =
            self.state.addresses.get(address).map(|known| known.intents.clone()).unwrap_or_default();
        intents.extend(self.requests.written.get(address).cloned().unwrap_or_default());
        intents.retain(|_, state| *state != IntentState::Removed);
        intents
    }

    pub(super) fn subscribe(&mut self, id: RequestId, address: &str, topics: Vec<String>) {
        let known = self.intents(address);
        let all = known.keys().chain(topics.iter().filter(|topic| !known.contains_key(*topic)));
        if interest_bytes(all.map(String::as_str)) > INTEREST_BYTES_MAX {
            self.events.push_back(Event::Refused(id, Refusal::TooManyTopics));
            return;
        }
        let local = self.slot_at(address) == Some(PeerSlot::SELF);
        let state = if local { IntentState::Confirmed } else { IntentState::Wanted };
        let wanted =
            |known: Option<&IntentState>| matches!(known, Some(IntentState::Wanted | IntentState::Confirmed));
        let new: Vec<String> = topics.into_iter().filter(|topic| !wanted(known.get(topic))).collect();
        // One record for each wish, and what the node wants of itself once more.
        let beside = (address.len() + 2 * RECORD_HEADER_BYTES) * new.len();
        let more = 2 * super::allowance::topics_bytes(new.iter()) + beside as u64;
        if !new.is_empty() && !self.take_allowance(more) {
            self.events.push_back(Event::Refused(id, Refusal::SegmentsTooSmall));
            return;
        }
        self.change_intents(address, &new, state, local.then_some(true));
        self.pending.push_back(Pending::Done(id));
    }

    pub(super) fn unsubscribe(&mut self, id: RequestId, address: &str, topics: Vec<String>) {
        let known = self.intents(address);
        let local = self.slot_at(address) == Some(PeerSlot::SELF);
        let state = if local { IntentState::Removed } else { IntentState::Removing };
        let old: Vec<String> = topics.into_iter().filter(|topic| known.contains_key(topic)).collect();
        self.change_intents(address, &old, state, None);
        if local {
            let unwanted: Vec<String> =
                old.into_iter().filter(|topic| !self.is_wanted_of_self(topic)).collect();
            self.change_subscriber(&unwanted, false);
        }
        self.pending.push_back(Pending::Done(id));
    }

    /// Writes down wishes. `local` is set if the node wants something, or no longer wants it, of itself.
    fn change_intents(&mut self, address: &str, topics: &[String], state: IntentState, local: Option<bool>) {
        for topic in topics {
            self.write_intent(address, topic, state);
        }
        if let Some(added) = local {
            self.change_subscriber(topics, added);
        }
    }

    pub(super) fn write_intent(&mut self, address: &str, topic: &str, state: IntentState) {
        self.requests.written.entry(address.to_owned()).or_default().insert(topic.to_owned(), state);
        let control = Control::Intent { address: address.to_owned(), topic: topic.to_owned(), state };
        self.pending.push_back(Pending::Control(control));
    }

    /// What this node wants of itself.
    fn change_subscriber(&mut self, topics: &[String], added: bool) {
        for part in super::apply::topic_parts(topics) {
            let control = Control::Subscriber { slot: PeerSlot::SELF, added, topics: part.to_vec() };
            self.pending.push_back(Pending::Control(control));
        }
    }

    /// Whether the node wants a topic of itself, at whatever of its addresses.
    fn is_wanted_of_self(&self, topic: &str) -> bool {
        let known = self.state.addresses.keys().chain(self.requests.written.keys());
        let mut own = known.filter(|address| self.slot_at(address) == Some(PeerSlot::SELF));
        own.any(|address| {
            matches!(self.intents(address).get(topic), Some(IntentState::Wanted | IntentState::Confirmed))
        })
    }

    /// An address turned out to be the node's own: its wishes there concern nobody else.
    pub(super) fn settle_own_intents(&mut self, address: &str) {
        for (topic, state) in self.intents(address) {
            if matches!(state, IntentState::Wanted | IntentState::Confirmed) {
                self.write_intent(address, &topic, IntentState::Confirmed);
                self.change_subscriber(&[topic], true);
            } else {
                self.write_intent(address, &topic, IntentState::Removed);
            }
        }
    }

    pub(super) fn remove_destination(&mut self, id: RequestId, address: &str) {
        let slot = self.slot_named(address);
        let queued = |owner: &StreamOwner| matches!(owner, StreamOwner::Address(a) if a == address);
        let known = self.state.addresses.contains_key(address)
            || self.state.streams.values().any(|stream| queued(&stream.owner))
            || !self.intents(address).is_empty();
        if slot.is_none() && !known || slot == Some(PeerSlot::SELF) {
            self.events.push_back(Event::Refused(id, Refusal::UnknownAddress));
            return;
        }
        self.wish_nothing_of(slot, address);
        if let Some(slot) = slot {
            if let Some(session) = self.sessions.of_peer(slot).map(|session| session.id) {
                self.end_session(session, GoodbyeCode::Removed, "this node was told to forget the peer");
            }
            let dropped = self.owed_to(&StreamOwner::Peer(slot));
            self.release_secret(slot);
            self.pending.push_back(Pending::Control(Control::PeerRemoved { slot, dropped }));
            self.wanted.remove(&slot);
            self.meeting.leaves(slot);
            self.giving_way.strike_off(slot);
        }
        self.forget_address(address);
        self.pending.push_back(Pending::Done(id));
    }

    /// What was wanted at an address, and of the peer that answers there, goes with them: who asks for it again before that is
    /// applied asks for something new.
    fn wish_nothing_of(&mut self, slot: Option<PeerSlot>, address: &str) {
        let mut addresses = vec![address.to_owned()];
        if let Some(slot) = slot {
            addresses.extend(self.state.addresses_of(slot).map(|(address, _)| address.clone()));
            addresses.extend(self.meeting.addresses_of(slot).cloned());
        }
        for address in addresses {
            self.meeting.leaves_address(&address);
            let wishes = self.intents(&address).into_keys().map(|topic| (topic, IntentState::Removed));
            let wishes: Vec<_> = wishes.collect();
            if !wishes.is_empty() {
                self.requests.written.entry(address).or_default().extend(wishes);
            }
        }
    }

    fn owed_to(&self, owner: &StreamOwner) -> u64 {
        self.state.streams.values().filter(|stream| stream.owner == *owner).map(Stream::owed).sum()
    }

    fn forget_address(&mut self, address: &str) {
        let address = address.to_owned();
        let dropped = self.owed_to(&StreamOwner::Address(address.clone()));
        self.pending.push_back(Pending::Control(Control::AddressRemoved { address, dropped }));
    }

    /// The node is at home at its own addresses: what it wants of itself, or sends there, needs no network. Those that it
    /// had in an earlier opening and wants nothing of are forgotten.
    pub(super) fn bind_own_addresses(&mut self) {
        let own = self.config.own_addresses.clone();
        let former = self.state.addresses.iter().filter(|(address, known)| {
            known.bound == Some(PeerSlot::SELF) && known.intents.is_empty() && !own.contains(address)
        });
        let former: Vec<String> = former.map(|(address, _)| address.clone()).collect();
        former.iter().for_each(|address| self.forget_address(address));
        own.iter()
            .filter(|address| !address.is_empty())
            .for_each(|address| self.bind(address, PeerSlot::SELF));
    }

    /// Wishes changed, here or in what the publisher knows: sessions say what is new, and those who wait are told.
    pub(super) fn check_confirmed(&mut self) {
        let Engine { state, sessions, requests, .. } = self;
        let mut done = Vec::new();
        for session in sessions.iter_mut().filter(|session| session.is_known()) {
            let Some(slot) = session.peer else { continue };
            let open = |state: &IntentState| matches!(state, IntentState::Wanted | IntentState::Removing);
            session.interest_due |=
                state.addresses_of(slot).any(|(_, known)| known.intents.values().any(open));
        }
        let Requests { confirmed, written, .. } = requests;
        confirmed.retain(|(id, address, topics)| {
            let known = state.addresses.get(address);
            let open = written.get(address);
            let settled = |topic: &String| {
                let state = known.and_then(|known| known.intents.get(topic));
                let is_open = open.is_some_and(|written| written.contains_key(topic));
                !is_open && matches!(state, None | Some(IntentState::Confirmed))
            };
            let confirmed = topics.iter().all(settled);
            if confirmed {
                done.push(*id);
            }
            !confirmed
        });
        self.done_once_durable(done);
    }

    pub(super) fn check_subscribers(&mut self) {
        let Engine { state, requests, .. } = self;
        let mut done = Vec::new();
        requests.subscribers.retain(|(id, topic, count)| {
            let matching = state.subscribers.values().filter(|topics| topics.contains(topic)).count();
            if matching >= *count {
                done.push(*id);
            }
            matching < *count
        });
        self.done_once_durable(done);
    }

    /// Whether nothing is owed to anyone and nothing waits for a handler.
    fn is_drained(&self) -> bool {
        let said =
            self.acks.iter().all(|(id, heard)| self.state.streams.get(id).is_none_or(|s| s.acked >= *heard));
        said && self.state.owed() == 0 && self.state.inbox.waiting() == 0 && self.handled.count() == 0
    }

    /// Everything that was staged when a drain was asked for is in the log up to `after`.
    pub(super) fn drain_sees(&mut self, id: RequestId, after: Lsn) {
        if let Some(drain) = self.requests.drains.get_mut(&id) {
            drain.after = Some(after);
        }
    }

    pub(super) fn check_drains(&mut self) {
        if self.requests.drains.is_empty() {
            return;
        }
        let (now, drained, durable) = (self.now.monotonic, self.is_drained(), self.commit.durable());
        let Engine { requests, events, .. } = self;
        requests.drains.retain(|id, drain| {
            let seen = drain.after.is_some_and(|after| after <= durable);
            let over = drained && seen || now >= drain.deadline;
            if over {
                events.push_back(Event::Done(*id, 0));
            }
            !over
        });
    }
}
