//! How much of what was not flushed is there after the power was cut.

use std::fmt;
use std::str::FromStr;

/// What is kept as a whole or lost as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Each sector by itself.
    Sectors,
    /// Each write.
    Writes,
    /// Of each file the newest write is there, and none of those before it.
    Newest,
}

impl Unit {
    const ALL: [(Unit, &str); 3] =
        [(Unit::Sectors, "sectors"), (Unit::Writes, "writes"), (Unit::Newest, "newest")];
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub unit: Unit,
    /// So many of a hundred sectors or writes stay, and so many changes of names.
    pub keep: u64,
    /// Which those are.
    pub seed: u64,
}

impl Loss {
    /// Nothing stays.
    pub const ALL: Loss = Loss { unit: Unit::Sectors, keep: 0, seed: 1 };
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Invariant: the table has every unit.
        let (_, word) = Unit::ALL.iter().find(|(unit, _)| *unit == self.unit).expect("the table is whole");
        write!(f, "{word} {} {}", self.keep, self.seed)
    }
}

impl FromStr for Loss {
    type Err = ();

    /// Reads what [`fmt::Display`] wrote.
    fn from_str(text: &str) -> Result<Loss, ()> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [unit, keep, seed] = words[..] else { return Err(()) };
        let (unit, _) = Unit::ALL.into_iter().find(|(_, word)| *word == unit).ok_or(())?;
        Ok(Loss { unit, keep: keep.parse().map_err(drop)?, seed: seed.parse().map_err(drop)? })
    }
}
