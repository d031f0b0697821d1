//! What must hold at every step, and what must hold when all is quiet.

use std::collections::{BTreeMap, BTreeSet};

use resolute::engine::deciding::Order;
use resolute::engine::effect::{Dispatch, SessionId, Transmit};
use resolute::engine::inbox::HandlerState;
use resolute::engine::request::Request;
use resolute::engine::session::Phase;
use resolute::engine::state::State;
use resolute::format::batch::BatchView;
use resolute::format::control::{IntentState, Place, StreamOwner};
use resolute::format::frame::{FrameKind, FrameView};
use resolute::format::record::{RecordKind, Records};
use resolute::ids::{Lsn, NodeId, PeerSlot, StreamId};
use resolute::wire::bodies::Body;

use super::faults::Faults;
use super::model::{Entry, Model};
use super::net::Weather;
use super::node::{Node, RETRY, Up};
use super::turn::handlers_of;
use super::world::World;

/// After each batch: the inbox of the engine is that of the model.
pub fn state(model: &Model, up: &Up) {
    let state = up.engine.state();
    let Some(log) = model.logs.get(&state.identity.id) else { return };
    let waiting = log.inbox.keys().filter(|lsn| !log.handled.contains_key(lsn));
    let held =
        state.inbox.runs_in(Lsn(0), Lsn(u64::MAX)).flat_map(|run| run.range.first.0..run.range.end().0);
    assert!(waiting.map(|lsn| lsn.0).eq(held), "the inbox is not what was accepted and not handled");
    let parked = state.inbox.parked().iter().flat_map(|range| range.first.0..range.end().0);
    assert!(parked.eq(log.parked().map(|lsn| lsn.0)), "what is parked is not what has no handler");
    let is_dead = |lsn: &Lsn| state.inbox.place_of(*lsn) == Place::Dead;
    let dead = state.inbox.progress().keys().copied().filter(is_dead);
    assert!(log.dead().eq(dead), "what is dead is not what was given up");
}

/// After each turn: nothing takes more memory than it may.
pub fn bounds(up: &Up) {
    for bound in up.engine.bounds() {
        assert!(bound.held <= bound.most, "too much of what is bounded: {bound:?}");
    }
}

/// After each turn: what is durable was submitted, what was submitted was appended, and no mark falls.
pub fn marks(up: &mut Up) {
    let now = [up.engine.durable(), up.engine.submitted(), Lsn(up.builder.next_lsn().0 - 1)];
    assert!(now.is_sorted(), "durable, submitted and appended: {now:?}");
    let before = std::mem::replace(&mut up.marks, now);
    let falls = before.iter().zip(&now).any(|(before, now)| before > now);
    assert!(!falls, "a mark fell: {before:?}, and now {now:?}");
    let rises = before[..2] != now[..2];
    assert!(!up.failed || !rises, "a mark rose after the disk failed: {before:?}, and now {now:?}");
    for (id, stream) in &up.engine.state().streams {
        assert!(stream.acked.0 <= stream.next.0, "stream {id} is settled further than it goes");
    }
}

/// Whenever a peer may have been granted more: both the inbox and the log have room for what it sends.
pub fn grants(up: &mut Up) {
    let has_room = up.engine.state().inbox.bytes() < up.inbox_bytes_max && !up.engine.is_disk_full();
    let has_room_for = |slot: Option<PeerSlot>| {
        let inbox = &up.engine.state().inbox;
        slot.map_or(inbox.most_of_one(), |slot| inbox.bytes_of(slot)) < up.sender_bytes_max
    };
    let sessions = up.engine.sessions().iter();
    let room: BTreeMap<SessionId, bool> =
        sessions.map(|session| (session.id, has_room && has_room_for(session.peer))).collect();
    let granted = up.engine.sessions().iter().map(|session| (session.id, session.granted)).collect();
    let before = std::mem::replace(&mut up.granted, granted);
    for (session, granted) in &up.granted {
        let known = before.get(session).copied().unwrap_or(0);
        assert!(
            room[session] || *granted <= known,
            "{granted} bytes are granted, and there is no room for them"
        );
    }
}

/// The durable state: that after the last batch that is.
pub fn durable(up: &Up) -> &State {
    up.snapshots.first_key_value().unwrap().1
}

