//! Tasks that publish until something goes wrong, or there was enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use resolute::{Bus, Error, Receipt};
use tokio::task::JoinSet;

use super::addresses::ABSENT;
use super::ledger::Ledger;
use super::number::{LARGE_TASKS, Number, SMALL_TASKS};
use super::rng::Rng;
use super::scene::TOPIC;

/// So many tasks publish at once.
const TASKS: u64 = 3;

/// What is published to the absent is counted as this task's.
const ABSENT_TASK: u64 = TASKS;

/// What is published to see whether it is refused is counted as this task's.
pub const ASKING_TASK: u64 = TASKS + 1;

/// Large messages in one batch, at most: as many as can be atomic.
const LARGE_BATCH: u64 = 13;

/// What is published in one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Messages of all sizes, alone, in batches, and many at once.
    Mixed,
    /// As in `Mixed`, beside batches of large messages.
    Large,
    /// Small messages, each after the one before.
    Small,
}

/// What the tasks have in common.
#[derive(Clone)]
pub struct Load {
    pub bus: Bus,
    pub ledger: Arc<Ledger>,
    pub is_over: Arc<AtomicBool>,
    /// Bytes still to be published.
    pub left: Arc<AtomicI64>,
}

impl Load {
    pub fn new(bus: Bus, ledger: Arc<Ledger>, bytes: i64) -> Load {
        Load { bus, ledger, is_over: Arc::default(), left: Arc::new(AtomicI64::new(bytes)) }
    }

    /// Starts the tasks. Each ends with the error that it met, if it met one.
    pub fn start(&self, style: Style, rng: &mut Rng) -> JoinSet<Result<(), Error>> {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let rng = Rng::new(rng.number());
            match style {
                Style::Small => tasks.spawn(self.clone().publish_small(SMALL_TASKS + task)),
                Style::Large if task > 0 => tasks.spawn(self.clone().publish_large(LARGE_TASKS + task, rng)),
                Style::Mixed | Style::Large => tasks.spawn(self.clone().publish(task, rng)),
            };
        }
        tasks.spawn(self.clone().send_to_the_absent());
        tasks
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed) && self.left.load(Ordering::Relaxed) > 0
    }

    async fn publish_small(self, task: u64) -> Result<(), Error> {
        while self.goes_on() {
            self.one(task).await?;
        }
        Ok(())
    }

    async fn publish_large(self, task: u64, mut rng: Rng) -> Result<(), Error> {
        while self.goes_on() {
            self.batch(task, rng.between(4, LARGE_BATCH)).await?;
        }
        Ok(())
    }

    async fn publish(self, task: u64, mut rng: Rng) -> Result<(), Error> {
        while self.goes_on() {
            match rng.below(4) {
                0 => self.one(task).await?,
                1 => self.batch(task, rng.between(2, 4)).await?,
                _ => self.many(task, rng.between(2, 60)).await?,
            }
        }
        Ok(())
    }

    /// One, and waits for it.
    async fn one(&self, task: u64) -> Result<(), Error> {
        for number in self.ledger.begin(task, 1, false) {
            let receipt = self.bus.publish(TOPIC, self.payload(number)).await?;
            self.acknowledged(number, receipt);
        }
        Ok(())
    }

    /// Many that are on their way at once.
    async fn many(&self, task: u64, count: u64) -> Result<(), Error> {
        let mut tickets = Vec::new();
        for number in self.ledger.begin(task, count, false) {
            tickets.push((number, self.bus.publish_nowait(TOPIC, self.payload(number)).await?));
        }
        for (number, ticket) in tickets {
            self.acknowledged(number, ticket.wait().await?);
        }
        Ok(())
    }

    /// Some of which all or none are stored.
    async fn batch(&self, task: u64, count: u64) -> Result<(), Error> {
        let numbers = self.ledger.begin(task, count, true);
        let mut batch = self.bus.batch();
        for number in &numbers {
            batch = batch.publish(TOPIC, self.payload(*number))?;
        }
        let receipts = batch.commit().await?;
        numbers.into_iter().zip(receipts).for_each(|(number, receipt)| self.acknowledged(number, receipt));
        Ok(())
    }

    async fn send_to_the_absent(self) -> Result<(), Error> {
        for number in self.ledger.begin(ABSENT_TASK, 1, false) {
            let receipt = self.bus.send(ABSENT, TOPIC, number.payload()).await?;
            self.acknowledged(number, receipt);
        }
        Ok(())
    }

    fn payload(&self, number: Number) -> Vec<u8> {
        let payload = number.payload();
        self.left.fetch_sub(payload.len() as i64, Ordering::Relaxed);
        payload
    }

    fn acknowledged(&self, number: Number, receipt: Receipt) {
        match receipt.id {
            Some(id) => self.ledger.acknowledge(number, id),
            None => self.ledger.fail(format!("{number} went to nobody: a subscription was forgotten")),
        }
    }
}
