//! What the engine is told once, when the log is opened.

use crate::format::control::Quota;
use crate::ids::{Epoch, Incarnation, NodeId};
use crate::limits::{KEPT_BYTES_MAX, PEERS_MAX};

/// How failed handlers are called again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// The first pause, in milliseconds.
    pub initial_ms: u64,
    /// By how much each pause is longer than the one before.
    pub factor: f64,
    /// The longest pause, in milliseconds.
    pub max_ms: u64,
    /// Calls of one handler for one message before it is a dead letter.
    pub attempts_max: u32,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { initial_ms: 500, factor: 1.5, max_ms: 60_000, attempts_max: 25 }
    }
}

/// What others may make a node keep, at most. Nodes have the default; less is for tests, which get there sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Peers that it knows.
    pub peers: usize,
    /// Bytes of all sessions that were received and cannot be taken yet.
    pub kept_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { peers: PEERS_MAX, kept_bytes: KEPT_BYTES_MAX }
    }
}

/// The engine's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// A new identity, for a directory that has none.
    pub fresh_id: NodeId,
    /// A new life, for a log that has none or begins another.
    pub fresh_incarnation: Incarnation,
    /// The log went back to an older state: what it says from here on it says in a new life.
    pub begins_life: bool,
    /// This opening's number.
    pub epoch: Epoch,
    /// This opening's nonce.
    pub nonce: u64,
    /// The name this node gives itself.
    pub name: String,
    /// Whether it looks for its peers.
    pub dials: bool,
    /// Where peers can reach it; empty if they cannot.
    pub advertised: String,
    /// Addresses that are this node's own: a message to one of them goes no further.
    pub own_addresses: Vec<String>,
    /// How failed handlers are called again.
    pub retry: Retry,
    /// Bytes the inbox may hold before peers get no more credit.
    pub inbox_bytes_max: u64,
    /// Bytes the messages of one peer may have of that.
    pub sender_bytes_max: u64,
    /// The quota of subscribers that have none of their own.
    pub quota: Quota,
    /// What others may make this node keep.
    pub limits: Limits,
    /// From which secrets, challenges and jitter are drawn: random.
    pub seed: [u8; 32],
}
