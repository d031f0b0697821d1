//! The arguments of the commands that change what a node has, with their help.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::list_arguments::ListArguments;
use crate::bus::Place;

/// Which messages: never all of them by mistake.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["all", "topics", "ids", "older_than"]))]
pub struct Changed {
    #[command(flatten)]
    pub list: ListArguments,
    /// All that are there. Without it, at least one of --topic, --id and --older-than must say which.
    #[arg(long, conflicts_with_all = ["topics", "ids", "older_than"])]
    pub all: bool,
}

/// Which of the messages of a place.
#[derive(Debug, Args)]
pub struct Which {
    /// Where the messages are.
    pub place: AnyPlace,
    #[command(flatten)]
    pub changed: Changed,
    /// Of outgoing messages, only what is owed to this destination, given by its address or its node id; more than once for any of
    /// several.
    #[arg(long = "to", value_name = "DESTINATION")]
    pub destinations: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Requeue {
    #[command(flatten)]
    pub which: Which,
}

#[derive(Debug, Args)]
pub struct Edit {
    #[command(flatten)]
    pub which: Which,
    /// The new payload.
    #[arg(
        long,
        value_name = "TEXT",
        required_unless_present = "payload_file",
        conflicts_with = "payload_file"
    )]
    pub payload: Option<String>,
    /// A file that holds it, byte for byte; - for standard input.
    #[arg(long, value_name = "FILE")]
    pub payload_file: Option<PathBuf>,
    /// Does it. Without this, it is only shown what would be changed.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Retry {
    /// Where the messages are.
    pub place: RetryPlace,
    #[command(flatten)]
    pub changed: Changed,
}

#[derive(Debug, Args)]
pub struct Remove {
    #[command(flatten)]
    pub which: Which,
    /// Does it. Without this, it is only shown what would be removed.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RetryPlace {
    /// Messages with which a handler failed, and which wait to be handled again.
    Incoming,
    /// Messages for which there was no handler.
    Parked,
    /// Messages that a handler gave up.
    DeadLetters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AnyPlace {
    /// Messages that wait for a handler.
    Incoming,
    /// Messages for which there was no handler.
    Parked,
    /// Messages that a handler gave up.
    DeadLetters,
    /// Messages that are owed to others.
    Outgoing,
}

impl From<RetryPlace> for Place {
    fn from(place: RetryPlace) -> Place {
        match place {
            RetryPlace::Incoming => Place::Incoming,
            RetryPlace::Parked => Place::Parked,
            RetryPlace::DeadLetters => Place::DeadLetters,
        }
    }
}

impl From<AnyPlace> for Place {
    fn from(place: AnyPlace) -> Place {
        match place {
            AnyPlace::Incoming => Place::Incoming,
            AnyPlace::Parked => Place::Parked,
            AnyPlace::DeadLetters => Place::DeadLetters,
            AnyPlace::Outgoing => Place::Outgoing,
        }
    }
}
