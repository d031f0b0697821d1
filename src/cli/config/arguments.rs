//! The arguments of `config`, with their help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::key::{Key, find};
use super::settings::{Given, Origin};
use crate::cli::exit::CODES;
use crate::cli::opening_arguments::Opening;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Says whether the file and the environment can be: the code is 0 if so, and 2 if not, with all that is wrong.
    #[command(after_help = CODES)]
    Check(Check),
    /// Shows each setting, its value, and where that comes from.
    ///
    /// With flags as publish, send and subscribe have them: so they would have the node.
    #[command(after_help = CODES)]
    Show(Box<Show>),
}

#[derive(Debug, Args)]
pub struct Check {
    /// Writes one line of JSON for each thing that is wrong.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    pub flags: Flags,
    /// Writes one line of JSON for each setting.
    #[arg(long)]
    pub json: bool,
    /// Writes a resolute.toml that says the same, with what each setting is for.
    #[arg(long, conflicts_with = "json")]
    pub toml: bool,
}

/// The settings as flags, none of which must be there.
#[derive(Debug, Args)]
pub struct Flags {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where the node listens, as tcp://host:port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<String>,
    #[command(flatten)]
    pub opening: Opening,
}

impl Flags {
    /// Those that are given.
    pub fn given(&self) -> impl Iterator<Item = (&'static Key, Given)> {
        let number = |of: Option<u64>| of.map(|bytes| OsString::from(bytes.to_string()));
        let text = |of: &Option<String>| of.as_ref().map(OsString::from);
        let all = [
            ("dir", self.dir.clone().map(OsString::from)),
            ("bind", text(&self.bind)),
            ("advertise", text(&self.opening.advertise)),
            ("name", text(&self.opening.name)),
            ("segment_bytes", number(self.opening.segment_bytes)),
            ("inbox_bytes", number(self.opening.inbox_bytes)),
            ("disk_bytes", number(self.opening.disk_bytes)),
            ("sender_bytes", number(self.opening.sender_bytes)),
            ("backlog_bytes", number(self.opening.backlog_bytes)),
            ("at_limit", self.opening.at_limit.map(|at_limit| at_limit.to_string().into())),
            ("lease", self.opening.lease.map(|lease| format!("{}s", lease.as_secs()).into())),
        ];
        all.into_iter().filter_map(|(name, value)| {
            let key = find(name)?;
            Some((key, Given { value: value?, origin: Origin::Flag(key.flag()) }))
        })
    }
}
