//! What is looked at after each batch and at each answer: nothing that was promised is gone.

use std::collections::{BTreeMap, BTreeSet};

use resolute::engine::deciding::Order;
use resolute::engine::effect::{Dispatch, Outcomes, RequestId};
use resolute::engine::request::Request;
use resolute::engine::state::State;
use resolute::format::control::{IntentState, PeerRecord, Place, StreamOwner};
use resolute::format::message::MessageView;
use resolute::ids::{Incarnation, Lsn, LsnRange, NodeId, PeerSlot};

use super::checks;
use super::model::{Entry, Model};
use super::node::Up;
use super::world::World;

/// The records that a node still owes, to whom `is_its` says.
pub fn owed(state: &State, is_its: impl Fn(&StreamOwner) -> bool) -> BTreeSet<Lsn> {
    let streams = state.streams.values().filter(|stream| is_its(&stream.owner));
    let runs = streams.flat_map(|stream| stream.owed_in(Lsn(0), Lsn(u64::MAX)));
    runs.flat_map(|run| (0..run.count).map(move |index| run.lsn.plus(index))).collect()
}

impl World {
    /// Of what a node owes to another, only that is settled which is durable there; a command to an address where nobody
    /// has answered yet waits for whoever will.
    pub fn check_conserved(&self, node: usize, state: &State) {
        if !self.nodes[node].is_original() {
            return;
        }
        let own = state.identity.id;
        for other in self.originals().filter(|other| other.index != node) {
            let Some(to) = other.identity else { continue };
            let Some(first) = self.model.sound_from(to, own) else { continue };
            let missing = self.model.missing_at(own, to, other.durable);
            let missing: Vec<_> = missing.into_iter().filter(|(lsn, _)| *lsn >= first).collect();
            if missing.is_empty() {
                continue;
            }
            let owed =
                owed(state, |owner| matches!(owner, StreamOwner::Peer(slot) if state.node_of(*slot) == to));
            let lost = missing.iter().find(|(lsn, _)| !owed.contains(lsn));
            assert!(lost.is_none(), "{lost:?} of {own} is settled, and not durable at {to}");
        }
        let Some(log) = self.model.logs.get(&own) else { return };
        let waiting = owed(state, |owner| matches!(owner, StreamOwner::Address(_)));
        for (lsn, entry) in &log.entries {
            let Entry::Message { address: Some(address), .. } = entry else { continue };
            let is_kept = log.bound.contains_key(address) || log.excused_addresses.contains(lsn);
            assert!(is_kept || waiting.contains(lsn), "command {lsn} of {own} to {address} is gone");
        }
    }

    /// Whoever asked for something got an answer, if it is something that needs nobody else.
    pub fn check_answered(&self, node: usize, up: &Up) {
        let is_alone = |request: &Request| {
            !matches!(
                request,
                Request::Confirmed { .. } | Request::Drain { .. } | Request::Subscribers { .. }
            )
        };
        let mut waiting = up.asked.iter().filter(|(id, _)| !up.done.contains(id) && !up.refused.contains(id));
        let waiting = waiting.find(|(_, request)| up.failed || is_alone(request));
        assert!(waiting.is_none(), "n{node} never answered {waiting:?}");
    }

    /// Whoever is told that nobody wants these topics hears what the log says.
    pub fn check_nobody_wants(&self, node: usize, is_known: bool, topics: &[String]) {
        let log = self.nodes[node].identity.and_then(|own| self.model.logs.get(&own));
        let is_wanted = log.is_some_and(|log| log.is_wanted(topics));
        assert!(!is_known || !is_wanted, "n{node} sends {topics:?} to nobody");
    }

