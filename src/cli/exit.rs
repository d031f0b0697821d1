//! How the tool ends.

use std::process::ExitCode;

use super::output;
pub(super) use crate::bus::chain;
use crate::bus::inspect::InspectError;
use crate::bus::{Error, ErrorClass};

/// The exit codes. They are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Failure = 1,
    Usage = 2,
    NotFound = 3,
    Locked = 4,
    Corrupt = 5,
    Unreachable = 6,
    DiskFull = 7,
    TornTail = 8,
}

/// The exit codes, for the help texts.
pub const CODES: &str = "\
Exit codes:
  0  done
  1  failed, for a reason that has no code of its own
  2  the arguments, or the messages, cannot be
  3  there is no such data directory, or nothing was ever opened in it; no such key or item
  4  the data directory is in use by another process
  5  the log is damaged
  6  the other side did not answer in time: what is owed stays on the disk
  7  the disk is full
  8  the end of the log did not arrive whole (verify alone says so): the next opening cuts it off";

/// Why the tool ends with another code than 0, in one line.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    pub fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { exit, text: text.into() }
    }

    /// A failure of the system, and what was being done.
    pub fn io(doing: &str, error: &std::io::Error) -> Failure {
        let full =
            matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        Failure::new(if full { Exit::DiskFull } else { Exit::Failure }, format!("cannot {doing}: {error}"))
    }

    /// A log is damaged in so many places.
    pub fn damaged(places: u64) -> Failure {
        let text = match places {
            1 => "the log is damaged in one place".to_owned(),
            _ => format!("the log is damaged in {places} places"),
        };
        Failure::new(Exit::Corrupt, text)
    }

    /// The same failure, with what led to it before its text.
    #[must_use]
    pub fn while_doing(self, doing: &str) -> Failure {
        Failure { text: format!("{doing}: {}", self.text), ..self }
    }

    /// Says it on standard error, and gives the code.
    pub fn report(&self) -> ExitCode {
        output::say(&self.text);
        ExitCode::from(self.exit as u8)
    }
}

impl From<ErrorClass> for Exit {
    fn from(class: ErrorClass) -> Exit {
        match class {
            ErrorClass::Invalid => Exit::Usage,
            ErrorClass::NotFound => Exit::NotFound,
            ErrorClass::InUse => Exit::Locked,
            ErrorClass::Corrupt => Exit::Corrupt,
            ErrorClass::DiskFull => Exit::DiskFull,
            _ => Exit::Failure,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(error.class().into(), chain(&error))
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Failure {
        Failure::new(error.class().into(), chain(&error))
    }
}
