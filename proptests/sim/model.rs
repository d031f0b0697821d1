//! What the bus means, said naively: one map of what each log holds, and what follows from it.
//!
//! The model reads each batch as it is sealed, in the bytes of the log and nowhere else, and forgets what a crash
//! took. From the records of a publisher it knows to whom each message is owed; from those of a receiver what was
//! accepted. All that the bus promises is a sentence about these two.

use std::collections::{BTreeMap, BTreeSet};

use resolute::format::batch::BatchView;
use resolute::format::checksum::checksum;
use resolute::format::control::{Accepted, Carried, Change, Control, PeerRecord, Place, StreamOwner, Verb};
use resolute::format::message::MessageView;
use resolute::format::record::{RecordKind, RecordView, Records};
use resolute::ids::{Incarnation, Lsn, LsnRange, NodeId, PeerSlot, Position, StreamId};

use super::told::Book;

/// The number in the payload of each message: never given twice in one simulation.
pub type MessageNumber = u64;

/// What the user asked for.
#[derive(Clone, Debug)]
pub enum Sent {
    Event(Vec<String>),
    Command(String),
    /// By hand: a message of these topics in place of another one, for the node's own handlers or whoever a stream is owed to.
    Again {
        topics: Vec<String>,
        stream: Option<StreamId>,
    },
}

/// One record of a log that the model cares for.
#[derive(Clone, Debug)]
pub enum Entry {
    Control(Control),
    Message {
        number: MessageNumber,
        to: BTreeSet<PeerSlot>,
        address: Option<String>,
    },
    Accepted {
        number: MessageNumber,
        from: NodeId,
        incarnation: Incarnation,
        lsn: Lsn,
        slot: PeerSlot,
        stream: StreamId,
        position: Position,
    },
}

/// One log, as it stands.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub entries: BTreeMap<Lsn, Entry>,
    /// The checksum of each message, as its record was written.
    written: BTreeMap<Lsn, u32>,
    peers: BTreeMap<PeerSlot, PeerRecord>,
    /// Nodes that others took the place of.
    pub forgotten: BTreeSet<NodeId>,
    topics: BTreeMap<PeerSlot, BTreeSet<String>>,
    pub bound: BTreeMap<String, PeerSlot>,
    /// Since when each address is.
    bound_at: BTreeMap<String, Lsn>,
    /// Where each message of another node was accepted.
    pub accepted: BTreeMap<(NodeId, Incarnation, Lsn), Lsn>,
    /// The same, by the messages themselves.
    came: BTreeMap<MessageNumber, Lsn>,
    /// The same of nodes that were removed since.
    accepted_before: BTreeMap<(NodeId, Incarnation, Lsn), Lsn>,
    /// Messages of this node and others that its handlers are to see.
    pub inbox: BTreeMap<Lsn, MessageNumber>,
    pub handled: BTreeMap<Lsn, Lsn>,
    pub done: BTreeMap<(Lsn, String), Lsn>,
    pub failures: BTreeMap<(Lsn, String), u32>,
    /// Handlers of which it is written down that they failed: later than they did.
    attempted: BTreeSet<(Lsn, String)>,
    pub dead: BTreeSet<(Lsn, String)>,
    parked: BTreeSet<Lsn>,
    /// How many messages each change by hand met, where that is known here: not of what was owed, which may be settled by then.
    changes: BTreeMap<Lsn, Option<u64>>,
    /// Messages that somebody had called again.
    pub retried: BTreeSet<Lsn>,
    /// Messages that somebody took out of the inbox.
    pub taken_out: BTreeSet<Lsn>,
    /// Positions up to which streams of peers were accepted.
    pub cursors: BTreeMap<(PeerSlot, StreamId), Vec<(Lsn, Position)>>,
    /// Messages whose destination was removed after them: nobody minds if they came.
    pub excused: BTreeSet<(Lsn, PeerSlot)>,
    pub excused_addresses: BTreeSet<Lsn>,
    /// Messages that somebody took out of what is owed.
    pub withdrawn: BTreeSet<Lsn>,
    /// Messages that were taken out of one stream, because nobody saw whoever it is owed to.
    pub taken_from: BTreeSet<(Lsn, StreamId)>,
    /// Whom each stream is owed to.
    owners: BTreeMap<StreamId, StreamOwner>,
    /// Peers that have as much waiting as they may: what is published is not owed to them.
    withheld: BTreeSet<PeerSlot>,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub logs: BTreeMap<NodeId, Log>,
    /// What each node owed to whom, and when that was settled.
    pub books: BTreeMap<NodeId, Book>,
    pub sent: BTreeMap<MessageNumber, (NodeId, Sent)>,
    /// Pairs (receiver, publisher) of which one was set back or removed the other: messages may come twice or not.
    pub broken: BTreeSet<(NodeId, NodeId)>,
    /// Where the publisher's log was when they met again.
    met: BTreeMap<(NodeId, NodeId), Lsn>,
    /// Messages that were published together, and whether they were ever in a batch.
    pub atomic: Vec<(Vec<MessageNumber>, bool)>,
    /// What a log published that was set back and went on under its old name. What lies at the same places in the log that it was
    /// counts for it, where such a log begins a new life later.
    pub astray: BTreeSet<MessageNumber>,
    /// Nodes that have a double, which may be met by those that come later, too.
    pub doubled: BTreeSet<NodeId>,
}