    /// What somebody was told to be done is so after a crash, unless somebody asked for the contrary since.
    pub fn check_done(&self, node: usize, up: &Up, id: RequestId, messages: u64) {
        assert!(!up.failed, "{id:?} is done, and the disk of n{node} has failed");
        let state = checks::durable(up);
        let asked = &plain(&up.asked[&id]);
        let mut later = up.asked.range(id..).skip(1).filter(|(id, _)| !up.refused.contains(id));
        let is_undone = later.any(|(_, request)| undoes(&plain(request), asked));
        match asked {
            Request::Decide { order: Order::Pause { peer }, .. } if !is_undone => {
                assert!(is_paused(state, peer), "n{node} has paused {peer}: {:?}", state.paused);
            }
            Request::Decide { order: Order::Limit { peer, quota, .. }, .. } if !is_undone => {
                let slot = slot_of(state, peer);
                let found = slot.map(|slot| state.quotas.get(&slot).copied().unwrap_or_default());
                assert_eq!(found, Some(*quota), "n{node} has limited {peer}");
            }
            Request::Decide { order: Order::Resume { peer }, .. } if !is_undone => {
                assert!(!is_paused(state, peer), "n{node} has resumed {peer}: {:?}", state.paused);
            }
            Request::Subscribe { address, topics } if !is_undone => {
                let intents = state.addresses.get(address).map(|known| &known.intents);
                let is_wanted = |topic: &String| {
                    let state = intents.and_then(|intents| intents.get(topic));
                    matches!(state, Some(IntentState::Wanted | IntentState::Confirmed))
                };
                assert!(topics.iter().all(is_wanted), "n{node} wants {topics:?} at {address}: {intents:?}");
            }
            Request::Unsubscribe { address, topics } if !is_undone => {
                let intents = state.addresses.get(address).map(|known| &known.intents);
                let is_over = |topic: &String| {
                    let state = intents.and_then(|intents| intents.get(topic));
                    matches!(state, None | Some(IntentState::Removing))
                };
                assert!(topics.iter().all(is_over), "n{node} wants no {topics:?} at {address}: {intents:?}");
            }
            Request::RemoveDestination { address } if !is_undone => {
                assert!(!state.addresses.contains_key(address), "n{node} knows {address} still");
            }
            Request::Change { verb, place, ranges, .. } => {
                let met = self.met_by(up, id);
                let is_met = met.is_none_or(|met| met == messages);
                assert!(is_met, "a change met {messages} messages, and should have met {met:?}: {asked:?}");
                let is_owed = |range: &LsnRange| {
                    state.streams.values().any(|s| s.owed_in(range.first, range.end()).next().is_some())
                };
                let is_there = |range: &LsnRange| match place {
                    Place::Outgoing => is_owed(range),
                    place => state.inbox.at_place(*range, *place).next().is_some(),
                };
                let is_removed = !verb.removes() || !ranges.iter().any(is_there);
                assert!(is_removed, "n{node} has of {ranges:?} what was removed");
            }
            Request::Rewrite { messages: written, .. } => {
                let met = self.met_by(up, id);
                assert!(
                    met.is_none_or(|met| met == messages),
                    "{messages} are written anew, of {met:?}: {asked:?}"
                );
                let payload = MessageView::parse(&written[0].body).unwrap().payload;
                let number = u64::from_le_bytes(payload[..8].try_into().unwrap());
                let durable = |(lsn, entry): (&Lsn, &Entry)| {
                    let is_it = matches!(entry, Entry::Message { number: there, .. } if *there == number);
                    is_it && *lsn < state.index.end()
                };
                let count = self.model.logs[&state.identity.id]
                    .entries
                    .iter()
                    .filter(|found| durable(*found))
                    .count();
                assert_eq!(count as u64, messages, "n{node} has so many of {number}: {asked:?}");
            }
            _ => {}
        }
    }

    /// How many messages a change met, if that is known: each that was asked for left one record.
    fn met_by(&self, up: &Up, id: RequestId) -> Option<u64> {
        let is_change =
            |request: &Request| matches!(request, Request::Change { .. } | Request::Rewrite { .. });
        let before =
            up.asked.range(..id).filter(|(id, request)| is_change(request) && !up.refused.contains(id));
        let log = &self.model.logs[&up.engine.state().identity.id];
        log.changes_from(up.first).nth(before.count()).expect("a change that is done was written down")
    }
}

/// What was decided by hand, as anybody may ask for it.
fn plain(request: &Request) -> Request {
    let Request::Decide { order, .. } = request else { return request.clone() };
    match order.clone() {
        Order::Forget { peer: address } => Request::RemoveDestination { address },
        Order::Subscribe { address, topics } => Request::Subscribe { address, topics },
        Order::Unsubscribe { address, topics } => Request::Unsubscribe { address, topics },
        Order::Pause { .. } | Order::Resume { .. } | Order::Limit { .. } => request.clone(),
    }
}