/// Nobody is forgotten by hand whom nobody wanted to be.
pub fn removals(up: &Up, view: &BatchView<'_>) {
    let is_asked = |request: &Request| {
        matches!(
            request,
            Request::RemoveDestination { .. } | Request::Decide { order: Order::Forget { .. }, .. }
        )
    };
    let mut records = Records::new(view.records).map(Result::unwrap);
    let is_any = records.any(|record| record.kind == RecordKind::PeerRemoved);
    assert!(!is_any || up.asked.values().any(is_asked), "a peer is removed, and nobody asked for that");
}

/// A segment goes only when nothing in it is wanted in the state that a crash would bring back.
pub fn freed(up: &Up) {
    let end = up.engine.segments().head().first_lsn;
    up.snapshots.values().for_each(|state| freed_in(state, end));
}

fn freed_in(state: &State, end: Lsn) {
    let inbox = state.inbox.runs_in(Lsn(0), end).map(|run| (run.range.first, run.range.count));
    let owed = state.streams.values().flat_map(|stream| stream.owed_in(Lsn(0), end));
    for (first, count) in inbox.chain(owed.map(|run| (run.lsn, run.count))) {
        for lsn in (0..count).map(|index| first.plus(index)) {
            let lies_in = state.index.bearer(lsn);
            assert!(lies_in >= end, "{lsn} is wanted after a crash, and lies in {lies_in}, which is freed");
        }
    }
}

/// Nothing is said that is not durable.
pub fn transmit(model: &Model, up: &Up, transmit: &Transmit) {
    let state = up.engine.state();
    let (own, mark) = (state.identity.id, up.engine.durable());
    assert!(transmit.after <= mark);
    let session = up.engine.sessions().get(transmit.session).unwrap();
    let bytes = transmit.pieces.concat();
    let mut rest = &bytes[..];
    while let Some((frame, length)) = FrameView::parse(rest).unwrap() {
        rest = &rest[length..];
        if let Some((run, records)) = frame.run() {
            let owner = durable(up).streams.get(&StreamId(run.stream.get())).map(|stream| &stream.owner);
            assert!(
                session.peer.is_none_or(|peer| !state.paused.contains(&peer)),
                "a run to a peer that is paused"
            );
            let is_theirs = matches!(owner, Some(StreamOwner::Peer(slot)) if Some(*slot) == session.peer);
            assert!(is_theirs, "a run of stream {} of {owner:?}, which a crash takes back", run.stream);
            let all_durable = Records::new(records).all(|record| record.unwrap().lsn() <= mark);
            assert!(all_durable, "a run of what is not durable");
        } else if frame.kind == FrameKind::Hello {
            assert_eq!(
                durable(up).opening.nonce,
                state.opening.nonce,
                "a hello of an opening that is not durable"
            );
            assert_eq!(
                durable(up).opening.epoch,
                up.engine.epoch(),
                "a hello of an opening that is not durable"
            );
        } else {
            let body = Body::decode(frame.kind, frame.body).unwrap();
            control(model.logs.get(&own).map(|log| (log, mark)), up, session.peer, &body);
        }
    }
    assert!(rest.is_empty(), "a transmission is whole frames");
}

fn control(log: Option<(&super::model::Log, Lsn)>, up: &Up, peer: Option<PeerSlot>, body: &Body) {
    match body {
        Body::Resume { durable, cursors } | Body::Ack { durable, cursors, .. } => {
            let (slot, (log, mark)) = (peer.unwrap(), log.unwrap());
            assert!(*durable <= mark, "record {durable} is not durable here");
            for (stream, position) in cursors {
                let accepted = log.accepted_up_to((slot, *stream), mark);
                assert!(*position <= accepted, "position {position} of stream {stream} is not durable here");
            }
        }
        Body::Established { .. } => {
            assert!(durable(up).peers.contains_key(&peer.unwrap()), "a peer that is not written down");
        }
        Body::StreamEnd { stream, .. } => {
            assert!(
                !durable(up).streams.contains_key(stream),
                "the end of a stream that a crash brings back"
            );
        }
        Body::Interest { topics, .. } => {
            let state = durable(up);
            let intents = state.addresses_of(peer.unwrap()).flat_map(|(_, known)| &known.intents);
            let is_wanted =
                |state: &IntentState| matches!(state, IntentState::Wanted | IntentState::Confirmed);
            let wanted: BTreeSet<&String> =
                intents.filter(|(_, state)| is_wanted(state)).map(|(t, _)| t).collect();
            assert_eq!(topics.iter().collect::<BTreeSet<_>>(), wanted, "a wish that a crash takes back");
        }
        Body::Gap { stream, first, count } => {
            let owed = durable(up).streams.get(stream).and_then(|stream| stream.at(*first));
            assert!(
                owed.is_none_or(|run| run.position >= first.plus(*count)),
                "a gap of {count} at {first} of stream {stream}, which a crash fills again"
            );
        }
        _ => {}
    }
}