pub fn number_of(record: &RecordView<'_>) -> MessageNumber {
    let message = MessageView::parse(record.body).unwrap();
    u64::from_le_bytes(message.payload[..8].try_into().unwrap())
}

impl Log {
    pub fn node_of(&self, own: NodeId, slot: PeerSlot) -> NodeId {
        if slot == PeerSlot::SELF { own } else { self.peers[&slot].node }
    }

    fn learn(&mut self, own: NodeId, lsn: Lsn, entry: &Entry) {
        match entry {
            Entry::Control(control) => self.learn_control(lsn, control),
            Entry::Message { number, to, address } => {
                let local = |address: &String| self.bound.get(address) == Some(&PeerSlot::SELF);
                if address
                    .as_ref()
                    .and_then(|a| self.bound.get(a))
                    .is_some_and(|slot| self.withheld.contains(slot))
                {
                    self.excused_addresses.insert(lsn);
                }
                if to.contains(&PeerSlot::SELF) || address.as_ref().is_some_and(local) {
                    self.inbox.insert(lsn, *number);
                }
            }
            Entry::Accepted { number, from, incarnation, lsn: theirs, slot, stream, position } => {
                let before = self.accepted.insert((*from, *incarnation, *theirs), lsn);
                assert!(
                    before.is_none(),
                    "{own} has record {theirs} of {from} twice: at {before:?} and {lsn}"
                );
                // In another life of its log a publisher may number its records anew, and must send none again.
                let before = self.came.insert(*number, lsn);
                assert!(
                    before.is_none(),
                    "{own} has message {number} of {from} twice: at {before:?} and {lsn}"
                );
                self.inbox.insert(lsn, *number);
                self.cursors.entry((*slot, *stream)).or_default().push((lsn, *position));
            }
        }
    }

