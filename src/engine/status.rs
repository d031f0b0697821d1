//! What the node says of itself.

use super::Engine;
use super::session::Phase;
use super::state::State;
use crate::format::control::{IntentState, OwnQuota, StreamOwner};
use crate::ids::{Epoch, Incarnation, Lsn, NodeId, PeerSlot};
use crate::time::Wall;

/// One peer or address, and what is owed to it and wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationStatus {
    /// The node, once it answered.
    pub node: Option<NodeId>,
    /// What it calls itself.
    pub name: String,
    /// Where it is dialled, or says that it can be reached.
    pub address: String,
    /// Whether a session with it goes on.
    pub connected: bool,
    /// Whether somebody paused it: what it is owed stays here.
    pub paused: bool,
    /// What it may have waiting for it, where that is not as with all others.
    pub quota: OwnQuota,
    /// Since when it is unseen, if that is counted.
    pub unseen_since: Option<Wall>,
    /// Whether it has as much waiting for it as it may, and what is published is not owed to it.
    pub parked: bool,
    /// The same, and it is refused; only of a node that is open.
    pub refused: bool,
    /// Messages owed to it.
    pub owed: u64,
    /// Their bytes, about.
    pub owed_bytes: u64,
    /// The topics it subscribes to here.
    pub topics: Vec<String>,
    /// The topics wanted of it, and whether it has that on stable storage.
    pub wanted: Vec<(String, bool)>,
    /// Messages of its streams that will never come, because one side lost its data, or somebody took
    /// them out at the publisher.
    pub lost: u64,
}

/// A node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    /// The node.
    pub node: NodeId,
    /// The life of its log.
    pub incarnation: Incarnation,
    /// The opening of its log.
    pub epoch: Epoch,
    /// What it calls itself.
    pub name: String,
    /// Where peers can reach it.
    pub address: String,
    /// Peers and addresses.
    pub destinations: Vec<DestinationStatus>,
    /// Topics it wants of itself.
    pub local_topics: Vec<String>,
    /// Messages in the inbox that wait for a handler.
    pub incoming: u64,
    /// Messages without a handler.
    pub parked: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of the inbox, about.
    pub inbox_bytes: u64,
    /// Messages owed to all.
    pub outgoing: u64,
    /// Messages dropped because their destination was removed.
    pub dropped: u64,
    /// The last record.
    pub last_lsn: Lsn,
}

/// The status of a durable state; `connected` says with whom a session goes on, and `refused` to whom nothing more may be owed.
#[must_use]
pub fn status_of(
    state: &State,
    connected: impl Fn(NodeId) -> bool,
    refused: impl Fn(&StreamOwner) -> bool,
) -> EngineStatus {
    let mut destinations = Vec::new();
    for peer in state.peers.values().filter(|peer| !peer.removed) {
        let theirs = |owner: &StreamOwner| matches!(owner, StreamOwner::Peer(slot) if *slot == peer.slot);
        let streams = || state.streams.values().filter(|stream| theirs(&stream.owner));
        let dialled: Vec<&str> = state.addresses_of(peer.slot).map(|(address, _)| address.as_str()).collect();
        let address = if dialled.is_empty() { peer.address.clone() } else { dialled.join(" ") };
        let standing = state.standings.get(&peer.slot);
        let intents = state.addresses_of(peer.slot).flat_map(|(_, known)| &known.intents);
        destinations.push(DestinationStatus {
            node: Some(peer.node),
            name: peer.name.clone(),
            address,
            connected: connected(peer.node),
            paused: state.paused.contains(&peer.slot),
            quota: state.quotas.get(&peer.slot).copied().unwrap_or_default(),
            unseen_since: standing.map(|standing| standing.unseen_since).filter(|since| *since != Wall(0)),
            parked: standing.is_some_and(|standing| standing.parked),
            refused: refused(&StreamOwner::Peer(peer.slot)),
            owed: streams().map(|stream| stream.owed()).sum(),
            owed_bytes: streams().map(|stream| stream.owed_bytes()).sum(),
            topics: state.subscribers.get(&peer.slot).into_iter().flatten().cloned().collect(),
            wanted: wanted(intents),
            lost: lost(state, peer.slot),
        });
    }
    destinations.extend(unanswered(state, &refused));
    let local = state.subscribers.get(&PeerSlot::SELF);
    EngineStatus {
        node: state.identity.id,
        incarnation: state.identity.incarnation,
        epoch: state.opening.epoch,
        name: state.opening.name.clone(),
        address: state.opening.address.clone(),
        destinations,
        local_topics: local.into_iter().flatten().cloned().collect(),
        incoming: state.inbox.waiting(),
        parked: state.inbox.parked().count(),
        dead: state.inbox.dead(),
        inbox_bytes: state.inbox.bytes(),
        outgoing: state.owed(),
        dropped: state.dropped,
        last_lsn: Lsn(state.index.end().0.saturating_sub(1)),
    }
}

/// Positions of a peer's streams that never came.
fn lost(state: &State, slot: PeerSlot) -> u64 {
    let open = state.inbound.iter().filter(|((from, _), _)| *from == slot).map(|(_, inbound)| *inbound);
    open.chain(state.finished_of(slot).map(|(_, inbound)| inbound)).map(|inbound| inbound.lost).sum()
}

/// What is on its way to be wanted no longer is no wish any more.
fn wanted<'a>(intents: impl Iterator<Item = (&'a String, &'a IntentState)>) -> Vec<(String, bool)> {
    let is_wish = |state: &IntentState| matches!(state, IntentState::Wanted | IntentState::Confirmed);
    let wishes = intents.filter(|(_, state)| is_wish(state));
    wishes.map(|(topic, state)| (topic.clone(), *state == IntentState::Confirmed)).collect()
}

/// Addresses at which nobody has answered yet.
fn unanswered(state: &State, refused: &dyn Fn(&StreamOwner) -> bool) -> Vec<DestinationStatus> {
    let mut found: std::collections::BTreeMap<&str, DestinationStatus> = std::collections::BTreeMap::new();
    let blank = |address: &str| DestinationStatus {
        node: None,
        name: String::new(),
        address: address.to_owned(),
        connected: false,
        paused: false,
        quota: OwnQuota::default(),
        unseen_since: None,
        parked: false,
        refused: refused(&StreamOwner::Address(address.to_owned())),
        owed: 0,
        owed_bytes: 0,
        topics: Vec::new(),
        wanted: Vec::new(),
        lost: 0,
    };
    for (address, known) in state.addresses.iter().filter(|(_, known)| known.bound.is_none()) {
        found.entry(address).or_insert_with(|| blank(address)).wanted = wanted(known.intents.iter());
    }
    for stream in state.streams.values() {
        if let StreamOwner::Address(address) = &stream.owner {
            let status = found.entry(address).or_insert_with(|| blank(address));
            status.owed += stream.owed();
            status.owed_bytes += stream.owed_bytes();
        }
    }
    found.into_values().collect()
}

impl Engine {
    /// The node at this moment.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        let connected = |node| {
            let mut sessions = self.sessions.iter();
            sessions.any(|session| session.node() == Some(node) && session.phase == Phase::Established)
        };
        status_of(&self.state, connected, |owner| self.is_refused(owner))
    }
}
