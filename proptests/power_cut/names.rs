//! The names in one directory: those that would be there after a power cut, and those that are seen before.

use std::collections::BTreeMap;

use super::rng::Rng;
use super::tally::Tally;

/// One change, which happens whole or not at all: a rename takes a name and gives another.
#[derive(Clone)]
pub struct Change {
    pub takes: Option<(String, u64)>,
    pub gives: Option<(String, u64)>,
}

/// The names in one directory, and the files that they name.
#[derive(Clone, Default)]
pub struct Names {
    durable: BTreeMap<String, u64>,
    seen: BTreeMap<String, u64>,
    /// What was done since the last flush, in its order.
    unsynced: Vec<Change>,
}

impl Names {
    pub fn get(&self, name: &str) -> Option<u64> {
        self.seen.get(name).copied()
    }

    pub fn all(&self) -> &BTreeMap<String, u64> {
        &self.seen
    }

    /// The files have other numbers.
    pub fn renumber(&mut self, renumbered: impl Fn(u64) -> u64) {
        let changed = self.unsynced.iter_mut().flat_map(|change| [&mut change.takes, &mut change.gives]);
        let changed = changed.flatten().map(|(_, number)| number);
        for number in self.durable.values_mut().chain(self.seen.values_mut()).chain(changed) {
            *number = renumbered(*number);
        }
    }

    pub fn change(&mut self, change: Change) {
        apply(&mut self.seen, &change);
        self.unsynced.push(change);
    }

    /// Whether the next flush takes such a name away for good.
    pub fn will_lose(&self, is: impl Fn(&str) -> bool) -> bool {
        self.unsynced.iter().filter_map(|change| change.takes.as_ref()).any(|(name, _)| is(name))
    }

    /// Makes durable what was done so far.
    pub fn flush(&mut self) {
        for change in self.unsynced.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    /// The power is gone: of the changes that were not flushed, `keep` of a hundred happened, whichever they are.
    pub fn cut(&mut self, keep: u64, rng: &mut Rng, tally: &mut Tally) {
        for change in std::mem::take(&mut self.unsynced) {
            let kept = rng.chance(keep);
            tally.add(if kept { "names kept" } else { "names dropped" }, 1);
            if kept {
                apply(&mut self.durable, &change);
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

fn apply(names: &mut BTreeMap<String, u64>, change: &Change) {
    if let Some((name, file)) = &change.takes
        // The change that gave it that name may not have happened.
        && names.get(name) == Some(file)
    {
        names.remove(name);
    }
    if let Some((name, file)) = &change.gives {
        names.insert(name.clone(), *file);
    }
}
