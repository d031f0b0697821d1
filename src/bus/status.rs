//! What a node says of itself, for those who use the bus.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::OwnQuota;
use super::inspect::time_of;
use crate::engine::status::EngineStatus;
use crate::io::commits::CommitSums;
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
    /// Whether somebody paused it: what it is owed stays here. See [`Administrator::pause`](crate::Administrator::pause).
    #[serde(default)]
    pub paused: bool,
    /// What it may have waiting for it, where that is not as with all others. See [`Administrator::limit`](crate::Administrator::limit).
    #[serde(default)]
    pub quota: OwnQuota,
    /// Since when it is not connected, if it has a lease.
    #[serde(default)]
    pub unseen_since: Option<SystemTime>,
    /// Whether it has as much waiting for it as it may, so that nothing is published that it would get: only of a node that is
    /// open.
    #[serde(default)]
    pub refused: bool,
    /// Whether it has as much waiting for it as it may, and what is published is not kept for it.
    #[serde(default)]
    pub parked: bool,
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
    /// When the oldest message that is owed to it was published. Only of a node that is open, and only where the log was looked
    /// at for it: [`crate::inspect::View::status`] does, for those to whom something has been owed longest.
    #[serde(default)]
    pub oldest_at: Option<SystemTime>,
}

/// What went through a node since it was opened: sums that only grow. All are 0 of one that is not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Traffic {
    /// Messages published or sent that somebody gets, once each.
    pub published: u64,
    /// Their bytes in the log.
    pub published_bytes: u64,
    /// Messages accepted from peers.
    pub accepted: u64,
    /// Their bytes in the log.
    pub accepted_bytes: u64,
    /// Messages that peers acknowledged; one that goes to ten of them counts ten times.
    pub delivered: u64,
    /// Messages that all their handlers are done with.
    pub handled: u64,
    /// Attempts of handlers that failed and are made again.
    pub retried: u64,
    /// Attempts that failed and were the last.
    pub given_up: u64,
}

/// What the batches came to that were written since a node was opened. All is 0 of one that is not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Commits {
    /// Batches that are written, each with one flush.
    pub batches: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes on the disk.
    pub bytes: u64,
    /// How long each was on its way to the disk, added up: nanoseconds. Two may be at once.
    pub nanoseconds: u64,
    /// The longest of that among the last 64: nanoseconds.
    pub slowest_recent_nanoseconds: u64,
    /// How long the oldest batch has been on its way that is not yet written: nanoseconds; 0 if none is.
    pub oldest_in_flight_nanoseconds: u64,
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
    /// Messages dropped because their destination was removed, they were taken out, or it was evicted or is parked.
    pub dropped: u64,
    /// Topics the node wants of itself.
    pub local_topics: Vec<String>,
    /// Peers and addresses.
    pub destinations: Vec<DestinationStatus>,
    /// What went through since the node was opened.
    #[serde(default)]
    pub traffic: Traffic,
    /// How batches were written since then.
    #[serde(default)]
    pub commits: Commits,
    /// Records that are on their way to the disk, and not yet on stable storage.
    #[serde(default)]
    pub durable_lag: u64,
    /// Bytes that are free on the disk of the log; `None` if it was not looked at, as by [`crate::Bus::status`].
    #[serde(default)]
    pub free_bytes: Option<u64>,
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
            paused: of.paused,
            quota: of.quota.into(),
            unseen_since: of.unseen_since.map(time_of),
            refused: of.refused,
            parked: of.parked,
            owed: of.owed,
            owed_bytes: of.owed_bytes,
            topics: of.topics,
            wanted: wanted.collect(),
            lost: of.lost,
            oldest_at: None,
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
            traffic: of.traffic.into(),
            commits: of.commits.into(),
            durable_lag: of.engine.last_lsn.0.saturating_sub(of.durable.0),
            free_bytes: None,
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

impl From<crate::engine::traffic::Traffic> for Traffic {
    fn from(of: crate::engine::traffic::Traffic) -> Traffic {
        Traffic {
            published: of.published,
            published_bytes: of.published_bytes,
            accepted: of.accepted,
            accepted_bytes: of.accepted_bytes,
            delivered: of.delivered,
            handled: of.handled,
            retried: of.retried,
            given_up: of.given_up,
        }
    }
}

impl From<CommitSums> for Commits {
    fn from(of: CommitSums) -> Commits {
        Commits {
            batches: of.batches,
            records: of.records,
            bytes: of.bytes,
            nanoseconds: of.nanoseconds,
            slowest_recent_nanoseconds: of.slowest_recent_nanoseconds,
            oldest_in_flight_nanoseconds: of.oldest_in_flight_nanoseconds,
        }
    }
}
