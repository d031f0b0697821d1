//! The two nodes, as far as they are open.

use std::error::Error as StdError;
use std::sync::Arc;

use nix::errno::Errno;
use resolute::{Bus, Envelope, Error, ErrorClass};
use tokio::task::JoinHandle;

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
        Err(error) if !place.is_mounted || !is_of_the_disk(&error) => {
            Err(format!("{what} of {}: {}", place.directory.display(), chain(&error)))
        }
        _ => Ok(()),
    }
}

/// Whether the disk's EIO is the cause, and the node did not take what it found for damage.
pub fn is_of_the_disk(error: &Error) -> bool {
    error.class() != ErrorClass::Corrupt && causes(error).any(|cause| errno_of(cause) == Some(Errno::EIO))
}

fn errno_of(error: &(dyn StdError + 'static)) -> Option<Errno> {
    let io = match error.downcast_ref::<Arc<std::io::Error>>() {
        Some(shared) => Some(&**shared),
        None => error.downcast_ref::<std::io::Error>(),
    };
    io.and_then(std::io::Error::raw_os_error).map(Errno::from_raw)
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error with its causes, in one line.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
