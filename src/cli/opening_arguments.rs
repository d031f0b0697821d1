//! How a node is opened, with the help of each.

use std::time::Duration;

use clap::Args;

use super::list_arguments::age;
use crate::bus::{AtLimit, Quota};

/// How it is opened.
#[derive(Debug, Args)]
pub struct Opening {
    /// Where peers can reach the node, if that is not where it listens.
    #[arg(long, value_name = "ADDR")]
    pub advertise: Option<String>,
    /// What the node calls itself; the name of its directory if not given.
    #[arg(long)]
    pub name: Option<String>,
    /// Bytes of a new segment of the log: 8 MiB to 1 GiB, a multiple of 4 KiB; 64 MiB if not given.
    #[arg(long, value_name = "BYTES")]
    pub segment_bytes: Option<u64>,
    /// Bytes of messages accepted and not yet handled, above which peers must wait: at least 4 MiB; 4 GiB if not given.
    #[arg(long, value_name = "BYTES")]
    pub inbox_bytes: Option<u64>,
    /// Bytes of the disk that the segments of the log may take: at least four of them; 64 GiB if not given.
    #[arg(long, value_name = "BYTES")]
    pub disk_bytes: Option<u64>,
    /// Bytes of the inbox that the messages of one peer may have, above which it must wait: at least 4 MiB; 2 GiB if not given.
    #[arg(long, value_name = "BYTES")]
    pub sender_bytes: Option<u64>,
    /// Bytes that may wait for one subscriber: at least 4 MiB; 16 GiB if not given. `limit` gives one subscriber others.
    #[arg(long, value_name = "BYTES")]
    pub backlog_bytes: Option<u64>,
    /// What happens then: refuse what would be published to it, park it, which misses what is published meanwhile, or evict it
    /// after its lease; refuse if not given.
    #[arg(long, value_name = "WHAT")]
    pub at_limit: Option<AtLimit>,
    /// For how long a subscriber may be not connected before it is evicted: 90s, 15m, 12h or 7d; for ever if not given.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub lease: Option<Duration>,
}

impl Opening {
    /// What subscribers may have waiting for them.
    pub fn quota(&self) -> Quota {
        let default = Quota::default();
        Quota {
            backlog_bytes: self.backlog_bytes.unwrap_or(default.backlog_bytes),
            at_limit: self.at_limit.unwrap_or(default.at_limit),
            lease: self.lease.or(default.lease),
        }
    }
}
