//! The messages of one publisher that one subscriber was given, of one kind: in which order, and how often.

use std::collections::BTreeMap;

/// Where a message stands among all of its publisher: the life of that one, and how many of its kind came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub life: u32,
    pub rank: usize,
}

/// What was given so far.
#[derive(Default)]
pub struct Sequence {
    /// The record of each message, by the publisher's life and the rank in it.
    records: BTreeMap<u32, Vec<u64>>,
    /// The last one given in this life of the subscriber.
    last: Option<Place>,
    /// The first one given in the last life that was given any: all before it was marked as handled by then.
    floor: Option<Place>,
    /// How often a message was given again.
    pub again: u64,
}

impl Sequence {
    /// The subscriber begins a new life.
    pub fn begin(&mut self) {
        self.last = None;
    }

    /// How many messages of one life of the publisher are known.
    pub fn known(&self, life: u32) -> usize {
        self.records.get(&life).map_or(0, Vec::len)
    }

    /// The lives of the publisher that anything came of.
    pub fn lives(&self) -> impl Iterator<Item = u32> {
        self.records.keys().copied()
    }

    /// The record of a message.
    pub fn record(&self, place: Place) -> Option<u64> {
        self.records.get(&place.life)?.get(place.rank).copied()
    }

    /// The next message is given.
    pub fn take(&mut self, place: Place, lsn: u64) -> Result<(), String> {
        match self.last {
            Some(last) => self.must_follow(last, place)?,
            None if self.floor.is_some_and(|floor| place < floor) => {
                return Err(format!(
                    "{place:?} comes again, and an earlier life had begun behind it, at {:?}",
                    self.floor
                ));
            }
            None => self.floor = Some(place),
        }
        self.last = Some(place);
        match self.record(place) {
            Some(known) if known == lsn => self.again += 1,
            Some(known) => return Err(format!("{place:?} is twice in the inbox: as {known} and as {lsn}")),
            None => self.append(place, lsn)?,
        }
        Ok(())
    }

    /// In one life of the subscriber nothing is left out and nothing comes again.
    fn must_follow(&self, last: Place, place: Place) -> Result<(), String> {
        let in_turn = if last.life == place.life {
            place.rank == last.rank + 1
        } else {
            let is_end = last.rank + 1 == self.known(last.life);
            let next = self.records.range(last.life + 1..).next().map(|(life, _)| *life);
            is_end && place.life > last.life && place.rank == 0 && next.is_none_or(|next| place.life <= next)
        };
        if in_turn { Ok(()) } else { Err(format!("{place:?} was given after {last:?}")) }
    }

    /// A message that was never given before is the next one of its publisher.
    fn append(&mut self, place: Place, lsn: u64) -> Result<(), String> {
        let highest = self.records.last_key_value();
        let newest = highest.and_then(|(life, records)| Some((*life, records.len(), *records.last()?)));
        let (in_turn, last_lsn) = match newest {
            None => (place.rank == 0, 0),
            Some((life, known, lsn)) if life == place.life => (place.rank == known, lsn),
            Some((life, _, lsn)) => (place.life > life && place.rank == 0, lsn),
        };
        if !in_turn {
            return Err(format!("{place:?} was given for the first time, and the newest was {newest:?}"));
        }
        if lsn <= last_lsn {
            return Err(format!("{place:?} is record {lsn}, and came after record {last_lsn}"));
        }
        self.records.entry(place.life).or_default().push(lsn);
        Ok(())
    }
}
