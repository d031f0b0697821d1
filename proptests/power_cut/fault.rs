//! What is to go wrong, and when.

use std::fmt;
use std::str::FromStr;

use super::loss::Loss;

/// A kind of request that changes something or makes it durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Write,
    Flush,
    ChangeNames,
    FlushNames,
    /// The flush of names after which a segment is gone for good. It is done before the power goes.
    Free,
}

impl Kind {
    const ALL: [(Kind, &str, &str); 5] = [
        (Kind::Write, "write", "cuts in a write"),
        (Kind::Flush, "flush", "cuts in a flush"),
        (Kind::ChangeNames, "change-names", "cuts in a change of names"),
        (Kind::FlushNames, "flush-names", "cuts in a flush of names"),
        (Kind::Free, "free", "cuts behind a freed segment"),
    ];

    /// How it is called, and what a cut in one is counted as.
    fn told(self) -> (&'static str, &'static str) {
        // Invariant: the table has every kind.
        let (_, word, counted) =
            Self::ALL.iter().find(|(kind, ..)| *kind == self).expect("the table is whole");
        (word, counted)
    }

    /// What a cut in one is counted as.
    pub fn counted_as(self) -> &'static str {
        self.told().1
    }
}

/// How all kinds are called.
const ANY: &str = "any";

/// What happens at the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The power is cut in the middle of it.
    Cut(Loss),
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
        write!(f, "{} {} ", self.kind.map_or(ANY, |kind| kind.told().0), self.number)?;
        match self.effect {
            Effect::Cut(loss) => write!(f, "cut {loss}"),
            Effect::Refuse => write!(f, "refuse"),
        }
    }
}

impl FromStr for Fault {
    type Err = ();

    /// Reads what [`fmt::Display`] wrote.
    fn from_str(text: &str) -> Result<Fault, ()> {
        let mut words = text.trim().splitn(4, ' ');
        let mut word = || words.next().ok_or(());
        let kind = match word()? {
            ANY => None,
            kind => Some(Kind::ALL.into_iter().find(|(_, word, _)| *word == kind).ok_or(())?.0),
        };
        let number = word()?.parse().map_err(drop)?;
        let effect = match word()? {
            "refuse" => Effect::Refuse,
            "cut" => Effect::Cut(word()?.parse()?),
            _ => return Err(()),
        };
        Ok(Fault { kind, number, effect })
    }
}
