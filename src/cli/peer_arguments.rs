//! The arguments of the commands that change how a node treats another, with their help.

use clap::{Args, Subcommand};

use super::arguments::Inspect;

/// One peer of a node.
#[derive(Debug, Args)]
pub struct Peer {
    /// The peer: an address at which it is known, or its node id.
    pub peer: String,
    #[command(flatten)]
    pub of: Inspect,
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
