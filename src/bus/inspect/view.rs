//! A node to be looked at, whether or not it is open.

use std::ops::ControlFlow;
use std::path::Path;

use super::changes::{ChangeByHand, changes_in};
use super::entries::subscribers_of;
use super::found::{Filter, Found};
use super::{
    DeadLetter, Holder, InspectError, Key, OwedMessage, Passing, Snapshot, Subscriber, Verification,
    WaitingMessage, holder,
};
use crate::bus::Status;
use crate::bus::control::Client;
use crate::engine::listing::List;
use crate::io::node::ReplayDefect;
use crate::io::recover::{RecoverMode, recover};

/// A node: if a process has it open, as that process says it is; if none has, as its log says that it was.
///
/// Nothing is changed in either case. Lists of a node that is open are gathered page by page while it goes on: each message is
/// as it was when its page was.
#[derive(Debug)]
pub struct View(Kind);

#[derive(Debug)]
enum Kind {
    Snapshot(Box<Snapshot>),
    Live(Client),
}

/// The entries of a list, one after another.
pub type Entries<'a, T> = Box<dyn Iterator<Item = Result<T, InspectError>> + 'a>;

impl View {
    /// Looks at the node of that directory.
    ///
    /// # Errors
    /// Whatever keeps the log from being read, or the process that has it open from being asked.
    pub fn open(directory: &Path) -> Result<View, InspectError> {
        let pid = match holder(directory)? {
            Holder::Nobody => return Ok(View(Kind::Snapshot(Box::new(Snapshot::read(directory)?)))),
            Holder::Process(pid) => pid,
        };
        match (Client::of(directory, pid), holder(directory)?) {
            // It ended meanwhile.
            (Err(_), Holder::Nobody) => Ok(View(Kind::Snapshot(Box::new(Snapshot::read(directory)?)))),
            (client, _) => Ok(View(Kind::Live(client?))),
        }
    }

