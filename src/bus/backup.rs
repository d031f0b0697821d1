//! A copy of a node, a map or a queue as it is at one moment, without stopping it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ErrorClass;
use super::control::{Client, ControlError};
use super::error::Error;
use super::inspect::{Holder, InspectError, holder};
use crate::format::segment::segment_number;
use crate::io::backup::{Brought, Sealed, bring};
use crate::io::clock;
use crate::io::directory::{Directory, DirectoryError};
use crate::io::draft::{Draft, DraftError};
use crate::io::node::ReplayDefect;
use crate::io::opening::wait_for_the_dead;
use crate::io::quarantine::Plan;
use crate::io::recover::{RecoverMode, recover};
use crate::log::durable_part::DurablePart;

/// The file in a backup that says what it is.
pub(super) const NOTE_NAME: &str = "backup.json";

/// The version of that.
const NOTE_VERSION: u32 = 1;

/// A copy of a data directory, as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Where it is.
    pub directory: PathBuf,
    /// Whether a process had the node open meanwhile.
    pub is_live: bool,
    /// Segments that the copy has in common with the original, as second names of the same files.
    pub linked: u64,
    /// Segments that were copied: the last one, and where there can be no second names, all.
    pub copied: u64,
    /// Bytes of these.
    pub copied_bytes: u64,
    /// The last record that is in it.
    pub last_record: u64,
}

/// Why there is no backup, or nothing is made of one. Nothing was left where it was to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// What is to be copied cannot be looked at, or is damaged.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The place of the copy is taken, or cannot be written to.
    #[error(transparent)]
    Place(#[from] DraftError),
    /// A file cannot be copied.
    #[error(transparent)]
    File(#[from] DirectoryError),
    /// The process that has the node open needed the room, and freed segments that were not yet copied.
    #[error(
        "there was no more room for the node's log, and it could not wait until it was copied: make room and try again"
    )]
    NodeNeedsRoom,
    /// The log of a backup ends before the backup did.
    #[error("{} is damaged: it ends with record {found}, and ended with record {expected} when it was made", path.display())]
    Short {
        /// The backup.
        path: PathBuf,
        /// Its last record, as it says itself.
        expected: u64,
        /// The last one that is there.
        found: u64,
    },
    /// The oldest segment of a backup is missing.
    #[error("{} is damaged: it began with segment {expected} when it was made, which is not there", path.display())]
    Headless {
        /// The backup.
        path: PathBuf,
        /// Its first segment, as it says itself.
        expected: u64,
    },
    /// A repair of the directory was begun, and not carried out.
    #[error("a repair of {} was begun: carry it out first", .0.display())]
    HalfRepaired(PathBuf),
    /// What was restored cannot be opened as a node, to begin its new life.
    #[error(transparent)]
    Open(#[from] Error),
}

impl BackupError {
    /// What kind of trouble it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            BackupError::Inspect(error) => error.class(),
            BackupError::Place(DraftError::Taken(_) | DraftError::Foreign { .. }) => ErrorClass::Invalid,
            BackupError::Place(DraftError::Busy(_)) | BackupError::File(DirectoryError::Locked { .. }) => {
                ErrorClass::InUse
            }
            BackupError::Place(DraftError::Io(error)) | BackupError::File(error) if error.is_disk_full() => {
                ErrorClass::DiskFull
            }
            BackupError::NodeNeedsRoom => ErrorClass::DiskFull,
            BackupError::Short { .. } | BackupError::Headless { .. } | BackupError::HalfRepaired(_) => {
                ErrorClass::Corrupt
            }
            BackupError::Open(error) => error.class(),
            _ => ErrorClass::Other,
        }
    }
}

impl From<ControlError> for BackupError {
    fn from(error: ControlError) -> BackupError {
        InspectError::from(error).into()
    }
}

/// What a backup says of itself: its log ends with that record, at that place, and a log that ends earlier is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    version: u32,
    /// Nanoseconds since 1970.
    pub taken_at: u64,
    /// The oldest of its segments: without that a log is one that was freed further.
    pub first_segment: u64,
    pub last_record: u64,
    pub last_segment: u64,
    pub end: u64,
}

impl Backup {
    /// Copies what lies in `directory`, a node, a map or a queue, to `to`, where there is nothing or an empty directory: all that
    /// was durable there when this began, and perhaps more.
    ///
    /// What is sealed of the log is not copied but gets a second name, where the file system can do that, and costs no room
    /// until the original lets go of it. A node that a process has open goes on meanwhile, and frees no segment. What no process has
    /// open is locked meanwhile, and read through: a copy of a damaged log is refused.
    ///
    /// `to` is then a data directory like one whose process was killed at that moment. It is there in whole or not at all; what
    /// is left of one that was killed has the name with `.partial` behind it, and is taken up by the next try. It blocks the thread.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn take(directory: &Path, to: &Path) -> Result<Backup, BackupError> {
        let pid = match holder(directory)? {
            Holder::Process(pid) => pid,
            Holder::Nobody => return Backup::of_nobodys(directory, to),
        };
        let client = Client::of(directory, pid)?;
        let draft = Draft::begin(to, is_of_backup)?;
        let pinned = client.pin()?;
        let part = pinned.part;
        let brought = bring(directory, &part, Sealed::Link, &draft);
        // Whatever went wrong, it went wrong because of that.
        if !pinned.release()? {
            return Err(BackupError::NodeNeedsRoom);
        }
        Backup::finish(draft, to, true, &part, brought?)
    }

    fn of_nobodys(directory: &Path, to: &Path) -> Result<Backup, BackupError> {
        let locked = Directory::open(directory)?;
        wait_for_the_dead(&locked)?;
        refuse_half_repaired(&locked)?;
        let read = recover::<ReplayDefect>(locked.path(), RecoverMode::ReadOnly, &mut |_, _| Ok(()));
        let recovered = read.map_err(InspectError::from)?;
        let Some(part) = recovered.tail.durable_part() else {
            return Err(InspectError::NoLog(directory.to_owned()).into());
        };
        let draft = Draft::begin(to, is_of_backup)?;
        let brought = bring(locked.path(), &part, Sealed::Link, &draft)?;
        Backup::finish(draft, to, false, &part, brought)
    }

    fn finish(
        draft: Draft,
        to: &Path,
        is_live: bool,
        part: &DurablePart,
        brought: Brought,
    ) -> Result<Backup, BackupError> {
        let note = Note {
            version: NOTE_VERSION,
            taken_at: clock::now().wall.0,
            first_segment: part.first.0,
            last_record: part.last_lsn.0,
            last_segment: part.last.0,
            end: part.end,
        };
        // Invariant: there is nothing in it that JSON cannot say.
        let note = serde_json::to_vec(&note).expect("numbers are JSON");
        draft.write(NOTE_NAME, &note[..], u64::MAX)?;
        draft.finish()?;
        let Brought { linked, copied, copied_bytes } = brought;
        let directory = to.to_owned();
        Ok(Backup { directory, is_live, linked, copied, copied_bytes, last_record: part.last_lsn.0 })
    }
}

/// What a repair that was killed has cut ends like any other log, and is none that may go on.
pub(super) fn refuse_half_repaired(directory: &Directory) -> Result<(), BackupError> {
    match Plan::pending(directory)? {
        Some(_) => Err(BackupError::HalfRepaired(directory.path().to_owned())),
        None => Ok(()),
    }
}

/// What a backup that was killed leaves.
pub(super) fn is_of_backup(name: &str) -> bool {
    name == NOTE_NAME || segment_number(name).is_some()
}
