//! What a node says of itself and of what it stands on.

use super::commits::CommitSums;
use crate::engine::status::EngineStatus;
use crate::engine::traffic::Traffic;
use crate::ids::Lsn;

/// A node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// What it owes, was sent, and whom it knows.
    pub engine: EngineStatus,
    /// What went through since the node was opened.
    pub traffic: Traffic,
    /// What the batches came to since then.
    pub commits: CommitSums,
    /// The last record that is on stable storage with all before it.
    pub durable: Lsn,
    /// Messages at handlers.
    pub dispatched: u64,
    /// Files of the log.
    pub segments: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Batches written since the log was made, each with one flush.
    pub flushes: u64,
    /// Bytes of batches written since the log was opened.
    pub written_bytes: u64,
    /// The file system.
    pub file_system: String,
    /// Whether writes go around the page cache (O_DIRECT). If not, each is flushed all the same.
    pub direct: bool,
    /// What is to be known about durability here, if it is not real.
    pub durability_warning: Option<String>,
    /// Whether buffers are registered with the kernel, or why not.
    pub registration: String,
    /// How the log was found when it was opened.
    pub recovery: String,
    /// Whether the disk has no room for another segment: publishing is refused.
    pub disk_full: bool,
    /// Whether that is because the log has as much of the disk as it may take.
    pub disk_quota_reached: bool,
    /// Why the log can no longer be written, if it cannot.
    pub failure: Option<String>,
}
