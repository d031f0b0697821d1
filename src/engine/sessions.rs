//! All sessions, and which of them speaks with whom.

use std::collections::{BTreeMap, BTreeSet};

use slab::Slab;

use super::Engine;
use super::effect::{Close, Note, SessionId};
use super::session::{Phase, Said, SendCursor, Session};
use crate::format::control::StreamOwner;
use crate::ids::{Lsn, PeerSlot, StreamId};
use crate::limits::{
    HANDSHAKE_TIMEOUT_MS, HEARTBEAT_MS, READ_BYTES_MIN, SEND_BYTES_IN_FLIGHT_MAX, SESSION_TIMEOUT_MS,
    SESSIONS_UNESTABLISHED_MAX,
};
use crate::time::{Monotonic, Now};
use crate::wire::bodies::Body;
use crate::wire::goodbye::GoodbyeCode;

use super::effect::Event;

/// The table of sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    table: Slab<Session>,
    by_peer: BTreeMap<PeerSlot, SessionId>,
    serial: u64,
    /// Peers that came since this was last asked.
    pub(super) came: BTreeSet<PeerSlot>,
    /// Whether one went.
    pub(super) has_gone: bool,
    /// What is kept of all that are not over.
    kept: usize,
    /// Where the next round over the sessions begins.
    pub(super) turn: usize,
    pub(super) closes: std::collections::VecDeque<Close>,
}

impl Sessions {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.table.iter().map(|(_, session)| session)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.table.iter_mut().map(|(_, session)| session)
    }

    /// The session of that name, if it is not over and forgotten.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.table.get(id.key).filter(|session| session.id == id)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.table.get_mut(id.key).filter(|session| session.id == id)
    }

    /// Puts a frame into its session's queue, unless that is over.
    pub(super) fn say(&mut self, id: SessionId, said: Said) {
        if let Some(session) = self.get_mut(id).filter(|session| session.phase != Phase::Over) {
            session.frames.push_back(said);
        }
    }

    /// The session with a peer.
    #[must_use]
    pub fn of_peer(&self, slot: PeerSlot) -> Option<&Session> {
        self.get(*self.by_peer.get(&slot)?)
    }

    pub(super) fn of_peer_mut(&mut self, slot: PeerSlot) -> Option<&mut Session> {
        let id = *self.by_peer.get(&slot)?;
        self.get_mut(id)
    }

    pub(super) fn set_peer(&mut self, slot: PeerSlot, id: SessionId) {
        self.by_peer.insert(slot, id);
        self.came.insert(slot);
    }

    /// The serial of the newest of them all.
    pub(super) fn newest(&self) -> u64 {
        self.serial
    }

    fn add(&mut self, dialled: Option<String>, challenge: [u8; 16], now: Monotonic) -> SessionId {
        self.serial += 1;
        let entry = self.table.vacant_entry();
        let id = SessionId { key: entry.key(), serial: self.serial };
        entry.insert(Session::new(id, dialled, challenge, now));
        id
    }

    fn remove(&mut self, id: SessionId) -> Option<Session> {
        self.keep(id, 0);
        self.get(id)?;
        let session = self.table.remove(id.key);
        if let Some(slot) = session.peer
            && self.by_peer.get(&slot) == Some(&id)
        {
            self.by_peer.remove(&slot);
            self.has_gone = true;
        }
        Some(session)
    }

    /// Bytes that came on all sessions that are not over and cannot be taken yet.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    pub(super) fn keep(&mut self, id: SessionId, bytes: usize) {
        if let Some(session) = self.get_mut(id) {
            let before = std::mem::replace(&mut session.kept, bytes);
            self.kept = self.kept - before + bytes;
        }
    }

    /// Of those of which much is kept, the one that has waited longest for its frame.
    pub(super) fn slowest(&self) -> Option<SessionId> {
        let much = self.iter().filter(|session| session.kept > READ_BYTES_MIN);
        much.min_by_key(|session| (session.framed_at, session.id.serial)).map(|session| session.id)
    }

    /// The ids of all, from where the last round ended.
    pub(super) fn round(&mut self) -> Vec<SessionId> {
        let ids: Vec<SessionId> = self.iter().map(|session| session.id).collect();
        if ids.is_empty() {
            return ids;
        }
        self.turn = (self.turn + 1) % ids.len();
        let (before, after) = ids.split_at(self.turn);
        after.iter().chain(before).copied().collect()
    }
}

