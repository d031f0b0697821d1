//! What a node has, a page at a time: whoever goes through a list holds where it goes on and nothing else, and no page costs
//! the engine more than its bound, beside a look at each stream.

use std::collections::BTreeMap;

use super::inbox::{Origin, Progress, is_dead};
use super::state::State;
use crate::format::control::{Place, StreamOwner};
use crate::ids::{Incarnation, Lsn, NodeId, PeerSlot, Position, StreamId};
use crate::limits::{LIST_LOOKS_PER_PAGE, LIST_MESSAGES_PER_PAGE};
use crate::log::index::Span;

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// All messages, each once, in the order of the log.
    Keys,
    /// Those that wait for a handler, in the order of the log.
    Incoming,
    /// Those without a handler, in the order of the log.
    Parked,
    /// Those that a handler gave up, in the order of the log.
    DeadLetters,
    /// Those that are owed, stream by stream.
    Outgoing,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whereabouts {
    /// It waits for a handler.
    Incoming,
    /// It is owed to a peer.
    Outgoing,
    /// It has no handler.
    Parked,
    /// A handler gave it up.
    Dead,
}

/// Where a list goes on: at a record or, among those that are owed, at a position of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The record.
    pub lsn: Lsn,
    /// The stream.
    pub stream: StreamId,
    /// The position in it.
    pub position: Position,
}

impl Cursor {
    fn at(lsn: Lsn) -> Cursor {
        Cursor { lsn, ..Cursor::default() }
    }
}

/// Where the record of a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// The record to read: it is the message, or carries it.
    pub bearer: Lsn,
    /// Whether it carries it.
    pub is_carried: bool,
    /// What to read.
    pub span: Span,
}

/// What a list says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Where it is, in rising order.
    Places(Vec<Whereabouts>),
    /// What its handlers have done.
    Handlers(Progress),
    /// To whom it is owed.
    Owed {
        /// On which stream.
        stream: StreamId,
        /// At which position.
        position: Position,
        /// The node; nobody has answered at the address if there is none.
        node: Option<NodeId>,
        /// Where it is dialled, or says that it can be reached.
        address: String,
    },
}

/// One message of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where a list that begins with it goes on.
    pub cursor: Cursor,
    /// Its record here.
    pub lsn: Lsn,
    /// Who published it.
    pub node: NodeId,
    /// In which life of its log.
    pub incarnation: Incarnation,
    /// Where it lies.
    pub place: RecordPlace,
    /// What the list says of it.
    pub remark: Remark,
}

/// A part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Its messages. There may be none on a page that is not the last.
    pub messages: Vec<Listed>,
    /// Where the next page begins; `None` behind the last.
    pub next: Option<Cursor>,
    /// The last record that it is about.
    pub until: Lsn,
}

/// A node as others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquaintance {
    /// Who it is.
    pub node: NodeId,
    /// What it calls itself.
    pub name: String,
    /// Where it is dialled, or says that it can be reached; empty if neither is known.
    pub address: String,
}

impl State {
    /// What is known of a node, this one included.
    #[must_use]
    pub fn acquaintance(&self, slot: PeerSlot) -> Acquaintance {
        let node = self.node_of(slot);
        if slot == PeerSlot::SELF {
            let (name, address) = (self.opening.name.clone(), self.opening.address.clone());
            return Acquaintance { node, name, address };
        }
        let peer = self.peers.get(&slot);
        let named = peer.map(|peer| peer.address.clone()).filter(|address| !address.is_empty());
        let dialled = self.addresses_of(slot).map(|(address, _)| address.clone()).next();
        let name = peer.map_or_else(String::new, |peer| peer.name.clone());
        Acquaintance { node, name, address: dialled.or(named).unwrap_or_default() }
    }

    /// A part of a list, of what is durable and no later than `until`.
    #[must_use]
    pub fn page(&self, durable: Lsn, list: List, from: Cursor, until: Option<Lsn>) -> Page {
        let until = until.map_or(durable, |until| until.min(durable));
        let lister = Lister { state: self, durable, page: Page { until, ..Page::default() } };
        match list {
            List::Keys => lister.keys(from.lsn),
            List::Incoming => lister.inbox(from.lsn, Whereabouts::Incoming),
            List::Parked => lister.inbox(from.lsn, Whereabouts::Parked),
            List::DeadLetters => lister.dead_letters(from.lsn),
            List::Outgoing => lister.outgoing(from),
        }
    }
}

