//! A node and those who wait for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use resolute::{Bus, Envelope, Error, Status};
use tokio::task::JoinHandle;

use super::causes::chain;
use super::ledger::Ledger;
use super::patience::within;

/// The messages of all nodes.
pub const TOPIC: &str = "tick";

/// Nobody wants it: who waits for subscribers waits for ever.
const UNWANTED: &str = "never.wanted";

/// Longer than any trial.
const LONG: Duration = Duration::from_secs(24 * 3_600);

/// Where a node lies and listens.
#[derive(Clone, Debug)]
pub struct Place {
    pub directory: PathBuf,
    pub port: u16,
}

impl Place {
    /// On a loopback address of this process alone: while a node is closed, nobody else takes its port.
    pub fn address(&self) -> String {
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        format!("tcp://127.{}.{middle}.{low}:{}", high + 1, self.port)
    }
}

type Waiter = JoinHandle<Result<(), Error>>;

/// An open node.
pub struct Node {
    pub bus: Bus,
    serving: Option<Waiter>,
    waiters: Vec<(&'static str, Waiter)>,
}

impl Node {
    pub async fn open(place: &Place, ledger: &Arc<Ledger>) -> Result<Result<Node, Error>, String> {
        let book = Arc::clone(ledger);
        let builder = Bus::builder(&place.directory)
            .bind(place.address())
            .segment_bytes(resolute::limits::SEGMENT_BYTES_MIN)
            // One handler at a time, so that the order can be seen.
            .concurrency(1)
            .every(TOPIC, move |message: Envelope| {
                book.handle(&message);
                std::future::ready(Ok::<(), String>(()))
            });
        let opened = within("a node opens", builder.open()).await?;
        Ok(opened.map(|bus| {
            let (unwanted, owing) = (bus.clone(), bus.clone());
            let waiters = vec![
                ("subscribers", tokio::spawn(async move { unwanted.subscribers(UNWANTED, 1).await })),
                ("drain", tokio::spawn(async move { owing.drain(LONG).await.map(drop) })),
            ];
            Node { bus, serving: None, waiters }
        }))
    }

    /// Begins to handle messages.
    pub fn serve(&mut self, ledger: &Ledger) {
        ledger.begin_life();
        self.serving = Some(tokio::spawn(self.bus.serve()));
    }

    pub async fn status(&self) -> Result<Status, String> {
        within("a status", self.bus.status()).await?.map_err(|error| format!("no status: {}", chain(&error)))
    }

    /// That whoever waited when the log failed was told so.
    pub async fn all_hear(&mut self) -> Result<(), String> {
        let serving = self.serving.take().map(|serving| ("serve", serving));
        for (who, waiter) in self.waiters.drain(..).chain(serving) {
            let outcome = within(&format!("{who} hears of it"), waiter).await?;
            match outcome.map_err(|error| error.to_string())? {
                Err(Error::Storage { .. }) => {}
                // Nothing was left before it happened.
                Ok(()) if who == "drain" => {}
                outcome => return Err(format!("the log failed, and {who} ends with {outcome:?}")),
            }
        }
        Ok(())
    }

    /// That nothing can be asked of a node any more whose log failed.
    pub async fn must_refuse(&self, ledger: &Ledger, absent: &str, task: u64) -> Result<(), String> {
        let bus = &self.bus;
        let mut outcomes = Vec::new();
        for number in ledger.begin(task, 1, false) {
            let sent = within("sending ends", bus.send(absent, TOPIC, number.payload())).await?;
            outcomes.push(("send", sent.map(drop)));
        }
        for number in ledger.begin(task, 1, true) {
            let batch =
                bus.batch().send(absent, TOPIC, number.payload()).map_err(|error| error.to_string())?;
            outcomes.push(("commit", within("a batch ends", batch.commit()).await?.map(drop)));
        }
        let wish = bus.subscribe(absent, "too.late");
        outcomes.push(("subscribe", within("subscribing ends", wish).await?.map(drop)));
        outcomes.push(("subscribers", within("asking ends", bus.subscribers(UNWANTED, 1)).await?));
        outcomes.push(("remove", within("removing ends", bus.remove_destination(absent)).await?));
        outcomes.push(("drain", within("draining ends", bus.drain(LONG)).await?.map(drop)));
        match outcomes.iter().find(|(_, outcome)| !matches!(outcome, Err(Error::Storage { .. }))) {
            Some((what, outcome)) => Err(format!("the log failed, and {what} answers {outcome:?}")),
            None => Ok(()),
        }
    }

    /// Closes it. Those who waited are told.
    pub async fn close(self) -> Result<Result<(), Error>, String> {
        let closed = within("a node closes", self.bus.close()).await?;
        for (who, waiter) in self.waiters.into_iter().chain(self.serving.map(|serving| ("serve", serving))) {
            let outcome = within(&format!("{who} ends"), waiter).await?.map_err(|error| error.to_string())?;
            match (outcome, &closed) {
                (Ok(()), _) if who != "subscribers" => {}
                (Err(Error::Closed), Ok(())) | (Err(Error::Storage { .. }), Err(_)) => {}
                (outcome, _) => {
                    return Err(format!("{who} ends with {outcome:?}, and close with {closed:?}"));
                }
            }
        }
        Ok(closed)
    }
}
