//! Putting messages from elsewhere into a node, while it speaks to nobody.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::administrator::segment_bytes_in;
use super::control::{Caller, Desk};
use super::outgoing::Outgoing;
use super::registry::Registry;
use super::{AdministerError, Bus, Envelope, Error, Message, checked_address};
use crate::bus::inspect::{Filter, Said};
use crate::engine::config::Retry;
use crate::engine::listing::List;
use crate::format::control::Quota;
use crate::format::record::RECORD_HEADER_BYTES;
use crate::io::address::Address;
use crate::io::clock;
use crate::io::node::{NodeOptions, open_blocking};
use crate::limits::{INBOX_BYTES_DEFAULT, NAME_BYTES_MAX, SEGMENT_BYTES_DEFAULT};
use crate::time::Wall;

/// An address at which a node is at home while messages are imported, and at which no other can be: what is sent there comes
/// into its inbox.
const HOME: &str = "tcp://127.0.0.1:0";

/// A message that may be, and where it is to go.
#[derive(Debug)]
pub(crate) struct Import(Outgoing);

impl Import {
    /// A command that is owed to the node at `to`, or one for this node itself. It was published at that time, or now.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`], [`Error::InvalidMessage`].
    pub(crate) fn new(
        topics: &[String],
        message: Message,
        to: Option<&str>,
        published_at: Option<SystemTime>,
    ) -> Result<Import, Error> {
        let address = to.map_or_else(|| Ok(HOME.to_owned()), checked_address)?;
        let since = published_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let nanoseconds = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
        let published_at = nanoseconds.map_or_else(clock::wall, Wall);
        let outgoing = Outgoing::new(message, &topics, Some(address), published_at)?;
        outgoing.prepare()?;
        Ok(Import(outgoing))
    }

    /// Bytes of its record.
    pub(crate) fn bytes(&self) -> usize {
        // What cannot be prepared was refused when this was made.
        self.0.prepare().map_or(0, |prepared| RECORD_HEADER_BYTES + prepared.parts.body_bytes())
    }
}

/// A node that messages are put into. It runs no handler and speaks to no peer; nobody else can open it meanwhile.
#[derive(Debug)]
pub(crate) struct Importer {
    bus: Bus,
    desk: Desk,
}

impl Importer {
    /// Opens the node in a directory, which is made if it is not there. Blocks, and must not be called where async code runs.
    ///
    /// # Errors
    /// [`AdministerError::Open`]: another process has it, or what keeps it from being opened.
    pub(crate) fn open(directory: &Path) -> Result<Importer, AdministerError> {
        let mut name =
            directory.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        while name.len() > NAME_BYTES_MAX {
            name.pop();
        }
        let home = || HOME.parse::<Address>().map_err(Error::from);
        let options = NodeOptions {
            directory: directory.to_owned(),
            name,
            bind: home()?,
            advertise: Some(home()?),
            retry: Retry::default(),
            segment_bytes: segment_bytes_in(directory)?.unwrap_or(SEGMENT_BYTES_DEFAULT),
            inbox_bytes_max: INBOX_BYTES_DEFAULT,
            disk_bytes_max: u64::MAX,
            sender_bytes_max: u64::MAX,
            quota: Quota::UNLIMITED,
            is_alone: true,
            begins_life: false,
        };
        let node = open_blocking(options).map_err(Error::from)?;
        let desk = Desk::new(directory.to_owned(), Arc::clone(&node.shared));
        let bus = Bus::new(node, directory, Registry::new(Vec::new(), 1, None));
        Ok(Importer { bus, desk })
    }

    /// The node itself.
    pub(crate) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Shows every message that the node has, at each of its places: in the inbox, or owed to an address. Blocks, as
    /// [`Importer::open`].
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn each(&self, mut see: impl FnMut(&Envelope, Option<&str>)) -> Result<(), AdministerError> {
        for list in [List::Incoming, List::Parked, List::DeadLetters, List::Outgoing] {
            self.desk.list(list, &Filter::default(), u64::MAX, &Caller, |found| {
                let to = match &found.said {
                    Said::Owed { address, .. } => Some(address.as_str()),
                    _ => None,
                };
                see(&found.message, to);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Takes messages in, all or none. Resolves when they are on stable storage.
    ///
    /// # Errors
    /// As [`crate::Batch::commit`].
    pub(crate) async fn commit(&self, imports: Vec<Import>) -> Result<(), Error> {
        let mut batch = self.bus.batch();
        batch.extend(imports.into_iter().map(|import| import.0));
        batch.commit().await.map(drop)
    }
}