/// What a handler is told of earlier calls is what happened, and what succeeded durably is not called again.
pub fn progress(model: &Model, own: NodeId, lsn: Lsn, dispatch: &Dispatch) {
    let log = &model.logs[&own];
    let progress = dispatch.progress.clone().unwrap_or_default();
    for (handler, attempts) in &progress.attempts {
        let known = log.failures.get(&(lsn, handler.clone())).copied().unwrap_or(0);
        assert_eq!(*attempts, known, "handler {handler} of {lsn} has failed so often");
    }
    for ((_, handler), _) in log.done.range((lsn, String::new())..(lsn.plus(1), String::new())) {
        assert!(progress.skip.contains(handler), "handler {handler} of {lsn} is called again");
    }
    for (_, handler) in log.dead.range((lsn, String::new())..(lsn.plus(1), String::new())) {
        assert!(
            progress.skip.contains(handler),
            "handler {handler} of {lsn} was given up and is called again"
        );
    }
}

impl World {
    /// Heals everything, lets all come to rest, and looks at the end of it.
    pub fn settle(&mut self) {
        self.is_calm = true;
        self.disks_full = false;
        self.faults = Faults::NONE;
        self.weather = Weather::FAIR;
        self.nodes.iter_mut().for_each(|node| node.dies_writing = None);
        let leaves = |node: &Node| !node.is_original() || node.up.as_ref().is_some_and(|up| up.failed);
        for node in (0..self.nodes.len()).filter(|node| leaves(&self.nodes[*node])).collect::<Vec<_>>() {
            self.leave(node);
        }
        self.net.apart.clear();
        for node in (0..self.nodes.len()).filter(|node| self.nodes[*node].is_original()).collect::<Vec<_>>() {
            self.start(node);
            // Those whose handlers run go on: nothing that they overlook is to come again by that.
            if self.nodes[node].up.as_ref().is_some_and(|up| !up.is_served) {
                self.serve(node, true);
            }
        }
        for _ in 0..40 {
            self.run_ms(3_000);
            if self.is_settled() {
                break;
            }
            self.resume_all();
        }
        // Whoever dialled in vain for long tries again within ten seconds.
        self.run_ms(12_000);
        self.check_settled();
        self.check_welcome();
    }

    fn is_settled(&self) -> bool {
        let rest = |up: &Up| {
            let state = up.engine.state();
            let owed: u64 = state
                .streams
                .iter()
                .filter(|(_, s)| matches!(s.owner, StreamOwner::Peer(_)))
                .map(|(_, s)| s.owed())
                .sum();
            let is_at_rest = up.engine.is_quiet() && up.builder.is_empty();
            // Whoever is paused is told of nothing, not even of what was taken out.
            is_at_rest && state.inbox.waiting() == 0 && owed == 0 && state.paused.is_empty()
        };
        self.originals().all(|node| node.up.as_ref().is_some_and(rest))
    }