impl Engine {
    /// The sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// A peer has connected. `None` if the connection is to be closed at once.
    ///
    /// Of too many of whom nothing is known yet, the oldest is sent away, one that has said nothing before one that has:
    /// whoever holds many connections open keeps nobody out, and who has something to say says it soon.
    pub fn handle_accepted(&mut self, now: Now) -> Option<SessionId> {
        self.now = now;
        if self.failed || self.closing {
            return None;
        }
        let unknown = || self.sessions.iter().filter(|session| session.peer.is_none());
        let waiting = || unknown().filter(|session| session.phase != Phase::Over);
        // Those that were sent away are there until they took their goodbye.
        if unknown().count() >= 2 * SESSIONS_UNESTABLISHED_MAX {
            return None;
        }
        if waiting().count() >= SESSIONS_UNESTABLISHED_MAX {
            let accepted = waiting().filter(|session| session.dialled.is_none());
            let oldest = accepted.min_by_key(|s| (s.phase != Phase::AwaitHello, s.began_at, s.id.serial))?.id;
            self.end_session(oldest, GoodbyeCode::TooManySessions, "others wait at the door");
        }
        let challenge = self.entropy.key();
        Some(self.sessions.add(None, challenge, now.monotonic))
    }

    /// The connection to `address` that was asked for is made. The dialling side speaks first.
    pub fn handle_connected(&mut self, now: Now, address: &str) -> SessionId {
        self.now = now;
        let challenge = self.entropy.key();
        let id = self.sessions.add(Some(address.to_owned()), challenge, now.monotonic);
        self.dials.connected(address, id);
        if self.dials.was_abandoned(address) {
            self.end_session(id, GoodbyeCode::Removed, "this node was told to forget the address");
        } else {
            self.say_hello(id);
        }
        id
    }

    /// A connection is gone, or was closed as asked.
    pub fn handle_disconnected(&mut self, now: Now, id: SessionId, reason: &str) {
        self.now = now;
        let Some(session) = self.sessions.remove(id) else { return };
        if session.phase != Phase::Over {
            self.note_end(&session, reason.to_owned());
        }
        if let Some(address) = &session.dialled {
            let worked = session.is_known() || session.phase == Phase::Over && session.peer.is_some();
            self.dials.ended(address, id, worked, now.monotonic, &mut self.entropy);
        }
        self.dials.refresh(&self.state, &self.config, now.monotonic);
        self.resume_dials();
    }

    fn note_end(&mut self, session: &Session, reason: String) {
        self.events.push_back(Event::Note(Note::Ended { node: session.node(), reason }));
    }

    /// Ends a session with a reason that the peer is told.
    pub(super) fn end_session(&mut self, id: SessionId, code: GoodbyeCode, reason: &str) {
        let Some(session) = self.sessions.get_mut(id).filter(|session| session.phase != Phase::Over) else {
            return;
        };
        session.phase = Phase::Over;
        session.frames.clear();
        let mut frame = Vec::new();
        Body::Goodbye { code, reason: reason.to_owned() }.append_to(&mut frame);
        session.say(Lsn(0), frame);
        let node = session.node();
        self.sessions.keep(id, 0);
        self.sessions.closes.push_back(Close { session: id, code });
        let reason = format!("{code}: {reason}");
        self.events.push_back(Event::Note(Note::ended(node, code, reason)));
    }

    pub(super) fn end_all_sessions(&mut self) {
        let code = if self.failed { GoodbyeCode::Storage } else { GoodbyeCode::Closing };
        let ids: Vec<SessionId> = self.sessions.iter().map(|session| session.id).collect();
        ids.into_iter().for_each(|id| self.end_session(id, code, ""));
    }

