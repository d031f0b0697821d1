//! What a node tells the driver, as lines on its standard output: how far it is, and what its bus says of itself.

use serde::{Deserialize, Serialize};

/// One life so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub opened: bool,
    /// Messages acknowledged to it.
    pub acknowledged: u64,
    /// Calls of its handlers.
    pub handled: u64,
    /// How often the disk had no room for what it wanted.
    pub refused: u64,
    /// It publishes nothing more.
    pub quiet: bool,
    pub connected: u64,
    pub outgoing: u64,
    pub incoming: u64,
    pub parked: u64,
    /// Dead letters, and messages that will never come: there must not be any.
    pub gone: u64,
    pub disk_full: bool,
    pub failure: Option<String>,
}

impl Report {
    /// What must not be said by any node, whatever was done to it.
    pub fn complaint(&self) -> Option<String> {
        let failed = self.failure.as_ref().map(|why| format!("its log failed: {why}"));
        failed.or_else(|| (self.gone > 0).then(|| format!("{} messages are given up", self.gone)))
    }
}
