//! The two nodes, as far as they are open.

use std::sync::Arc;

use nix::errno::Errno;
use resolute::{Bus, Envelope, Error};
use tokio::task::JoinHandle;

use super::causes::{chain, is_of_the_disk};
use super::ledger::Ledger;
use super::patience::within;
use super::scene::{Place, Scene};

/// The nodes of one history.
#[derive(Default)]
pub struct Nodes {
    pub publisher: Option<Bus>,
    pub subscriber: Option<Subscriber>,
}

/// The subscriber, with its handlers running.
pub struct Subscriber {
    pub bus: Bus,
    serving: JoinHandle<Result<(), Error>>,
}

/// Opens the publisher.
pub async fn open_publisher(scene: &Scene) -> Result<Result<Bus, Error>, String> {
    within("the publisher opens", scene.publisher.builder().open()).await
}

/// Opens the subscriber.
pub async fn open_subscriber(
    scene: &Scene,
    ledger: &Arc<Ledger>,
) -> Result<Result<Subscriber, Error>, String> {
    let book = Arc::clone(ledger);
    // One handler at a time, so that the order can be seen.
    let builder =
        scene.subscriber.builder().concurrency(1).every(super::scene::TOPIC, move |message: Envelope| {
            book.handle(&message);
            std::future::ready(Ok::<(), String>(()))
        });
    let opened = within("the subscriber opens", builder.open()).await?;
    Ok(opened.map(|bus| {
        ledger.begin_life();
        Subscriber { serving: tokio::spawn(bus.serve()), bus }
    }))
}

impl Nodes {
    /// Closes the nodes that lie where the power is cut, and the other one too if `all`.
    pub async fn close(&mut self, scene: &Scene, all: bool) -> Result<(), String> {
        if (all || scene.publisher.is_mounted)
            && let Some(bus) = self.publisher.take()
        {
            close(&scene.publisher, &bus).await?;
        }
        if (all || scene.subscriber.is_mounted)
            && let Some(subscriber) = self.subscriber.take()
        {
            close(&scene.subscriber, &subscriber.bus).await?;
            let served = within("the handlers end", subscriber.serving).await?;
            let served = served.map_err(|error| format!("the handlers panicked: {error}"))?;
            lawful(&scene.subscriber, "serve", served)?;
        }
        Ok(())
    }

    pub fn are_closed(&self) -> bool {
        self.publisher.is_none() && self.subscriber.is_none()
    }
}

async fn close(place: &Place, bus: &Bus) -> Result<(), String> {
    lawful(place, "close", within("a node closes", bus.close()).await?)
}

/// A node whose disk has no power cannot be closed in good order; any other can.
fn lawful(place: &Place, what: &str, outcome: Result<(), Error>) -> Result<(), String> {
    match outcome {
        Err(error) if !place.is_mounted || !is_of_the_disk(&error, &[Errno::EIO]) => {
            Err(format!("{what} of {}: {}", place.directory.display(), chain(&error)))
        }
        _ => Ok(()),
    }
}