impl State {
    /// The oldest message that each destination is owed, of what is durable: of those `most` to whom it has been owed longest,
    /// in the order of the log.
    #[must_use]
    pub fn oldest_owed(&self, durable: Lsn, most: usize) -> Vec<Listed> {
        let mut oldest: BTreeMap<&StreamOwner, (Lsn, StreamId, Position)> = BTreeMap::new();
        for (id, stream) in &self.streams {
            // Carried forward it may lie behind others in the log, but it keeps its number.
            if let Some(run) = stream.runs().front() {
                let this = (run.lsn, *id, run.position);
                let known = oldest.entry(&stream.owner).or_insert(this);
                *known = this.min(*known);
            }
        }
        let mut oldest: Vec<_> = oldest.into_iter().map(|(owner, at)| (at, owner)).collect();
        oldest.sort_unstable();
        oldest.truncate(most);
        let mut lister = Lister { state: self, durable, page: Page { until: durable, ..Page::default() } };
        for ((lsn, stream, position), owner) in oldest.into_iter().filter(|((lsn, ..), _)| *lsn <= durable) {
            let (node, address) = lister.owner(owner);
            let cursor = Cursor { stream, position, lsn: Lsn(0) };
            // One that is just being carried elsewhere is there at the next look.
            let _: bool =
                lister.push(cursor, lsn, lister.own(), Remark::Owed { stream, position, node, address });
        }
        lister.page.messages
    }
}

/// A part of the log as it lies.
#[derive(Clone, Debug)]
pub struct LogPage {
    /// The first record that was asked for and is still there, or is to come.
    pub from: Lsn,
    /// Batches from the one that holds it on; none if it is to come.
    pub span: Option<Span>,
    /// This node, and the life of its log.
    pub own: (NodeId, Incarnation),
    /// Who its peers are.
    pub peers: Vec<(PeerSlot, NodeId)>,
}

impl State {
    /// What is durable of the log from that record on; from the next that is to come if it is none.
    #[must_use]
    pub fn log_page(&self, durable: Lsn, from: Option<Lsn>) -> LogPage {
        let from = from.unwrap_or(durable.plus(1)).max(self.index.first());
        let span = (from <= durable).then(|| self.index.span(from, durable));
        let peers =
            self.peers.values().filter(|_| span.is_some()).map(|peer| (peer.slot, peer.node)).collect();
        LogPage { from, span, own: (self.identity.id, self.identity.incarnation), peers }
    }
}

struct Lister<'a> {
    state: &'a State,
    durable: Lsn,
    page: Page,
}

