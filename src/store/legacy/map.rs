//! What a `.shulz` file holds.

use std::collections::BTreeMap;

use super::damage::Damage;
use super::operations::{Kind, Operation, Operations, Step};

/// A key with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a str,
    /// Its value, JSON.
    pub value: &'a str,
    /// Where it was set last.
    pub offset: usize,
}

/// A map as its file says. Where something was passed over, a key may have the value that it had before, or be there although it
/// was cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map<'a> {
    /// Its entries, in the order in which their keys were first set.
    pub entries: Vec<Entry<'a>>,
    /// What makes no sense.
    pub damage: Vec<Damage>,
}

impl<'a> Map<'a> {
    /// Reads a file.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Map<'a> {
        let (mut entries, mut places) = (Vec::new(), BTreeMap::new());
        let mut damage = Vec::new();
        for step in Operations::of(bytes, Kind::Map) {
            match step {
                Step::Operation(offset, Operation::Put { key, value }) => {
                    let entry = Entry { key, value, offset };
                    let place = *places.entry(key).or_insert(entries.len());
                    match entries.get_mut(place) {
                        Some(there) => *there = Some(entry),
                        None => entries.push(Some(entry)),
                    }
                }
                Step::Operation(_, Operation::Take { key }) => {
                    if let Some(gone) = places.remove(key).and_then(|place| entries.get_mut(place)) {
                        *gone = None;
                    }
                }
                Step::Damage(passed_over) => damage.push(passed_over),
            }
        }
        Map { entries: entries.into_iter().flatten().collect(), damage }
    }
}
