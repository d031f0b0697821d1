//! What the first bytes of a block look like, before anything is said of whether they belong there.

use crate::format::batch::{BATCH_HEADER_BYTES, BATCH_MAGIC, BatchDefect, BatchHeader};

/// What is seen at the start of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// No header of a batch: zeros, the middle of some batch, or less than a header.
    Nothing,
    /// A header was here, but its checksum or its lengths do not fit.
    Broken,
    /// A header that a later version wrote, under a good checksum.
    Newer(u16),
    /// A header whose checksum fits. Its magic is set right even where it was what the damage hit.
    Header(BatchHeader),
}

impl Sighting {
    /// What the first of `bytes` look like.
    ///
    /// The checksum covers the magic, so it fits with the magic restored exactly if everything else is what was
    /// written. Were a damaged magic taken for "nothing here", a flipped bit could turn a batch that exists into
    /// one that never did.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Sighting {
        let Some((head, _)) = bytes.split_first_chunk::<BATCH_HEADER_BYTES>() else {
            return Sighting::Nothing;
        };
        let has_magic = head.starts_with(&BATCH_MAGIC);
        let mut head = *head;
        head[..BATCH_MAGIC.len()].copy_from_slice(&BATCH_MAGIC);
        match BatchHeader::parse(&head) {
            Ok(header) => Sighting::Header(*header),
            Err(BatchDefect::NewerFormat(version)) => Sighting::Newer(version),
            Err(BatchDefect::HeaderChecksum) if !has_magic => Sighting::Nothing,
            Err(_) => Sighting::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::batch::{BatchFacts, seal};
    use crate::format::checksum::checksum;
    use crate::ids::{BatchNumber, Epoch, Lsn, SegmentNumber};

    fn block() -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let facts = BatchFacts {
            log_id: 1,
            epoch: Epoch(1),
            nonce: 2,
            batch_number: BatchNumber(1),
            durable_batch: BatchNumber(0),
            segment: SegmentNumber(1),
            previous_header_crc: 0,
            closing: false,
        };
        seal(&mut bytes, 0, Lsn(1), 0, &[], &facts);
        bytes
    }

    #[test]
    fn a_flipped_bit_never_makes_a_header_look_like_nothing() {
        let good = block();
        assert!(matches!(Sighting::of(&good), Sighting::Header(_)));
        for bit in 0..BATCH_HEADER_BYTES * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Sighting::of(&bad), Sighting::Nothing, "bit {bit}");
        }
    }

    #[test]
    fn zeros_text_and_a_short_rest_are_nothing() {
        assert_eq!(Sighting::of(&[0; 4096]), Sighting::Nothing);
        assert_eq!(Sighting::of(&[b'x'; 4096]), Sighting::Nothing);
        assert_eq!(Sighting::of(&block()[..BATCH_HEADER_BYTES - 1]), Sighting::Nothing);
    }

    #[test]
    fn a_newer_version_is_seen_as_such() {
        let mut bytes = block();
        bytes[4] = 9;
        let crc = checksum(&bytes[..BATCH_HEADER_BYTES - 4]);
        bytes[BATCH_HEADER_BYTES - 4..BATCH_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Sighting::of(&bytes), Sighting::Newer(9));
    }
}
