//! Segments that somebody copies are not freed meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::mailbox::Mail;
use super::shared::Shared;
use crate::log::durable_part::DurablePart;

/// As long as it is held, the files of a part of the log stay where they are, unless the disk is full: a node that goes on
/// is worth more than a copy of it. Whoever copied asks at the end.
#[derive(Debug)]
pub struct Pin {
    part: DurablePart,
    is_broken: AtomicBool,
    shared: Arc<Shared>,
}

impl Pin {
    pub(super) fn new(part: DurablePart, shared: Arc<Shared>) -> Pin {
        Pin { part, is_broken: AtomicBool::new(false), shared }
    }

    /// What is pinned: all that was durable when it was.
    #[must_use]
    pub fn part(&self) -> DurablePart {
        self.part
    }

    /// Whether segments were freed all the same.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::SeqCst)
    }

    pub(super) fn give_way(&self) {
        self.is_broken.store(true, Ordering::SeqCst);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        // The engine's thread may sleep over what it could free now.
        self.shared.post(Mail::Unpinned);
    }
}
