//! Requests that are answered with an error or done in part: the k-th of those that count, once or for ever.
//!
//! * A request that is answered with an error changes nothing, but for a write that fails for good: of that the first half is
//!   there. A flush that is answered with an error makes nothing durable.
//! * A write that is done in part is answered with the number of bytes that were written. Only writes count for it, and for half
//!   of one only those of more than one block.
//! * For ever is for ever, but for EINTR and for single bytes: whoever calls through the standard library goes on as long as these
//!   are the answers, so after [`INTERRUPTIONS`] it is EIO.

use std::fmt;
use std::str::FromStr;

use fuser::Errno;
use resolute::limits::BLOCK_BYTES;

use super::kind::{Asked, Kind};

/// After so many answers of that kind comes another. Far more than the node bears in a row.
const INTERRUPTIONS: u64 = 1_000;

/// What comes instead of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instead {
    Eio,
    Enospc,
    Eintr,
    Eagain,
    /// Half of a write is done, if it has more than one block: at least one of them is whole.
    Half,
    /// One byte of a write is done.
    Byte,
}

impl Instead {
    pub const ALL: [(Instead, &str); 6] = [
        (Instead::Eio, "EIO"),
        (Instead::Enospc, "ENOSPC"),
        (Instead::Eintr, "EINTR"),
        (Instead::Eagain, "EAGAIN"),
        (Instead::Half, "half"),
        (Instead::Byte, "byte"),
    ];

    /// Whether a request may be answered so: it writes so many bytes, or none.
    pub fn counts(self, bytes: usize) -> bool {
        match self {
            Instead::Half => bytes > BLOCK_BYTES,
            Instead::Byte => bytes > 0,
            _ => true,
        }
    }
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(known, _)| known == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

/// What is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// It begins with the how manieth request of this kind, counted from 1.
    pub number: u64,
    pub kind: Kind,
    pub instead: Instead,
    /// Whether all that follow get the same, of whatever kind.
    pub is_for_ever: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = if self.is_for_ever { "ever" } else { "once" };
        write!(f, "{} {} {} {times}", self.number, self.kind, self.instead)
    }
}

impl FromStr for Trouble {
    type Err = ();

    /// Reads what [`fmt::Display`] wrote.
    fn from_str(text: &str) -> Result<Trouble, ()> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [number, kind, instead, times] = words[..] else { return Err(()) };
        let (instead, _) = Instead::ALL.into_iter().find(|(_, name)| *name == instead).ok_or(())?;
        let is_for_ever = ["once", "ever"].iter().position(|known| *known == times).ok_or(())? == 1;
        Ok(Trouble { number: number.parse().map_err(drop)?, kind: kind.parse()?, instead, is_for_ever })
    }
}

/// What is to become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    Done,
    Refused(Errno),
    /// Of a write: so many bytes are done.
    Short(usize),
}

/// The trouble that is armed, and what was met of it.
#[derive(Default)]
pub struct Troubles {
    armed: Option<Trouble>,
    /// What was asked since, in its order, and how many bytes.
    trace: Vec<(Kind, usize)>,
    /// How many requests of the kind that counts there were.
    counted: u64,
    /// How many requests got something else than they asked for, the file that the first of them was about, and their kinds.
    met: u64,
    file: String,
    kinds: Vec<Kind>,
}

impl Troubles {
    pub fn arm(&mut self, trouble: Trouble) {
        *self = Troubles { armed: Some(trouble), ..Troubles::default() };
    }

    /// All is well again. What was met stays known.
    pub fn disarm(&mut self) {
        self.armed = None;
    }

    /// Whether requests count.
    pub fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    /// What is to become of a request about `file`, a write of `bytes` if it is one.
    pub fn meet(&mut self, asked: Asked, file: String, bytes: usize) -> Meeting {
        let Some(trouble) = self.armed else { return Meeting::Done };
        let kind = Kind::of(asked, &file);
        self.trace.push((kind, bytes));
        if !trouble.instead.counts(bytes) {
            return Meeting::Done;
        }
        let is_on = self.counted >= trouble.number;
        self.counted += u64::from(kind == trouble.kind);
        let is_first = !is_on && self.counted == trouble.number;
        let is_met = is_first || is_on && trouble.is_for_ever;
        if !is_met {
            return Meeting::Done;
        }
        self.met += 1;
        if is_first {
            self.file = file;
        }
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
        self.instead(trouble.instead, bytes)
    }

    fn instead(&self, instead: Instead, bytes: usize) -> Meeting {
        match instead {
            Instead::Eintr | Instead::Byte if self.met > INTERRUPTIONS => Meeting::Refused(Errno::EIO),
            Instead::Eio => Meeting::Refused(Errno::EIO),
            Instead::Enospc => Meeting::Refused(Errno::ENOSPC),
            Instead::Eintr => Meeting::Refused(Errno::EINTR),
            Instead::Eagain => Meeting::Refused(Errno::EAGAIN),
            Instead::Half => Meeting::Short(bytes / 2),
            Instead::Byte => Meeting::Short(bytes.min(1)),
        }
    }

    /// All that was asked, as words: two for each request.
    pub fn trace(&self) -> String {
        self.trace.iter().map(|(kind, bytes)| format!("{kind} {bytes} ")).collect()
    }
}

impl fmt::Display for Troubles {
    /// How many were met, the file of the first, and all their kinds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.met, self.file)?;
        self.kinds.iter().try_for_each(|kind| write!(f, " {kind}"))
    }
}
