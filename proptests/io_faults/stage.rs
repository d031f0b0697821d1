//! The nodes of one trial, and what is heard from them.

use std::sync::Arc;
use std::time::Duration;

use resolute::{Bus, Error, Status};

use super::addresses::ABSENT;
use super::case::Case;
use super::causes::chain;
use super::in_vain::InVain;
use super::ledger::Ledger;
use super::met::Met;
use super::node::{Node, Place, TOPIC};
use super::number::{FILLING_TASK, Number};
use super::patience::within;
use super::power::Power;
use super::scenario::Scenario;

/// Messages of each of these tasks are in order.
pub const ABSENT_TASK: u64 = 1;
pub const SELF_TASK: u64 = 2;
pub const OWED_TASK: u64 = 3;
pub const ATOMIC_TASK: u64 = 4;
pub const PEER_TASK: u64 = 5;
/// What is sent to see whether it is refused, or accepted again.
pub const ASKING_TASK: u64 = 6;
/// And those of more tasks at once.
pub const FIRST_OF_MANY: u64 = 10;

pub const PAUSE: Duration = Duration::from_millis(3);

/// After so many looks at something that must come, it will not.
pub const LOOKS: u32 = 200_000;

/// So many messages of the task that fills segments are more than one segment holds.
const ONE_SEGMENT: u64 = 60;

/// So often something is sent again to a disk that is full for a while.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// What a trial is made of.
pub struct Stage<'a> {
    pub case: Case,
    pub power: &'a mut Power,
    pub node_at: Place,
    pub peer_at: Place,
    pub ledger: Arc<Ledger>,
    pub node: Option<Node>,
    pub peer: Option<Node>,
    /// What was refused or failed.
    pub errors: Vec<Error>,
    /// Whether the node has said that its wish to subscribe is stored, and whether the peer's is stored here.
    pub is_subscribed: bool,
    pub is_wanted: bool,
}

