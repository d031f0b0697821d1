//! A damaged log is made fit to go on: it is cut before the first damage, and what lay behind is kept aside.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::backup::BackupError;
use super::error::class_of_recovery;
use super::inspect::{Damage, InspectError, Piece, Salvage, refuse_running};
use super::restore::begin_life;
use super::{Error, ErrorClass};
use crate::engine::state::State;
use crate::ids::Incarnation;
use crate::io::directory::{Directory, DirectoryError};
use crate::io::draft::DraftError;
use crate::io::node::{ReplayDefect, chunk_of, replay};
use crate::io::opening::wait_for_the_dead;
use crate::io::quarantine::Plan;
use crate::io::recover::{RecoverError, RecoverMode, recover};

/// What a repair does to a damaged log, or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The segment in which the log is cut.
    pub segment: u64,
    /// Where in it.
    pub offset: u64,
    /// The first record that is not in the log any more.
    pub first_record: u64,
    /// Messages behind the cut that can still be read: `Salvage` gives them.
    pub readable_messages: u64,
    /// All damage, with the records that are lost.
    pub damage: Vec<Damage>,
    /// Where what lies behind the cut is kept.
    pub kept_in: PathBuf,
}

/// Why a log is not repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// It cannot be looked at, or a process has it open.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// It is damaged where it begins: nothing would be left that says whose it is. Nothing was changed.
    #[error("{} is damaged where its log begins, and nothing would be left of the node: use salvage", .0.display())]
    NothingLeft(PathBuf),
    /// What is wrong with it is nothing that could be cut off. Nothing was changed.
    #[error("this cannot be repaired")]
    Beyond(#[source] RecoverError<ReplayDefect>),
    /// Another repair of the directory went on at the same time. The repair can be taken up again.
    #[error("another repair of {} goes on", .0.display())]
    Overtaken(PathBuf),
    /// A file cannot be changed. The repair can be taken up again.
    #[error(transparent)]
    File(#[from] DirectoryError),
    /// What lies behind the cut cannot be kept. The repair can be taken up again.
    #[error(transparent)]
    Aside(#[from] DraftError),
    /// What is left cannot be opened to begin a new life. The repair can be taken up again.
    #[error(transparent)]
    Life(#[from] BackupError),
}

impl RepairError {
    /// What kind of trouble it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            RepairError::Inspect(error) => error.class(),
            RepairError::NothingLeft(_) => ErrorClass::Corrupt,
            RepairError::Beyond(error) => class_of_recovery(error),
            RepairError::File(DirectoryError::Locked { .. }) | RepairError::Overtaken(_) => ErrorClass::InUse,
            RepairError::File(error) | RepairError::Aside(DraftError::Io(error)) if error.is_disk_full() => {
                ErrorClass::DiskFull
            }
            RepairError::Life(error) => error.class(),
            _ => ErrorClass::Other,
        }
    }
}

/// Where a damaged log is to be cut.
struct Cut {
    plan: Plan,
    /// The first record behind it.
    first_record: u64,
    /// The life that the log is in.
    life: Incarnation,
}

impl Repair {
    /// What a repair of the node in `directory` would do; none if its log is whole, or torn at its end only. Nothing is changed.
    ///
    /// # Errors
    /// See [`RepairError`].
    pub fn of(directory: &Path) -> Result<Option<Repair>, RepairError> {
        refuse_running(directory)?;
        let opened = Directory::open_read_only(directory)?;
        let Some(cut) = find_cut(&opened)? else { return Ok(None) };
        let found = describe(&opened, &cut)?;
        refuse_running(directory)?;
        Ok(Some(found))
    }

    /// Repairs the node in `directory`, which no process has open, and says what was done; none if there was nothing to do.
    ///
    /// The log is cut before its first damage. Everything behind that, damaged or not, is kept as it was found, with a report, in
    /// `quarantine/` within the directory: [`Salvage`] gives the messages that can be read there. What is to become of them
    /// is for the operator to say: they are not delivered by themselves. The log begins a new life, as that of a node that was restored:
    /// numbers behind the cut, which were given before, are given under another name; peers notice, and count what is gone.
    ///
    /// A repair that is killed leaves a directory in which no node is opened until it is taken up again, by the same call. It blocks the
    /// thread, which must not be one that runs async code.
    ///
    /// # Errors
    /// See [`RepairError`].
    pub fn perform(directory: &Path) -> Result<Option<Repair>, RepairError> {
        refuse_running(directory)?;
        let locked = Directory::open(directory)?;
        wait_for_the_dead(&locked)?;
        let Some(cut) = find_cut(&locked)? else { return Ok(None) };
        let plan = cut.plan;
        let found = describe(&locked, &cut)?;
        plan.write(&locked)?;
        // Invariant: paths that are not UTF-8 are written as far as they are, and all else is text and numbers.
        let report = serde_json::to_vec_pretty(&found).unwrap_or_default();
        plan.set_aside(&locked, &report)?;
        plan.cut(&locked)?;
        let path = locked.path().to_owned();
        // The node takes the lock itself. Nobody else opens one, as long as the plan is there.
        drop(locked);
        let life = begin_life(&path, cut.life)?;
        let locked = Directory::open(&path)?;
        // Another repair may have had the lock in between, and have cut what this one began.
        if life_of(&locked)? != Some(life) {
            return Err(RepairError::Overtaken(path));
        }
        Plan::remove(&locked)?;
        Ok(Some(found))
    }
}

/// The life that a log is in, if it can be read.
fn life_of(directory: &Directory) -> Result<Option<Incarnation>, RepairError> {
    match replay(directory.path(), RecoverMode::ReadOnly) {
        Ok(replayed) => Ok(Some(replayed.state.identity.incarnation)),
        Err(error @ RecoverError::Io { .. }) => Err(InspectError::from(error).into()),
        Err(_) => Ok(None),
    }
}

/// Where the log is damaged first, or where it was said before that it is to be cut.
fn find_cut(directory: &Directory) -> Result<Option<Cut>, RepairError> {
    let (mut state, mut applied) = (State::default(), Vec::new());
    let recovered = recover(directory.path(), RecoverMode::ReadOnly, &mut |place, view| {
        applied.clear();
        state.apply_batch(place, &chunk_of(view)?, &mut applied)?;
        Ok::<(), ReplayDefect>(())
    });
    let pending = Plan::pending(directory)?;
    let plan = match (recovered, pending) {
        (Ok(_) | Err(RecoverError::Corrupt { .. }), Some(plan)) => plan,
        (Ok(_), None) => return Ok(None),
        (Err(RecoverError::Corrupt { corrupt, .. }), None) => {
            Plan::next(directory, corrupt.segment, corrupt.offset)?
        }
        (Err(error @ RecoverError::Io { .. }), _) => return Err(InspectError::from(error).into()),
        (Err(error), _) => return Err(RepairError::Beyond(error)),
    };
    if !state.has_begun() {
        return Err(RepairError::NothingLeft(directory.path().to_owned()));
    }
    let (first_record, life) = (state.index.end().0, state.identity.incarnation);
    Ok(Some(Cut { plan, first_record, life }))
}

/// All that is wrong with the log, and what could still be read of what is cut off.
fn describe(directory: &Directory, cut: &Cut) -> Result<Repair, RepairError> {
    let Cut { plan, first_record, .. } = cut;
    let kept_in = plan.kept_in(directory);
    if let Some(report) = plan.report(directory)? {
        let path = kept_in.join("report.json");
        let odd = |error: serde_json::Error| InspectError::Read { path, source: error.into() };
        return Ok(serde_json::from_slice(&report).map_err(odd)?);
    }
    let (mut readable_messages, mut damage) = (0, Vec::new());
    for piece in Salvage::of(directory.path())? {
        match piece? {
            Piece::Message(message) => readable_messages += u64::from(message.record >= *first_record),
            Piece::Damage(found) => damage.push(found),
        }
    }
    let Plan { segment, offset, .. } = *plan;
    Ok(Repair { segment: segment.0, offset, first_record: *first_record, readable_messages, damage, kept_in })
}

impl From<Error> for RepairError {
    fn from(error: Error) -> RepairError {
        BackupError::from(error).into()
    }
}
