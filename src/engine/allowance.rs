//! How large the small state may grow: every segment begins with all of it, and must have room for more than that.
//!
//! What peers and users add is counted before it is taken in, and never less than it comes to. What goes away is only
//! seen when there seems to be no room and the state is measured anew, at most once in [`ALLOWANCE_REST_MS`]: who is
//! refused costs little.

use super::{Engine, Pending};
use crate::format::control::Control;
use crate::format::record::RECORD_HEADER_BYTES;
use crate::limits::{ALLOWANCE_REST_MS, BATCH_BYTES_MAX, CHECKPOINT_FRACTION};

/// What a peer is told.
pub(super) const SEGMENTS_TOO_SMALL: &str =
    "this node's segments are too small for more peers and subscriptions";

/// Bytes of a record in the log.
pub(super) fn record_bytes(control: &Control) -> u64 {
    (RECORD_HEADER_BYTES + control.encode().len()) as u64
}

impl Engine {
    /// Takes so many bytes of what the small state may still grow by. Returns whether they were there; if not, what
    /// would take them is refused: a checkpoint that fits no segment would begin one after the other.
    pub(super) fn take_allowance(&mut self, bytes: u64) -> bool {
        let most = self.segments.segment_bytes() / CHECKPOINT_FRACTION;
        let now = self.now.monotonic;
        if self.small_bytes + bytes > most && self.measure_again_at.is_none_or(|at| at <= now) {
            self.small_bytes = self.measured_bytes();
            self.measure_again_at = Some(now.plus_millis(ALLOWANCE_REST_MS));
        }
        let fits = self.small_bytes + bytes <= most;
        if fits {
            self.small_bytes += bytes;
        }
        fits
    }

    /// The state as far as it is applied, and what may come on top of it.
    pub(super) fn measured_bytes(&self) -> u64 {
        let pending = self.pending.iter().map(|pending| match pending {
            Pending::Control(control) => record_bytes(control),
            _ => 0,
        });
        let staged = if self.has_unapplied { BATCH_BYTES_MAX as u64 } else { 0 };
        self.state.checkpoint().iter().map(record_bytes).sum::<u64>() + pending.sum::<u64>() + staged
    }
}

/// Bytes that topics may take in the checkpoint, as the wishes of one node.
pub(super) fn topics_bytes<'t>(topics: impl Iterator<Item = &'t String>) -> u64 {
    // A record's header and the fields beside the topics are in what the first one counts for more.
    topics.map(|topic| topic.len() as u64 + 2).sum::<u64>() + 2 * RECORD_HEADER_BYTES as u64
}