    fn learn_control(&mut self, at: Lsn, control: &Control) {
        match control {
            Control::Peer(peer) => {
                let before = self.peers.insert(peer.slot, peer.clone());
                if let Some(before) = before.filter(|before| before.node != peer.node) {
                    self.check_nothing_agreed(&before);
                    self.withheld.remove(&peer.slot);
                    self.forgotten.insert(before.node);
                }
            }
            Control::PeerStanding { slot, standing } => {
                if standing.parked {
                    self.withheld.insert(*slot);
                } else {
                    self.withheld.remove(slot);
                }
            }
            Control::Stream { id, owner, .. } => drop(self.owners.insert(*id, owner.clone())),
            Control::Subscriber { slot, added, topics } => {
                let wanted = self.topics.entry(*slot).or_default();
                for topic in topics {
                    if *added {
                        wanted.insert(topic.clone())
                    } else {
                        wanted.remove(topic)
                    };
                }
            }
            Control::AddressBound { address, slot } => {
                self.bound.insert(address.clone(), *slot);
                self.bound_at.insert(address.clone(), at);
                let queues = self.owners.values_mut();
                let waits =
                    |owner: &&mut StreamOwner| matches!(owner, StreamOwner::Address(a) if a == address);
                queues.filter(waits).for_each(|owner| *owner = StreamOwner::Peer(*slot));
                if *slot == PeerSlot::SELF {
                    let theirs = |entry: &Entry| match entry {
                        Entry::Message { number, address: Some(a), .. } if a == address => Some(*number),
                        _ => None,
                    };
                    let excused = |lsn: &Lsn| self.excused_addresses.contains(lsn);
                    let waiting = self.entries.iter().filter(|(lsn, _)| !excused(lsn));
                    let waiting: Vec<_> =
                        waiting.filter_map(|(lsn, entry)| Some((*lsn, theirs(entry)?))).collect();
                    self.inbox.extend(waiting);
                }
            }
            Control::PeerRemoved { slot, .. } => {
                self.forget_accepted(self.peers[slot].node);
                self.topics.remove(slot);
                self.withheld.remove(slot);
                self.excused.extend(self.entries.keys().map(|lsn| (*lsn, *slot)));
                self.cursors.retain(|(from, _), _| from != slot);
                // What waits for whoever answers elsewhere goes on to wait.
                let bound = &self.bound;
                let is_theirs = |entry: &Entry| matches!(entry, Entry::Message { address: Some(address), .. } if bound.get(address) == Some(slot));
                let commands = self.entries.iter().filter(|(_, entry)| is_theirs(entry));
                self.excused_addresses.extend(commands.map(|(lsn, _)| *lsn));
                self.bound.retain(|_, bound| bound != slot);
            }
            Control::AddressRemoved { address, .. } => {
                self.bound.remove(address);
                let theirs =
                    |entry: &Entry| matches!(entry, Entry::Message { address: Some(a), .. } if a == address);
                let gone = self.entries.iter().filter(|(_, entry)| theirs(entry));
                self.excused_addresses.extend(gone.map(|(lsn, _)| *lsn));
            }
            // Also of what has ended it is said how far it was accepted.
            Control::Inbound { slot, stream, accepted, .. } => {
                self.cursors.entry((*slot, *stream)).or_default().push((at, *accepted));
            }
            Control::Handled(ranges) => {
                for lsn in ranges.iter().flat_map(|range| range.first.0..range.end().0) {
                    self.handled.insert(Lsn(lsn), at);
                }
            }
            Control::Administered(change) => self.learn_change(at, change),
            Control::Parked(ranges) => {
                let all = ranges.iter().flat_map(|range| range.first.0..range.end().0).map(Lsn);
                let is_here = |lsn: &Lsn| self.inbox.contains_key(lsn) && !self.handled.contains_key(lsn);
                let here: Vec<Lsn> = all.filter(is_here).collect();
                self.parked.extend(here);
            }
            Control::HandlerDone { lsn, handler } => {
                self.parked.remove(lsn);
                self.done.insert((*lsn, handler.clone()), at);
            }
            Control::Attempt { lsn, attempts, handler, .. } => {
                self.parked.remove(lsn);
                self.failures.insert((*lsn, handler.clone()), *attempts);
                self.attempted.insert((*lsn, handler.clone()));
            }
            Control::DeadLetter { lsn, handler, attempts, .. } => {
                self.parked.remove(lsn);
                self.failures.insert((*lsn, handler.clone()), *attempts);
                self.dead.insert((*lsn, handler.clone()));
            }
            _ => {}
        }
    }

    /// Whoever was removed may send again what was not acknowledged there.
    fn forget_accepted(&mut self, node: NodeId) {
        let of_node = |key: &&(NodeId, Incarnation, Lsn)| key.0 == node;
        let theirs: Vec<_> = self.accepted.keys().filter(of_node).copied().collect();
        for key in theirs {
            let lsn = self.accepted.remove(&key).unwrap();
            self.came.retain(|_, at| *at != lsn);
            self.accepted_before.insert(key, lsn);
        }
    }

    fn place_of(&self, lsn: Lsn) -> Place {
        let of = || (lsn, String::new())..(lsn.plus(1), String::new());
        let is_over =
            |handler: &(Lsn, String)| self.dead.contains(handler) || self.done.contains_key(handler);
        if self.parked.contains(&lsn) {
            Place::Parked
        } else if self.dead.range(of()).next().is_some() && self.attempted.range(of()).all(is_over) {
            Place::Dead
        } else {
            Place::Incoming
        }
    }

    /// Whether a handler failed with a message and is to be called again.
    fn is_failing(&self, lsn: Lsn) -> bool {
        let of = (lsn, String::new())..(lsn.plus(1), String::new());
        let is_over =
            |handler: &(Lsn, String)| self.dead.contains(handler) || self.done.contains_key(handler);
        self.attempted.range(of).any(|handler| !is_over(handler))
    }

    /// Of all destinations, some of which may have had them by then.
    fn learn_withdrawn(&mut self, lsns: impl Iterator<Item = Lsn>) {
        for lsn in lsns {
            let Some(Entry::Message { to, address, .. }) = self.entries.get(&lsn) else { continue };
            self.excused.extend(to.iter().map(|slot| (lsn, *slot)));
            if address.is_some() {
                self.excused_addresses.insert(lsn);
            }
            self.withdrawn.insert(lsn);
        }
    }

