//! What one file holds: what would be there after a power cut, and what those see who read it before.

use std::collections::VecDeque;

use resolute::format::batch::BatchHeader;

use super::loss::{Loss, Unit};
use super::rng::Rng;
use super::tally::Tally;

/// A disk writes this much or none of it.
const SECTOR_BYTES: usize = 512;

/// A write of the log of so many sectors is a large one, and this part of them (one in so many) is a few.
const LARGE_SECTORS: u64 = 256;
const FEW_SECTORS: u64 = 32;

#[derive(Clone)]
enum Change {
    /// `is_own`: it will be flushed by a request of its own, and begins here.
    Write {
        offset: usize,
        bytes: Vec<u8>,
        is_own: bool,
    },
    Resize(usize),
}

/// One file.
#[derive(Clone, Default)]
pub struct Image {
    durable: Vec<u8>,
    seen: Vec<u8>,
    /// What was done since the last flush, in its order.
    unsynced: VecDeque<Change>,
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

    /// `is_own`: it was made with O_DSYNC, so a flush of its own follows.
    pub fn write(&mut self, offset: usize, bytes: &[u8], is_own: bool) {
        place(&mut self.seen, offset, bytes);
        // The kernel may give a large write in parts; a batch of the log tells where it begins.
        let is_own = is_own && BatchHeader::parse(bytes).is_ok();
        if is_own {
            self.disown(offset);
            self.settle_again(offset, bytes);
        }
        self.unsynced.push_back(Change::Write { offset, bytes: bytes.to_vec(), is_own });
    }

    /// A write is made again whose flush was refused: no flush of the first one is on its way any more.
    fn disown(&mut self, again: usize) {
        for change in &mut self.unsynced {
            match change {
                Change::Write { offset, is_own, .. } if *offset == again => *is_own = false,
                Change::Write { .. } | Change::Resize(_) => {}
            }
        }
    }

    /// A write is made again that is durable: its own flush was refused, so the one that was taken for it was that of another,
    /// the oldest that still waits for one.
    fn settle_again(&mut self, offset: usize, bytes: &[u8]) {
        let is_durable = self.durable.get(offset..offset + bytes.len()) == Some(bytes);
        if is_durable && self.unsynced.iter().any(begins_own) {
            self.flush_own();
        }
    }

    pub fn resize(&mut self, bytes: usize) {
        self.seen.resize(bytes, 0);
        self.unsynced.push_back(Change::Resize(bytes));
    }

    /// Makes durable what was done so far.
    pub fn flush(&mut self) {
        self.flush_first(self.unsynced.len());
    }

    /// The flush that follows a write with O_DSYNC: it makes durable the oldest such write and what was done before it, and not
    /// those on whose own flushes others still wait. Which of them asked is not known, but they are promised one by one, the
    /// oldest first. Says whether any is left.
    pub fn flush_own(&mut self) -> bool {
        let mut own = (0..).zip(&self.unsynced).filter(|(_, change)| begins_own(change));
        let next = own.nth(1).map(|(at, _)| at);
        self.flush_first(next.unwrap_or(self.unsynced.len()));
        next.is_some()
    }

    fn flush_first(&mut self, count: usize) {
        for change in self.unsynced.drain(..count) {
            match change {
                Change::Write { offset, bytes, .. } => place(&mut self.durable, offset, &bytes),
                Change::Resize(bytes) => self.durable.resize(bytes, 0),
            }
        }
    }

    /// The power is gone, and of what was not flushed no more is there than the loss leaves.
    pub fn cut(&mut self, loss: Loss, is_log: bool, rng: &mut Rng, tally: &mut Tally) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let newest = unsynced.iter().rposition(begins_own).unwrap_or(unsynced.len().saturating_sub(1));
        if loss.unit == Unit::Newest && is_log && newest > 0 {
            tally.add("writes of the log that overtook lost ones", 1);
        }
        for (at, change) in unsynced.into_iter().enumerate() {
            let is_kept = match loss.unit {
                Unit::Newest => at >= newest,
                Unit::Writes | Unit::Sectors => rng.chance(loss.keep),
            };
            match change {
                Change::Write { offset, bytes, .. } if loss.unit == Unit::Sectors => {
                    self.tear(offset, &bytes, loss.keep, rng, tally, is_log);
                }
                Change::Write { offset, bytes, .. } if is_kept => {
                    place(&mut self.durable, offset, &bytes);
                    tally.add("writes kept whole", 1);
                }
                Change::Write { .. } => tally.add("writes lost whole", 1),
                Change::Resize(bytes) if is_kept => self.durable.resize(bytes, 0),
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
        let is_large = is_log && (bytes.len() / SECTOR_BYTES) as u64 >= LARGE_SECTORS;
        // A large one that lacks a little, or of which a little is there, is what recovery sees through the least easily.
        let keep =
            if is_large && 0 < keep && keep < 100 { [1, 99, keep][rng.below(3) as usize] } else { keep };
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
        if is_large {
            tally.add("large writes of the log torn by sectors", 1);
            tally.add("large writes of the log without a few sectors", u64::from(is_few(dropped)));
            tally.add("large writes of the log of which a few sectors stay", u64::from(is_few(kept)));
        }
    }
}

/// Whether a write begins there that is flushed by itself.
fn begins_own(change: &Change) -> bool {
    matches!(change, Change::Write { is_own: true, .. })
}

fn place(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}
