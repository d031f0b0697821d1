//! One trial: what is done, and what goes wrong meanwhile.

use std::fmt;
use std::str::FromStr;

use super::scenario::Scenario;
use super::trouble::Trouble;

/// One trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub scenario: Scenario,
    pub trouble: Trouble,
    /// Whether the power is cut after it, and nothing stays but what was flushed.
    pub is_cut: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = if self.is_cut { "cut" } else { "kept" };
        write!(f, "{} {} {after}", self.scenario.name(), self.trouble)
    }
}

impl FromStr for Case {
    type Err = ();

    /// Reads what [`fmt::Display`] wrote.
    fn from_str(text: &str) -> Result<Case, ()> {
        let (scenario, rest) = text.trim().split_once(' ').ok_or(())?;
        let (trouble, after) = rest.rsplit_once(' ').ok_or(())?;
        let scenario = Scenario::ALL.into_iter().find(|known| known.name() == scenario).ok_or(())?;
        let is_cut = ["kept", "cut"].iter().position(|known| *known == after).ok_or(())? == 1;
        Ok(Case { scenario, trouble: trouble.parse()?, is_cut })
    }
}
