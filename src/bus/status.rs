//! What a node says of itself, for those who use the bus.

use serde::{Deserialize, Serialize};

use crate::engine::status::EngineStatus;
use crate::io::node_status::NodeStatus;

/// A topic that is wanted of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedTopic {
    /// The topic.
    pub topic: String,
    /// Whether the publisher has the wish on stable storage.
    pub confirmed: bool,
}

/// A peer, or an address where nobody has answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationStatus {
    /// The node's id; `None` if nobody has answered yet.
    pub node: Option<String>,
    /// What it calls itself.
    pub name: String,
    /// Where it is dialled, or says that it can be reached.
    pub address: String,
    /// Whether a session with it goes on.
    pub connected: bool,
    /// Messages owed to it.
    pub owed: u64,
    /// Their bytes, about.
    pub owed_bytes: u64,
    /// The topics it subscribes to here.
    pub topics: Vec<String>,
    /// The topics wanted of it.
    pub wanted: Vec<WantedTopic>,
    /// Messages of it that will never come, because one side lost its data, or somebody took
    /// them out at the publisher.
    pub lost: u64,
}

/// A node at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The node's id.
    pub node: String,
    /// What it calls itself.
    pub name: String,
    /// Where peers can reach it.
    pub address: String,
    /// How often its log was opened.
    pub epoch: u64,
    /// Messages owed to peers.
    pub outgoing: u64,
    /// Messages that wait for a handler or are at one.
    pub incoming: u64,
    /// Messages without a handler.
    pub parked: u64,
    /// Messages whose handler gave up.
    pub dead_letters: u64,
    /// Messages at handlers now.
    pub in_handlers: u64,
    /// Bytes of the inbox, about.
    pub inbox_bytes: u64,
    /// Messages dropped because their destination was removed.
    pub dropped: u64,
    /// Topics the node wants of itself.
    pub local_topics: Vec<String>,
    /// Peers and addresses.
    pub destinations: Vec<DestinationStatus>,
    /// Files of the log.
    pub segments: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Batches written since the log was made, each with one flush.
    pub flushes: u64,
    /// Bytes of batches written since the node was opened.
    pub written_bytes: u64,
    /// The file system.
    pub file_system: String,
    /// Whether writes go around the page cache (O_DIRECT). If not, each is flushed all the same (O_DSYNC).
    pub direct: bool,
    /// Why durability is not real here, if it is not: memory, or a network.
    pub durability_warning: Option<String>,
    /// Whether buffers are registered with the kernel, or why not.
    pub registration: String,
    /// How the log was found when it was opened.
    pub recovery: String,
    /// Whether the disk has no room for another segment.
    pub disk_full: bool,
    /// Whether that is because the log has as much of the disk as it may take.
    #[serde(default)]
    pub disk_quota_reached: bool,
    /// Why the log can no longer be written, if it cannot.
    pub failure: Option<String>,
}

/// What was left when [`crate::Bus::drain`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Messages that peers have not acknowledged.
    pub undelivered: u64,
    /// Messages that no handler has finished.
    pub unhandled: u64,
    /// The destinations that something is owed to, and how much.
    pub owed: Vec<(String, u64)>,
}

impl DrainReport {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.undelivered == 0 && self.unhandled == 0
    }
}

impl From<&Status> for DrainReport {
    fn from(status: &Status) -> DrainReport {
        let owing = status.destinations.iter().filter(|destination| destination.owed > 0);
        DrainReport {
            undelivered: status.outgoing,
            unhandled: status.incoming,
            owed: owing.map(|destination| (destination.address.clone(), destination.owed)).collect(),
        }
    }
}

impl From<crate::engine::status::DestinationStatus> for DestinationStatus {
    fn from(of: crate::engine::status::DestinationStatus) -> DestinationStatus {
        let wanted = of.wanted.into_iter().map(|(topic, confirmed)| WantedTopic { topic, confirmed });
        DestinationStatus {
            node: of.node.map(|node| node.to_string()),
            name: of.name,
            address: of.address,
            connected: of.connected,
            owed: of.owed,
            owed_bytes: of.owed_bytes,
            topics: of.topics,
            wanted: wanted.collect(),
            lost: of.lost,
        }
    }
}

impl From<NodeStatus> for Status {
    fn from(of: NodeStatus) -> Status {
        let EngineStatus { node, epoch, name, address, destinations, local_topics, .. } = of.engine;
        Status {
            node: node.to_string(),
            name,
            address,
            epoch: epoch.0,
            outgoing: of.engine.outgoing,
            incoming: of.engine.incoming,
            parked: of.engine.parked,
            dead_letters: of.engine.dead,
            in_handlers: of.dispatched,
            inbox_bytes: of.engine.inbox_bytes,
            dropped: of.engine.dropped,
            local_topics,
            destinations: destinations.into_iter().map(DestinationStatus::from).collect(),
            segments: of.segments,
            log_bytes: of.log_bytes,
            flushes: of.flushes,
            written_bytes: of.written_bytes,
            file_system: of.file_system,
            direct: of.direct,
            durability_warning: of.durability_warning,
            registration: of.registration,
            recovery: of.recovery,
            disk_full: of.disk_full,
            disk_quota_reached: of.disk_quota_reached,
            failure: of.failure,
        }
    }
}