fn is_paused(state: &State, peer: &str) -> bool {
    slot_of(state, peer).is_some_and(|slot| state.paused.contains(&slot))
}

fn slot_of(state: &State, peer: &str) -> Option<PeerSlot> {
    let bound = state.addresses.get(peer).and_then(|known| known.bound);
    let is_it =
        |record: &&PeerRecord| !record.removed && (record.address == peer || record.node.to_string() == peer);
    let named = || state.peers.values().rev().find(is_it).map(|record| record.slot);
    bound.or_else(named)
}

/// Whether one wish leaves nothing, or not all, of another.
fn undoes(later: &Request, wish: &Request) -> bool {
    let pauses = |request: &Request| {
        matches!(request, Request::Decide { order: Order::Pause { .. } | Order::Resume { .. }, .. })
    };
    let limits = |request: &Request| matches!(request, Request::Decide { order: Order::Limit { .. }, .. });
    if limits(wish) {
        return limits(later) || matches!(later, Request::RemoveDestination { .. });
    }
    // One node has several names.
    if pauses(wish) {
        return pauses(later) || matches!(later, Request::RemoveDestination { .. });
    }
    let share = |one: &[String], other: &[String]| one.iter().any(|topic| other.contains(topic));
    match (wish, later) {
        (
            Request::Subscribe { address: a, topics: one },
            Request::Unsubscribe { address: b, topics: other },
        )
        | (
            Request::Unsubscribe { address: a, topics: one },
            Request::Subscribe { address: b, topics: other },
        ) => a == b && share(one, other),
        // Whoever is forgotten is so at all the addresses where it answers.
        (Request::Subscribe { address: a, .. }, Request::RemoveDestination { address: b })
        | (Request::RemoveDestination { address: a }, Request::Subscribe { address: b, .. }) => {
            are_of_one(a, b)
        }
        _ => false,
    }
}

