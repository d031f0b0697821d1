//! The arguments of the commands that change how a node treats another, with their help.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};

use super::arguments::Inspect;
use super::list_arguments::age;
use crate::bus::{AtLimit, QuotaChange};

/// One peer of a node.
#[derive(Debug, Args)]
pub struct Peer {
    /// The peer: an address at which it is known, or its node id.
    pub peer: String,
    #[command(flatten)]
    pub of: Inspect,
}

/// What of the quota of a peer is to be otherwise.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true)
    .args(["backlog_bytes", "at_limit", "lease", "no_lease", "reset"]))]
pub struct Limit {
    #[command(flatten)]
    pub peer: Peer,
    /// Bytes that may wait for it: at least 4 MiB.
    #[arg(long, value_name = "BYTES")]
    pub backlog_bytes: Option<u64>,
    /// What happens then: refuse what would be published to it, park it, which misses what is published meanwhile, or evict it
    /// after its lease.
    #[arg(long, value_name = "WHAT")]
    pub at_limit: Option<AtLimit>,
    /// For how long it may be not connected: 90s, 15m, 12h or 7d. Then it is evicted; with evict at its limit, only if it has as
    /// much waiting as it may.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub lease: Option<Duration>,
    /// It may be not connected for ever.
    #[arg(long, conflicts_with = "lease")]
    pub no_lease: bool,
    /// What is not said is as the node was opened with, and not as it was.
    #[arg(long)]
    pub reset: bool,
}

impl Limit {
    pub fn change(&self) -> QuotaChange {
        QuotaChange {
            resets: self.reset,
            backlog_bytes: self.backlog_bytes,
            at_limit: self.at_limit,
            lease: self.lease.or(self.no_lease.then_some(Duration::ZERO)),
        }
    }
}

#[derive(Debug, Args)]
pub struct Forget {
    #[command(flatten)]
    pub peer: Peer,
    /// Does it. Without this, it is only shown what would be forgotten.
    #[arg(long)]
    pub yes: bool,
}

/// What a node wants of another.
#[derive(Debug, Args)]
pub struct Wish {
    /// Where the publisher is, or will be.
    pub address: String,
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    pub topics: Vec<String>,
    #[command(flatten)]
    pub of: Inspect,
}

#[derive(Debug, Subcommand)]
pub enum Subscriptions {
    /// Wants topics of the node at an address. What it publishes from the time on that it knows of it comes here; a message for
    /// which nothing here has a handler is parked.
    Add(Wish),
    /// Wants them no longer. What was published before still comes.
    Remove(Wish),
    /// Lists what the node wants, of whom, and whether they have it on disk.
    List(Inspect),
}
