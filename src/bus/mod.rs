//! The API: what a service imports. Its futures run on any executor; the engine has its own thread.
#![forbid(unsafe_code)]

mod administrator;
mod backup;
mod builder;
#[cfg(feature = "cli")]
pub(crate) mod checkup;
mod control;
mod deliveries;
mod dispatcher;
mod ending;
mod envelope;
mod error;
mod handler;
#[cfg(feature = "cli")]
mod importer;
pub mod inspect;
mod message;
mod outgoing;
mod publishing;
mod quota;
mod receipt;
mod registry;
mod repair;
mod restore;
mod serve;
mod status;
mod stopwatch;
mod subscription;
pub mod yardstick;

pub use administrator::{AdministerError, Administrator, Place};
pub use backup::{Backup, BackupError};
pub use builder::Builder;
pub use deliveries::{Deliveries, Delivery};
pub use envelope::{Envelope, FromEnvelope, Header, Json, NotDecoded};
#[cfg(feature = "cli")]
pub(crate) use error::chain;
pub use error::{Error, ErrorClass, OptionOutOfRange};
pub use handler::{Handled, Handler, HandlerError};
#[cfg(feature = "cli")]
pub(crate) use importer::{Import, Importer};
pub use message::{IntoTopics, Message};
pub use publishing::Batch;
pub use quota::{AtLimit, OwnQuota, Quota, QuotaChange};
pub use receipt::{Receipt, Ticket};
pub use repair::{Repair, RepairError};
pub use restore::Restored;
pub use serve::Serve;
pub use status::{Commits, DestinationStatus, DrainReport, Status, Traffic, WantedTopic};
#[doc(hidden)]
pub use stopwatch::Stopwatch;
pub use subscription::Subscription;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::engine::request::Request;
use crate::ids::NodeId;
use crate::io::clock;
use crate::io::mailbox::Mail;
use crate::io::node::Node;
use crate::io::shared::Shared;
pub(crate) use ending::Ending;
use registry::Registry;

/// An open node. A clone is the same node.
///
/// When the last clone is dropped, and nobody serves it, the node closes by itself; [`Bus::close`] waits until it has. Either way, and if the
/// process is killed instead, nothing that was acknowledged is lost.
#[derive(Clone, Debug)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    node: Mutex<Node>,
    advertised: String,
    bound: String,
    registry: Mutex<Option<Registry>>,
    control: Option<control::Server>,
    ending: Ending,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop_control();
        self.shared.post(Mail::Close);
    }
}

impl Inner {
    /// Before the directory is given back: the next who has it makes a socket of its own there.
    fn stop_control(&self) {
        if let Some(control) = &self.control {
            control.stop();
        }
    }
}

impl Bus {
    /// Begins to configure a node on a data directory, which is made if it is not there.
    pub fn builder(directory: impl Into<std::path::PathBuf>) -> Builder {
        Builder::new(directory.into())
    }

    fn new(node: Node, directory: &std::path::Path, registry: Registry) -> Bus {
        // A node does its work without: on a file system that has no sockets, say.
        let control = control::Server::start(directory, Arc::clone(&node.shared));
        if let Err(error) = &control {
            tracing::warn!(%error, "the node has no control socket: it is not looked at while it is open");
        }
        let inner = Inner {
            control: control.ok(),
            shared: Arc::clone(&node.shared),
            advertised: node.advertised.clone(),
            bound: node.bound.clone(),
            node: Mutex::new(node),
            registry: Mutex::new(Some(registry)),
            ending: Ending::new(),
        };
        Bus { inner: Arc::new(inner) }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// Who this node is, for ever.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.shared().node
    }