    /// What is owed on one stream was taken out: nobody waits for that.
    fn learn_taken_from(&mut self, stream: StreamId, change: &Change) {
        let owner = &self.owners[&stream];
        let entries = change.ranges.iter().flat_map(|range| self.entries.range(range.first..range.end()));
        for (lsn, entry) in entries {
            if let Entry::Message { to, address, .. } = entry {
                self.excused.extend(
                    to.iter().filter(|slot| *owner == StreamOwner::Peer(**slot)).map(|slot| (*lsn, *slot)),
                );
                let is_owners = |address: &String| match owner {
                    StreamOwner::Peer(slot) => self.bound.get(address) == Some(slot),
                    StreamOwner::Address(owner) => owner == address,
                };
                if address.as_ref().is_some_and(is_owners) {
                    self.excused_addresses.insert(*lsn);
                }
                self.taken_from.insert((*lsn, stream));
            }
        }
    }

    fn learn_change(&mut self, at: Lsn, change: &Change) {
        if change.place == Place::Outgoing {
            assert!(change.verb.removes());
            if let Some(stream) = change.stream {
                // What the node itself takes out is none that anybody asked for.
                if change.verb != Verb::Remove {
                    self.changes.insert(at, None);
                }
                return self.learn_taken_from(stream, change);
            }
            self.changes.insert(at, None);
            let lsns: Vec<Lsn> =
                change.ranges.iter().flat_map(|range| range.first.0..range.end().0).map(Lsn).collect();
            self.learn_withdrawn(lsns.into_iter());
            return;
        }
        let all = change.ranges.iter().flat_map(|range| range.first.0..range.end().0).map(Lsn);
        let is_here = |lsn: &Lsn| self.inbox.contains_key(lsn) && !self.handled.contains_key(lsn);
        let fits = |lsn: &Lsn| {
            let hurries = (change.verb, change.place) == (Verb::Retry, Place::Incoming);
            self.place_of(*lsn) == change.place && (!hurries || self.is_failing(*lsn))
        };
        let all: Vec<Lsn> = all.filter(|lsn| is_here(lsn) && fits(lsn)).collect();
        self.changes.insert(at, Some(all.len() as u64));
        for lsn in all {
            self.parked.remove(&lsn);
            if change.verb.removes() {
                self.handled.insert(lsn, at);
                self.taken_out.insert(lsn);
                continue;
            }
            self.retried.insert(lsn);
            // Those who succeeded are not called again, those who gave up begin anew.
            let of = (lsn, String::new())..(lsn.plus(1), String::new());
            let dead: Vec<_> = self.dead.range(of).cloned().collect();
            for handler in dead {
                self.dead.remove(&handler);
                self.failures.remove(&handler);
                self.attempted.remove(&handler);
            }
        }
    }

    /// Whoever gives way to another has sent nothing and was sent nothing, wants nothing and is not waited for.
    fn check_nothing_agreed(&self, peer: &PeerRecord) {
        let PeerRecord { node, slot, address: own_address, .. } = peer;
        let is_its = |entry: &Entry| match entry {
            Entry::Message { to, address: Some(address), .. } => {
                to.contains(slot) || address == own_address && !self.bound.contains_key(address)
            }
            Entry::Message { to, address: None, .. } => to.contains(slot),
            Entry::Accepted { slot: from, .. } => from == slot,
            Entry::Control(_) => false,
        };
        let excused = |lsn: &Lsn| self.excused_addresses.contains(lsn);
        let found = self.entries.iter().find(|(lsn, entry)| is_its(entry) && !excused(lsn));
        assert!(found.is_none(), "{node} is forgotten, and {found:?} was its own");
        let wanted = self.topics.get(slot).filter(|topics| !topics.is_empty());
        assert!(wanted.is_none(), "{node} is forgotten, and wants {wanted:?}");
        assert!(!self.bound.values().any(|bound| bound == slot), "{node} is forgotten, and answered");
    }

    /// Whether a record of its own is a message that keeps its place among the others: an event, or a command to whoever had
    /// answered at its address by then.
    pub fn keeps_its_place(&self, lsn: Lsn) -> bool {
        match self.entries.get(&lsn) {
            Some(Entry::Message { address: None, .. }) => true,
            Some(Entry::Message { address: Some(address), .. }) => {
                self.bound.contains_key(address) && self.bound_at.get(address).is_some_and(|at| *at < lsn)
            }
            _ => false,
        }
    }

