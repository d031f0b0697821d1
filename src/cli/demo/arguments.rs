//! The arguments of the demo, with their help.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Demo {
    /// Sign-ups as lines of JSON objects; 1,000 that are built in if not given.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// How many sign-ups; beyond the lines of the input it begins again, each with its own number. As many as the input
    /// has if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub messages: Option<u64>,
    /// Seconds after which the demo gives up; if not given, 120 and one more for every 1,000 sign-ups.
    #[arg(long, value_name = "SECONDS")]
    pub deadline: Option<u64>,
    /// Writes the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// One of the two processes of the demo.
#[derive(Debug, Args)]
pub struct DemoNode {
    /// The directory that both share with the process that started them.
    #[arg(long)]
    pub base: PathBuf,
    #[arg(long)]
    pub bind: String,
    /// The address of web, for email.
    #[arg(long)]
    pub from: Option<String>,
    #[arg(long)]
    pub input: Option<PathBuf>,
    #[arg(long)]
    pub messages: Option<u64>,
}
