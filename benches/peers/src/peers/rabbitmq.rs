//! RabbitMQ: a quorum queue of one node, publisher confirms in a window, consumers with a prefetch.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::task::JoinSet;

use super::served::{Broker, Drive};
use crate::driver::{Backlog, Publisher};
use crate::measured::Load;

/// Messages that a consumer acknowledges at once, at most.
const TAKEN: usize = 500;
/// Messages that the server sends ahead of their acknowledgement.
const PREFETCH: u16 = 2000;
/// Of a message that is to outlive a restart of the server.
const PERSISTENT: u8 = 2;

pub struct RabbitMq {
    url: String,
    version: String,
}

impl RabbitMq {
    pub fn new(url: &str, version: &str) -> RabbitMq {
        RabbitMq { url: url.to_owned(), version: version.to_owned() }
    }

    async fn connect(&self) -> Result<(Connection, Channel)> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default())
            .await
            .context("connect to RabbitMQ")?;
        let channel = connection.create_channel().await.context("open a channel")?;
        Ok((connection, channel))
    }
}

pub struct Confirmed {
    /// Closed when it is dropped.
    _connection: Connection,
    channel: Channel,
    queue: String,
    payload: bytes::Bytes,
}

impl Publisher for Confirmed {
    type Confirm = BoxFuture<'static, Result<()>>;

    async fn send(&mut self) -> Result<Self::Confirm> {
        let (options, properties) =
            (BasicPublishOptions::default(), BasicProperties::default().with_delivery_mode(PERSISTENT));
        let sent = self
            .channel
            .basic_publish("".into(), self.queue.as_str().into(), options, &self.payload, properties)
            .await
            .context("publish")?;
        Ok(async {
            match sent.await.context("the confirmation of a publish")? {
                Confirmation::Ack(_) => Ok(()),
                other => bail!("not confirmed: {other:?}"),
            }
        }
        .boxed())
    }
}

impl Broker for RabbitMq {
    type Publisher = Confirmed;

    const FULL: Drive = Drive { publishers: 4, window: 1024, batch: 1 };

    const CONSUMERS: &'static str = "1 consumer, prefetch 2,000, up to 500 acknowledged at once";

    async fn version(&self) -> Result<String> {
        self.connect().await?;
        Ok(self.version.clone())
    }

    async fn declare(&self, queue: &str) -> Result<()> {
        let (_connection, channel) = self.connect().await?;
        let mut table = FieldTable::default();
        table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.into(), options, table).await.context("declare a queue")?;
        Ok(())
    }

    async fn publishers(&self, queue: &str, drive: Drive, load: &Load) -> Result<Vec<Confirmed>> {
        let mut publishers = Vec::with_capacity(drive.publishers);
        for _ in 0..drive.publishers {
            let (connection, channel) = self.connect().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await.context("ask for confirms")?;
            let (queue, payload) = (queue.to_owned(), load.payload.clone());
            publishers.push(Confirmed { _connection: connection, channel, queue, payload });
        }
        Ok(publishers)
    }

    async fn consume(
        &self,
        queue: &str,
        backlog: &Arc<Backlog>,
        consumers: &mut JoinSet<Result<()>>,
    ) -> Result<()> {
        let (connection, channel) = self.connect().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.context("set the prefetch")?;
        let deliveries = channel
            .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await
            .context("consume")?;
        let backlog = Arc::clone(backlog);
        consumers.spawn(async move {
            let _connection = connection;
            let mut taken = deliveries.ready_chunks(TAKEN);
            while let Some(deliveries) = taken.next().await {
                let count = deliveries.len() as u64;
                let Some(last) = deliveries.into_iter().next_back() else { continue };
                last.context("receive")?
                    .ack(BasicAckOptions { multiple: true })
                    .await
                    .context("acknowledge")?;
                backlog.acknowledge(count);
            }
            Ok(())
        });
        Ok(())
    }

    async fn remove(&self, queue: &str) -> Result<()> {
        let (_connection, channel) = self.connect().await?;
        channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await
            .context("delete the queue")?;
        Ok(())
    }
}
