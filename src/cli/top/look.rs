//! One look at a node, and what two of them say together.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::bus::inspect::{InspectError, View};
use crate::bus::{Status, Stopwatch};

/// A node as it was at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// What it said of itself.
    pub status: Status,
    /// When, as a number of nanoseconds that only grows.
    pub at: u64,
    /// When, by the wall clock.
    pub wall: SystemTime,
}

impl Look {
    /// Looks at the node of a directory, which a process must have open.
    pub fn take(directory: &Path) -> Result<Look, InspectError> {
        let view = View::open(directory)?;
        if view.snapshot().is_some() {
            return Err(InspectError::NotRunning(directory.to_owned()));
        }
        Ok(Look { status: view.status()?, at: Stopwatch::start().reading(), wall: Stopwatch::wall() })
    }
}

/// Two looks, or one only: then nothing is known of what goes on between them.
#[derive(Clone, Copy, Debug)]
pub struct Looks<'a> {
    /// The last.
    pub now: &'a Look,
    /// The one before it, of the same opening of the node.
    before: Option<&'a Look>,
}

impl<'a> Looks<'a> {
    pub fn new(before: Option<&'a Look>, now: &'a Look) -> Looks<'a> {
        // What is counted begins at 0 with each opening.
        let is_same = |before: &&Look| {
            (&before.status.node, before.status.epoch) == (&now.status.node, now.status.epoch)
                && before.at < now.at
        };
        Looks { now, before: before.filter(is_same) }
    }

    /// By how much a sum grew; `None` if that is not known.
    pub fn growth(&self, sum: impl Fn(&Status) -> u64) -> Option<u64> {
        self.before.map(|before| sum(&self.now.status).saturating_sub(sum(&before.status)))
    }

    /// How fast a sum grows, for each second.
    pub fn rate(&self, sum: impl Fn(&Status) -> u64) -> Option<f64> {
        let between = Duration::from_nanos(self.now.at - self.before?.at);
        Some(self.growth(sum)? as f64 / between.as_secs_f64())
    }

    /// What came to one batch of those that were written between the looks; `None` if none was.
    pub fn per_batch(&self, sum: impl Fn(&Status) -> u64) -> Option<f64> {
        let batches = self.growth(|status| status.commits.batches).filter(|batches| *batches > 0)?;
        Some(self.growth(sum)? as f64 / batches as f64)
    }

    /// How long ago something was, by the last look; nothing is younger than 0.
    pub fn age(&self, at: SystemTime) -> Duration {
        self.now.wall.duration_since(at).unwrap_or_default()
    }
}