    /// Whether anybody wants one of these topics.
    pub fn is_wanted(&self, topics: &[String]) -> bool {
        self.topics.values().any(|wanted| topics.iter().any(|topic| wanted.contains(topic)))
    }

    /// What a handler gave up, and nobody took out.
    pub fn dead(&self) -> impl Iterator<Item = Lsn> {
        let all: BTreeSet<Lsn> = self.dead.iter().map(|(lsn, _)| *lsn).collect();
        let is_here = |lsn: &Lsn| self.inbox.contains_key(lsn) && !self.handled.contains_key(lsn);
        all.into_iter().filter(move |lsn| is_here(lsn) && self.place_of(*lsn) == Place::Dead)
    }

    /// How many messages each change by hand met, from that record on.
    pub fn changes_from(&self, first: Lsn) -> impl Iterator<Item = Option<u64>> {
        self.changes.range(first..).map(|(_, count)| *count)
    }

    /// What waits for somebody to handle it.
    pub fn parked(&self) -> impl Iterator<Item = Lsn> {
        self.parked.iter().copied().filter(|lsn| !self.handled.contains_key(lsn))
    }

    /// The last position of a peer's stream that is accepted at or below `durable`.
    pub fn accepted_up_to(&self, key: (PeerSlot, StreamId), durable: Lsn) -> Position {
        let rising = self.cursors.get(&key).into_iter().flatten();
        rising.filter(|(lsn, _)| *lsn <= durable).map(|(_, position)| *position).max().unwrap_or_default()
    }
}

impl Model {
    /// The message at a position of a stream.
    pub fn number_at(
        &self,
        publisher: NodeId,
        stream: StreamId,
        position: Position,
    ) -> Option<MessageNumber> {
        let record = self.books.get(&publisher)?.record(stream, position)?;
        match self.logs.get(&publisher)?.entries.get(&record)? {
            Entry::Message { number, .. } => Some(*number),
            _ => None,
        }
    }

    /// A batch is being written. Says how many peers gave way in it.
    pub fn sealed(&mut self, own: NodeId, view: &BatchView<'_>) -> usize {
        let forgotten = self.forgotten(own);
        let mut lsn = view.header.first_lsn();
        let mut run: Option<(Accepted, u32)> = None;
        let mut in_checkpoint = false;
        let mut rest = view.records;
        for record in Records::new(view.records) {
            let record = record.unwrap();
            let (whole, behind) = rest.split_at(record.bytes());
            rest = behind;
            if record.kind == RecordKind::Message {
                self.logs.entry(own).or_default().written.insert(lsn, checksum(whole));
            }
            let entry = match (record.kind, &mut run) {
                (RecordKind::Message, Some((accepted, done))) => {
                    let entry = self.accepted(own, accepted, *done, &record);
                    *done += 1;
                    if *done == accepted.count {
                        run = None;
                    }
                    Some(entry)
                }
                (RecordKind::Message, None) => Some(self.message(own, &record)),
                (RecordKind::Accepted, _) => {
                    run = Some((Accepted::decode(record.body).unwrap(), 0));
                    None
                }
                (RecordKind::Carried, _) => {
                    self.check_carried(own, record.body);
                    None
                }
                (kind, _) => Some(Entry::Control(Control::decode(kind, record.body).unwrap())),
            };
            match &entry {
                Some(Entry::Control(Control::CheckpointBegin { .. })) => in_checkpoint = true,
                Some(Entry::Control(Control::CheckpointEnd)) => in_checkpoint = false,
                // A checkpoint says again what is known.
                Some(entry) if !in_checkpoint => {
                    self.break_with_removed(own, entry);
                    let log = self.logs.entry(own).or_default();
                    log.learn(own, lsn, entry);
                    log.entries.insert(lsn, entry.clone());
                }
                _ => {}
            }
            lsn = lsn.plus(1);
        }
        self.forgotten(own) - forgotten
    }

    /// Of two of which one was told to forget the other they do not remember the same.
    fn break_with_removed(&mut self, own: NodeId, entry: &Entry) {
        if let Entry::Control(Control::PeerRemoved { slot, .. }) = entry {
            let peer = self.logs[&own].peers[slot].node;
            self.set_apart(own, peer);
        }
    }

