//! Two nodes find out who the other is. See `wire` for the picture.

use std::collections::BTreeSet;

use super::dialing::is_to_be_bound;
use super::effect::{Event, Note, SessionId};
use super::session::{Phase, Session};
use super::{Engine, Pending};
use crate::format::control::{Control, PeerRecord};
use crate::ids::{Epoch, Incarnation, Lsn, NodeId, PeerSlot, Position, StreamId};
use crate::limits::FRAME_BYTES_MAX;
use crate::wire::bodies::Body;
use crate::wire::goodbye::GoodbyeCode;
use crate::wire::hello::{Hello, HelloDefect, PROTOCOL_VERSION};
use crate::wire::met::Met;
use crate::wire::proof::{self, Role};

/// Why a session ends during its handshake.
pub(super) type Refused = (GoodbyeCode, String);

pub(super) fn refused<T>(code: GoodbyeCode, reason: impl Into<String>) -> Result<T, Refused> {
    Err((code, reason.into()))
}

impl Engine {
    /// Queues our hello.
    pub(super) fn say_hello(&mut self, id: SessionId) {
        let credit_bytes = self.credit_after(None, 0).unwrap_or(0);
        let met = self.tell_met(id);
        let (identity, config) = (self.state.identity, &self.config);
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.granted = credit_bytes;
        let hello = Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            node: identity.id,
            incarnation: identity.incarnation,
            epoch: config.epoch,
            nonce: config.nonce,
            challenge: session.challenge,
            frame_bytes_max: FRAME_BYTES_MAX as u32,
            credit_bytes,
            name: config.name.clone(),
            address: config.advertised.clone(),
            dialled: session.dialled.clone().unwrap_or_default(),
            met,
        };
        let mut frame = Vec::new();
        hello.append_to(&mut frame);
        // That there is such a node, and this opening of its log, must be durable before anyone hears of it: a peer
        // that remembers an opening which a crash took would take the next one for a copy of an older log.
        self.pending.push_back(Pending::Frame { session: id, frame });
    }

    pub(super) fn handle_hello(&mut self, id: SessionId, body: &[u8]) -> Result<(), Refused> {
        let hello = Hello::decode(body).map_err(|defect| {
            let version = matches!(defect, HelloDefect::VersionUnsupported { .. });
            (if version { GoodbyeCode::Version } else { GoodbyeCode::BadFrame }, defect.to_string())
        })?;
        let Some(session) = self.sessions.get_mut(id) else { return Ok(()) };
        if session.phase != Phase::AwaitHello {
            return refused(GoodbyeCode::ProtocolError, "a second hello");
        }
        let (node, credit, met) = (hello.node, hello.credit_bytes, hello.met);
        let (epoch, nonce, challenge) = (hello.epoch, hello.nonce, hello.challenge);
        session.hello = Some(hello);
        session.allowed = credit;
        let dialled = session.dialled.clone();
        if node == self.state.identity.id {
            return self.handle_own_hello(dialled.is_some(), challenge, nonce);
        }
        let Some(address) = dialled else {
            session.phase = Phase::AwaitProof;
            self.say_hello(id);
            return Ok(());
        };
        if self.is_other_than_bound(&address, node) {
            self.events.push_back(Event::Note(Note::Mismatch { address, node }));
            return refused(GoodbyeCode::ProtocolError, "another node answered at this address before");
        }
        if self.is_redundant(&address, node, (epoch, nonce)) {
            return refused(GoodbyeCode::Duplicate, "another session with this node goes on");
        }
        self.check_life(node, id)?;
        self.check_not_set_back(node, id)?;
        self.check_own_log(met)?;
        self.say_proof(id, node, self.secret_of(node));
        Ok(())
    }

    /// Whether a session with that node goes on and nothing is won by another one. Where something waits for whoever answers at
    /// the address, something is: anyone can say that it is that node, so this session takes the place of the other once it
    /// is proved. Before that the secret is known to both, or it would be told to whoever answers.
    fn is_redundant(&self, address: &str, node: NodeId, opening: (Epoch, u64)) -> bool {
        let Some(peer) = self.known_peer(node) else { return false };
        let other = self.sessions.of_peer(peer.slot).filter(|other| other.is_known());
        let goes_on = other.is_some_and(|other| other.opening() == Some(opening));
        goes_on && !(peer.secret_confirmed && is_to_be_bound(&self.state, address))
    }

    /// Someone is this node: the address that was dialled is our own, or someone has a copy of our directory.
    fn handle_own_hello(
        &mut self,
        was_dialled: bool,
        challenge: [u8; 16],
        nonce: u64,
    ) -> Result<(), Refused> {
        if nonce != self.config.nonce {
            return refused(
                GoodbyeCode::Clone,
                "two live nodes have one identity: one directory is a copy of the other",
            );
        }
        // The node itself sends nothing back: whoever does has it from the hello that was just said.
        if was_dialled {
            return refused(GoodbyeCode::ProtocolError, "this node's own hello came back to it");
        }
        if let Some(address) = self.dialled_itself(challenge) {
            self.bind(&address, PeerSlot::SELF);
        }
        refused(GoodbyeCode::Duplicate, "this is the node itself")
    }

    /// The address at which this node dialled itself, if the challenge that came is one of its own: only who is there knows it.
    fn dialled_itself(&self, challenge: [u8; 16]) -> Option<String> {
        let own = self
            .sessions
            .iter()
            .find(|session| session.dialled.is_some() && session.challenge == challenge)?;
        own.dialled.clone()
    }

    fn is_other_than_bound(&self, address: &str, node: NodeId) -> bool {
        let bound = self.state.addresses.get(address).and_then(|known| known.bound);
        bound.is_some_and(|slot| self.state.node_of(slot) != node)
    }

    fn say_proof(&mut self, id: SessionId, node: NodeId, known: Option<([u8; 16], bool)>) {
        let fresh = self.entropy.key();
        let (secret, confirmed) = known.unwrap_or_else(|| (self.meeting.propose(node, fresh), false));
        let (own, met) = (self.state.identity.id, self.tell_met(id));
        let agreed_nothing = self.known_peer(node).is_some_and(|peer| self.agreed_nothing(peer.slot));
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(hello) = &session.hello else { return };
        let mac = proof::prove(&secret, &hello.challenge, own, node, Role::Dialler);
        // One that has forgotten this node, since it had nothing to do with it, knows no secret.
        let is_forgotten = hello.met.is_none() && agreed_nothing;
        let mut frame = Vec::new();
        Body::Proof { mac, proposed: (!confirmed || is_forgotten).then_some(secret), met }
            .append_to(&mut frame);
        session.say(Lsn(0), frame);
        session.secret = Some(secret);
        session.phase = Phase::AwaitEstablished;
    }

    pub(super) fn handle_proof(
        &mut self,
        id: SessionId,
        mac: [u8; 32],
        proposed: Option<[u8; 16]>,
        met: Option<Met>,
    ) -> Result<(), Refused> {
        let own = self.state.identity.id;
        let Some(session) = self.sessions.get(id) else { return Ok(()) };
        let (Phase::AwaitProof, Some(hello)) = (session.phase, session.hello.clone()) else {
            return refused(GoodbyeCode::ProtocolError, "a proof that nobody asked for");
        };
        let challenge = session.challenge;
        let known = self.known_peer(hello.node);
        let remembered = self.secret_of(hello.node);
        // Who knows nobody here any more, and might have been forgotten here as well, is met for the first time again.
        let first_again = || met.is_none() && known.as_ref().is_some_and(|peer| self.may_be_forgotten(peer));
        let secret = match (remembered, proposed) {
            (Some((secret, true)), Some(proposed)) if proposed != secret && first_again() => proposed,
            (Some((secret, true)), _) => secret,
            (_, Some(proposed)) => proposed,
            (Some((secret, false)), None) => secret,
            (None, None) => {
                return refused(GoodbyeCode::NeverMet, "no secret was proposed");
            }
        };
        if !proof::verify(&mac, &secret, &challenge, hello.node, own, Role::Dialler) {
            return refused(GoodbyeCode::ProofFailed, "this is not the node we met under this identity");
        }
        self.check_life(hello.node, id)?;
        self.check_not_set_back(hello.node, id)?;
        self.check_own_log(met)?;
        self.check_was_told_all(id)?;
        self.resolve_simultaneous(id, &hello)?;
        let confirmed = remembered == Some((secret, true));
        let slot = self.remember_peer(known, &hello, secret, confirmed)?;
        let mac = proof::prove(&secret, &hello.challenge, own, hello.node, Role::Acceptor);
        let mut frame = Vec::new();
        Body::Established { mac }.append_to(&mut frame);
        self.pending.push_back(Pending::Frame { session: id, frame });
        self.establish(id, slot, secret);
        Ok(())
    }

    /// Of two connections that both sides dialled at once, the one that the lower node id dialled stays. One that was made
    /// when both knew each other already was not dialled at once: whoever dialled it knew of the other.
    fn resolve_simultaneous(&mut self, id: SessionId, hello: &Hello) -> Result<(), Refused> {
        let own = self.state.identity.id;
        let same_node = |other: &&Session| other.id != id && other.node() == Some(hello.node);
        let live = |other: &&Session| other.is_known() || other.phase == Phase::AwaitEstablished;
        let stays = |other: &Session| {
            let same_opening = other.opening() == Some((hello.epoch, hello.nonce));
            let at_once = other.known_since.is_none_or(|newest| id.serial <= newest);
            other.dialled.is_some() && same_opening && at_once && own < hello.node
        };
        let others: Vec<&Session> = self.sessions.iter().filter(same_node).filter(live).collect();
        if others.iter().any(|other| stays(other)) {
            return refused(GoodbyeCode::Duplicate, "another session with this node goes on");
        }
        let others: Vec<SessionId> = others.into_iter().map(|other| other.id).collect();
        for other in others {
            self.end_session(other, GoodbyeCode::Duplicate, "a newer session takes its place");
        }
        Ok(())
    }

    pub(super) fn handle_established(&mut self, id: SessionId, mac: [u8; 32]) -> Result<(), Refused> {
        let own = self.state.identity.id;
        let Some(session) = self.sessions.get(id) else { return Ok(()) };
        let (Phase::AwaitEstablished, Some(hello), Some(secret)) =
            (session.phase, session.hello.clone(), session.secret)
        else {
            return refused(GoodbyeCode::ProtocolError, "a session is established that nobody proved");
        };
        if !proof::verify(&mac, &secret, &session.challenge, hello.node, own, Role::Acceptor) {
            return refused(GoodbyeCode::ProofFailed, "this is not the node we met under this identity");
        }
        // What was right when the hello came need not be so any more: another session may have begun meanwhile.
        self.check_life(hello.node, id)?;
        self.check_not_set_back(hello.node, id)?;
        self.check_was_told_all(id)?;
        let dialled = session.dialled.clone();
        let known = self.known_peer(hello.node);
        let slot = self.remember_peer(known, &hello, secret, true)?;
        if let Some(address) = dialled {
            self.bind(&address, slot);
        }
        self.establish(id, slot, secret);
        Ok(())
    }

    /// Writes down what is new about a peer; its slot.
    fn remember_peer(
        &mut self,
        known: Option<PeerRecord>,
        hello: &Hello,
        secret: [u8; 16],
        confirmed: bool,
    ) -> Result<PeerSlot, Refused> {
        let mut record = PeerRecord {
            slot: known.as_ref().map(|peer| peer.slot).unwrap_or_default(),
            node: hello.node,
            incarnation: hello.incarnation,
            epoch: hello.epoch,
            nonce: hello.nonce,
            secret,
            secret_confirmed: confirmed,
            address: hello.address.clone(),
            name: hello.name.clone(),
            removed: false,
        };
        match &known {
            None => record.slot = self.slot_for(&record)?,
            Some(known) => self.met_in_life(known, record.incarnation)?,
        }
        let slot = record.slot;
        if known.as_ref() != Some(&record) {
            self.meeting.wrote(record.clone());
            self.pending.push_back(Pending::Control(Control::Peer(record)));
        }
        Ok(slot)
    }

    /// Both sides know each other. What we accepted so far, and what we want, are said once all that this rests on is
    /// durable.
    fn establish(&mut self, id: SessionId, slot: PeerSlot, secret: [u8; 16]) {
        // The frame goes out when all that was staged before it is durable: what is staged counts as accepted. Who was restored
        // from a backup may have on a stream once more what was accepted before it ended.
        let open = self.state.inbound.keys().chain(self.staged.keys()).filter(|(from, _)| *from == slot);
        let finished = self.state.finished_of(slot).map(|(stream, _)| stream);
        let streams: BTreeSet<StreamId> = open.map(|(_, stream)| *stream).chain(finished).collect();
        let cursors =
            streams.into_iter().map(|stream| (stream, Position(self.expected(slot, stream).0 - 1))).collect();
        self.pending.push_back(Pending::Resume { session: id, cursors });
        // One of an earlier opening of the peer can be left here, or one that this one is to take the place of.
        if let Some(other) =
            self.sessions.of_peer(slot).map(|session| session.id).filter(|other| *other != id)
        {
            self.end_session(other, GoodbyeCode::Duplicate, "a newer session takes its place");
        }
        self.sessions.set_peer(slot, id);
        self.giving_way.strike_off(slot);
        let (now, newest) = (self.now.monotonic, self.sessions.newest());
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.phase = Phase::AwaitResume;
        session.known_since = Some(newest);
        session.secret = Some(secret);
        session.peer = Some(slot);
        session.interest_due = true;
        session.heard_at = now;
        let (node, name) =
            (session.node().unwrap_or_default(), session.hello.as_ref().map(|h| h.name.clone()));
        self.events.push_back(Event::Note(Note::Established { node, name: name.unwrap_or_default() }));
    }

    /// The other side speaks on what only it can: it has the secret on stable storage too.
    pub(super) fn confirm_secret(&mut self, slot: PeerSlot) {
        let Some(peer) = self.known_peer_at(slot).filter(|peer| !peer.secret_confirmed && !peer.removed)
        else {
            return;
        };
        let record = PeerRecord { secret_confirmed: true, ..peer };
        self.meeting.wrote(record.clone());
        self.pending.push_back(Pending::Control(Control::Peer(record)));
    }

    /// The node that answers at `address` is known, unless another one was before.
    pub(super) fn bind(&mut self, address: &str, slot: PeerSlot) {
        let bound = self.state.addresses.get(address).and_then(|known| known.bound);
        let is_forgotten = self.meeting.has_left(address) && self.intents(address).is_empty();
        if bound.is_none() && !is_forgotten {
            let control = Control::AddressBound { address: address.to_owned(), slot };
            self.meeting.binds(address, slot);
            self.pending.push_back(Pending::Control(control));
            if slot == PeerSlot::SELF {
                self.settle_own_intents(address);
            }
        }
    }

    /// The life of a peer's log, as it said when it was last met.
    pub(super) fn incarnation_of(&self, slot: PeerSlot) -> Incarnation {
        let session = self.sessions.of_peer(slot).and_then(|session| session.hello.as_ref());
        session.map_or_else(Incarnation::default, |hello| hello.incarnation)
    }
}
