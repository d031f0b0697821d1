//! What is asked of the disk, and what for.

use std::fmt;
use std::str::FromStr;

use resolute::format::segment::segment_number;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// For a name, a length, a list, free space.
    Look,
    Open,
    Read,
    Write,
    Flush,
    /// To give or take a name, or to cut a file.
    Change,
    FlushNames,
}

/// What it is for, as far as that is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    LogWrite,
    LogFlush,
    LogRead,
    /// Opening a segment, or looking at it.
    LogOther,
    /// Zeros of a segment to come, and their flush.
    Prewrite,
    Look,
    Open,
    Change,
    FlushNames,
    Other,
}

impl Kind {
    const ALL: [(Kind, &str); 10] = [
        (Kind::LogWrite, "log-write"),
        (Kind::LogFlush, "log-flush"),
        (Kind::LogRead, "log-read"),
        (Kind::LogOther, "log-other"),
        (Kind::Prewrite, "prewrite"),
        (Kind::Look, "look"),
        (Kind::Open, "open"),
        (Kind::Change, "change"),
        (Kind::FlushNames, "flush-names"),
        (Kind::Other, "other"),
    ];

    /// What a request is for that is about `file`.
    pub fn of(asked: Asked, file: &str) -> Kind {
        let name = file.rsplit('/').next().unwrap_or_default();
        let is_segment = segment_number(name).is_some();
        match asked {
            Asked::Change => Kind::Change,
            Asked::FlushNames => Kind::FlushNames,
            Asked::Write if is_segment => Kind::LogWrite,
            Asked::Flush if is_segment => Kind::LogFlush,
            Asked::Read if is_segment => Kind::LogRead,
            _ if is_segment => Kind::LogOther,
            Asked::Write | Asked::Flush if name.starts_with("preparing-") => Kind::Prewrite,
            Asked::Look => Kind::Look,
            Asked::Open => Kind::Open,
            Asked::Read | Asked::Write | Asked::Flush => Kind::Other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(known, _)| known == self).map_or("", |(_, word)| word))
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Kind, ()> {
        Self::ALL.into_iter().find(|(_, word)| *word == text).map(|(kind, _)| kind).ok_or(())
    }
}