    /// Between these two messages may come twice or not at all, of what was published before they met again.
    pub fn set_apart(&mut self, one: NodeId, other: NodeId) {
        for pair in [(one, other), (other, one)] {
            self.broken.insert(pair);
            self.met.remove(&pair);
        }
    }

    /// A publisher has a session with somebody: from that record of its on they remember the same.
    pub fn meets(&mut self, own: NodeId, peer: NodeId, next: Lsn) {
        if self.is_broken(peer, own) {
            self.met.entry((peer, own)).or_insert(next);
        }
    }

    /// Messages that a node accepted from a publisher whose log does not hold them, or others in their places.
    pub fn left_behind(&self, to: NodeId, from: NodeId) -> Vec<(Lsn, MessageNumber)> {
        let (Some(log), Some(theirs)) = (self.logs.get(&to), self.logs.get(&from)) else { return Vec::new() };
        let of_publisher = |(publisher, ..): &&(NodeId, Incarnation, Lsn)| *publisher == from;
        let mut missed = Vec::new();
        for (key, at) in log.accepted.iter().filter(|(key, _)| of_publisher(key)) {
            // Invariant: an index of what was accepted names its entries.
            let Entry::Accepted { number, lsn, .. } = &log.entries[at] else { panic!("{key:?} at {at}") };
            let is_there =
                |entry: &Entry| matches!(entry, Entry::Message { number: there, .. } if there == number);
            if !theirs.entries.get(lsn).is_some_and(is_there) {
                missed.push((*lsn, *number));
            }
        }
        missed
    }

    /// From which record of a publisher on a receiver is owed all that it wants, or has it.
    pub fn sound_from(&self, to: NodeId, from: NodeId) -> Option<Lsn> {
        let is_doubled = self.doubled.contains(&from) || self.doubled.contains(&to);
        match self.is_broken(to, from) {
            false => Some(Lsn(0)),
            true => self.met.get(&(to, from)).copied().filter(|_| !is_doubled),
        }
    }

    /// What is written again of a segment that is about to go is what was written there.
    fn check_carried(&self, own: NodeId, body: &[u8]) {
        let carried = Carried::decode(body).unwrap();
        let was = self.logs[&own].written.get(&carried.lsn);
        assert_eq!(
            was,
            Some(&checksum(carried.record)),
            "{} of {own} is carried, and not as it was",
            carried.lsn
        );
    }

    fn forgotten(&self, own: NodeId) -> usize {
        self.logs.get(&own).map_or(0, |log| log.forgotten.len())
    }

    fn message(&mut self, own: NodeId, record: &RecordView<'_>) -> Entry {
        let number = number_of(record);
        if let Some((_, was_sealed)) = self.atomic.iter_mut().find(|(together, _)| together[0] == number) {
            *was_sealed = true;
        }
        let log = self.logs.entry(own).or_default();
        match &self.sent[&number] {
            (from, Sent::Event(topics)) => {
                assert_eq!(*from, own);
                let wants = |wanted: &BTreeSet<String>| topics.iter().any(|topic| wanted.contains(topic));
                let to: BTreeSet<PeerSlot> =
                    log.topics.iter().filter(|(_, t)| wants(t)).map(|(slot, _)| *slot).collect();
                assert!(!to.is_empty(), "a message nobody wants costs no record");
                let to = to.difference(&log.withheld).copied().collect();
                Entry::Message { number, to, address: None }
            }
            (_, Sent::Command(address)) => {
                Entry::Message { number, to: BTreeSet::new(), address: Some(address.clone()) }
            }
            (from, Sent::Again { stream, .. }) => {
                assert_eq!(*from, own);
                let (to, address) = match stream.map(|stream| log.owners[&stream].clone()) {
                    None => ([PeerSlot::SELF].into(), None),
                    Some(StreamOwner::Peer(slot)) => ([slot].into(), None),
                    Some(StreamOwner::Address(address)) => (BTreeSet::new(), Some(address)),
                };
                assert!(to.is_disjoint(&log.withheld), "nothing is written for who is owed nothing more");
                Entry::Message { number, to, address }
            }
        }
    }

    /// Whether less than everything is to be expected between two nodes: one of them was set back, or has a double.
    pub fn is_broken(&self, one: NodeId, other: NodeId) -> bool {
        self.broken.contains(&(one, other)) || self.doubled.contains(&one) || self.doubled.contains(&other)
    }

