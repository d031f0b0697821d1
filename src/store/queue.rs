//! Items in an order.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::contents::{Contents, EntryDefect, record_bytes};
use super::map::Kept;
use crate::format::entry::{Entry, Place, StoreKind};
use crate::ids::Lsn;

/// What a queue holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueContents {
    items: BTreeMap<Place, Kept>,
    live_bytes: u64,
}

/// Where the first item stands.
const FIRST: Place = Place(1 << 127);

/// How far the places of items lie apart that come one behind the other: between two there is room for many more.
const APART: u128 = 1 << 64;

/// Beside the item: which entry it is, and its place.
const BESIDE: usize = 17;

impl QueueContents {
    /// The first item.
    #[must_use]
    pub fn first(&self) -> Option<(Place, &Kept)> {
        self.items.first_key_value().map(|(place, kept)| (*place, kept))
    }

    /// The item at a place.
    #[must_use]
    pub fn get(&self, place: Place) -> Option<&Kept> {
        self.items.get(&place)
    }

    /// The first item behind a place, or the first of all.
    #[must_use]
    pub fn next(&self, after: Option<Place>) -> Option<(Place, &Kept)> {
        match after {
            None => self.first(),
            Some(Place(u128::MAX)) => None,
            Some(Place(after)) => {
                self.items.range(Place(after + 1)..).next().map(|(place, kept)| (*place, kept))
            }
        }
    }

    /// The place of the item before which there are so many.
    #[must_use]
    pub fn nth(&self, index: usize) -> Option<Place> {
        self.items.keys().nth(index).copied()
    }

    /// Items in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Items of a range of places.
    #[must_use]
    pub fn count(&self, places: RangeInclusive<Place>) -> usize {
        self.items.range(places).count()
    }

    /// A place behind all items.
    #[must_use]
    pub fn place_behind(&self) -> Option<Place> {
        self.items.last_key_value().map_or(Some(FIRST), |(last, _)| last.0.checked_add(APART).map(Place))
    }

    /// A place before which there are just so many items, or all of them; none if there is no room between its neighbours.
    #[must_use]
    pub fn place_at(&self, index: usize) -> Option<Place> {
        let Some(next) = self.nth(index) else { return self.place_behind() };
        let before = index.checked_sub(1).and_then(|before| self.nth(before));
        let Some(before) = before else { return next.0.checked_sub(APART).map(Place) };
        let half = (next.0 - before.0) / 2;
        (half > 0).then(|| Place(before.0 + half))
    }

    fn put(&mut self, lsn: Lsn, place: Place, value: &[u8]) {
        self.live_bytes += record_bytes(BESIDE + value.len());
        if let Some(before) = self.items.insert(place, Kept { lsn, value: value.into() }) {
            self.live_bytes -= record_bytes(BESIDE + before.value.len());
        }
    }

    fn take(&mut self, first: Place, last: Place) {
        while let Some((place, _)) = self.items.range(first..=last).next() {
            let place = *place;
            if let Some(taken) = self.items.remove(&place) {
                self.live_bytes -= record_bytes(BESIDE + taken.value.len());
            }
        }
    }
}

impl Contents for QueueContents {
    const KIND: StoreKind = StoreKind::Queue;

    fn apply(&mut self, lsn: Lsn, entry: &Entry<'_>) -> Result<(), EntryDefect> {
        match *entry {
            Entry::Item { place, value } => self.put(lsn, place, value),
            Entry::Taken { first, last } => self.take(first, last),
            _ => return Err(EntryDefect::Misplaced(lsn)),
        }
        Ok(())
    }

    fn is_live(&self, lsn: Lsn, entry: &Entry<'_>) -> bool {
        matches!(entry, Entry::Item { place, .. } if self.items.get(place).is_some_and(|kept| kept.lsn == lsn))
    }

    fn live_bytes(&self) -> u64 {
        self.live_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(queue: &mut QueueContents, lsn: u64, place: Place, value: &str) {
        queue.apply(Lsn(lsn), &Entry::Item { place, value: value.as_bytes() }).unwrap();
    }

    fn values(queue: &QueueContents) -> Vec<String> {
        queue.items.values().map(|kept| String::from_utf8(kept.value.to_vec()).unwrap()).collect()
    }

    /// Items `0` to `9`.
    fn ten() -> QueueContents {
        let mut queue = QueueContents::default();
        for number in 0..10 {
            let place = queue.place_behind().unwrap();
            put(&mut queue, number + 1, place, &number.to_string());
        }
        queue
    }

    #[test]
    fn items_stand_in_the_order_in_which_they_came_but_for_those_that_were_let_in() {
        let mut queue = ten();
        for (index, value) in [(0, "first"), (3, "between"), (12, "last"), (99, "beyond")] {
            let place = queue.place_at(index).unwrap();
            put(&mut queue, 20, place, value);
        }
        let expected =
            ["first", "0", "1", "between", "2", "3", "4", "5", "6", "7", "8", "9", "last", "beyond"];
        assert_eq!(values(&queue), expected);
        assert_eq!(
            queue.nth(3).and_then(|place| queue.get(place)).map(|kept| &*kept.value),
            Some(&b"between"[..])
        );
    }

    #[test]
    fn a_range_is_taken_with_both_its_ends() {
        let mut queue = ten();
        let (first, last) = (queue.nth(2).unwrap(), queue.nth(4).unwrap());
        assert_eq!(queue.count(first..=last), 3);
        queue.apply(Lsn(20), &Entry::Taken { first, last }).unwrap();
        assert_eq!(values(&queue), ["0", "1", "5", "6", "7", "8", "9"]);
        queue.apply(Lsn(21), &Entry::Taken { first: Place(0), last: Place(u128::MAX) }).unwrap();
        assert!(queue.is_empty() && queue.live_bytes() == 0 && queue.first().is_none());
        queue.apply(Lsn(22), &Entry::Taken { first, last }).unwrap();
    }

    #[test]
    fn between_two_items_there_is_room_for_many_and_then_for_none() {
        let mut queue = ten();
        let mut inserted = 0;
        while let Some(place) = queue.place_at(1) {
            put(&mut queue, 20, place, "x");
            inserted += 1;
        }
        assert_eq!(inserted, 64);
        assert!(queue.place_at(0).is_some() && queue.place_behind().is_some());
    }

    #[test]
    fn an_item_that_was_carried_forward_lives_by_its_new_record() {
        let mut queue = ten();
        let place = queue.nth(0).unwrap();
        let bytes = queue.live_bytes();
        put(&mut queue, 50, place, "0");
        let entry = Entry::Item { place, value: b"0" };
        assert!(queue.is_live(Lsn(50), &entry) && !queue.is_live(Lsn(1), &entry));
        assert_eq!((queue.live_bytes(), queue.len()), (bytes, 10));
    }
}
