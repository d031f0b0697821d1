//! What one file holds: what would be there after a power cut, and what those see who read it before.

use super::loss::{Loss, Unit};
use super::rng::Rng;
use super::tally::Tally;

/// A disk writes this much or none of it.
const SECTOR_BYTES: usize = 512;

/// A write of the log of so many sectors is a large one, and this part of them (one in so many) is a few.
const LARGE_SECTORS: u64 = 256;
const FEW_SECTORS: u64 = 32;

/// A write with O_DSYNC: it is durable by itself, and not before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own(pub u64);

enum Change {
    Write { offset: usize, bytes: Vec<u8>, own: Option<Own> },
    Resize(usize),
}

/// One file.
#[derive(Default)]
pub struct Image {
    durable: Vec<u8>,
    seen: Vec<u8>,
    /// What was done since the last flush, in its order.
    unsynced: Vec<Change>,
}

impl Image {
    pub fn bytes(&self) -> usize {
        self.seen.len()
    }

    /// Whether all of it is durable.
    pub fn is_flushed(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// Up to `bytes` at `offset`: fewer at the end of the file.
    pub fn read(&self, offset: usize, bytes: usize) -> &[u8] {
        let from = offset.min(self.seen.len());
        &self.seen[from..(offset + bytes).min(self.seen.len()).max(from)]
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8], own: Option<Own>) {
        place(&mut self.seen, offset, bytes);
        self.unsynced.push(Change::Write { offset, bytes: bytes.to_vec(), own });
    }

    pub fn resize(&mut self, bytes: usize) {
        self.seen.resize(bytes, 0);
        self.unsynced.push(Change::Resize(bytes));
    }

    /// Makes durable what was done so far, and not what is on its way.
    pub fn flush(&mut self) {
        self.flush_those(|change| own_of(change).is_none());
    }

    /// A write with O_DSYNC is durable now. Says whether another one is on its way.
    pub fn flush_own(&mut self, own: Own) -> bool {
        self.flush_those(|change| own_of(change) == Some(own));
        self.unsynced.iter().any(|change| own_of(change).is_some())
    }

    fn flush_those(&mut self, is_flushed: impl Fn(&Change) -> bool) {
        for change in self.unsynced.extract_if(.., |change| is_flushed(change)) {
            match change {
                Change::Write { offset, bytes, .. } => place(&mut self.durable, offset, &bytes),
                Change::Resize(bytes) => self.durable.resize(bytes, 0),
            }
        }
    }

    /// The power is gone, and of what was not flushed no more is there than the loss leaves.
    pub fn cut(&mut self, loss: Loss, is_log: bool, rng: &mut Rng, tally: &mut Tally) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write { offset, bytes, .. } if loss.unit == Unit::Sectors => {
                    self.tear(offset, &bytes, loss.keep, rng, tally, is_log);
                }
                Change::Write { offset, bytes, .. } if rng.chance(loss.keep) => {
                    place(&mut self.durable, offset, &bytes);
                    tally.add("writes kept whole", 1);
                }
                Change::Write { .. } => tally.add("writes lost whole", 1),
                Change::Resize(bytes) if rng.chance(loss.keep) => self.durable.resize(bytes, 0),
                Change::Resize(_) => {}
            }
        }
        self.seen.clone_from(&self.durable);
    }

    /// Of each sector by itself it is decided whether it is there.
    fn tear(
        &mut self,
        offset: usize,
        bytes: &[u8],
        keep: u64,
        rng: &mut Rng,
        tally: &mut Tally,
        is_log: bool,
    ) {
        let (mut kept, mut dropped, mut at) = (0, 0, 0);
        while at < bytes.len() {
            let end = (SECTOR_BYTES - (offset + at) % SECTOR_BYTES + at).min(bytes.len());
            if rng.chance(keep) {
                place(&mut self.durable, offset + at, &bytes[at..end]);
                kept += 1;
            } else {
                dropped += 1;
            }
            at = end;
        }
        tally.add("sectors kept", kept);
        tally.add("sectors dropped", dropped);
        tally.add("writes torn", u64::from(kept > 0 && dropped > 0));
        let sectors = kept + dropped;
        let is_few = |part: u64| part > 0 && part <= sectors / FEW_SECTORS;
        if is_log && sectors >= LARGE_SECTORS {
            tally.add("large writes of the log without a few sectors", u64::from(is_few(dropped)));
            tally.add("large writes of the log of which a few sectors stay", u64::from(is_few(kept)));
        }
    }
}

fn own_of(change: &Change) -> Option<Own> {
    match change {
        Change::Write { own, .. } => *own,
        Change::Resize(_) => None,
    }
}

fn place(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}
