//! What publishers look up without a lock: where the messages of one topic go.
//!
//! The table is in pieces, and after a change only those pieces are copied whose topics changed: a subscription costs
//! the same however many topics others want.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::routing::Route;
use crate::ids::SetId;

/// Pieces of a table: to share one costs a nanosecond or two, and to copy one as many as it has topics.
const PIECES: usize = 256;

/// A route that is filled in when the first message needs it. It is only ever written under the lock of staging.
#[derive(Debug)]
struct Cell(AtomicU64);

impl Cell {
    fn unknown() -> Cell {
        Cell(AtomicU64::new(0))
    }

    // Relaxed is enough: whoever finds a route takes the lock and there sees whether the table is still the newest,
    // and a newer table is published after what was written into it.
    #[inline]
    fn get(&self) -> Option<Route> {
        let bits = self.0.load(Ordering::Relaxed);
        (bits != 0).then_some(Route { set: SetId((bits >> 32) as u32), routed: bits as u32 })
    }

    fn set(&self, route: Route) {
        self.0.store(u64::from(route.set.0) << 32 | u64::from(route.routed), Ordering::Relaxed);
    }
}

impl Clone for Cell {
    fn clone(&self) -> Cell {
        Cell(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

type Piece = HashMap<Arc<[u8]>, Cell, foldhash::fast::RandomState>;

/// The table. Topics that are not in it are such as nobody wants.
#[derive(Debug, Default)]
pub struct RouteTable {
    generation: u64,
    hasher: foldhash::fast::RandomState,
    /// None before the first table: then nothing is known.
    pieces: Box<[Arc<Piece>]>,
}

impl RouteTable {
    /// A table of these topics, whose routes are not known yet.
    pub fn of<'t>(generation: u64, topics: impl Iterator<Item = &'t str>) -> RouteTable {
        let hasher = foldhash::fast::RandomState::default();
        let mut pieces: Vec<Piece> =
            std::iter::repeat_with(|| HashMap::with_hasher(hasher.clone())).take(PIECES).collect();
        for topic in topics {
            pieces[place(&hasher, topic.as_bytes())].insert(topic.as_bytes().into(), Cell::unknown());
        }
        RouteTable { generation, hasher, pieces: pieces.into_iter().map(Arc::new).collect() }
    }

    /// Which change of the routing it is as of.
    #[must_use]
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it says anything at all.
    #[must_use]
    #[inline]
    pub fn is_complete(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Where a message of that topic goes, unless it has to be asked under the lock.
    #[must_use]
    #[inline]
    pub fn look_up(&self, topic: &[u8]) -> Option<Route> {
        match self.piece(topic)?.get(topic) {
            None => Some(Route::default()),
            Some(cell) => cell.get(),
        }
    }

    /// The route of a topic became known. To be called with the lock of staging held.
    pub fn fill(&self, topic: &[u8], route: Route) {
        if let Some(cell) = self.piece(topic).and_then(|piece| piece.get(topic)) {
            cell.set(route);
        }
    }

    /// No route counts any more. To be called with the lock of staging held, and before a newer table follows.
    pub fn empty_routes(&self) {
        self.pieces.iter().flat_map(|piece| piece.values()).for_each(|cell| cell.set(Route::default()));
    }

    /// The table that follows this one: of these topics it is said whether somebody wants them, the others are as they
    /// were.
    pub fn followed<'t>(&self, generation: u64, topics: impl Iterator<Item = (&'t str, bool)>) -> RouteTable {
        assert!(self.is_complete(), "what is not known does not change");
        let mut pieces = self.pieces.clone();
        for (topic, wanted) in topics {
            let piece = Arc::make_mut(&mut pieces[place(&self.hasher, topic.as_bytes())]);
            if wanted {
                piece.insert(topic.as_bytes().into(), Cell::unknown());
            } else {
                piece.remove(topic.as_bytes());
            }
        }
        RouteTable { generation, hasher: self.hasher.clone(), pieces }
    }

    /// How many pieces are not those of the table before.
    #[cfg(test)]
    pub(super) fn copied_since(&self, before: &RouteTable) -> usize {
        self.pieces.iter().zip(&before.pieces).filter(|(now, before)| !Arc::ptr_eq(now, before)).count()
    }

    #[inline]
    fn piece(&self, topic: &[u8]) -> Option<&Piece> {
        self.pieces.get(place(&self.hasher, topic)).map(|piece| &**piece)
    }
}

/// The piece of a topic. A map takes the lowest and the highest bits of the same hash, so these are from the middle.
#[inline]
fn place(hasher: &foldhash::fast::RandomState, topic: &[u8]) -> usize {
    (hasher.hash_one(topic) >> 32) as usize % PIECES
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: Route = Route { set: SetId(7), routed: 3 };

    fn names() -> Vec<String> {
        (0..2_000).map(|number| format!("topic.{number}")).collect()
    }

    #[test]
    fn a_route_is_asked_for_until_it_is_known_and_what_nobody_wants_goes_nowhere() {
        let table = RouteTable::of(1, ["wanted"].into_iter());
        assert_eq!((table.look_up(b"wanted"), table.look_up(b"unwanted")), (None, Some(Route::default())));
        table.fill(b"wanted", ROUTE);
        table.fill(b"unwanted", ROUTE);
        assert_eq!(
            (table.look_up(b"wanted"), table.look_up(b"unwanted")),
            (Some(ROUTE), Some(Route::default()))
        );
        table.empty_routes();
        assert_eq!(table.look_up(b"wanted"), None);
        assert_eq!(RouteTable::default().look_up(b"wanted"), None, "nothing is known before the first table");
    }

    #[test]
    fn a_change_leaves_the_routes_of_other_topics_and_their_pieces_as_they_are() {
        let names = names();
        let before = RouteTable::of(1, names.iter().map(String::as_str));
        names.iter().for_each(|name| before.fill(name.as_bytes(), ROUTE));
        let changes = [(names[5].as_str(), true), (names[6].as_str(), false), ("new", true)];
        let after = before.followed(2, changes.into_iter());
        assert_eq!((before.generation(), after.generation()), (1, 2));
        assert_eq!((after.look_up(names[5].as_bytes()), after.look_up(b"new")), (None, None));
        assert_eq!(after.look_up(names[6].as_bytes()), Some(Route::default()));
        assert!(names[7..].iter().all(|name| after.look_up(name.as_bytes()) == Some(ROUTE)));
        assert!(names.iter().all(|name| before.look_up(name.as_bytes()) == Some(ROUTE)));
        assert!((1..=changes.len()).contains(&after.copied_since(&before)));
    }

    #[test]
    fn topics_spread_over_all_pieces() {
        let table = RouteTable::of(1, names().iter().map(String::as_str));
        assert!(table.pieces.iter().all(|piece| piece.len() < 40), "{:?}", table.pieces.len());
    }
}
