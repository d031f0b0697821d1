//! The files of a log on a disk, changed sector by sector, under a hash that is kept along: the same bytes in the same
//! places are the same image, however they came there.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use resolute::ids::SegmentNumber;

use super::super::disk::{Files, SECTOR};

pub type Sector = [u8; SECTOR];

const ZEROS: Sector = [0; SECTOR];

/// Which sector of which segment.
pub type Place = (SegmentNumber, usize);

#[derive(Clone)]
pub struct Medium {
    files: Files,
    hash: u64,
}

fn hash_of(fact: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    fact.hash(&mut hasher);
    hasher.finish()
}

/// Most of a file is zeros, and they count for nothing.
fn sector_hash(place: Place, bytes: &[u8]) -> u64 {
    if bytes == ZEROS { 0 } else { hash_of((place, bytes)) }
}

impl Medium {
    pub fn new(files: Files) -> Medium {
        let mut hash = 0;
        for (number, file) in &files {
            hash ^= hash_of((number, file.len()));
            for (sector, bytes) in file.chunks(SECTOR).enumerate() {
                hash ^= sector_hash((*number, sector), bytes);
            }
        }
        Medium { files, hash }
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn sector(&self, (segment, sector): Place) -> &[u8] {
        &self.files[&segment][sector * SECTOR..][..SECTOR]
    }

    /// Writes one sector, and gives back what it held.
    pub fn put(&mut self, place: Place, new: &Sector) -> Sector {
        let file = Arc::make_mut(self.files.get_mut(&place.0).unwrap());
        let there = &mut file[place.1 * SECTOR..][..SECTOR];
        // Invariant: a slice of just that length.
        let old: Sector = (&*there).try_into().unwrap();
        if old != *new {
            there.copy_from_slice(new);
            self.hash ^= sector_hash(place, &old) ^ sector_hash(place, new);
        }
        old
    }
}
