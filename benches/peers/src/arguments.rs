//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Bytes of a payload: what is measured is measured with each.
pub const SIZES: [usize; 2] = [128, 1024];

/// Whatever can be measured.
const PEERS: [&str; 7] = ["resolute", "redis", "nats", "rabbitmq", "raft-engine", "okaywal", "sqlite"];

/// Measures resolute beside other durable queues and logs; `scripts/bench-peers` starts the servers for it.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// The built `resolute`.
    #[arg(long, value_name = "PATH")]
    pub resolute: PathBuf,
    /// Where Redis listens, as redis://host:port.
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Where NATS listens, as nats://host:port.
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Where RabbitMQ listens, as amqp://host:port.
    #[arg(long, value_name = "URL")]
    pub rabbitmq: Option<String>,
    /// Why a server could not be started: its row says so.
    #[arg(long, value_name = "PEER=REASON", value_parser = pair)]
    pub missing: Vec<(String, String)>,
    /// The version of a server that does not tell its own.
    #[arg(long = "server-version", value_name = "PEER=VERSION", value_parser = pair)]
    pub versions: Vec<(String, String)>,
    /// Where to measure; the servers must keep their data on the same file system.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Where peers.md, peers.svg and peers.json are written.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Rounds; each measures every peer once, and the median of the rounds is reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Only these.
    #[arg(long, value_name = "PEER,...", value_delimiter = ',', value_parser = PEERS)]
    pub only: Vec<String>,
}

impl Arguments {
    pub fn wants(&self, key: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == key)
    }
}

/// What `key` has in a list of pairs.
pub fn value_of<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` has no `=`"))?;
    Ok((name.to_owned(), value.to_owned()))
}