    /// Where peers can reach this node, as it tells them; empty if it listens on every address of the machine and was
    /// not told which to advertise.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.inner.advertised
    }

    /// Where this node listens: with the real port if it was opened with port 0.
    #[must_use]
    pub fn bound_address(&self) -> &str {
        &self.inner.bound
    }

    /// Subscribes to topics of the node at `address`.
    ///
    /// Resolves when the wish is on stable storage here. It survives restarts and waits while the other side is down;
    /// [`Subscription::confirmed`] resolves when the publisher has it on stable storage. A node that subscribes at
    /// its own address gets its own messages, without a network between.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`], [`Error::InvalidMessage`] for a bad topic, [`Error::TooManyTopics`],
    /// [`Error::SegmentsTooSmall`], [`Error::Storage`], [`Error::Closed`].
    pub async fn subscribe(&self, address: &str, topics: impl IntoTopics) -> Result<Subscription, Error> {
        let (address, topics) = (checked_address(address)?, message::checked_topics(topics)?);
        self.request(Request::Subscribe { address: address.clone(), topics: topics.clone() }).await?;
        Ok(Subscription::new(self.clone(), address, topics))
    }

    /// Ends subscriptions to topics of the node at `address`. What was published before still comes.
    ///
    /// Resolves when the wish is on stable storage here; the [`Subscription`] it returns is confirmed when the
    /// publisher has it too.
    ///
    /// # Errors
    /// As [`Bus::subscribe`].
    pub async fn unsubscribe(&self, address: &str, topics: impl IntoTopics) -> Result<Subscription, Error> {
        let (address, topics) = (checked_address(address)?, message::checked_topics(topics)?);
        self.request(Request::Unsubscribe { address: address.clone(), topics: topics.clone() }).await?;
        Ok(Subscription::new(self.clone(), address, topics))
    }

    /// Forgets the peer at `address`: what it is owed, what it wants and what is wanted of it. Messages of it that
    /// were accepted stay in the inbox.
    ///
    /// # Errors
    /// [`Error::UnknownAddress`], and as [`Bus::subscribe`].
    pub async fn remove_destination(&self, address: &str) -> Result<(), Error> {
        let address = checked_address(address)?;
        self.request(Request::RemoveDestination { address }).await
    }

    /// Resolves when at least `count` subscriptions on stable storage match `topic`, whether or not the subscribers
    /// are connected.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Storage`].
    pub async fn subscribers(&self, topic: &str, count: usize) -> Result<(), Error> {
        let topic = topic.to_owned();
        self.request(Request::Subscribers { topic, count }).await
    }

    /// The node at this moment.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn status(&self) -> Result<Status, Error> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.shared().post(Mail::Status(reply));
        let status = answer.await.map_err(|_| self.gone())?;
        Ok(Status::from(status))
    }

    /// Waits until nothing is owed to any peer and nothing waits for a handler, at most for `deadline`, and reports
    /// what is left. It stops nothing: call it when nothing more is published, with [`Bus::serve`] still running if
    /// there are handlers.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Storage`].
    pub async fn drain(&self, deadline: Duration) -> Result<DrainReport, Error> {
        let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let deadline = clock::now().monotonic.plus_millis(millis);
        self.request(Request::Drain { deadline }).await?;
        Ok(DrainReport::from(&self.status().await?))
    }

    /// Closes the node: what was published is written, peers are told, and a mark at the end of the log says that it
    /// was closed. Resolves when the data directory may be used by another process. Handlers that run are not waited
    /// for; what they have not finished is delivered again.
    ///
    /// # Errors
    /// [`Error::Storage`] if the log failed before or during that; the directory can be used again all the same.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.stop_control();
        let thread = self.inner.node.lock().unwrap_or_else(PoisonError::into_inner).close();
        self.inner.ending.wait(thread).await;
        match self.shared().failure() {
            Some(cause) => Err(Error::Storage { cause }),
            None => Ok(()),
        }
    }

    async fn request(&self, request: Request) -> Result<(), Error> {
        match self.shared().request(request).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(refusal)) => Err(Error::of_refusal(refusal, self.shared())),
            Err(_) => Err(self.gone()),
        }
    }

    fn gone(&self) -> Error {
        Error::ended(self.shared())
    }
}

fn checked_address(address: &str) -> Result<String, Error> {
    let parsed: crate::io::address::Address = address.parse()?;
    if parsed.port() == 0 {
        let reason = "port 0 stands for any free port, and nobody can be reached there";
        return Err(crate::io::address::NotAnAddress { text: address.to_owned(), reason }.into());
    }
    Ok(parsed.to_string())
}
