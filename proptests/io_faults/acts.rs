//! What is done in each scenario: first what leads to it, and then, with the trouble armed, the thing itself.

use std::sync::Arc;

use resolute::format::segment::segment_name;
use resolute::ids::SegmentNumber;

use super::addresses::ABSENT;
use super::causes::chain;
use super::in_vain::InVain;
use super::latency::Latency;
use super::node::TOPIC;
use super::number::FILLING_TASK;
use super::patience::within;
use super::scenario::Scenario;
use super::stage::{ABSENT_TASK, ATOMIC_TASK, FIRST_OF_MANY, LOOKS, PAUSE, PEER_TASK, SELF_TASK, Stage};
use super::trial;

/// Tasks that send at once while flushes are slow.
const TASKS: u64 = 3;

/// A node that was seen so often in a row without asking for anything rests.
const RESTS: u32 = 4;

/// What fills the rest of a segment, and some of the next.
const ROLLING: u64 = 16;

/// What fills two segments, with all that is written about it.
const RECYCLING: u64 = 110;

impl Stage<'_> {
    /// All up to the moment from which something may go wrong.
    pub async fn prepare(&mut self) -> Result<(), String> {
        let scenario = self.case.scenario;
        self.power.set_latency(Latency { write_us: 0, flush_us: scenario.flush_us() }).await?;
        if scenario.has_peer() && scenario != Scenario::Deliver {
            self.open_peer().await?;
        }
        if scenario.is_of_opening() {
            return Ok(());
        }
        if !self.open().await? {
            return Err(format!("the node cannot be opened: {:?}", self.errors));
        }
        if scenario == Scenario::Handle {
            let own = self.node_at.address();
            self.send(&own, SELF_TASK, 12).await?;
        } else {
            self.serve();
        }
        if scenario == Scenario::Prewrite { Ok(()) } else { self.rest().await }
    }

    /// Returns when the node asks nothing of the disk any more: then the k-th request is the same each time, as far as can be.
    async fn rest(&mut self) -> Result<(), String> {
        let nothing = trial::undisturbed(self.case.scenario).trouble;
        self.power.order(&format!("trouble {nothing}")).await?;
        self.settle().await
    }

    /// Returns when nothing more is asked of the disk.
    pub async fn settle(&mut self) -> Result<(), String> {
        let (mut asked, mut since) = (usize::MAX, 0);
        while since < RESTS {
            tokio::time::sleep(PAUSE).await;
            let now = self.power.ask("trace").await?.len();
            since = if now == asked { since + 1 } else { 0 };
            asked = now;
        }
        Ok(())
    }

    /// The thing itself.
    pub async fn act(&mut self) -> Result<(), String> {
        let own = self.node_at.address();
        match self.case.scenario {
            Scenario::OpenNew | Scenario::TornTail => {
                if self.open().await? {
                    self.serve();
                    self.send(ABSENT, ABSENT_TASK, 1).await?;
                    self.send(&own, SELF_TASK, 1).await?;
                }
                Ok(())
            }
            Scenario::PublishOne => self.send(ABSENT, ABSENT_TASK, 1).await,
            Scenario::Batches => self.batches().await,
            Scenario::TwoInFlight => self.many().await,
            Scenario::Roll | Scenario::Checkpoint => self.send(&own, FILLING_TASK, ROLLING).await,
            Scenario::Recycle => {
                for _ in 0..10 {
                    self.send(&own, FILLING_TASK, RECYCLING / 10).await?;
                    self.until("everything is handled", |status| status.incoming == 0).await?;
                }
                Ok(())
            }
            Scenario::Prewrite => self.until_prepared().await,
            Scenario::Accept => self.accept().await,
            Scenario::Handle => {
                self.serve();
                self.until("everything is handled", |status| status.incoming == 0).await
            }
            Scenario::Subscribe => self.subscribe().await,
            Scenario::Deliver => {
                self.open_peer().await?;
                let peer = self.peer_at.address();
                self.until("everything is delivered", |status| {
                    let mut owing = status.destinations.iter().filter(|to| to.address == peer);
                    owing.all(|to| to.owed == 0)
                })
                .await
            }
            Scenario::Reopen => self.reopen().await,
        }
    }

    /// Waits until the file of the next segment is there. The disk itself is asked, so that this makes no requests.
    async fn until_prepared(&mut self) -> Result<(), String> {
        let next = segment_name(SegmentNumber(2));
        let (mut looks, mut in_vain) = (0, InVain::default());
        while !self.power.ask("names").await?.contains(&next) {
            looks += 1;
            if self.is_for_ever() && in_vain.after(self.met().await?.count) {
                return Ok(());
            }
            if looks > LOOKS {
                return Err("the next segment is never made".to_owned());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn batches(&mut self) -> Result<(), String> {
        let error = self.load()?.send_batch(ABSENT, ATOMIC_TASK, 4).await?;
        self.errors.extend(error);
        self.send(ABSENT, ABSENT_TASK, 30).await?;
        let error = self.load()?.send_batch(ABSENT, ATOMIC_TASK, 3).await?;
        self.errors.extend(error);
        Ok(())
    }

    async fn many(&mut self) -> Result<(), String> {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let load = self.load()?;
                Ok(tokio::spawn(async move {
                    let mut errors = Vec::new();
                    for _ in 0..4 {
                        errors.extend(load.send(ABSENT, FIRST_OF_MANY + task, 5).await?);
                    }
                    Ok::<_, String>(errors)
                }))
            })
            .collect::<Result<_, String>>()?;
        for task in tasks {
            let errors = task.await.map_err(|error| error.to_string())??;
            self.errors.extend(errors);
        }
        Ok(())
    }

    async fn accept(&mut self) -> Result<(), String> {
        let Some(peer) = &self.peer else { return Err("there is no peer".to_owned()) };
        let (bus, ledger, to) = (peer.bus.clone(), Arc::clone(&self.ledger), self.node_at.address());
        for number in ledger.begin(PEER_TASK, 20, false) {
            let sent = bus.send(&to, TOPIC, number.payload());
            let receipt = within("the peer sends", sent).await?.map_err(|error| chain(&error))?;
            ledger.acknowledge(number, receipt.id.ok_or("a message to nobody")?);
        }
        self.until_peer_is_quit().await
    }

    async fn subscribe(&mut self) -> Result<(), String> {
        let bus = self.bus()?;
        let wish = within("subscribing", bus.subscribe(&self.peer_at.address(), TOPIC)).await?;
        if let Some(subscription) = self.heard(wish) {
            self.is_subscribed = true;
            let confirmed = self.unless_it_stays("a confirmation", subscription.confirmed()).await?;
            confirmed.and_then(|confirmed| self.heard(confirmed));
        }
        let Some(peer) = &self.peer else { return Err("there is no peer".to_owned()) };
        let theirs =
            within("the peer subscribes", peer.bus.subscribe(&self.node_at.address(), TOPIC)).await?;
        theirs.map_err(|error| chain(&error))?;
        let wanted = self.unless_it_stays("a subscriber", bus.subscribers(TOPIC, 1)).await?;
        self.is_wanted = wanted.and_then(|wanted| self.heard(wanted)).is_some();
        Ok(())
    }

    /// The outcome of what needs the disk; none if that stays broken and it does not come.
    async fn unless_it_stays<T>(
        &mut self,
        what: &str,
        future: impl Future<Output = T>,
    ) -> Result<Option<T>, String> {
        let mut future = std::pin::pin!(within(what, future));
        let mut in_vain = InVain::default();
        // The disk is not asked in the same select: a question that is dropped leaves its answer to the next one.
        loop {
            tokio::select! {
                outcome = &mut future => return outcome.map(Some),
                () = tokio::time::sleep(PAUSE) => {}
            }
            let Some(node) = &self.node else { return Ok(None) };
            // If the log failed, it must come.
            let has_failed = node.status().await?.failure.is_some();
            if !has_failed && self.is_for_ever() && in_vain.after(self.met().await?.count) {
                return Ok(None);
            }
        }
    }

    async fn reopen(&mut self) -> Result<(), String> {
        self.send(ABSENT, ABSENT_TASK, 1).await?;
        if let Some(node) = self.node.take() {
            let closed = node.close().await?;
            self.heard(closed);
        }
        if self.open().await? {
            self.serve();
            self.send(ABSENT, ABSENT_TASK, 1).await?;
        }
        Ok(())
    }
}
