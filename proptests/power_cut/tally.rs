//! How often each kind of thing happened.

use std::collections::BTreeMap;
use std::fmt;

/// What must happen in a whole run. If one of these never did, the run has shown less than it claims.
const MUST_HAPPEN: [&str; 30] = [
    "cuts in a write",
    "cuts in a flush",
    "cuts in a change of names",
    "cuts in a flush of names",
    "cuts behind a freed segment",
    "cuts between requests",
    "cuts while opening",
    "cuts of the publisher alone",
    "cuts of the subscriber alone",
    "cuts of both",
    "flushes of the log refused",
    "other flushes refused",
    "writes of the log at once",
    "large writes of the log without a few sectors",
    "large writes of the log of which a few sectors stay",
    "writes kept whole",
    "writes lost whole",
    "sectors kept",
    "sectors dropped",
    "writes torn",
    "names kept",
    "names dropped",
    "segments begun",
    "segments recycled",
    "torn tails found",
    "publishers that heard of it",
    "snapshots checked",
    "messages owed after a cut",
    "messages acknowledged",
    "messages handled",
];

/// Counts by name.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub fn add(&mut self, name: &str, count: u64) {
        if count > 0 {
            *self.0.entry(name.to_owned()).or_default() += count;
        }
    }

    pub fn merge(&mut self, other: &Tally) {
        other.0.iter().for_each(|(name, count)| self.add(name, *count));
    }

    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// What should have happened and did not.
    pub fn missing(&self) -> Vec<&'static str> {
        MUST_HAPPEN.into_iter().filter(|name| self.count(name) == 0).collect()
    }

    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Tally> {
        let entry = |entry: &str| {
            let (name, count) = entry.split_once(": ")?;
            Some((name.to_owned(), count.parse().ok()?))
        };
        text.split(", ").filter(|text| !text.is_empty()).map(entry).collect::<Option<_>>().map(Tally)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, count)) in self.0.iter().enumerate() {
            write!(f, "{}{name}: {count}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
