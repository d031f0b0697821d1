//! What other threads ask of the engine's thread, beside publishing.

use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::node_status::NodeStatus;
use super::pin::Pin;
use super::prewriter::Answer;
use crate::engine::effect::{Refusal, RequestId};
use crate::engine::listing::{Cursor, List, Listed, LogPage, Page};
use crate::engine::request::Request;
use crate::ids::Lsn;

/// The answer to a request: done and durable, with how many messages a change by hand met, or refused. If the engine's thread
/// ends first there is none.
pub type Reply = oneshot::Sender<Result<u64, Refusal>>;

/// One thing asked or reported.
#[derive(Debug)]
pub enum Mail {
    /// The user asks for something.
    Request(RequestId, Request, Reply),
    /// The user no longer waits for it.
    Forget(RequestId),
    /// Someone polls the handlers from now on, by the number that the handoff gave it; or nobody any more.
    Serving(Option<u64>),
    /// The node is to describe itself.
    Status(oneshot::Sender<NodeStatus>),
    /// A part of a list is wanted, of what is no later than a record.
    List { list: List, from: Cursor, until: Option<Lsn>, reply: oneshot::Sender<Page> },
    /// The oldest message that each destination is owed is wanted, of at most so many of them.
    Oldest { most: usize, reply: oneshot::Sender<Vec<Listed>> },
    /// A part of the log is wanted.
    Log(Option<Lsn>, oneshot::Sender<LogPage>),
    /// Somebody copies what is durable: it is to stay where it is meanwhile. None if nothing is.
    Pin(oneshot::Sender<Option<Arc<Pin>>>),
    /// Somebody is through with that.
    Unpinned,
    /// A segment's file was prepared or retired.
    Prewriter(Answer),
    /// A connection was made, or could not be.
    Dialled(String, std::io::Result<TcpStream>),
    /// The node is to close.
    Close,
}

/// The mailbox of one engine's thread.
#[derive(Debug)]
pub struct Mailbox<M = Mail> {
    /// None once nobody will read it any more: what is put in then is dropped, and whoever waits for a reply is told.
    mail: Mutex<Option<Vec<M>>>,
}

impl<M> Default for Mailbox<M> {
    fn default() -> Mailbox<M> {
        Mailbox { mail: Mutex::new(Some(Vec::new())) }
    }
}

impl<M> Mailbox<M> {
    fn mail(&self) -> MutexGuard<'_, Option<Vec<M>>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves something. The caller then rings.
    pub fn put(&self, mail: M) {
        if let Some(all) = self.mail().as_mut() {
            all.push(mail);
        }
    }

    /// Takes everything out.
    #[must_use]
    pub fn take(&self) -> Vec<M> {
        self.mail().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mail().as_ref().is_none_or(Vec::is_empty)
    }

    /// Nobody reads it any more.
    pub fn close(&self) {
        let left = self.mail().take();
        drop(left);
    }
}
