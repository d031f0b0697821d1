//! What users asked for and is not done yet.

use std::collections::{BTreeMap, VecDeque};

use super::effect::RequestId;
use crate::format::control::IntentState;
use crate::ids::Lsn;
use crate::time::Monotonic;

/// Someone waits until nothing is owed and nothing waits for a handler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    pub(super) deadline: Monotonic,
    /// The last record that was staged before, once that is known.
    pub(super) after: Option<Lsn>,
}

/// Requests that wait for something to happen.
#[derive(Debug, Default)]
pub struct Requests {
    pub(super) confirmed: Vec<(RequestId, String, Vec<String>)>,
    pub(super) drains: BTreeMap<RequestId, Drain>,
    pub(super) subscribers: Vec<(RequestId, String, usize)>,
    /// Changes by hand that are written down and not applied yet, in their order.
    changes: VecDeque<Option<RequestId>>,
    /// Those that are applied and not durable yet, and how many messages each met.
    changed: BTreeMap<RequestId, u64>,
    /// Wishes at addresses that were written down and are not applied yet.
    pub(super) written: BTreeMap<String, BTreeMap<String, IntentState>>,
}

impl Requests {
    pub(super) fn next_at(&self) -> Option<Monotonic> {
        self.drains.values().map(|drain| drain.deadline).min()
    }

    /// Whether wishes at an address were written down and are not applied yet.
    pub(super) fn are_written_for(&self, address: &str) -> bool {
        self.written.contains_key(address)
    }

    /// The node makes a change for which nobody waits.
    pub(super) fn changes_by_itself(&mut self) {
        self.changes.push_back(None);
    }

    /// Somebody who waits for it has a change made.
    pub(super) fn changes_for(&mut self, request: RequestId) {
        self.changes.push_back(Some(request));
    }

    /// The oldest change by hand is applied, and met so many messages.
    pub(super) fn administered(&mut self, messages: u64) {
        // Invariant: all that are applied after the opening were asked for in it.
        let request = self.changes.pop_front().expect("a change that nobody asked for");
        if let Some(request) = request {
            *self.changed.entry(request).or_default() += messages;
        }
    }

    /// How many messages a request met that is done.
    pub(super) fn messages_of(&mut self, request: RequestId) -> u64 {
        self.changed.remove(&request).unwrap_or(0)
    }

    /// Everything that was written down is applied.
    pub(super) fn all_applied(&mut self) {
        self.written.clear();
    }
}
