//! What one file holds: what would be there after a power cut, and what those see who read it before.

use super::rng::Rng;
use super::tally::Tally;

/// A disk writes this much or none of it.
const SECTOR_BYTES: usize = 512;

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
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

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        place(&mut self.seen, offset, bytes);
        self.unsynced.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub fn resize(&mut self, bytes: usize) {
        self.seen.resize(bytes, 0);
        self.unsynced.push(Change::Resize(bytes));
    }

    /// Makes durable what was done so far.
    pub fn flush(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write { offset, bytes } => place(&mut self.durable, offset, &bytes),
                Change::Resize(bytes) => self.durable.resize(bytes, 0),
            }
        }
    }

    /// The power is gone: of each sector of each write that was not flushed, `keep` of a hundred are there.
    pub fn cut(&mut self, keep: u64, rng: &mut Rng, tally: &mut Tally) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write { offset, bytes } => self.tear(offset, &bytes, keep, rng, tally),
                Change::Resize(bytes) if rng.chance(keep) => self.durable.resize(bytes, 0),
                Change::Resize(_) => {}
            }
        }
        self.seen.clone_from(&self.durable);
    }

    fn tear(&mut self, offset: usize, bytes: &[u8], keep: u64, rng: &mut Rng, tally: &mut Tally) {
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
    }
}

fn place(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}
