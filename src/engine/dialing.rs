//! To which addresses connections are wanted, and when the next try is.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::backoff::dial_pause_ms;
use super::config::Config;
use super::effect::{Event, SessionId};
use super::entropy::Entropy;
use super::state::State;
use crate::format::control::StreamOwner;
use crate::ids::PeerSlot;
use crate::time::{Monotonic, Now};
use crate::wire::goodbye::GoodbyeCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    /// The next one is due then.
    At(Monotonic),
    /// The shell is connecting.
    Connecting,
    /// It is connected.
    Connected(SessionId),
}

/// Not tried: a session with whoever is there goes on.
const LEFT_ALONE: Try = Try::At(Monotonic(u64::MAX));

#[derive(Clone, Copy, Debug)]
struct Dial {
    failures: u32,
    state: Try,
}

/// The addresses that are dialled.
#[derive(Debug, Default)]
pub struct Dials {
    by_address: BTreeMap<String, Dial>,
    /// Addresses that were forgotten while the shell was connecting to them.
    abandoned: BTreeSet<String>,
}

impl Dials {
    /// Takes in what is wanted now: addresses with wishes or a queue, and peers to whom something may be owed.
    pub(super) fn refresh(&mut self, state: &State, config: &Config, now: Monotonic) {
        let wanted = wanted(state, config);
        self.by_address.retain(|address, dial| wanted.contains(address) || !matches!(dial.state, Try::At(_)));
        for address in wanted {
            let to_be_bound = is_to_be_bound(state, &address);
            let dial = self.by_address.entry(address).or_insert(Dial { failures: 0, state: Try::At(now) });
            if to_be_bound && dial.state == LEFT_ALONE {
                dial.state = Try::At(now);
            }
        }
    }

    pub(super) fn connected(&mut self, address: &str, id: SessionId) {
        if let Some(dial) = self.by_address.get_mut(address) {
            dial.state = Try::Connected(id);
        }
    }

    /// An address is forgotten.
    fn abandon(&mut self, address: &str) {
        if self.by_address.get(address).is_some_and(|dial| dial.state == Try::Connecting) {
            self.by_address.remove(address);
            self.abandoned.insert(address.to_owned());
        }
    }

    /// Whether an address was forgotten while this was asked for.
    pub(super) fn was_abandoned(&mut self, address: &str) -> bool {
        self.abandoned.remove(address)
    }

    /// The connection to `address` ended, or was never made.
    pub(super) fn ended(
        &mut self,
        address: &str,
        id: SessionId,
        worked: bool,
        now: Monotonic,
        entropy: &mut Entropy,
    ) {
        if self.by_address.get(address).is_some_and(|dial| dial.state == Try::Connected(id)) {
            self.again(address, worked, now, entropy);
        }
    }

    fn again(&mut self, address: &str, worked: bool, now: Monotonic, entropy: &mut Entropy) {
        if let Some(dial) = self.by_address.get_mut(address) {
            dial.failures = if worked { 0 } else { dial.failures + 1 };
            dial.state = Try::At(now.plus_millis(dial_pause_ms(dial.failures, entropy)));
        }
    }

    pub(super) fn next_at(&self) -> Option<Monotonic> {
        let due = self.by_address.values().filter_map(|dial| match dial.state {
            Try::At(at) => Some(at),
            _ => None,
        });
        due.min()
    }
}

/// Whether something waits for whoever answers at an address. That a peer says the address is its own does not count:
/// only what answers there does.
pub(super) fn is_to_be_bound(state: &State, address: &str) -> bool {
    let queued = |owner: &StreamOwner| matches!(owner, StreamOwner::Address(a) if a == address);
    match state.addresses.get(address) {
        Some(known) => known.bound.is_none(),
        None => state.streams.values().any(|stream| queued(&stream.owner)),
    }
}

