//! A data directory made of a backup.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::administrator::alone;
use super::backup::{Backup, BackupError, NOTE_NAME, Note, is_of_backup, refuse_half_repaired};
use super::error::Error;
use super::inspect::{InspectError, refuse_running};
use crate::engine::apply::ApplyDefect;
use crate::format::segment::is_spare;
use crate::ids::Incarnation;
use crate::io::backup::{Sealed, bring};
use crate::io::directory::{Directory, is_lock, is_unfinished};
use crate::io::draft::Draft;
use crate::io::node::{NodeOptions, ReplayDefect, open_blocking, replay};
use crate::io::recover::{RecoverError, RecoverMode, recover};
use crate::log::durable_part::DurablePart;

/// A data directory that was made of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Where it is.
    pub directory: PathBuf,
    /// Segments of the backup.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The last record of the backup.
    pub last_record: u64,
    /// The life of the node's log from here on, as it stands in the ids of its messages; none of a map or a queue.
    pub incarnation: Option<String>,
}

impl Backup {
    /// Makes a data directory at `to`, where there is nothing or an empty directory, of what lies in `from`, which no process has
    /// open: a backup, or a copy that was made otherwise of a directory that nobody had open. `from` is only read, and has no file
    /// in common with `to`.
    ///
    /// A node begins a new life of its log with it, and its peers notice that. What they got or gave since the backup was made is
    /// not done again and not passed over in silence: messages that were accepted since are a gap, counted and shown; messages that
    /// were published since are those of an earlier life, and whatever speaks for that life is refused from then on. What was handled since is
    /// handled again. `to` is there in whole or not at all. It blocks the thread, which must not be one that runs async code.
    ///
    /// # Errors
    /// See [`BackupError`]. Damage in `from` is one, and so is that it ends before the backup did.
    pub fn restore(from: &Path, to: &Path) -> Result<Restored, BackupError> {
        refuse_running(from)?;
        let opened = Directory::open_read_only(from)?;
        refuse_half_repaired(&opened)?;
        let Read { part, life } = read(opened.path())?;
        check_note(opened.path(), &part)?;
        let draft = Draft::begin(to, is_of_restore)?;
        let brought = bring(opened.path(), &part, Sealed::Copy, &draft)?;
        // Who opened it meanwhile may have written to what was being copied.
        refuse_running(from)?;
        let life = life.map(|before| begin_life(draft.path(), before)).transpose()?;
        draft.finish()?;
        Ok(Restored {
            directory: to.to_owned(),
            segments: brought.copied,
            bytes: brought.copied_bytes,
            last_record: part.last_lsn.0,
            incarnation: life.map(|life| format!("{:016x}", life.0)),
        })
    }
}

/// A log that was read through.
struct Read {
    part: DurablePart,
    /// The life that it is in; none of a map or a queue.
    life: Option<Incarnation>,
}

fn read(directory: &Path) -> Result<Read, InspectError> {
    let (recovered, life) = match replay(directory, RecoverMode::ReadOnly) {
        Ok(replayed) => (replayed.recovered, Some(replayed.state.identity.incarnation)),
        Err(RecoverError::Apply(ReplayDefect::Apply(ApplyDefect::IsAStore(_)))) => {
            (recover::<ReplayDefect>(directory, RecoverMode::ReadOnly, &mut |_, _| Ok(()))?, None)
        }
        Err(error) => return Err(error.into()),
    };
    let part = recovered.tail.durable_part();
    Ok(Read { part: part.ok_or_else(|| InspectError::NoLog(directory.to_owned()))?, life })
}

/// Without a closing batch, what is damaged at the end of a log looks as if it had never been written. A backup knows better.
fn check_note(directory: &Path, part: &DurablePart) -> Result<(), BackupError> {
    let path = directory.join(NOTE_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(InspectError::Read { path, source }.into()),
    };
    let note: Note = match serde_json::from_slice(&text) {
        Ok(note) => note,
        Err(error) => return Err(InspectError::Read { path, source: error.into() }.into()),
    };
    if part.first.0 != note.first_segment {
        return Err(BackupError::Headless { path: directory.to_owned(), expected: note.first_segment });
    }
    if part.last_lsn.0 >= note.last_record {
        return Ok(());
    }
    let (expected, found) = (note.last_record, part.last_lsn.0);
    Err(BackupError::Short { path: directory.to_owned(), expected, found })
}

/// What a restore that was killed leaves.
fn is_of_restore(name: &str) -> bool {
    is_of_backup(name) || is_lock(name) || is_spare(name) || is_unfinished(name)
}

/// The node in that directory begins a new life, which its log then says.
pub(super) fn begin_life(directory: &Path, before: Incarnation) -> Result<Incarnation, BackupError> {
    let opened = Directory::open_read_only(directory)?;
    let options = NodeOptions { begins_life: true, ..alone(&opened)? };
    let mut node = open_blocking(options).map_err(Error::from)?;
    // Of a panic there the log tells.
    drop(node.close().map(std::thread::JoinHandle::join));
    if let Some(cause) = node.shared.failure() {
        return Err(Error::Storage { cause }.into());
    }
    // What peers are to notice is on stable storage, and all that was copied can be read.
    let replayed = replay(opened.path(), RecoverMode::ReadOnly).map_err(InspectError::from)?;
    let life = replayed.state.identity.incarnation;
    if life == before { Err(Error::Closed.into()) } else { Ok(life) }
}
