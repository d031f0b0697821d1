//! The arguments of the commands that take messages out of a node and put them into one, with their help.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::list_arguments::ListArguments;

#[derive(Debug, Args)]
#[command(mut_arg("json", |json| json.hide(true)))]
pub struct Export {
    /// Which of its messages.
    #[arg(default_value = "all")]
    pub place: ExportPlace,
    #[command(flatten)]
    pub list: ListArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportPlace {
    /// Those that wait for a handler.
    Incoming,
    /// Those that are owed.
    Outgoing,
    /// Those for which there was no handler.
    Parked,
    /// Those that a handler gave up.
    DeadLetters,
    /// All of them.
    All,
}

/// What is the same for all that is imported.
#[derive(Debug, Args)]
pub struct HowToImport {
    /// Changes nothing: names what makes no sense, and says what would be imported. A node may be open.
    #[arg(long)]
    pub check: bool,
    /// Imports also what was imported before, or is there.
    #[arg(long)]
    pub again: bool,
    /// Writes the report as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The lines; those of standard input if not given.
    pub file: Option<PathBuf>,
    /// The data directory of the node; it is made if it is not there. No process may have it open.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub how: HowToImport,
}

#[derive(Debug, Args)]
pub struct ImportLegacy {
    /// The directory of a node of the ancestor's, or one file: a .shulz becomes a map, a .seuss a queue. Nothing in it is changed.
    pub from: PathBuf,
    /// The data directory of the node, the map or the queue; it is made if it is not there. No process may have it open.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub how: HowToImport,
}
