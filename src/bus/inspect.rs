//! Looking at a node: [`View`] asks the process that has it open, and reads its directory if none has.
//!
//! Nothing is written there, not even a lock: a torn tail is reported and left where it is. Messages are read from the
//! segments one after another, so that a large log needs no large memory; what is known of each is what the node says, or
//! the log's own replay.

mod changes;
mod entries;
mod error;
mod found;
mod passing;
mod records;
mod salvage;
mod verify;
mod view;

pub(super) use changes::changes_in;
pub use changes::{ChangeByHand, Deed, Object};
pub use entries::{
    Attempts, DeadLetter, Key, OwedMessage, Standing, Subscriber, WaitingMessage, Whereabouts,
};
pub use error::InspectError;
pub use found::Filter;
pub(super) use found::{Found, Said, time_of};
pub use passing::Passing;
pub(super) use passing::messages_in;
pub(super) use records::RecordReader;
pub use salvage::{Damage, Piece, Publisher, Salvage, SalvagedMessage};
pub(super) use verify::{Chain, Counter};
pub use verify::{Soundness, Verification};
pub use view::{Entries, View};

pub use super::control::ControlError;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Status;
use crate::engine::state::State;
use crate::engine::status::status_of;
use crate::engine::traffic::Traffic;
use crate::ids::Lsn;
use crate::io::commits::CommitSums;
use crate::io::directory::{Directory, LockState, lock_state};
use crate::io::node::replay;
use crate::io::node_status::NodeStatus;
use crate::io::recover::{RecoverMode, Recovered, Torn};
use crate::io::segment_file::reads_directly;
use crate::log::tail::Stretch;
use crate::log::verdict::Verdict;

/// Who holds a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody: a node may be opened there.
    Nobody,
    /// A process whose node is open, with its pid if it said so.
    Process(Option<u32>),
}

/// Who holds the data directory at `path`. The lock is one that the kernel releases with the process, however it
/// ends, so a crash leaves none.
///
/// # Errors
/// [`InspectError::NoDirectory`], and [`InspectError::Directory`] if it cannot be looked at.
pub fn holder(path: &Path) -> Result<Holder, InspectError> {
    match lock_state(path)? {
        LockState::Free => Ok(Holder::Nobody),
        LockState::HeldBy { pid } => Ok(Holder::Process(pid)),
        LockState::NoDirectory => Err(InspectError::NoDirectory(path.to_owned())),
    }
}

/// Bytes at the end of a log that did not arrive whole. The next opening of the node keeps them aside and cuts them
/// off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TornTail {
    /// The number of the segment.
    pub segment: u64,
    /// Where in its file they begin.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
}

impl TornTail {
    fn of(torn: &Torn) -> TornTail {
        let Stretch { segment, offset, bytes } = torn.cut;
        TornTail { segment: segment.0, offset, bytes }
    }
}

/// A node as its log describes it.
#[derive(Debug)]
pub struct Snapshot {
    directory: PathBuf,
    state: State,
    status: Status,
    torn: Option<TornTail>,
    closed: bool,
}

impl Snapshot {
    /// Reads the log in `directory`.
    ///
    /// # Errors
    /// [`InspectError::Running`] while a node has it open, and whatever keeps the log from being read.
    pub fn read(directory: &Path) -> Result<Snapshot, InspectError> {
        refuse_running(directory)?;
        let opened = Directory::open_read_only(directory)?;
        let replayed = replay(opened.path(), RecoverMode::ReadOnly);
        // A node that was opened meanwhile changes what is being read: that is then the error, whatever else it led to.
        refuse_running(directory)?;
        let replayed = replayed?;
        if replayed.recovered.tail.verdict == Verdict::Fresh {
            return Err(InspectError::NoLog(directory.to_owned()));
        }
        let status = status(&opened, &replayed.state, &replayed.recovered);
        let torn = replayed.recovered.torn.as_ref().map(TornTail::of);
        let closed = replayed.recovered.tail.closed;
        Ok(Snapshot { directory: opened.path().to_owned(), state: replayed.state, status, torn, closed })
    }

    /// The node at the end of its log.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// What did not arrive whole at the end of the log.
    #[must_use]
    pub fn torn(&self) -> Option<&TornTail> {
        self.torn.as_ref()
    }

    /// Whether the node was closed, and not killed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

/// The name of the file system that a directory is on, empty if there is no such directory; and why durability is not real
/// there, if it is not.
#[must_use]
pub fn file_system(directory: &Path) -> (String, Option<String>) {
    Directory::open_read_only(directory).map_or_else(
        |_| (String::new(), None),
        |open| (open.file_system().to_string(), open.durability_warning()),
    )
}

pub(crate) fn refuse_running(directory: &Path) -> Result<(), InspectError> {
    match holder(directory)? {
        Holder::Nobody => Ok(()),
        Holder::Process(pid) => Err(InspectError::Running { path: directory.to_owned(), pid }),
    }
}

fn status(directory: &Directory, state: &State, recovered: &Recovered) -> Status {
    let tail = &recovered.tail;
    let active = directory.path_of(&crate::format::segment::segment_name(tail.active));
    Status::from(NodeStatus {
        flushes: recovered.tail.next_batch.0 - 1,
        written_bytes: 0,
        engine: status_of(state, |_| false, |_| false),
        traffic: Traffic::default(),
        commits: CommitSums::default(),
        durable: Lsn(recovered.tail.next_lsn.0 - 1),
        dispatched: 0,
        segments: tail.segments.len() as u64,
        log_bytes: tail.segments.iter().map(|segment| segment.file_bytes).sum(),
        file_system: directory.file_system().to_string(),
        direct: reads_directly(&active),
        durability_warning: directory.durability_warning(),
        registration: "the node is not running".to_owned(),
        recovery: describe(recovered),
        disk_full: false,
        disk_quota_reached: false,
        failure: None,
    })
}

/// The verdict, in words that leave no doubt about what was done: nothing.
fn describe(recovered: &Recovered) -> String {
    match &recovered.torn {
        Some(torn) => format!(
            "{}: {} bytes at offset {} of segment {} did not arrive whole; the next opening cuts them off and keeps them \
             in {}",
            recovered.tail.verdict,
            torn.cut.bytes,
            torn.cut.offset,
            torn.cut.segment,
            torn.kept_in.display()
        ),
        None => recovered.tail.verdict.to_string(),
    }
}
