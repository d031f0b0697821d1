//! What is measured: one module for each peer.

mod embedded;
mod nats;
mod okaywal;
mod rabbitmq;
mod raft_engine;
mod redis;
mod resolute;
mod served;
mod sqlite;
mod witness;

use anyhow::Result;

use crate::arguments::{Arguments, value_of};
use crate::device::Device;
use crate::measured::{Load, Measured};

/// One row of the table.
pub trait Peer {
    fn version(&self) -> String;

    /// Publishes, durable when acknowledged; nobody receives.
    fn publish(&mut self, load: &Load, device: &Device) -> Result<Measured>;

    /// Publishes, receives and acknowledges; none where there is no receiver.
    fn end_to_end(&mut self, load: &Load, device: &Device) -> Result<Option<Measured>>;
}

/// Where a peer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The library that this is about: in the publisher's process, with its subscriber in another.
    Ours,
    /// A server of its own.
    Server,
    /// A log or a table in the process, which delivers to nobody.
    Embedded,
}

/// How a peer is named, and how it is set up.
#[derive(Clone, Copy, Debug)]
pub struct Title {
    /// As on the command line.
    pub key: &'static str,
    pub name: &'static str,
    pub setting: &'static str,
    pub kind: Kind,
}

/// Every peer, in the order of the table.
pub const TITLES: [Title; 7] = [
    Title { key: "resolute", name: "resolute", setting: "as it comes", kind: Kind::Ours },
    Title { key: "redis", name: "Redis Streams", setting: "`appendfsync always`", kind: Kind::Server },
    Title { key: "nats", name: "NATS JetStream", setting: "`sync_interval: always`", kind: Kind::Server },
    Title { key: "rabbitmq", name: "RabbitMQ", setting: "quorum queue, one node", kind: Kind::Server },
    Title {
        key: "raft-engine",
        name: "raft-engine",
        setting: "`sync`, no compression",
        kind: Kind::Embedded,
    },
    Title { key: "okaywal", name: "okaywal", setting: "64 MiB segments", kind: Kind::Embedded },
    Title { key: "sqlite", name: "SQLite", setting: "WAL, `synchronous=FULL`", kind: Kind::Embedded },
];

/// Makes a peer ready to be measured; an error is told in its row.
pub fn open(title: &Title, arguments: &Arguments) -> Result<Box<dyn Peer>> {
    if let Some(reason) = value_of(&arguments.missing, title.key) {
        anyhow::bail!("{reason}");
    }
    let dir = arguments.dir.as_path();
    Ok(match title.key {
        "resolute" => Box::new(resolute::Resolute::new(&arguments.resolute, dir)?),
        "redis" => Box::new(served::Served::new(redis::Redis::new(address(&arguments.redis)?)?)?),
        "nats" => Box::new(served::Served::new(nats::Nats::new(address(&arguments.nats)?))?),
        "rabbitmq" => {
            let version = value_of(&arguments.versions, "rabbitmq").unwrap_or("unknown version");
            Box::new(served::Served::new(rabbitmq::RabbitMq::new(address(&arguments.rabbitmq)?, version))?)
        }
        "raft-engine" => Box::new(embedded::Embedded::<raft_engine::RaftEngine>::new(dir)),
        "okaywal" => Box::new(embedded::Embedded::<okaywal::OkayWal>::new(dir)),
        _ => Box::new(embedded::Embedded::<sqlite::Sqlite>::new(dir)),
    })
}

fn address(address: &Option<String>) -> Result<&str> {
    address.as_deref().ok_or_else(|| anyhow::anyhow!("not started: no address was given"))
}
