//! Redis Streams: pipelined XADD, and a consumer group that reads and acknowledges in batches.

use std::future::Ready;
use std::sync::Arc;

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use redis::{Client, Pipeline, Value, cmd, pipe};
use tokio::task::JoinSet;

use super::served::{Broker, Drive};
use crate::driver::{Backlog, Publisher};
use crate::measured::Load;

const CONSUMERS: usize = 2;

/// Messages that a consumer takes at once.
const TAKEN: usize = 500;

const GROUP: &str = "consumers";

pub struct Redis {
    client: Client,
}

impl Redis {
    pub fn new(url: &str) -> Result<Redis> {
        Ok(Redis { client: Client::open(url).context("the address of Redis")? })
    }

    async fn connect(&self) -> Result<MultiplexedConnection> {
        // No time-out of answers: XREADGROUP waits at the server.
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await.context("connect to Redis")
    }
}

/// Sends one pipeline and awaits it: what is in flight is pipelines, not calls of `send`.
pub struct Pipelined {
    connection: MultiplexedConnection,
    /// The same commands each time, since the payload is.
    pipeline: Pipeline,
    batch: u64,
}

impl Publisher for Pipelined {
    type Confirm = Ready<Result<()>>;

    async fn send(&mut self) -> Result<Self::Confirm> {
        self.pipeline.exec_async(&mut self.connection).await.context("XADD")?;
        Ok(std::future::ready(Ok(())))
    }

    fn batch(&self) -> u64 {
        self.batch
    }
}

impl Broker for Redis {
    type Publisher = Pipelined;

    const FULL: Drive = Drive { publishers: 32, window: 1, batch: 256 };

    const CONSUMERS: &'static str = "2 consumers, XREADGROUP COUNT 500, XACK of each batch";

    async fn version(&self) -> Result<String> {
        let info: String = cmd("INFO").arg("server").query_async(&mut self.connect().await?).await?;
        let line = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        let policy: Vec<String> =
            cmd("CONFIG").arg("GET").arg("appendfsync").query_async(&mut self.connect().await?).await?;
        anyhow::ensure!(policy.last().is_some_and(|value| value == "always"), "appendfsync is {policy:?}");
        Ok(line.unwrap_or("unknown version").trim().to_owned())
    }

    async fn declare(&self, queue: &str) -> Result<()> {
        let mut command = cmd("XGROUP");
        command.arg("CREATE").arg(queue).arg(GROUP).arg("0").arg("MKSTREAM");
        command.exec_async(&mut self.connect().await?).await.context("XGROUP CREATE")
    }

    async fn publishers(&self, queue: &str, drive: Drive, load: &Load) -> Result<Vec<Pipelined>> {
        let mut pipeline = pipe();
        for _ in 0..drive.batch {
            pipeline.cmd("XADD").arg(queue).arg("*").arg("m").arg(&load.payload[..]).ignore();
        }
        let mut publishers = Vec::with_capacity(drive.publishers);
        for _ in 0..drive.publishers {
            let connection = self.connect().await?;
            publishers.push(Pipelined { connection, pipeline: pipeline.clone(), batch: drive.batch as u64 });
        }
        Ok(publishers)
    }

    async fn consume(
        &self,
        queue: &str,
        backlog: &Arc<Backlog>,
        consumers: &mut JoinSet<Result<()>>,
    ) -> Result<()> {
        for number in 0..CONSUMERS {
            let connection = self.connect().await?;
            let (queue, name) = (queue.to_owned(), format!("consumer-{number}"));
            consumers.spawn(consumer(connection, queue, name, Arc::clone(backlog)));
        }
        Ok(())
    }

    async fn remove(&self, queue: &str) -> Result<()> {
        cmd("DEL").arg(queue).exec_async(&mut self.connect().await?).await.context("DEL")
    }
}

/// Each round trip acknowledges what the one before it brought.
async fn consumer(
    mut connection: MultiplexedConnection,
    queue: String,
    name: String,
    backlog: Arc<Backlog>,
) -> Result<()> {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut pipeline = pipe();
        if !taken.is_empty() {
            pipeline.cmd("XACK").arg(&queue).arg(GROUP).arg(&taken);
        }
        pipeline.cmd("XREADGROUP").arg("GROUP").arg(GROUP).arg(&name);
        // Waits only a moment, since what was taken is acknowledged with the answer.
        pipeline.arg("COUNT").arg(TAKEN).arg("BLOCK").arg(5).arg("STREAMS").arg(&queue).arg(">");
        let mut answers: Vec<Value> = pipeline.query_async(&mut connection).await.context("XREADGROUP")?;
        let entries = answers.pop().context("no answer to XREADGROUP")?;
        if let Some(Value::Int(acknowledged)) = answers.pop() {
            backlog.acknowledge(acknowledged.unsigned_abs());
        }
        taken = identities(entries)?;
    }
}

/// The identities in the answer to XREADGROUP: `[[stream, [[identity, [field, value]], ...]]]`, or nothing.
///
/// By hand, because the payloads need not be copied into a map.
fn identities(answer: Value) -> Result<Vec<Vec<u8>>> {
    let Value::Array(mut streams) = answer else { return Ok(Vec::new()) };
    let Some(Value::Array(mut stream)) = streams.pop() else { return Ok(Vec::new()) };
    let Some(Value::Array(entries)) = stream.pop() else { return Ok(Vec::new()) };
    let identity = |entry| match entry {
        Value::Array(parts) => match parts.into_iter().next() {
            Some(Value::BulkString(identity)) => Ok(identity),
            other => anyhow::bail!("an entry without an identity: {other:?}"),
        },
        other => anyhow::bail!("not an entry: {other:?}"),
    };
    entries.into_iter().map(identity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn identities_are_found_in_what_a_consumer_reads() {
        let entry =
            |identity| Value::Array(vec![text(identity), Value::Array(vec![text("m"), text("payload")])]);
        let stream = Value::Array(vec![text("queue"), Value::Array(vec![entry("1-0"), entry("1-1")])]);
        let found = identities(Value::Array(vec![stream])).unwrap();
        assert_eq!(found, [b"1-0".to_vec(), b"1-1".to_vec()]);
        assert!(identities(Value::Nil).unwrap().is_empty(), "nothing came in time");
    }
}