    /// Nothing is accepted that was not published to this node and is not in the publisher's log.
    fn accepted(&self, own: NodeId, run: &Accepted, index: u32, record: &RecordView<'_>) -> Entry {
        let log = &self.logs[&own];
        let (from, lsn, number) = (log.node_of(own, run.slot), record.lsn(), number_of(record));
        let is_broken = self.is_broken(own, from);
        let theirs = &self.logs[&from];
        assert_eq!(self.sent[&number].0, from, "{own} got a message that {from} never published");
        match theirs.entries.get(&lsn) {
            Some(Entry::Message { number: published, to, address }) if *published == number || !is_broken => {
                assert_eq!(*published, number, "{own} got another message as record {lsn} of {from}");
                let is_mine = |slot: &PeerSlot| theirs.node_of(from, *slot) == own;
                let bound = address.as_ref().and_then(|address| theirs.bound.get(address));
                let wanted = to.iter().any(is_mine)
                    || bound.is_some_and(is_mine)
                    || theirs.excused_addresses.contains(&lsn);
                assert!(wanted || is_broken, "{own} got record {lsn} of {from}, which it does not want");
            }
            _ => assert!(is_broken, "{own} got record {lsn} of {from}, which is not in its log"),
        }
        self.check_order(own, from, run.incarnation, lsn, theirs);
        let position = run.first_position.plus(u64::from(index));
        Entry::Accepted {
            number,
            from,
            incarnation: run.incarnation,
            lsn,
            slot: run.slot,
            stream: run.stream,
            position,
        }
    }

    /// Messages of one publisher are accepted in the order in which they were published. Commands to an address that
    /// was bound late come late.
    fn check_order(&self, own: NodeId, from: NodeId, incarnation: Incarnation, lsn: Lsn, theirs: &Log) {
        let key = |lsn| (from, incarnation, lsn);
        if !theirs.keeps_its_place(lsn) {
            return;
        }
        let mut later = self.logs[&own].accepted.range(key(lsn)..key(Lsn(u64::MAX)));
        let overtook = later.find(|((_, _, other), _)| theirs.keeps_its_place(*other));
        assert!(overtook.is_none(), "{own} got record {lsn} of {from} after {overtook:?}");
    }

    /// What is known of one node's log, and what it owed.
    pub fn of(&self, own: NodeId) -> (Log, Book) {
        (self.logs.get(&own).cloned().unwrap_or_default(), self.books.get(&own).cloned().unwrap_or_default())
    }

    /// A node is what it was when that was known of it.
    pub fn goes_back(&mut self, own: NodeId, (log, book): (Log, Book)) {
        self.logs.insert(own, log);
        self.books.insert(own, book);
        // That is no crash, and takes what it takes.
        self.check_atomic(own);
    }

    /// A crash took everything from `end` on. Says how often that were messages that had been published together.
    pub fn crashed(&mut self, own: NodeId, end: Lsn) -> usize {
        self.books.entry(own).or_default().crashed(end);
        let Some(log) = self.logs.get_mut(&own) else { return 0 };
        let kept: BTreeMap<Lsn, Entry> =
            std::mem::take(&mut log.entries).into_iter().filter(|(lsn, _)| *lsn < end).collect();
        let mut written = std::mem::take(&mut log.written);
        drop(written.split_off(&end));
        *log = Log { written, ..Log::default() };
        for (lsn, entry) in kept {
            log.learn(own, lsn, &entry);
            log.entries.insert(lsn, entry);
        }
        self.check_atomic(own)
    }

    /// Of messages that were published together, a crash leaves all or none. Says how often it took all.
    fn check_atomic(&mut self, own: NodeId) -> usize {
        let number = |entry: &Entry| match entry {
            Entry::Message { number, .. } => Some(*number),
            _ => None,
        };
        let here: BTreeSet<MessageNumber> = self.logs[&own].entries.values().filter_map(number).collect();
        let Model { atomic, sent, .. } = self;
        let mut lost = 0;
        atomic.retain(|(together, was_sealed)| {
            let count = together.iter().filter(|number| here.contains(number)).count();
            let is_own = sent[&together[0]].0 == own;
            let is_whole = count == 0 || count == together.len();
            assert!(!is_own || is_whole, "of {together:?} a crash left {count} at {own}");
            lost += usize::from(is_own && count == 0 && *was_sealed);
            !is_own || count > 0
        });
        lost
    }

    /// Messages of `from` that `to` was promised and does not have.
    pub fn missing(&self, from: NodeId, to: NodeId) -> Vec<(Lsn, MessageNumber)> {
        self.missing_at(from, to, Lsn(u64::MAX))
    }