impl Lister<'_> {
    /// Adds a message to the page, unless that must end before it.
    #[must_use]
    fn push(&mut self, cursor: Cursor, lsn: Lsn, origin: Origin, remark: Remark) -> bool {
        let index = &self.state.index;
        let bearer = index.bearer(lsn);
        // A copy that is not durable yet, though the message is: whoever asks for the next page in a moment gets it.
        if bearer > self.durable {
            return false;
        }
        let place =
            RecordPlace { bearer, is_carried: index.is_carried(lsn), span: index.span(bearer, self.durable) };
        let (node, incarnation) = (self.state.node_of(origin.slot), origin.incarnation);
        self.page.messages.push(Listed { cursor, lsn, node, incarnation, place, remark });
        true
    }

    fn ends_at(mut self, next: Option<Cursor>) -> Page {
        self.page.next = next;
        self.page
    }

    fn is_full(&self) -> bool {
        self.page.messages.len() >= LIST_MESSAGES_PER_PAGE
    }

    fn whereabouts(&self, lsn: Lsn) -> Whereabouts {
        match self.state.inbox.place_of(lsn) {
            Place::Incoming => Whereabouts::Incoming,
            Place::Parked => Whereabouts::Parked,
            Place::Dead => Whereabouts::Dead,
            Place::Outgoing => Whereabouts::Outgoing,
        }
    }

    fn inbox(mut self, from: Lsn, wanted: Whereabouts) -> Page {
        let runs = self.state.inbox.runs_in(from, self.page.until.plus(1));
        let all =
            runs.flat_map(|run| (0..run.range.count).map(move |n| (run.range.first.plus(n), run.origin)));
        for (looks, (lsn, origin)) in all.enumerate() {
            if self.is_full() || looks == LIST_LOOKS_PER_PAGE {
                return self.ends_at(Some(Cursor::at(lsn)));
            }
            if self.whereabouts(lsn) == wanted {
                let progress = self.state.inbox.progress().get(&lsn).cloned().unwrap_or_default();
                if !self.push(Cursor::at(lsn), lsn, origin, Remark::Handlers(progress)) {
                    return self.ends_at(Some(Cursor::at(lsn)));
                }
            }
        }
        self.ends_at(None)
    }

    fn dead_letters(mut self, from: Lsn) -> Page {
        for (looks, (lsn, progress)) in self.state.inbox.progress().range(from..).enumerate() {
            if self.is_full() || looks == LIST_LOOKS_PER_PAGE {
                return self.ends_at(Some(Cursor::at(*lsn)));
            }
            let run =
                self.state.inbox.next_run(*lsn).filter(|_| is_dead(progress) && *lsn <= self.page.until);
            let remark = || Remark::Handlers(progress.clone());
            if run.is_some_and(|run| !self.push(Cursor::at(*lsn), *lsn, run.origin, remark())) {
                return self.ends_at(Some(Cursor::at(*lsn)));
            }
        }
        self.ends_at(None)
    }

    fn outgoing(mut self, from: Cursor) -> Page {
        for (id, stream) in self.state.streams.range(from.stream..) {
            let mut position = if *id == from.stream { from.position } else { Position(0) };
            while let Some(run) = stream.at(position).filter(|run| run.lsn <= self.page.until) {
                let cursor = |position| Cursor { stream: *id, position, lsn: Lsn(0) };
                for n in 0..run.count.min(self.page.until.plus(1).since(run.lsn)) {
                    let (position, lsn) = (run.position.plus(n), run.lsn.plus(n));
                    if self.is_full() {
                        return self.ends_at(Some(cursor(position)));
                    }
                    let (node, address) = self.owner(&stream.owner);
                    let remark = Remark::Owed { stream: *id, position, node, address };
                    if !self.push(cursor(position), lsn, self.own(), remark) {
                        return self.ends_at(Some(cursor(position)));
                    }
                }
                position = run.position.plus(run.count);
            }
        }
        self.ends_at(None)
    }

    fn owner(&self, owner: &StreamOwner) -> (Option<NodeId>, String) {
        match owner {
            StreamOwner::Peer(slot) => {
                let Acquaintance { node, address, .. } = self.state.acquaintance(*slot);
                (Some(node), address)
            }
            StreamOwner::Address(address) => (None, address.clone()),
        }
    }

    fn keys(mut self, from: Lsn) -> Page {
        let end = self.page.until.plus(1);
        let inbox = self.state.inbox.runs_in(from, end).next().map(|run| run.range.first);
        let owed = self.state.streams.values().filter_map(|stream| stream.owed_in(from, end).next());
        let Some(first) = owed.map(|run| run.lsn).chain(inbox).min() else { return self.ends_at(None) };
        // What lies in a window of the log, from all that it lies in.
        let last = first.plus(LIST_MESSAGES_PER_PAGE as u64).min(end);
        let mut found: BTreeMap<Lsn, (Origin, Vec<Whereabouts>)> = BTreeMap::new();
        for run in self.state.inbox.runs_in(first, last) {
            for lsn in (0..run.range.count).map(|n| run.range.first.plus(n)) {
                found.insert(lsn, (run.origin, vec![self.whereabouts(lsn)]));
            }
        }
        for run in self.state.streams.values().flat_map(|stream| stream.owed_in(first, last)) {
            for lsn in (0..run.count).map(|n| run.lsn.plus(n)) {
                let (_, places) = found.entry(lsn).or_insert((self.own(), Vec::new()));
                places.push(Whereabouts::Outgoing);
            }
        }
        for (lsn, (origin, mut places)) in found {
            places.sort_unstable();
            places.dedup();
            if !self.push(Cursor::at(lsn), lsn, origin, Remark::Places(places)) {
                return self.ends_at(Some(Cursor::at(lsn)));
            }
        }
        self.ends_at((last < end).then(|| Cursor::at(last)))
    }

    /// What this node publishes is its own.
    fn own(&self) -> Origin {
        Origin { slot: PeerSlot::SELF, incarnation: self.state.identity.incarnation }
    }
}
