//! What one subscriber was given of one publisher, and whether that is what was published: the rules of a total queue.
//!
//! * lost: acknowledged and never given
//! * unexpected: given and never published
//! * duplicated: in the inbox more than once
//!
//! and besides: nothing overtook anything, a publisher's life leaves a beginning of its numbers without a hole, and an
//! atomic batch is there as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Entry, KEPT_EVERY, Kind};
use super::published::Published;
use super::sequence::{Place, Sequence};

/// See the module.
pub struct Inbox<'a> {
    published: &'a Published,
    handled: Sequence,
    kept: Sequence,
    /// How many were to follow the last message of each life in its atomic batch.
    more: BTreeMap<u32, (u64, u16)>,
    /// The subscriber had been closed with nothing left to handle.
    is_last: bool,
}

/// Where a number stands among those of its kind, and which kind it must be of.
fn place(life: u32, number: u64) -> (Kind, Place) {
    let kept = number / KEPT_EVERY;
    if number.is_multiple_of(KEPT_EVERY) {
        (Kind::Kept, Place { life, rank: kept as usize - 1 })
    } else {
        (Kind::Handled, Place { life, rank: (number - kept) as usize - 1 })
    }
}

impl<'a> Inbox<'a> {
    pub fn new(published: &'a Published) -> Inbox<'a> {
        let (handled, kept) = (Sequence::default(), Sequence::default());
        Inbox { published, handled, kept, more: BTreeMap::new(), is_last: false }
    }

    /// The subscriber begins a life: its last one, if it had been closed with nothing left but what is kept.
    pub fn begin(&mut self, is_last: bool) {
        self.is_last = is_last;
        self.handled.begin();
        self.kept.begin();
    }

    /// A message was given to a handler.
    pub fn take(&mut self, entry: &Entry) -> Result<(), String> {
        let Entry { life, number, lsn, .. } = *entry;
        let claimed = self.published.lives.get(&life).map_or(0, |life| life.claimed);
        let foreign = self.published.log.is_some_and(|log| log != entry.log);
        if entry.kind == Kind::Foreign || number == 0 || number > claimed || foreign {
            return Err(format!("unexpected: {life}/{number} was never published"));
        }
        let (kind, place) = place(life, number);
        if entry.kind != kind {
            return Err(format!("unexpected: {life}/{number} is of the other topic"));
        }
        if kind == Kind::Handled && self.is_last {
            return Err(format!("{life}/{number} comes again after it was marked and the node closed"));
        }
        let sequence = if kind == Kind::Kept { &mut self.kept } else { &mut self.handled };
        sequence.take(place, lsn).map_err(|why| format!("{life}/{number}: {why}"))?;
        if kind == Kind::Kept && self.kept.again > 0 {
            return Err(format!("duplicated: {life}/{number} is twice in the inbox"));
        }
        let newest = self.more.entry(life).or_default();
        *newest = (*newest).max((number, entry.more));
        Ok(())
    }

    /// Nothing more will come: how much of each life came.
    pub fn end(&self) -> Result<BTreeMap<u32, u64>, String> {
        let came = self.handled.lives().chain(self.kept.lives());
        let lives: BTreeSet<u32> = self.published.lives.keys().copied().chain(came).collect();
        lives.into_iter().map(|life| Ok((life, self.end_of(life)?))).collect()
    }

    fn end_of(&self, life: u32) -> Result<u64, String> {
        let (handled, kept) = (self.handled.known(life) as u64, self.kept.known(life) as u64);
        let count = handled + kept;
        let published = self.published.lives.get(&life);
        let acknowledged = published.map_or(0, |life| life.acknowledged);
        if count < acknowledged {
            return Err(format!("lost: of life {life} {acknowledged} were acknowledged, and {count} came"));
        }
        if kept != count / KEPT_EVERY {
            return Err(format!(
                "lost: of life {life} {handled} were handled, and {kept} of the kept are there"
            ));
        }
        if let Some((number, more @ 1..)) = self.more.get(&life) {
            return Err(format!("lost: {more} messages of the atomic batch that {life}/{number} belongs to"));
        }
        for (number, lsn) in published.into_iter().flat_map(|life| &life.receipts) {
            let (kind, place) = place(life, *number);
            let sequence = if kind == Kind::Kept { &self.kept } else { &self.handled };
            if sequence.record(place) != Some(*lsn) {
                let found = sequence.record(place);
                return Err(format!("{life}/{number} is record {lsn} by its receipt, and came as {found:?}"));
            }
        }
        Ok(count)
    }

    /// How often a message was given to a handler again.
    pub fn again(&self) -> u64 {
        self.handled.again
    }
}
