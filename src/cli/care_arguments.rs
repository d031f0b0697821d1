//! The arguments of the commands that care for the data, with their help.

use std::path::PathBuf;

use clap::Args;

use super::arguments::Inspect;

#[derive(Debug, Args)]
pub struct MakeBackup {
    /// Where the copy is to be: nothing is there yet, or an empty directory.
    pub to: PathBuf,
    #[command(flatten)]
    pub of: Inspect,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// The backup.
    pub from: PathBuf,
    #[command(flatten)]
    pub of: Made,
}

/// A data directory that is made.
#[derive(Debug, Args)]
pub struct Made {
    /// The data directory: nothing is there yet, or an empty directory.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Writes JSON: an object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Repair {
    #[command(flatten)]
    pub of: Inspect,
    /// Does it. Without this, it is only shown what would be done.
    #[arg(long)]
    pub yes: bool,
}
