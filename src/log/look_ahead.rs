//! What lies behind the place where the batches stop, seen block by block.

use super::due::Due;
use super::sighting::Sighting;
use crate::format::batch::BatchHeader;
use crate::ids::Lsn;
use crate::limits::{BATCH_BYTES_MAX, BLOCK_BYTES, WRITES_IN_FLIGHT_MAX};

/// Every write in flight lies within this much behind the last batch: they follow each other without a gap, and a
/// batch is submitted only while no more than [`WRITES_IN_FLIGHT_MAX`] are not known durable, itself included.
pub const IN_FLIGHT_BYTES_MAX: u64 = (WRITES_IN_FLIGHT_MAX * BATCH_BYTES_MAX) as u64;

const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// What was seen from one offset of a segment on.
///
/// A header under a good checksum is evidence even where its batch is not whole: this node wrote it, and what it
/// says of the batches before it was true then.
#[derive(Clone, Copy, Debug)]
pub struct LookAhead {
    begin: u64,
    at: u64,
    later: Option<BatchHeader>,
    later_end: u64,
    confirmed: bool,
    stale: bool,
    remains: bool,
    newer: Option<(u64, u16)>,
}

impl LookAhead {
    /// Nothing was seen yet of what begins at `begin`, a multiple of the block.
    #[must_use]
    pub fn from(begin: u64) -> LookAhead {
        LookAhead {
            begin,
            at: begin,
            later: None,
            later_end: begin,
            confirmed: false,
            stale: false,
            remains: false,
            newer: None,
        }
    }

    /// The offset from which bytes are to be shown next.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The header of the first later batch.
    #[must_use]
    pub fn later(&self) -> Option<&BatchHeader> {
        self.later.as_ref()
    }

    /// The LSN from which there are good records again.
    #[must_use]
    pub fn later_lsn(&self) -> Option<Lsn> {
        self.later.map(|header| header.first_lsn())
    }

    /// Whether a later batch proves that the one that is due was durable: its header says so, or it lies too far
    /// behind for both to have been in flight.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Where, and of which version, the first newer header was seen.
    #[must_use]
    pub fn newer(&self) -> Option<(u64, u16)> {
        self.newer
    }

    /// Whether something was written where a write may have been in flight, and it cannot be what the file held
    /// in an earlier life: such a file would still show headers of that life.
    #[must_use]
    pub fn has_remains(&self) -> bool {
        self.remains && !self.stale
    }

    /// The offset behind everything that may have been in flight, and behind every later batch that was seen.
    #[must_use]
    pub fn in_flight_end(&self) -> u64 {
        self.later_end.max(self.begin + IN_FLIGHT_BYTES_MAX)
    }

    /// Takes in `bytes`, which lie at `offset`, from [`LookAhead::at`] on.
    pub fn see(&mut self, due: &Due, offset: u64, bytes: &[u8]) {
        assert!(offset <= self.at);
        let end = offset + bytes.len() as u64;
        while self.at < end {
            let rest = &bytes[(self.at - offset) as usize..];
            let block = &rest[..rest.len().min(BLOCK_BYTES)];
            if self.at < self.begin + IN_FLIGHT_BYTES_MAX && !self.remains {
                self.remains = *block != ZEROS[..block.len()];
            }
            self.at += self.see_block(due, block);
        }
    }

    /// Takes in one block, and says how many bytes further the next one worth a look begins.
    fn see_block(&mut self, due: &Due, block: &[u8]) -> u64 {
        match Sighting::of(block) {
            Sighting::Newer(version) => {
                self.newer.get_or_insert((self.at, version));
            }
            Sighting::Header(header) if !due.is_foreign(&header) => {
                if header.number() < due.number() {
                    // A newer batch may begin within the room that this one had, so it is not passed over.
                    self.stale = true;
                } else {
                    self.note(due, &header);
                    // Nothing younger can begin inside it: a message that contains a log is not taken for one.
                    return u64::from(header.batch_bytes.get());
                }
            }
            _ => {}
        }
        BLOCK_BYTES as u64
    }

    fn note(&mut self, due: &Due, header: &BatchHeader) {
        self.later_end = self.at + u64::from(header.batch_bytes.get());
        if header.number() > due.number() {
            self.later.get_or_insert(*header);
            // What begins beyond the reach of writes in flight was submitted when those before it were durable.
            let is_out_of_reach = self.at >= self.begin + IN_FLIGHT_BYTES_MAX;
            self.confirmed |= is_out_of_reach || header.durable_batch.get() >= due.number().0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::batch::{BatchFacts, seal};
    use crate::format::checksum::checksum;
    use crate::ids::{BatchNumber, Epoch, SegmentNumber};

    fn batch(number: u64, durable: u64) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let facts = BatchFacts {
            log_id: 7,
            epoch: Epoch(1),
            nonce: 5,
            batch_number: BatchNumber(number),
            durable_batch: BatchNumber(durable),
            segment: SegmentNumber(1),
            previous_header_crc: 0,
            closing: false,
        };
        seal(&mut bytes, 0, Lsn(number * 10), 0, &[], &facts);
        bytes
    }

    fn due(number: u64) -> Due {
        let bytes = batch(number - 1, number - 2);
        let Sighting::Header(header) = Sighting::of(&bytes) else { panic!() };
        Due::first(SegmentNumber(1)).after(&header)
    }

    fn seen(bytes: &[u8]) -> LookAhead {
        let mut ahead = LookAhead::from(8192);
        ahead.see(&due(10), 8192, bytes);
        ahead
    }

    #[test]
    fn a_later_batch_tells_whether_the_due_one_was_durable() {
        let below = seen(&[vec![0; 4096], batch(11, 9)].concat());
        assert_eq!((below.later_lsn(), below.is_confirmed()), (Some(Lsn(110)), false));
        let at = seen(&[vec![0; 4096], batch(11, 10)].concat());
        assert!(at.is_confirmed());
    }

    #[test]
    fn what_an_earlier_life_left_is_neither_later_nor_remains() {
        let stale = seen(&[vec![1; 4096], batch(9, 8)].concat());
        assert!(stale.later().is_none() && !stale.has_remains());
        assert!(seen(&[vec![0; 4096], vec![1; 4096]].concat()).has_remains());
        assert!(!seen(&[0; 8192]).has_remains());
    }

    #[test]
    fn the_room_of_writes_in_flight_reaches_behind_every_later_batch() {
        assert_eq!(seen(&[0; 4096]).in_flight_end(), 8192 + IN_FLIGHT_BYTES_MAX);
        let mut long = batch(11, 9);
        long[76..80].copy_from_slice(&8192_u32.to_le_bytes());
        let crc = checksum(&long[..92]);
        long[92..96].copy_from_slice(&crc.to_le_bytes());
        let bytes = [vec![0; IN_FLIGHT_BYTES_MAX as usize - 4096], long].concat();
        let ahead = seen(&bytes);
        assert_eq!(ahead.in_flight_end(), 8192 + IN_FLIGHT_BYTES_MAX + 4096);
        assert!(!ahead.is_confirmed());
    }

    #[test]
    fn a_batch_out_of_reach_of_the_writes_in_flight_proves_that_the_due_one_was_durable() {
        let bytes = [vec![0; IN_FLIGHT_BYTES_MAX as usize], batch(11, 9)].concat();
        assert!(seen(&bytes).is_confirmed());
    }
}
