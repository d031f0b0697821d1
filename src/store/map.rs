//! Keys with their values, in the order of the keys' bytes.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::contents::{Contents, EntryDefect, record_bytes};
use crate::format::entry::{Entry, StoreKind};
use crate::ids::Lsn;

/// A value, and the record that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The record.
    pub lsn: Lsn,
    /// The value.
    pub value: Box<[u8]>,
}

/// What a map holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapContents {
    entries: BTreeMap<Box<[u8]>, Kept>,
    live_bytes: u64,
}

/// Bytes of an entry beside key and value: which entry it is, and the length of the key.
pub const BESIDE: usize = 5;

fn bytes_of(key: &[u8], value: &[u8]) -> u64 {
    record_bytes(BESIDE + key.len() + value.len())
}

impl MapContents {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Kept> {
        self.entries.get(key)
    }

    /// The first key behind another, or the first of all, with its value.
    #[must_use]
    pub fn next(&self, after: Option<&[u8]>) -> Option<(&[u8], &Kept)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.entries.range::<[u8], _>((from, Bound::Unbounded)).next();
        next.map(|(key, kept)| (&**key, kept))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn set(&mut self, lsn: Lsn, key: &[u8], value: &[u8]) {
        self.live_bytes += bytes_of(key, value);
        let kept = Kept { lsn, value: value.into() };
        match self.entries.get_mut(key) {
            Some(before) => {
                self.live_bytes -= bytes_of(key, &before.value);
                *before = kept;
            }
            None => drop(self.entries.insert(key.into(), kept)),
        }
    }
}

impl Contents for MapContents {
    const KIND: StoreKind = StoreKind::Map;

    fn apply(&mut self, lsn: Lsn, entry: &Entry<'_>) -> Result<(), EntryDefect> {
        match *entry {
            Entry::Set { key, value } => self.set(lsn, key, value),
            Entry::Cleared(key) => {
                if let Some(before) = self.entries.remove(key) {
                    self.live_bytes -= bytes_of(key, &before.value);
                }
            }
            Entry::ClearedAll => *self = MapContents::default(),
            _ => return Err(EntryDefect::Misplaced(lsn)),
        }
        Ok(())
    }

    fn is_live(&self, lsn: Lsn, entry: &Entry<'_>) -> bool {
        matches!(entry, Entry::Set { key, .. } if self.entries.get(*key).is_some_and(|kept| kept.lsn == lsn))
    }

    fn live_bytes(&self) -> u64 {
        self.live_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(map: &mut MapContents, lsn: u64, key: &str, value: &str) {
        map.apply(Lsn(lsn), &Entry::Set { key: key.as_bytes(), value: value.as_bytes() }).unwrap();
    }

    #[test]
    fn the_last_value_of_a_key_is_the_one_it_has() {
        let mut map = MapContents::default();
        set(&mut map, 1, "a", "one");
        set(&mut map, 2, "a", "three");
        assert_eq!(&*map.get(b"a").unwrap().value, b"three");
        let entry = Entry::Set { key: b"a", value: b"three" };
        assert!(map.is_live(Lsn(2), &entry) && !map.is_live(Lsn(1), &entry));
        assert_eq!(map.live_bytes(), 24 + 5 + 1 + 5);
        map.apply(Lsn(3), &Entry::Cleared(b"a")).unwrap();
        assert!(map.is_empty() && map.live_bytes() == 0 && !map.is_live(Lsn(2), &entry));
        map.apply(Lsn(4), &Entry::Cleared(b"a")).unwrap();
    }

    #[test]
    fn keys_come_in_the_order_of_their_bytes() {
        let mut map = MapContents::default();
        ["b", "", "a", "ab"].iter().zip(1..).for_each(|(key, lsn)| set(&mut map, lsn, key, "x"));
        let (mut keys, mut last) = (Vec::new(), None);
        while let Some((key, _)) = map.next(last.as_deref()) {
            keys.push(key.to_vec());
            last = Some(key.to_vec());
        }
        assert_eq!(keys, [&b""[..], b"a", b"ab", b"b"]);
        map.apply(Lsn(9), &Entry::ClearedAll).unwrap();
        assert_eq!((map.len(), map.live_bytes()), (0, 0));
    }

    #[test]
    fn items_have_no_place_in_it() {
        let item = Entry::Item { place: crate::format::entry::Place(1), value: b"" };
        assert_eq!(MapContents::default().apply(Lsn(7), &item), Err(EntryDefect::Misplaced(Lsn(7))));
    }
}