    /// Those that are not in the log of `to` up to that record.
    pub fn missing_at(&self, from: NodeId, to: NodeId, durable: Lsn) -> Vec<(Lsn, MessageNumber)> {
        self.lacking(from, to, durable, false)
    }

    /// Those that it was promised, and of which somebody took out all that was still owed.
    pub fn withdrawn(&self, from: NodeId, to: NodeId) -> Vec<(Lsn, MessageNumber)> {
        self.lacking(from, to, Lsn(u64::MAX), true)
    }

    fn lacking(
        &self,
        from: NodeId,
        to: NodeId,
        durable: Lsn,
        is_withdrawn: bool,
    ) -> Vec<(Lsn, MessageNumber)> {
        let (theirs, ours) = (&self.logs[&from], self.logs.get(&to));
        let number = |log: &Log, at: &Lsn| match log.entries.get(at) {
            Some(Entry::Accepted { number, .. }) => Some(*number),
            _ => None,
        };
        // Of a publisher that was set back, another message may have the same record.
        let has: BTreeSet<(Lsn, Option<MessageNumber>)> = ours.map_or(BTreeSet::new(), |log| {
            let is_there =
                |((node, ..), at): &(&(NodeId, Incarnation, Lsn), &Lsn)| *node == from && **at <= durable;
            let accepted = log.accepted.iter().chain(&log.accepted_before).filter(is_there);
            accepted.map(|((_, _, lsn), at)| (*lsn, number(log, at))).collect()
        });
        let mut missing = Vec::new();
        for (lsn, entry) in &theirs.entries {
            let Entry::Message { number, to: slots, address } = entry else { continue };
            let is_its = |slot: &&PeerSlot| theirs.node_of(from, **slot) == to;
            let is_due = |is_excused: bool| {
                if is_withdrawn { theirs.withdrawn.contains(lsn) } else { !is_excused }
            };
            let event = slots.iter().find(is_its);
            let event = event.is_some_and(|slot| is_due(theirs.excused.contains(&(*lsn, *slot))));
            let bound = address.as_ref().and_then(|address| theirs.bound.get(address));
            let command =
                bound.filter(|slot| is_its(slot)).is_some() && is_due(theirs.excused_addresses.contains(lsn));
            if (event || command) && !has.contains(&(*lsn, Some(*number))) {
                missing.push((*lsn, *number));
            }
        }
        missing
    }

    /// Whether a message that is dispatched is one that handlers may see.
    pub fn check_dispatch(&self, own: NodeId, range: LsnRange, lsn: Lsn, number: MessageNumber) {
        let log = &self.logs[&own];
        assert_eq!(
            log.inbox.get(&lsn),
            Some(&number),
            "{own} dispatches {lsn} of {range:?}, which was never accepted"
        );
        assert!(!log.handled.contains_key(&lsn), "{own} dispatches {lsn}, which is handled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "got record")]
    fn an_event_that_overtook_another_is_noticed_behind_a_command() {
        let (own, from) = (NodeId(1), NodeId(2));
        let message = |address: Option<&str>| Entry::Message {
            number: 0,
            to: BTreeSet::new(),
            address: address.map(str::to_owned),
        };
        let entries = [(Lsn(1), message(None)), (Lsn(2), message(Some("n1"))), (Lsn(3), message(None))];
        let theirs = Log { entries: entries.into(), ..Log::default() };
        let accepted = [2, 3].map(|lsn| ((from, Incarnation(7), Lsn(lsn)), Lsn(lsn)));
        let ours = Log { accepted: accepted.into(), ..Log::default() };
        let model = Model { logs: [(own, ours), (from, theirs.clone())].into(), ..Model::default() };
        model.check_order(own, from, Incarnation(7), Lsn(1), &theirs);
    }

    #[test]
    #[should_panic(expected = "a crash left 1")]
    fn half_of_what_was_published_together_is_noticed() {
        let own = NodeId(1);
        let message = Entry::Message { number: 5, to: BTreeSet::new(), address: None };
        let log = Log { entries: [(Lsn(1), message)].into(), ..Log::default() };
        let sent = [5, 6].map(|number| (number, (own, Sent::Event(Vec::new()))));
        let mut model = Model { logs: [(own, log)].into(), sent: sent.into(), ..Model::default() };
        model.atomic.push((vec![5, 6], true));
        model.check_atomic(own);
    }
}