impl Stage<'_> {
    /// From now on it goes wrong.
    pub async fn arm(&mut self) -> Result<(), String> {
        self.power.order(&format!("trouble {}", self.case.trouble)).await
    }

    pub async fn met(&mut self) -> Result<Met, String> {
        self.power.ask("met").await?.parse()
    }

    /// Opens the node. Whether it is open.
    pub async fn open(&mut self) -> Result<bool, String> {
        match Node::open(&self.node_at, &self.ledger).await? {
            Ok(node) => self.node = Some(node),
            Err(error) => self.errors.push(error),
        }
        Ok(self.node.is_some())
    }

    /// Opens the peer, which nothing happens to.
    pub async fn open_peer(&mut self) -> Result<(), String> {
        let mut peer = Node::open(&self.peer_at, &self.ledger).await?.map_err(|error| chain(&error))?;
        peer.serve(&self.ledger);
        self.peer = Some(peer);
        Ok(())
    }

    pub fn serve(&mut self) {
        if let Some(node) = &mut self.node {
            node.serve(&self.ledger);
        }
    }

    /// The node, as many may use it.
    pub fn bus(&self) -> Result<Bus, String> {
        self.node.as_ref().map(|node| node.bus.clone()).ok_or("the node is not open".to_owned())
    }

    /// Notes an error, and says what came if it is none.
    pub fn heard<T>(&mut self, outcome: Result<T, Error>) -> Option<T> {
        outcome.map_err(|error| self.errors.push(error)).ok()
    }

    /// Sends `count` messages that are on their way at once, and waits for all.
    pub async fn send(&mut self, to: &str, task: u64, count: u64) -> Result<(), String> {
        let load = Load { bus: self.bus()?, ledger: Arc::clone(&self.ledger), patient: !self.is_for_ever() };
        let errors = load.send(to, task, count).await?;
        self.errors.extend(errors);
        Ok(())
    }

    /// Something that sends beside others.
    pub fn load(&self) -> Result<Load, String> {
        Ok(Load { bus: self.bus()?, ledger: Arc::clone(&self.ledger), patient: !self.is_for_ever() })
    }

    pub fn is_for_ever(&self) -> bool {
        self.case.trouble.is_for_ever
    }

    /// Waits until the node says so; not if its log failed, or if what is wrong stays so and it does not come.
    pub async fn until(&mut self, what: &str, is_so: impl Fn(&Status) -> bool) -> Result<(), String> {
        let (mut looks, mut in_vain) = (0, InVain::default());
        loop {
            let Some(node) = &self.node else { return Ok(()) };
            let status = node.status().await?;
            if is_so(&status) || status.failure.is_some() {
                return Ok(());
            }
            if self.is_for_ever() && in_vain.after(self.met().await?.count) {
                return Ok(());
            }
            looks += 1;
            if looks > LOOKS {
                return Err(format!("it is never so that {what}: {status:?}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until the peer owes nothing, or the node's log failed.
    pub async fn until_peer_is_quit(&mut self) -> Result<(), String> {
        let (mut looks, mut in_vain) = (0, InVain::default());
        loop {
            let (Some(peer), Some(node)) = (&self.peer, &self.node) else { return Ok(()) };
            let owed = peer.status().await?.outgoing;
            if owed == 0 || node.status().await?.failure.is_some() {
                return Ok(());
            }
            looks += 1;
            if self.is_for_ever() && in_vain.after(self.met().await?.count) {
                return Ok(());
            }
            if looks > LOOKS {
                return Err(format!("the peer still owes {owed}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// That all is well again: what is sent is stored, and arrives.
    pub async fn must_go_on(&mut self) -> Result<(), String> {
        let load = Load { bus: self.bus()?, ledger: Arc::clone(&self.ledger), patient: true };
        for to in [ABSENT.to_owned(), self.node_at.address()] {
            if let Some(error) = load.send(&to, ASKING_TASK, 2).await?.first() {
                return Err(format!("nothing is wrong any more, and yet {}", chain(error)));
            }
        }
        if self.case.scenario == Scenario::Prewrite
            && let Some(error) = load.send(&self.node_at.address(), FILLING_TASK, ONE_SEGMENT).await?.first()
        {
            return Err(format!("the next segment is never there: {}", chain(error)));
        }
        Ok(())
    }
}

/// Somebody who sends.
#[derive(Clone)]
pub struct Load {
    pub bus: Bus,
    pub ledger: Arc<Ledger>,
    /// Whether it is tried again when the disk is full.
    patient: bool,
}

impl Load {
    /// Sends messages that are on their way at once, and waits for all. Says what failed.
    pub async fn send(&self, to: &str, task: u64, count: u64) -> Result<Vec<Error>, String> {
        let (mut tickets, mut errors) = (Vec::new(), Vec::new());
        for number in self.ledger.begin(task, count, false) {
            match self.stage(to, number).await? {
                Ok(ticket) => tickets.push((number, ticket)),
                Err(error) => {
                    errors.push(error);
                    break;
                }
            }
        }
        for (number, ticket) in tickets {
            match within("a message is stored or not", ticket.wait()).await? {
                Ok(receipt) => self.acknowledged(number, &receipt),
                Err(error) => errors.push(error),
            }
        }
        Ok(errors)
    }

    async fn stage(&self, to: &str, number: Number) -> Result<Result<resolute::Ticket, Error>, String> {
        let mut tries = 1;
        loop {
            let sent = within("a message is taken or not", self.bus.send_nowait(to, TOPIC, number.payload()));
            match sent.await? {
                Err(error) if error.is_retryable() && self.patient && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                sent => return Ok(sent),
            }
        }
    }

    /// Sends some of which all or none are stored.
    pub async fn send_batch(&self, to: &str, task: u64, count: u64) -> Result<Option<Error>, String> {
        let numbers = self.ledger.begin(task, count, true);
        let mut batch = self.bus.batch();
        for number in &numbers {
            batch = batch.send(to, TOPIC, number.payload()).map_err(|error| chain(&error))?;
        }
        match within("a batch is stored or not", batch.commit()).await? {
            Ok(receipts) => {
                numbers
                    .iter()
                    .zip(&receipts)
                    .for_each(|(number, receipt)| self.acknowledged(*number, receipt));
                Ok(None)
            }
            Err(error) => Ok(Some(error)),
        }
    }

    fn acknowledged(&self, number: Number, receipt: &resolute::Receipt) {
        match receipt.id {
            Some(id) => self.ledger.acknowledge(number, id),
            None => self.ledger.fail(format!("{number} went to nobody")),
        }
    }
}
