//! One connection to a peer: how far its handshake is, what may be sent, what was received.

use std::collections::{BTreeMap, VecDeque};

use super::effect::SessionId;
use crate::ids::{Epoch, Lsn, NodeId, PeerSlot, Position, StreamId};
use crate::time::Monotonic;
use crate::wire::hello::Hello;

/// How far the handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was heard yet.
    AwaitHello,
    /// We accepted, and the other side is to prove who it is.
    AwaitProof,
    /// We dialled and proved who we are.
    AwaitEstablished,
    /// Both know who the other is; how far the other has accepted our streams is not known yet.
    AwaitResume,
    /// Everything may be said.
    Established,
    /// A goodbye was said; nothing is heard any more.
    Over,
}

/// How far one stream was sent in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendCursor {
    /// The next position to send.
    pub next: Position,
    /// What must be durable before: that the stream is this peer's. A crash would give it to nobody again, and then
    /// perhaps to another.
    pub after: Lsn,
}

/// A frame that waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What must be durable before.
    pub after: Lsn,
    /// The frame.
    pub frame: Vec<u8>,
    /// Whether it is our resume, before which no more than the handshake is said.
    pub opens: bool,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// The address that was dialled, if we dialled.
    pub dialled: Option<String>,
    /// How far the handshake is.
    pub phase: Phase,
    /// Our challenge to the other side.
    pub challenge: [u8; 16],
    /// Who the other side says it is.
    pub hello: Option<Hello>,
    /// The secret that is proved with.
    pub secret: Option<[u8; 16]>,
    /// Who the other side is, once it proved it.
    pub peer: Option<PeerSlot>,
    /// The last record of the other side's log that it was told is known here; 0 if none.
    pub told_seen: Lsn,
    /// The serial of the newest connection there was when both sides knew each other: later ones were not dialled at once.
    pub known_since: Option<u64>,
    /// Frames that wait to be sent.
    pub frames: VecDeque<Said>,
    /// Frames that wait until our resume is among them: what the peer's says may be answered before ours can be said.
    behind_resume: Vec<Said>,
    /// Whether our resume is among the frames, or was.
    has_resumed: bool,
    /// Whether our resume was sent.
    pub opened: bool,
    /// Streams owed to the peer.
    pub cursors: BTreeMap<StreamId, SendCursor>,
    /// Bytes of runs that the peer allows in all.
    pub allowed: u64,
    /// Bytes of runs sent so far.
    pub sent: u64,
    /// Bytes handed to the socket and not yet taken by it.
    pub in_flight: usize,
    /// Bytes of runs that came from the peer, accepted or not.
    pub received: u64,
    /// Bytes of those that need no room any more: what was accepted is durable, or there was nothing to accept.
    pub accepted_bytes: u64,
    /// Bytes of runs that the peer was last told it may send, first in our hello: `received` never exceeds them.
    pub granted: u64,
    /// What is durable here and was not yet said so.
    pub acks: BTreeMap<StreamId, Position>,
    /// Whether what we want of the peer must be said (again).
    pub interest_due: bool,
    /// Which version of our wishes was said last.
    pub interest_generation: u64,
    /// Bytes that came and cannot be taken yet: a frame that is not yet whole, and those that found no room.
    pub(super) kept: usize,
    /// When the last whole frame was taken.
    pub(super) framed_at: Monotonic,
    /// When something was last heard.
    pub heard_at: Monotonic,
    /// When something was last said.
    pub said_at: Monotonic,
    /// When the connection was made.
    pub began_at: Monotonic,
}

impl Session {
    /// A connection that was just made.
    #[must_use]
    pub fn new(id: SessionId, dialled: Option<String>, challenge: [u8; 16], now: Monotonic) -> Session {
        Session {
            id,
            dialled,
            phase: Phase::AwaitHello,
            challenge,
            hello: None,
            secret: None,
            peer: None,
            told_seen: Lsn(0),
            known_since: None,
            frames: VecDeque::new(),
            behind_resume: Vec::new(),
            has_resumed: false,
            opened: false,
            cursors: BTreeMap::new(),
            allowed: 0,
            sent: 0,
            in_flight: 0,
            received: 0,
            accepted_bytes: 0,
            granted: 0,
            acks: BTreeMap::new(),
            interest_due: false,
            interest_generation: 0,
            kept: 0,
            framed_at: now,
            heard_at: now,
            said_at: now,
            began_at: now,
        }
    }

    /// Queues a frame that may be sent once `after` is durable.
    pub fn say(&mut self, after: Lsn, frame: Vec<u8>) {
        self.frames.push_back(Said { after, frame, opens: false });
    }

    /// Queues our resume, and what must come behind it.
    pub(super) fn say_resume(&mut self, after: Lsn, frame: Vec<u8>) {
        self.frames.push_back(Said { after, frame, opens: true });
        self.has_resumed = true;
        self.frames.extend(self.behind_resume.drain(..));
    }

    /// Queues a frame that may be sent once `after` is durable, and our resume was sent.
    pub(super) fn say_behind_resume(&mut self, after: Lsn, frame: Vec<u8>) {
        if self.has_resumed {
            self.say(after, frame);
        } else {
            self.behind_resume.push(Said { after, frame, opens: false });
        }
    }

    /// Whether both sides know each other.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self.phase, Phase::AwaitResume | Phase::Established)
    }

    /// Who the other side says it is.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.hello.as_ref().map(|hello| hello.node)
    }

    /// Which opening of its log the other side speaks for.
    #[must_use]
    pub fn opening(&self) -> Option<(Epoch, u64)> {
        self.hello.as_ref().map(|hello| (hello.epoch, hello.nonce))
    }
}