    /// The log, if no process has it open.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        match &self.0 {
            Kind::Snapshot(snapshot) => Some(snapshot),
            Kind::Live(_) => None,
        }
    }

    /// The node at this moment, or at the end of its log.
    ///
    /// # Errors
    /// The process that has it open does not answer.
    pub fn status(&self) -> Result<Status, InspectError> {
        match &self.0 {
            Kind::Snapshot(snapshot) => Ok(snapshot.status().clone()),
            Kind::Live(client) => Ok(client.status()?),
        }
    }

    /// A look at every byte of the log: of a node that is open, of all that is durable when it begins. Tells `progress` how much of
    /// how much is seen, in bytes or in records.
    ///
    /// Where no process has it open it need not be a node: see [`Verification::of`].
    ///
    /// # Errors
    /// As [`View::status`] and [`Verification::of`].
    pub fn verify(directory: &Path, progress: impl FnMut(u64, u64)) -> Result<Verification, InspectError> {
        match holder(directory)? {
            Holder::Nobody => Verification::of(directory, progress),
            Holder::Process(pid) => Ok(Client::of(directory, pid)?.verify(progress)?),
        }
    }

    /// What people changed by hand, as far as the log still holds it, in its order: a segment that is freed takes the record with
    /// it. Gives each to `give`; ends early if that says so.
    ///
    /// # Errors
    /// As [`View::status`]; the log cannot be read.
    pub fn changes(&self, mut give: impl FnMut(ChangeByHand) -> ControlFlow<()>) -> Result<(), InspectError> {
        match &self.0 {
            Kind::Live(client) => Ok(client.changes(give)?),
            Kind::Snapshot(snapshot) => {
                let mut goes_on = ControlFlow::Continue(());
                recover::<ReplayDefect>(&snapshot.directory, RecoverMode::ReadOnly, &mut |_, view| {
                    let mut found = changes_in(view.records);
                    if goes_on.is_continue() {
                        goes_on = found.try_for_each(&mut give);
                    }
                    Ok(())
                })?;
                Ok(())
            }
        }
    }

    fn found(
        &self,
        list: List,
        filter: &Filter,
        limit: Option<u64>,
    ) -> Result<Entries<'_, Found>, InspectError> {
        let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        match &self.0 {
            Kind::Snapshot(snapshot) => {
                let filter = filter.clone();
                let wanted = move |found: &Result<Found, _>| {
                    found.as_ref().map_or(true, |found: &Found| found.is_admitted_by(&filter))
                };
                Ok(Box::new(snapshot.found(list).filter(wanted).take(most)))
            }
            Kind::Live(client) => {
                let found = client.list(list, filter, limit)?;
                Ok(Box::new(found.map(|found| found.map_err(InspectError::from))))
            }
        }
    }

    /// Every message that passes through the node from now on, as it is on stable storage: what it publishes and what it accepts,
    /// of these topics, or of all if there are none. With `from_start`, first what the log still holds, but for
    /// messages that were carried forward from segments that are freed, which [`View::keys`] has. Nothing is consumed. Ends when the node closes; the next entry is waited for on the calling thread.
    ///
    /// What nobody subscribes to passes through no log.
    ///
    /// # Errors
    /// [`InspectError::NotRunning`], and as [`View::status`].
    pub fn tail(&self, topics: &[String], from_start: bool) -> Result<Entries<'_, Passing>, InspectError> {
        match &self.0 {
            Kind::Snapshot(snapshot) => Err(InspectError::NotRunning(snapshot.directory.clone())),
            Kind::Live(client) => {
                let passing = client.tail(topics.to_vec(), from_start)?;
                Ok(Box::new(passing.map(|passing| passing.map_err(InspectError::from))))
            }
        }
    }

    /// The subscriptions that the node serves, its own to itself among them.
    ///
    /// # Errors
    /// As [`View::status`].
    pub fn subscribers(&self) -> Result<Vec<Subscriber>, InspectError> {
        Ok(subscribers_of(&self.status()?))
    }

    /// Every message that the node still has, once, in the order of its log; at most `limit`.
    ///
    /// # Errors
    /// As [`View::status`]; an entry that cannot be read is the last.
    pub fn keys(&self, filter: &Filter, limit: Option<u64>) -> Result<Entries<'_, Key>, InspectError> {
        let found = self.found(List::Keys, filter, limit)?;
        Ok(Box::new(found.map(|found| found.map(Found::into_key))))
    }

    /// The messages that wait for a handler, in the order in which they were accepted: without those that are parked or
    /// dead.
    ///
    /// # Errors
    /// As [`View::keys`].
    pub fn incoming(
        &self,
        filter: &Filter,
        limit: Option<u64>,
    ) -> Result<Entries<'_, WaitingMessage>, InspectError> {
        self.waiting(List::Incoming, filter, limit)
    }

    fn waiting(
        &self,
        list: List,
        filter: &Filter,
        limit: Option<u64>,
    ) -> Result<Entries<'_, WaitingMessage>, InspectError> {
        let found = self.found(list, filter, limit)?;
        Ok(Box::new(found.map(|found| found.map(Found::into_waiting))))
    }

    /// The messages without a handler.
    ///
    /// # Errors
    /// As [`View::keys`].
    pub fn parked(
        &self,
        filter: &Filter,
        limit: Option<u64>,
    ) -> Result<Entries<'_, WaitingMessage>, InspectError> {
        self.waiting(List::Parked, filter, limit)
    }

    /// The dead letters: one entry for each handler that gave a message up; at most `limit` messages.
    ///
    /// # Errors
    /// As [`View::keys`].
    pub fn dead_letters(
        &self,
        filter: &Filter,
        limit: Option<u64>,
    ) -> Result<Entries<'_, DeadLetter>, InspectError> {
        let found = self.found(List::DeadLetters, filter, limit)?;
        Ok(Box::new(found.flat_map(|found| -> Entries<'_, DeadLetter> {
            match found {
                Ok(found) => Box::new(found.into_dead_letters().map(Ok)),
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        })))
    }

    /// The messages that are owed, destination by destination, in the order in which they go out.
    ///
    /// # Errors
    /// As [`View::keys`].
    pub fn outgoing(
        &self,
        filter: &Filter,
        limit: Option<u64>,
    ) -> Result<Entries<'_, OwedMessage>, InspectError> {
        let found = self.found(List::Outgoing, filter, limit)?;
        Ok(Box::new(found.filter_map(|found| found.map(Found::into_owed).transpose())))
    }
}