    pub fn originals(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_original())
    }

    pub fn check_settled(&self) {
        for node in self.originals() {
            let up = node.up.as_ref().unwrap();
            let state = up.engine.state();
            let own = state.identity.id;
            assert!(up.engine.is_quiet(), "n{} is not quiet", node.index);
            assert_eq!(state.inbox.waiting(), 0, "messages wait for handlers at n{}", node.index);
            self.check_handled(node.index, own, state);
            self.check_conserved(node.index, state);
            self.check_answered(node.index, up);
            self.check_sessions(node.index, own, up);
            let log = self.model.logs.get(&own);
            assert!(log.is_none_or(|log| log.entries.len() as u64 <= state.index.end().0));
        }
        self.check_delivered();
    }

    fn check_delivered(&self) {
        let live: Vec<NodeId> = self.originals().filter_map(|node| node.identity).collect();
        for from in &live {
            for to in &live {
                if from == to || !self.model.logs.contains_key(from) {
                    continue;
                }
                self.check_noticed(*from, *to);
                let missing = self.model.missing(*from, *to);
                if self.model.is_broken(*to, *from) {
                    self.check_told(*from, *to, &missing);
                    continue;
                }
                self.check_told_of_withdrawn(*from, *to);
                // What does not fit there yet is still owed, which is looked at after each batch and once more now.
                assert!(missing.is_empty() || self.is_full(*to), "{to} lacks {missing:?} of {from}");
            }
        }
        for node in self.originals() {
            let state = node.up.as_ref().unwrap().engine.state();
            for (id, stream) in &state.streams {
                let StreamOwner::Peer(slot) = stream.owner else { continue };
                let (peer, own) = (state.node_of(slot), state.identity.id);
                // Two that do not remember the same may have no session; if they have one, it is like any other.
                let speaks = !self.model.is_broken(peer, own)
                    || self.is_in_session(node.index, peer) && self.hears(peer, own);
                let alive = live.contains(&peer) && !self.is_full(peer) && speaks;
                assert!(
                    !alive || stream.owed() == 0,
                    "n{} still owes {} on stream {id}",
                    node.index,
                    stream.owed()
                );
                let is_told = stream.is_settled() || !self.is_in_session(node.index, peer);
                assert!(!alive || is_told, "n{} never spoke of a gap in stream {id}", node.index);
            }
        }
    }

    /// Whether the original of a node has a session with a peer.
    pub fn hears(&self, own: NodeId, peer: NodeId) -> bool {
        let mut nodes = self.originals().filter(|node| node.identity == Some(own));
        nodes.any(|node| self.is_in_session(node.index, peer))
    }

    /// Whether a node takes nothing more, because of what nobody handles there.
    pub fn is_full(&self, own: NodeId) -> bool {
        let mut nodes = self.originals().filter(|node| node.identity == Some(own));
        let is_full = |node: &Node| {
            let inbox = &node.up.as_ref().unwrap().engine.state().inbox;
            inbox.bytes() >= node.inbox_bytes_max || inbox.most_of_one() >= node.sender_bytes_max
        };
        nodes.any(is_full)
    }

    /// Each handler of each message succeeded or gave up; what has no handler is parked.
    fn check_handled(&self, index: usize, own: NodeId, state: &State) {
        let Some(log) = self.model.logs.get(&own) else { return };
        for (lsn, number) in log.inbox.iter().filter(|(lsn, _)| !log.taken_out.contains(lsn)) {
            let topics = match &self.model.sent[number].1 {
                super::model::Sent::Event(topics) | super::model::Sent::Again { topics, .. } => {
                    topics.clone()
                }
                super::model::Sent::Command(_) => vec!["cmd".to_owned()],
            };
            let handlers = handlers_of(&self.nodes[index], &topics);
            if handlers.is_empty() {
                assert!(
                    state.inbox.parked().contains(*lsn),
                    "n{index}: {lsn} has no handler and is not parked"
                );
            }
            let given_up = |name: &String| {
                let progress = state.inbox.progress().get(lsn).and_then(|progress| progress.get(name));
                matches!(progress, Some(HandlerState::Dead { attempts, .. }) if *attempts >= RETRY.attempts_max)
            };
            for name in handlers.keys() {
                let ran = self.runs.contains_key(&(own, *lsn, name.clone()));
                assert!(ran || given_up(name), "n{index}: {name} never saw {lsn}");
            }
        }
    }

    /// One session with each peer, and no more.
    fn check_sessions(&self, index: usize, own: NodeId, up: &Up) {
        let established = |session: &&resolute::engine::session::Session| session.phase == Phase::Established;
        let mut nodes: Vec<NodeId> =
            up.engine.sessions().iter().filter(established).filter_map(|s| s.node()).collect();
        let count = nodes.len();
        nodes.sort_unstable();
        nodes.dedup();
        assert_eq!(nodes.len(), count, "n{index} has two sessions with one peer");
        for topics in up.engine.state().addresses.iter().filter(|(_, known)| !known.intents.is_empty()) {
            let Some(target) =
                self.resolve(topics.0).filter(|target| *target != index && self.nodes[*target].reachable)
            else {
                continue;
            };
            let node = self.nodes[target].identity.unwrap();
            let bound = topics.1.bound.is_none_or(|slot| up.engine.state().node_of(slot) == node);
            let is_broken = self.model.is_broken(own, node);
            assert!(nodes.contains(&node) || !bound || is_broken, "n{index} has no session with n{target}");
        }
    }

    /// Where a message of a publisher was accepted, in the order of the receiver's log.
    pub fn accepted_numbers(&self, node: usize) -> Vec<u64> {
        let own = self.nodes[node].identity.unwrap();
        let entries = self.model.logs.get(&own).into_iter().flat_map(|log| log.entries.values());
        entries
            .filter_map(|e| if let Entry::Accepted { number, .. } = e { Some(*number) } else { None })
            .collect()
    }
}
