//! NATS JetStream: publishing with a window of awaited acknowledgements, and a pull consumer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::Context;
use async_nats::jetstream::{AckKind, ContextBuilder, stream};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::task::JoinSet;

use super::served::{Broker, Drive};
use crate::driver::{Backlog, Publisher};
use crate::measured::Load;

/// Messages that the consumer takes and acknowledges at once.
const TAKEN: usize = 500;

/// How long an acknowledgement of the server is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Nats {
    url: String,
}

impl Nats {
    pub fn new(url: &str) -> Nats {
        Nats { url: url.to_owned() }
    }

    async fn connect(&self) -> Result<Context> {
        let client = async_nats::connect(&self.url).await.context("connect to NATS")?;
        // A window of messages, each flushed by itself, takes longer than the 5 s that a client waits by default.
        Ok(ContextBuilder::new().timeout(PATIENCE).build(client))
    }
}

pub struct Acknowledged {
    context: Context,
    subject: String,
    payload: Bytes,
}

impl Publisher for Acknowledged {
    type Confirm = BoxFuture<'static, Result<()>>;

    async fn send(&mut self) -> Result<Self::Confirm> {
        let sent =
            self.context.publish(self.subject.clone(), self.payload.clone()).await.context("publish")?;
        Ok(async { sent.await.map(drop).context("the acknowledgement of a publish") }.boxed())
    }
}

impl Broker for Nats {
    type Publisher = Acknowledged;

    // It flushes each message by itself: more in flight would only wait longer.
    const FULL: Drive = Drive { publishers: 4, window: 256, batch: 1 };

    const CONSUMERS: &'static str = "1 pull consumer, batches of up to 500 acknowledged at once";

    async fn version(&self) -> Result<String> {
        let client = async_nats::connect(&self.url).await.context("connect to NATS")?;
        Ok(client.server_info().version.clone())
    }

    async fn declare(&self, queue: &str) -> Result<()> {
        let config = stream::Config {
            name: queue.to_owned(),
            subjects: vec![queue.to_owned()],
            storage: stream::StorageType::File,
            ..stream::Config::default()
        };
        self.connect().await?.create_stream(config).await.context("create a stream")?;
        Ok(())
    }

    async fn publishers(&self, queue: &str, drive: Drive, load: &Load) -> Result<Vec<Acknowledged>> {
        let mut publishers = Vec::with_capacity(drive.publishers);
        for _ in 0..drive.publishers {
            let context = self.connect().await?;
            publishers.push(Acknowledged {
                context,
                subject: queue.to_owned(),
                payload: load.payload.clone(),
            });
        }
        Ok(publishers)
    }

    async fn consume(
        &self,
        queue: &str,
        backlog: &Arc<Backlog>,
        consumers: &mut JoinSet<Result<()>>,
    ) -> Result<()> {
        let stream = self.connect().await?.get_stream(queue).await.context("find the stream")?;
        let config = pull::Config {
            durable_name: Some("consumer".to_owned()),
            // One acknowledgement is for all messages before it.
            ack_policy: AckPolicy::All,
            max_ack_pending: 16 * TAKEN as i64,
            ack_wait: Duration::from_secs(60),
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.context("create a consumer")?;
        let messages =
            consumer.stream().max_messages_per_batch(8 * TAKEN).messages().await.context("pull messages")?;
        let backlog = Arc::clone(backlog);
        consumers.spawn(async move {
            let mut taken = messages.ready_chunks(TAKEN);
            while let Some(messages) = taken.next().await {
                let count = messages.len() as u64;
                let Some(last) = messages.into_iter().next_back() else { continue };
                // Confirmed by the server: an acknowledgement that is only sent may be lost.
                if let Err(error) = last.context("receive")?.double_ack_with(AckKind::Ack).await {
                    bail!("acknowledge: {error}");
                }
                backlog.acknowledge(count);
            }
            Ok(())
        });
        Ok(())
    }

    async fn remove(&self, queue: &str) -> Result<()> {
        self.connect().await?.delete_stream(queue).await.context("delete the stream")?;
        Ok(())
    }
}
