//! What a node publishes in one life: numbered messages, in groups of all sizes, and what was acknowledged of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use resolute::{Bus, Error, MessageId, Ticket};
use tokio::sync::watch;

use super::cast::{CAST, kept_topic, subscribers, topic};
use super::entry::{Entry, KEPT_EVERY, Kind};
use super::journal::Journal;
use super::node::{Outcome, log_of};
use super::orders::Orders;
use super::payload::Numbered;
use super::progress::{Progress, count};
use super::rng::Rng;
use super::setup::Setup;

/// More is not owed to peers, unless a flood is wanted: a few segments.
const OWED_BYTES_MAX: u64 = 24 << 20;

/// A message of a flood.
const FLOOD_BYTES: usize = 60_000;

/// How often it is looked whether there is room.
const REST: Duration = Duration::from_millis(10);

/// How long it rests between groups when enough was published.
const TRICKLE_REST: Duration = Duration::from_millis(200);

/// See the module.
pub struct Publisher {
    bus: Bus,
    journal: Journal,
    progress: Arc<Progress>,
    publisher: u8,
    life: u32,
    rng: Rng,
    /// Numbers up to this one were published.
    number: u64,
    topics: [String; 2],
    subscribers: usize,
}

impl Publisher {
    pub fn new(bus: Bus, setup: &Setup, journal: Journal, progress: Arc<Progress>) -> Publisher {
        let name = CAST[setup.node].name;
        let rng = Rng::new(setup.seed.rotate_left(20) ^ (u64::from(setup.life) << 8) ^ setup.node as u64);
        Publisher {
            bus,
            journal,
            progress,
            publisher: setup.node as u8,
            life: setup.life,
            rng,
            number: 0,
            topics: [topic(name), kept_topic(name)],
            subscribers: subscribers(name),
        }
    }

    /// Publishes until told to be quiet.
    pub async fn run(mut self, mut orders: watch::Receiver<Orders>) -> Outcome {
        for topic in &self.topics {
            tokio::select! {
                there = self.bus.subscribers(topic, self.subscribers) => there?,
                told = orders.wait_for(|orders| orders.quiet) => drop(told?),
            }
        }
        loop {
            let now = *orders.borrow();
            if now.quiet {
                self.progress.quiet.store(true, Ordering::Relaxed);
                return Ok(());
            }
            if !now.flood && self.progress.owed_bytes.load(Ordering::Relaxed) > OWED_BYTES_MAX {
                tokio::time::sleep(REST).await;
                continue;
            }
            self.publish_group(now.flood).await?;
            if now.trickle && !now.flood {
                tokio::time::sleep(TRICKLE_REST).await;
            }
        }
    }

    /// Publishes some messages, and writes down that they were acknowledged once they are.
    async fn publish_group(&mut self, is_flood: bool) -> Outcome {
        let is_atomic = self.rng.chance(20);
        let most = match (is_flood, is_atomic) {
            (true, _) => 8,
            (false, true) => 100,
            (false, false) => 700,
        };
        let (first, last) = (self.number + 1, self.number + self.rng.between(1, most));
        self.note(Kind::Claimed, last, None);
        let id = if is_atomic {
            self.publish_atomically(first, last, is_flood).await?
        } else {
            self.publish_each(first, last, is_flood).await?
        };
        self.note(Kind::Acknowledged, last, Some(id));
        self.progress.acknowledged.fetch_add(last - self.number, Ordering::Relaxed);
        self.number = last;
        Ok(())
    }

    async fn publish_each(
        &mut self,
        first: u64,
        last: u64,
        is_flood: bool,
    ) -> Result<MessageId, Box<dyn std::error::Error + Send + Sync>> {
        let mut ticket = None;
        for number in first..=last {
            ticket = Some(self.publish(number, is_flood).await?);
        }
        // The last one speaks for all before it.
        self.id_of(ticket.ok_or("a group of none")?).await
    }

    /// On a disk without room nothing is stored, and the same message is published again later.
    async fn publish(&mut self, number: u64, is_flood: bool) -> Result<Ticket, Error> {
        let payload = self.message(number, 0, is_flood);
        loop {
            match self.bus.publish_nowait(self.topic_of(number), payload.clone()).await {
                Err(Error::DiskFull) => self.refused().await,
                other => return other,
            }
        }
    }

    async fn publish_atomically(
        &mut self,
        first: u64,
        last: u64,
        is_flood: bool,
    ) -> Result<MessageId, Box<dyn std::error::Error + Send + Sync>> {
        let payloads: Vec<(u64, Vec<u8>)> = (first..=last)
            .map(|number| (number, self.message(number, (last - number) as u16, is_flood)))
            .collect();
        loop {
            let mut batch = self.bus.batch();
            for (number, payload) in &payloads {
                batch = batch.publish(self.topic_of(*number), payload.clone())?;
            }
            match batch.commit_nowait().await {
                Err(Error::DiskFull) => self.refused().await,
                tickets => {
                    let mut ids = Vec::new();
                    for ticket in tickets? {
                        ids.push(self.id_of(ticket).await?);
                    }
                    return Ok(ids.pop().ok_or("a batch of none")?);
                }
            }
        }
    }

    /// The id of a message that is durable now, and on its way to everyone who subscribes.
    async fn id_of(&self, ticket: Ticket) -> Result<MessageId, Box<dyn std::error::Error + Send + Sync>> {
        let receipt = ticket.wait().await?;
        match receipt.id {
            Some(id) if receipt.routed as usize == self.subscribers => Ok(id),
            _ => Err(format!("subscribers are forgotten: {receipt:?}, not {}", self.subscribers).into()),
        }
    }

    async fn refused(&self) {
        count(&self.progress.refused);
        tokio::time::sleep(REST).await;
    }

    fn topic_of(&self, number: u64) -> &str {
        &self.topics[usize::from(number.is_multiple_of(KEPT_EVERY))]
    }

    fn message(&mut self, number: u64, more: u16, is_flood: bool) -> Vec<u8> {
        let padding = if number.is_multiple_of(KEPT_EVERY) {
            10
        } else if is_flood {
            FLOOD_BYTES
        } else if self.rng.chance(2) {
            // From less than one block to several.
            self.rng.below(20_000) as usize
        } else {
            self.rng.below(150) as usize
        };
        Numbered { publisher: self.publisher, more, life: self.life, number }.encode(padding)
    }

    fn note(&self, kind: Kind, number: u64, id: Option<MessageId>) {
        let (lsn, log) = id.map_or((0, 0), |id| (id.lsn.0, log_of(&id)));
        let (publisher, life) = (self.publisher, self.life);
        self.journal.write(Entry { kind, publisher, more: 0, life, number, lsn, log });
    }
}
