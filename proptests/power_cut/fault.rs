//! What is to go wrong, and when.

use std::fmt;
use std::str::FromStr;

/// A kind of request that changes something or makes it durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Write,
    Flush,
    ChangeNames,
    FlushNames,
}

impl Kind {
    const ALL: [(Kind, &str, &str); 4] = [
        (Kind::Write, "write", "cuts in a write"),
        (Kind::Flush, "flush", "cuts in a flush"),
        (Kind::ChangeNames, "change-names", "cuts in a change of names"),
        (Kind::FlushNames, "flush-names", "cuts in a flush of names"),
    ];

    /// What a cut in one is counted as.
    pub fn counted_as(self) -> &'static str {
        // Invariant: the table has every kind.
        Self::ALL.iter().find(|(kind, ..)| *kind == self).expect("every kind is in the table").2
    }
}

/// What happens at the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The power is cut in the middle of it. Of what was not flushed, so many of a hundred sectors and changes of names stay.
    Cut { keep: u64, seed: u64 },
    /// It is answered with EIO, once, and nothing is flushed by it.
    Refuse,
}

/// One thing that is to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which requests one is meant; `None` for all of them.
    pub kind: Option<Kind>,
    /// The how manieth of them from now, counted from 1.
    pub number: u64,
    pub effect: Effect,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.and_then(|kind| Kind::ALL.iter().find(|(known, ..)| *known == kind));
        write!(f, "{} {} ", kind.map_or("any", |(_, word, _)| word), self.number)?;
        match self.effect {
            Effect::Cut { keep, seed } => write!(f, "cut {keep} {seed}"),
            Effect::Refuse => write!(f, "refuse"),
        }
    }
}

impl FromStr for Fault {
    type Err = ();

    /// Reads what [`fmt::Display`] wrote.
    fn from_str(text: &str) -> Result<Fault, ()> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [kind, number, effect @ ..] = &words[..] else { return Err(()) };
        let kind = Kind::ALL.iter().find(|(_, word, _)| word == kind).map(|(kind, ..)| *kind);
        let effect = match effect {
            ["refuse"] => Effect::Refuse,
            ["cut", keep, seed] => {
                Effect::Cut { keep: keep.parse().map_err(drop)?, seed: seed.parse().map_err(drop)? }
            }
            _ => return Err(()),
        };
        Ok(Fault { kind, number: number.parse().map_err(drop)?, effect })
    }
}
