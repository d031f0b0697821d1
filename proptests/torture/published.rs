//! What one publisher says of its lives: what it may have published, and what was acknowledged to it.

use std::collections::BTreeMap;

use super::entry::{Entry, Kind};

/// One life of a publisher.
#[derive(Default)]
pub struct Life {
    /// Higher numbers were never published.
    pub claimed: u64,
    /// Numbers up to this one are on its disk.
    pub acknowledged: u64,
    /// Some numbers, and the records that their receipts named.
    pub receipts: Vec<(u64, u64)>,
}

/// All lives of a publisher.
#[derive(Default)]
pub struct Published {
    pub lives: BTreeMap<u32, Life>,
    /// What the ids of its messages have in common.
    pub log: Option<u64>,
}

impl Published {
    /// Takes the next entry of its journals.
    pub fn note(&mut self, entry: &Entry) -> Result<(), String> {
        let Entry { life, number, lsn, .. } = *entry;
        let of = self.lives.entry(life).or_default();
        if entry.kind == Kind::Claimed {
            of.claimed = of.claimed.max(number);
            return Ok(());
        }
        if number <= of.acknowledged || number > of.claimed {
            return Err(format!("{life}/{number} was acknowledged out of its turn"));
        }
        if *self.log.get_or_insert(entry.log) != entry.log {
            return Err(format!("{life}/{number} has an id of another log"));
        }
        of.acknowledged = number;
        of.receipts.push((number, lsn));
        Ok(())
    }

    /// How many messages were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.lives.values().map(|life| life.acknowledged).sum()
    }
}