    /// Which connection is to be closed next. Its goodbye comes out of [`Engine::poll_transmit`] before.
    pub fn poll_close(&mut self) -> Option<Close> {
        // A socket that takes nothing more never takes the goodbye either: it is closed without one, and keeps none
        // of the others waiting.
        let sessions = &self.sessions;
        let is_said = |close: &Close| {
            sessions
                .get(close.session)
                .is_none_or(|s| s.frames.is_empty() || s.in_flight >= SEND_BYTES_IN_FLIGHT_MAX)
        };
        let at = sessions.closes.iter().position(is_said)?;
        self.sessions.closes.remove(at)
    }

    /// Heartbeats, and sessions that are silent for too long.
    pub(super) fn check_sessions(&mut self) {
        let now = self.now.monotonic;
        let mut late = Vec::new();
        for session in self.sessions.iter_mut() {
            if session.phase == Phase::Over {
                continue;
            }
            let handshake_ends = session.began_at.plus_millis(HANDSHAKE_TIMEOUT_MS);
            if !session.is_known() && now >= handshake_ends {
                late.push((session.id, "the handshake took too long"));
            } else if now >= session.heard_at.plus_millis(SESSION_TIMEOUT_MS) {
                late.push((session.id, "nothing was heard"));
            } else if session.is_known()
                && now >= session.said_at.plus_millis(HEARTBEAT_MS)
                && session.in_flight == 0
            {
                let mut frame = Vec::new();
                Body::Heartbeat.append_to(&mut frame);
                session.say(Lsn(0), frame);
                session.said_at = now;
            }
        }
        late.into_iter().for_each(|(id, reason)| self.end_session(id, GoodbyeCode::Timeout, reason));
    }

    pub(super) fn session_wake(&self, session: &Session) -> Monotonic {
        let silence = session.heard_at.plus_millis(SESSION_TIMEOUT_MS);
        if session.is_known() {
            // With bytes on their way to the socket the peer is told that we live by them.
            let heartbeat = session.said_at.plus_millis(HEARTBEAT_MS);
            if session.in_flight == 0 { silence.min(heartbeat) } else { silence }
        } else {
            silence.min(session.began_at.plus_millis(HANDSHAKE_TIMEOUT_MS))
        }
    }

    /// So many bytes of a session are kept until more comes or there is room. Together there may be so many as
    /// [`Limits`](super::config::Limits) says: whoever sends a long frame slowly has others wait for none, and an honest peer goes on
    /// where it was after a reconnect.
    pub fn handle_kept(&mut self, now: Now, id: SessionId, bytes: usize) {
        self.now = now;
        if self.sessions.get(id).is_some_and(|session| session.phase != Phase::Over) {
            self.sessions.keep(id, bytes);
        }
        while self.sessions.kept() > self.config.limits.kept_bytes
            && let Some(slowest) = self.sessions.slowest()
        {
            self.end_session(slowest, GoodbyeCode::TooManySessions, "others need the memory for its frame");
        }
    }

    /// The last record that the state knows of, durable or not.
    pub(super) fn last_applied(&self) -> Lsn {
        Lsn(self.state.index.end().0.saturating_sub(1))
    }

    /// Streams came or went: each session sends those of its peer, new ones from where they are acknowledged.
    pub(super) fn refresh_cursors(&mut self) {
        let after = self.last_applied();
        let Engine { state, sessions, .. } = self;
        for session in sessions.iter_mut().filter(|session| session.is_known()) {
            let Some(slot) = session.peer else { continue };
            let owed = |owner: &StreamOwner| matches!(owner, StreamOwner::Peer(s) if *s == slot);
            session.cursors.retain(|id, _| state.streams.contains_key(id));
            let streams = state.streams.iter().filter(|(_, stream)| owed(&stream.owner));
            let new: Vec<(StreamId, SendCursor)> =
                streams.map(|(id, stream)| (*id, SendCursor { next: stream.acked.plus(1), after })).collect();
            for (id, cursor) in new {
                session.cursors.entry(id).or_insert(cursor);
            }
        }
    }
}