/// Whether two names may be those of one node: `n1` and `alias1` are, and a node id may be anybody's.
fn are_of_one(one: &str, other: &str) -> bool {
    let number = |name: &str| name.trim_start_matches("alias").trim_start_matches('n').parse::<usize>().ok();
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

/// How far handlers were called, since serving began.
#[derive(Default)]
pub struct Called {
    serving: u32,
    /// Of each publisher, its last message that was handed over for the first time. Whoever was forgotten and came back has another
    /// slot, and may have sent again what was not acknowledged to it.
    last: BTreeMap<(NodeId, PeerSlot, Incarnation), Lsn>,
    all: BTreeSet<Lsn>,
    /// With handlers now.
    out: BTreeSet<Lsn>,
    /// Its handlers have succeeded.
    handled: BTreeSet<Lsn>,
}

impl Called {
    /// What became of some, in the serving in which they were handed over.
    pub fn report(&mut self, outcomes: &Outcomes) {
        let every = |ranges: &[LsnRange]| {
            let each = |range: &LsnRange| range.first.0..range.end().0;
            ranges.iter().flat_map(each).map(Lsn).collect::<Vec<_>>()
        };
        let handled = every(&outcomes.handled);
        let mixed = outcomes.mixed.iter().map(|outcome| outcome.lsn);
        let back = every(&outcomes.parked).into_iter().chain(outcomes.returned.iter().copied()).chain(mixed);
        back.chain(handled.iter().copied()).for_each(|lsn| assert!(self.out.remove(&lsn)));
        self.handled.extend(handled);
    }

    /// Messages of one publisher are handed over in their order; only those come again, in any, that were called before. None
    /// comes while it is with its handlers, or once they have succeeded.
    pub fn check(&mut self, model: &Model, serving: u32, own: NodeId, dispatch: &Dispatch) {
        if self.serving != serving {
            *self = Called { serving, ..Called::default() };
        }
        let log = &model.logs[&own];
        for lsn in (0..dispatch.range.count).map(|index| dispatch.range.first.plus(index)) {
            assert!(self.out.insert(lsn), "{own} calls handlers with {lsn}, which they have");
            assert!(!self.handled.contains(&lsn), "{own} calls handlers with {lsn}, which they handled");
            if !self.all.insert(lsn) || dispatch.progress.is_some() || log.retried.contains(&lsn) {
                continue;
            }
            let (from, slot, incarnation, theirs) = match &log.entries[&lsn] {
                Entry::Accepted { from, slot, incarnation, lsn, .. } => (*from, *slot, *incarnation, *lsn),
                _ => (own, PeerSlot::SELF, Incarnation::default(), lsn),
            };
            if !model.logs[&from].keeps_its_place(theirs) {
                continue;
            }
            let before = self.last.insert((from, slot, incarnation), theirs);
            assert!(
                before.is_none_or(|before| before < theirs),
                "{own} calls handlers with {theirs} of {from} after {before:?}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::model::{Log, Sent};
    use super::*;

    /// A publisher, and a receiver that accepted its records in this order.
    fn two(records: &[(Lsn, bool)]) -> Model {
        let (from, to) = (NodeId(1), NodeId(2));
        let mut model = Model::default();
        let mut theirs = Log::default();
        let mut ours = Log::default();
        for (index, (lsn, is_event)) in records.iter().enumerate() {
            let address = (!is_event).then(|| "n1".to_owned());
            theirs.entries.insert(*lsn, Entry::Message { number: lsn.0, to: BTreeSet::new(), address });
            model.sent.insert(lsn.0, (from, Sent::Event(Vec::new())));
            let accepted = Entry::Accepted {
                number: lsn.0,
                from,
                incarnation: Incarnation(7),
                lsn: *lsn,
                slot: resolute::ids::PeerSlot(1),
                stream: resolute::ids::StreamId(1),
                position: resolute::ids::Position(index as u64),
            };
            ours.entries.insert(Lsn(index as u64 + 1), accepted);
        }
        model.logs.extend([(from, theirs), (to, ours)]);
        model
    }

    fn call(called: &mut Called, model: &Model, serving: u32, first: u64, count: u64) {
        let (node, incarnation) = (NodeId(1), Incarnation(7));
        let range = LsnRange { first: Lsn(first), count };
        let dispatch = Dispatch { range, pieces: Vec::<Bytes>::new(), node, incarnation, progress: None };
        called.check(model, serving, NodeId(2), &dispatch);
    }

    #[test]
    fn commands_may_be_called_late_and_all_may_come_again() {
        let model = two(&[(Lsn(1), true), (Lsn(5), true), (Lsn(3), false), (Lsn(6), true)]);
        let mut called = Called::default();
        call(&mut called, &model, 1, 1, 4);
        called.report(&Outcomes { returned: vec![Lsn(2)], ..Outcomes::default() });
        call(&mut called, &model, 1, 2, 1);
        call(&mut called, &model, 2, 1, 2);
    }

    #[test]
    #[should_panic(expected = "which they have")]
    fn a_message_that_comes_while_handlers_have_it_is_noticed() {
        let model = two(&[(Lsn(1), true), (Lsn(5), true)]);
        let mut called = Called::default();
        call(&mut called, &model, 1, 1, 2);
        call(&mut called, &model, 1, 2, 1);
    }

    #[test]
    #[should_panic(expected = "which they handled")]
    fn a_message_that_comes_again_though_it_was_handled_is_noticed() {
        let model = two(&[(Lsn(1), true), (Lsn(5), true)]);
        let mut called = Called::default();
        call(&mut called, &model, 1, 1, 2);
        let handled = vec![LsnRange { first: Lsn(1), count: 2 }];
        called.report(&Outcomes { handled, ..Outcomes::default() });
        call(&mut called, &model, 1, 2, 1);
    }

    #[test]
    #[should_panic(expected = "calls handlers with")]
    fn an_event_that_is_called_after_a_later_one_is_noticed() {
        let model = two(&[(Lsn(1), true), (Lsn(5), true)]);
        let mut called = Called::default();
        call(&mut called, &model, 1, 2, 1);
        call(&mut called, &model, 1, 1, 1);
    }
}
