//! Why a data directory cannot be inspected.

use std::io;
use std::path::PathBuf;

use crate::bus::ErrorClass;
use crate::bus::control::ControlError;
use crate::bus::error::class_of_recovery;
use crate::format::batch::FORMAT_VERSION;
use crate::io::directory::DirectoryError;
use crate::io::node::ReplayDefect;
use crate::io::recover::RecoverError;
use crate::io::salvage::SalvageIo;
use crate::log::chunk::ChunkDefect;
use crate::log::salvage::NewerFormat;

/// Why a data directory cannot be inspected. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// There is no such directory.
    #[error("there is no directory {}", .0.display())]
    NoDirectory(PathBuf),
    /// There is no log in it.
    #[error("nothing was ever opened in {}", .0.display())]
    NoLog(PathBuf),
    /// A node has it open, and changes it all the time.
    #[error("the one in {} is open{}: close it first", path.display(), pid.map_or_else(String::new, |pid| format!(" in process {pid}")))]
    Running {
        /// The data directory.
        path: PathBuf,
        /// The process, if it said so.
        pid: Option<u32>,
    },
    /// Nobody has it open, so that nothing passes through it.
    #[error("no process has the node in {} open: nothing passes through it", .0.display())]
    NotRunning(PathBuf),
    /// A process has it open, and cannot be asked.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The directory cannot be looked at.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The log cannot be read back.
    #[error(transparent)]
    Log(#[from] RecoverError<ReplayDefect>),
    /// What is left of a damaged log cannot be read.
    #[error(transparent)]
    Salvage(#[from] SalvageIo),
    /// A later version of this program wrote to the log.
    #[error("{0}; this program reads up to {FORMAT_VERSION}")]
    NewerFormat(#[from] NewerFormat),
    /// A segment cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What stood in a segment a moment ago is no longer there.
    #[error("{} changed at offset {offset} while it was read: was the node opened meanwhile?", path.display())]
    Changed {
        /// Its file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        source: ChunkDefect,
    },
}

impl InspectError {
    /// What kind of trouble it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            InspectError::NoDirectory(_) | InspectError::NoLog(_) => ErrorClass::NotFound,
            InspectError::Running { .. } => ErrorClass::InUse,
            InspectError::Control(ControlError::Unreachable { .. }) => ErrorClass::InUse,
            InspectError::Log(error) => class_of_recovery(error),
            _ => ErrorClass::Other,
        }
    }
}
