//! What stands in a queue that an import was putting items into, and how many of them an interrupted one had put there.

use std::collections::HashSet;

use super::stores::Named;
use crate::cli::import::ledger::{Key, Ledger};
use crate::format::checksum::checksum_more;

/// The items of a queue, as they stand.
#[derive(Debug, Default)]
pub struct Standing {
    values: Vec<String>,
    checksum: u32,
}

impl Standing {
    /// One more stands behind them.
    pub fn push(&mut self, value: &str) {
        self.checksum = more(self.checksum, value);
        self.values.push(value.to_owned());
    }

    /// How many they are, and which: a section of the ledger begins with what stood there before it.
    pub fn mark(&self) -> u64 {
        let count = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        u64::from(count) << 32 | u64::from(self.checksum)
    }

    /// What came behind those that a mark speaks of, if they all still stand where they stood.
    fn behind(&self, mark: u64) -> Option<&[String]> {
        let count = (mark >> 32) as usize;
        let (before, behind) = self.values.split_at_checked(count)?;
        let checksum = before.iter().fold(0, |so_far, value| more(so_far, value));
        (checksum == mark as u32).then_some(behind)
    }

    /// The most items of `begun`, from its first on, that stand at the back.
    fn most_at_back(&self, begun: &[&str]) -> usize {
        let most = begun.len().min(self.values.len());
        let at_back = |count: &usize| {
            let back = &self.values[self.values.len() - count..];
            back.iter().eq(begun[..*count].iter())
        };
        (0..=most).rev().find(at_back).unwrap_or(0)
    }
}

fn more(so_far: u32, value: &str) -> u32 {
    checksum_more(checksum_more(so_far, value.as_bytes()), b"\n")
}

/// What became of the items that an interrupted import had begun to put there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// They are there, or were: those that come first, for they come in their order and are taken from the front.
    pub there: Vec<Key>,
    /// Nobody knows of these: they are put there, and may come twice. What is not known to be there is never left out.
    pub doubtful: HashSet<Key>,
}

impl Found {
    pub fn of(ledger: &Ledger, items: &[Named<'_>], standing: &Standing) -> Found {
        let Some(mark) = ledger.open().last().map(|(_, mark)| *mark) else { return Found::default() };
        // What was begun last; a section that was begun before it was looked at when this one began.
        let last: HashSet<Key> =
            ledger.open().iter().filter(|(_, other)| *other == mark).map(|(key, _)| *key).collect();
        let begun: Vec<&Named<'_>> = items.iter().filter(|(key, _)| last.contains(key)).collect();
        let values: Vec<&str> = begun.iter().map(|(_, item)| item.value).collect();
        let most = standing.most_at_back(&values);
        let came = standing.behind(mark).filter(|came| {
            came.len() <= values.len() && came.iter().zip(&values).all(|(came, value)| came == value)
        });
        let (count, is_sure) = match came {
            // If none came, or more of them stand there by their looks, somebody may have taken some from the front.
            Some(came) => (came.len(), !came.is_empty() && most == came.len()),
            // Somebody did: only what looks like no other item proves anything.
            None if most > 0 && is_one_of_its_kind(items, values[0]) => (most, true),
            None => (0, false),
        };
        let there = begun[..count].iter().map(|(key, _)| *key).collect();
        let doubtful = ledger.open().iter().map(|(key, _)| *key).filter(|_| !is_sure).collect();
        Found { there, doubtful }
    }
}

fn is_one_of_its_kind(items: &[Named<'_>], value: &str) -> bool {
    items.iter().filter(|(_, item)| item.value == value).nth(1).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::legacy::Item;

    fn named<'a>(values: &[&'a str]) -> Vec<Named<'a>> {
        let key = |nth: usize| Key::of(&[&nth.to_le_bytes()]);
        values.iter().enumerate().map(|(nth, value)| (key(nth), Item { value, offset: 0 })).collect()
    }

    fn standing(values: &[&str]) -> Standing {
        let mut standing = Standing::default();
        values.iter().for_each(|value| standing.push(value));
        standing
    }

    /// Of `items` the first `done` were put there, then `begun` were begun, and then `now` is found: how many are there, and of how
    /// many nobody knows.
    fn found(items: &[&str], (done, begun): (usize, usize), now: &[&str]) -> (usize, usize) {
        let (dir, items) = (tempfile::tempdir().unwrap(), named(items));
        let mut ledger = Ledger::read(dir.path()).unwrap();
        let keys: Vec<Key> = items.iter().map(|(key, _)| *key).collect();
        if done > 0 {
            ledger.begin(0, &keys[..done]).unwrap();
            ledger.end(&keys[..done]).unwrap();
        }
        let before: Vec<&str> = items[..done].iter().map(|(_, item)| item.value).collect();
        ledger.begin(standing(&before).mark(), &keys[done..done + begun]).unwrap();
        let found = Found::of(&Ledger::read(dir.path()).unwrap(), &items, &standing(now));
        assert!(keys[done..].starts_with(&found.there));
        (found.there.len(), found.doubtful.len())
    }

    #[test]
    fn what_had_come_is_there_whatever_it_looks_like() {
        assert_eq!(found(&["a", "b", "c", "d"], (2, 2), &["a", "b", "c"]), (1, 0));
        assert_eq!(found(&["a", "b", "c", "d"], (2, 2), &["a", "b", "c", "d"]), (2, 0));
        assert_eq!(found(&["a", "b"], (0, 2), &["a"]), (1, 0));
        // It had not come, or was taken: what came before it is no proof of it.
        assert_eq!(found(&["x", "x", "x", "x"], (2, 2), &["x", "x"]), (0, 2));
        assert_eq!(found(&["x", "y", "x", "y"], (2, 2), &["x", "y"]), (0, 2));
        assert_eq!(found(&["a", "b"], (0, 2), &[]), (0, 2));
        // Of those that look alike some may have been taken from the front.
        assert_eq!(found(&["x", "x", "x", "x"], (2, 2), &["x", "x", "x"]), (1, 2));
        assert_eq!(found(&["x", "x", "x", "x"], (2, 2), &["x", "x", "x", "x"]), (2, 0));
    }

    #[test]
    fn what_was_taken_from_the_front_meanwhile_leaves_a_proof_or_a_doubt() {
        assert_eq!(found(&["a", "b", "c", "d"], (2, 2), &["b", "c", "d"]), (2, 0));
        assert_eq!(found(&["a", "b", "c", "d"], (2, 2), &["d"]), (0, 2));
        assert_eq!(found(&["x", "x", "x", "x"], (2, 2), &["x"]), (0, 2));
        assert_eq!(found(&["a", "b", "c", "d"], (2, 2), &["c"]), (1, 0));
    }

    #[test]
    fn where_nothing_was_begun_there_is_nothing_to_find() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::read(dir.path()).unwrap();
        assert_eq!(Found::of(&ledger, &named(&["a"]), &standing(&["a"])), Found::default());
    }
}
