//! How much went through the node: sums that only grow, for those who watch it.

use std::collections::BTreeMap;

use super::Engine;
use super::state::State;
use crate::format::control::Accepted;
use crate::ids::{Position, SetId, StreamId};
use crate::log::chunk::Chunk;
use crate::log::extent::ExtentKind;

/// What went through since the node was opened. Nothing depends on it, and none of it is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages published or sent here that somebody gets, once each.
    pub published: u64,
    /// Their bytes, as they are in the log.
    pub published_bytes: u64,
    /// Messages accepted from peers.
    pub accepted: u64,
    /// Their bytes, as they are in the log.
    pub accepted_bytes: u64,
    /// Messages that peers acknowledged: one that goes to ten of them counts ten times.
    pub delivered: u64,
    /// Messages that all their handlers are done with.
    pub handled: u64,
    /// Attempts of handlers that failed and are made again.
    pub retried: u64,
    /// Attempts that failed and were the last.
    pub given_up: u64,
}

impl Traffic {
    /// A batch was sealed: the messages in it are published.
    pub(super) fn sealed(&mut self, chunk: &Chunk) {
        for extent in chunk.extents() {
            if matches!(extent.kind, ExtentKind::Messages(set) if set != SetId::NONE) {
                self.published += u64::from(extent.count);
                self.published_bytes += u64::from(extent.bytes);
            }
        }
    }

    /// A run of a peer was accepted.
    pub(super) fn accepted(&mut self, run: &Accepted) {
        self.accepted += u64::from(run.count);
        self.accepted_bytes += u64::from(run.bytes);
    }
}

impl Engine {
    /// What went through since the node was opened.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

/// A peer has a stream up to a position; that is logged some time. What was heard before counts once.
pub(super) fn acknowledged(
    (state, acks, traffic): (&State, &mut BTreeMap<StreamId, Position>, &mut Traffic),
    id: StreamId,
    position: Position,
) {
    let known = state.streams.get(&id).map_or(position, |stream| stream.acked);
    let heard = acks.entry(id).or_default();
    traffic.delivered += position.0.saturating_sub(known.max(*heard).0);
    *heard = position.max(*heard);
}