fn wanted(state: &State, config: &Config) -> BTreeSet<String> {
    let own = |address: &String| config.own_addresses.contains(address);
    let mut wanted = BTreeSet::new();
    for (address, known) in &state.addresses {
        if known.bound != Some(PeerSlot::SELF) && (!known.intents.is_empty() || known.bound.is_some()) {
            wanted.insert(address.clone());
        }
    }
    let mut peers: BTreeSet<PeerSlot> = state.subscribers.keys().copied().collect();
    for stream in state.streams.values() {
        match &stream.owner {
            StreamOwner::Address(address) => drop(wanted.insert(address.clone())),
            StreamOwner::Peer(slot) => drop(peers.insert(*slot)),
        }
    }
    for peer in peers.iter().filter_map(|slot| state.peers.get(slot)) {
        // Where the user named an address for the peer, that one counts and not what the peer says of itself.
        if !peer.removed && !peer.address.is_empty() && state.addresses_of(peer.slot).next().is_none() {
            wanted.insert(peer.address.clone());
        }
    }
    wanted.retain(|address| !own(address));
    wanted
}

impl Engine {
    /// Asks for the connections that are due, but for peers with whom a session goes on.
    pub(super) fn poll_dials(&mut self) {
        let now = self.now.monotonic;
        if !self.may_dial() || self.dials.next_at().is_none_or(|at| at > now) {
            return;
        }
        let due =
            self.dials.by_address.iter().filter(|(_, dial)| matches!(dial.state, Try::At(at) if at <= now));
        let due: Vec<String> = due.map(|(address, _)| address.clone()).collect();
        for address in due {
            let with = self.peer_at(&address).filter(|_| !is_to_be_bound(&self.state, &address));
            let engaged = with.is_some_and(|slot| self.sessions.of_peer(slot).is_some());
            let Some(dial) = self.dials.by_address.get_mut(&address) else { continue };
            if engaged {
                // It is looked at again when that session ends.
                dial.state = LEFT_ALONE;
            } else {
                dial.state = Try::Connecting;
                self.events.push_back(Event::Dial(address));
            }
        }
    }

    /// Whether peers are looked for at all.
    pub(super) fn may_dial(&self) -> bool {
        self.config.dials && !self.failed && !self.closing
    }

    /// The peer that is known to answer at an address, or says so.
    fn peer_at(&self, address: &str) -> Option<PeerSlot> {
        let bound = self.state.addresses.get(address).and_then(|known| known.bound);
        let says = || {
            self.state.peers.values().find(|peer| !peer.removed && peer.address == address).map(|p| p.slot)
        };
        bound.or_else(says)
    }

    /// A session with a peer ended: the addresses that were left alone because of it are due again.
    pub(super) fn resume_dials(&mut self) {
        let now = self.now.monotonic;
        let Engine { dials, entropy, .. } = self;
        for dial in dials.by_address.values_mut().filter(|dial| dial.state == LEFT_ALONE) {
            dial.state = Try::At(now.plus_millis(dial_pause_ms(0, entropy)));
        }
    }

    /// These addresses are forgotten: whoever was being dialled there must not be known at them again because of that.
    pub(super) fn end_dials_to(&mut self, left: &BTreeSet<String>) {
        if left.is_empty() {
            return;
        }
        let wanted = wanted(&self.state, &self.config);
        let is_left = |address: &String| left.contains(address) && !wanted.contains(address);
        left.iter().filter(|address| is_left(address)).for_each(|address| self.dials.abandon(address));
        let sessions = self.sessions.iter().filter(|session| session.dialled.as_ref().is_some_and(is_left));
        let sessions: Vec<SessionId> = sessions.map(|session| session.id).collect();
        for id in sessions {
            self.end_session(id, GoodbyeCode::Removed, "this node was told to forget the address");
        }
    }

    /// The connection that was asked for could not be made.
    pub fn handle_dial_failed(&mut self, now: Now, address: &str) {
        self.now = now;
        self.dials.was_abandoned(address);
        self.dials.again(address, false, now.monotonic, &mut self.entropy);
        self.dials.refresh(&self.state, &self.config, now.monotonic);
    }
}
