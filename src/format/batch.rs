//! One group commit: the records of one O_DSYNC write.
//!
//! ```text
//!  0            96                                                       batch_bytes
//!  +------------+----------------------------+----------+---------------+
//!  | header     | records                    | trailer  | zeros         |
//!  +------------+----------------------------+----------+---------------+
//!  0   magic "RSB1"          4  version              6  flags
//!  8   log id               16  epoch               24  nonce of the epoch
//!  32  batch number         40  durable batch       48  first LSN
//!  56  segment number       64  record count        68  bytes of records
//!  72  bytes of trailer     76  bytes of batch      80  CRC of the previous batch's header
//!  84  CRC of the trailer   88  CRC of the records   92  CRC of bytes 0 to 92
//! ```
//!
//! The trailer says who each stretch of records is owed to, as runs of `count`, `set` (four bytes each). It is
//! apart from the records because they go to subscribers as they are, and a subscriber never learns who else is one.
//! Records that the trailer does not reach are owed to nobody.
//!
//! The CRC of the records is that of their header CRCs, one after another: it binds each record to this batch. Without
//! it, the blocks of a batch that did not arrive could be stood in for by whole records of an earlier life of the
//! file, and two batches of one opening with different records could have the same header.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{checksum, checksum_more};
use super::record::{RecordDefect, RecordHeader, Records};
use crate::ids::{BatchNumber, Epoch, Lsn, SegmentNumber, SetId};
use crate::limits::{BATCH_BYTES_MAX, BLOCK_BYTES};

/// The first bytes of every batch.
pub const BATCH_MAGIC: [u8; 4] = *b"RSB1";
/// The version that this code writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;

/// The node closed after this batch, and nothing follows it.
pub const FLAG_CLOSING: u16 = 1;

/// The fixed part of a batch. See the module for the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BatchHeader {
    /// [`BATCH_MAGIC`].
    pub magic: [u8; 4],
    /// [`FORMAT_VERSION`].
    pub version: U16,
    /// [`FLAG_CLOSING`].
    pub flags: U16,
    /// Random, one for each log: a segment of another log is none of ours.
    pub log_id: U64,
    /// The opening of the log in which the batch was written.
    pub epoch: U64,
    /// Random, one for each epoch: two openings of one backup have the same number and different nonces.
    pub nonce: U64,
    /// This batch's number.
    pub batch_number: U64,
    /// The highest batch number known durable, with all before it, when this batch was submitted.
    pub durable_batch: U64,
    /// The LSN of the first record; the others follow it densely.
    pub first_lsn: U64,
    /// The number of the segment the batch was written to.
    pub segment_number: U64,
    /// Records in the batch.
    pub record_count: U32,
    /// Their bytes.
    pub records_bytes: U32,
    /// Bytes of the trailer.
    pub trailer_bytes: U32,
    /// Bytes of the whole batch, a multiple of the block.
    pub batch_bytes: U32,
    /// The header CRC of the batch before this one, 0 for the first of a log.
    pub previous_header_crc: U32,
    /// CRC-32C of the trailer.
    pub trailer_crc: U32,
    /// CRC-32C of the records' header CRCs, in their order.
    pub records_crc: U32,
    /// CRC-32C of everything before it.
    pub header_crc: U32,
}

/// Bytes of a [`BatchHeader`].
pub const BATCH_HEADER_BYTES: usize = size_of::<BatchHeader>();
const _: () = assert!(BATCH_HEADER_BYTES == 96);

/// One run of the trailer: `count` records in a row, all owed to `set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct OwedRun {
    /// Records; at least 1.
    pub count: U32,
    /// Whom they are owed to; 0 is nobody.
    pub set: U32,
}

/// Bytes of an [`OwedRun`].
pub const OWED_RUN_BYTES: usize = size_of::<OwedRun>();
const _: () = assert!(OWED_RUN_BYTES == 8);

impl OwedRun {
    /// Whom the records are owed to.
    #[must_use]
    pub fn set(&self) -> SetId {
        SetId(self.set.get())
    }
}

/// What is known of a batch before it is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFacts {
    /// See [`BatchHeader::log_id`].
    pub log_id: u64,
    /// See [`BatchHeader::epoch`].
    pub epoch: Epoch,
    /// See [`BatchHeader::nonce`].
    pub nonce: u64,
    /// See [`BatchHeader::batch_number`].
    pub batch_number: BatchNumber,
    /// See [`BatchHeader::durable_batch`].
    pub durable_batch: BatchNumber,
    /// See [`BatchHeader::segment_number`].
    pub segment: SegmentNumber,
    /// See [`BatchHeader::previous_header_crc`].
    pub previous_header_crc: u32,
    /// See [`FLAG_CLOSING`].
    pub closing: bool,
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchDefect {
    /// Nothing was written here: zeros, or what a segment held in an earlier life.
    #[error("no batch begins here")]
    NoMagic,
    /// The header is not what was written.
    #[error("the checksum of the batch's header does not fit")]
    HeaderChecksum,
    /// Written by a later version of this program.
    #[error("the batch has format version {0}, and this program reads up to {FORMAT_VERSION}")]
    NewerFormat(u16),
    /// Lengths or numbers that do not add up, under a good checksum.
    #[error("the lengths in the batch's header do not add up")]
    Lengths,
    /// The batch is longer than what is there.
    #[error("the batch is cut off")]
    Truncated,
    /// The trailer is not what was written.
    #[error("the checksum of the batch's trailer does not fit")]
    TrailerChecksum,
    /// A record is not what was written.
    #[error("record {index} of the batch: {defect}")]
    Record {
        /// Which record of the batch, from 0.
        index: u32,
        /// What is wrong with it.
        defect: RecordDefect,
    },
    /// The records are not as many as the header says.
    #[error("the batch does not hold the number of records that its header says")]
    Count,
    /// The records are good, but they are not those of this batch.
    #[error("the batch holds records that are not its own")]
    OtherRecords,
}

impl BatchHeader {
    /// The header at the start of `bytes`, its checksum and its lengths verified.
    pub fn parse(bytes: &[u8]) -> Result<&BatchHeader, BatchDefect> {
        let (header, _) = BatchHeader::ref_from_prefix(bytes).map_err(|_| BatchDefect::Truncated)?;
        if header.magic != BATCH_MAGIC {
            return Err(BatchDefect::NoMagic);
        }
        if header.header_crc.get() != checksum(&header.as_bytes()[..BATCH_HEADER_BYTES - 4]) {
            return Err(BatchDefect::HeaderChecksum);
        }
        if header.version.get() > FORMAT_VERSION {
            return Err(BatchDefect::NewerFormat(header.version.get()));
        }
        let used = BATCH_HEADER_BYTES as u64
            + u64::from(header.records_bytes.get())
            + u64::from(header.trailer_bytes.get());
        let batch_bytes = header.batch_bytes.get() as usize;
        let fits = used <= batch_bytes as u64
            && batch_bytes <= BATCH_BYTES_MAX
            && batch_bytes.is_multiple_of(BLOCK_BYTES)
            && (header.trailer_bytes.get() as usize).is_multiple_of(OWED_RUN_BYTES)
            && header.first_lsn.get().checked_add(u64::from(header.record_count.get())).is_some();
        if fits { Ok(header) } else { Err(BatchDefect::Lengths) }
    }

    /// The header at the start of `bytes` as it was before one bit of it was flipped; nothing if more is wrong. As with
    /// [`RecordHeader::with_one_bit_mended`], it is a guess until something else says the same.
    #[must_use]
    pub fn with_one_bit_mended(bytes: &[u8]) -> Option<BatchHeader> {
        let (found, _) = BatchHeader::ref_from_prefix(bytes).ok()?;
        (0..BATCH_HEADER_BYTES * 8).find_map(|bit| {
            let mut header = *found;
            header.as_mut_bytes()[bit / 8] ^= 1 << (bit % 8);
            BatchHeader::parse(header.as_bytes()).ok().copied()
        })
    }

    /// This batch's number.
    #[must_use]
    pub fn number(&self) -> BatchNumber {
        BatchNumber(self.batch_number.get())
    }

    /// The LSN of the first record.
    #[must_use]
    pub fn first_lsn(&self) -> Lsn {
        Lsn(self.first_lsn.get())
    }

    /// The LSN after that of the last record.
    #[must_use]
    pub fn end_lsn(&self) -> Lsn {
        Lsn(self.first_lsn.get() + u64::from(self.record_count.get()))
    }

    /// The segment the batch was written to.
    #[must_use]
    pub fn segment(&self) -> SegmentNumber {
        SegmentNumber(self.segment_number.get())
    }

    /// Whether the node closed after this batch.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.flags.get() & FLAG_CLOSING != 0
    }
}

/// A batch that was verified whole: header, trailer, and every record with its body.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    /// The verified header.
    pub header: &'a BatchHeader,
    /// The records, one after another.
    pub records: &'a [u8],
    /// The runs of the trailer.
    pub owed: &'a [OwedRun],
}

impl<'a> BatchView<'a> {
    /// The batch at the start of `bytes`, with the checksums of its header and its trailer verified, but those of
    /// its records not: what is read back of a batch that was verified when the log was opened.
    pub fn parse(bytes: &'a [u8]) -> Result<BatchView<'a>, BatchDefect> {
        let header = BatchHeader::parse(bytes)?;
        let bytes = bytes.get(..header.batch_bytes.get() as usize).ok_or(BatchDefect::Truncated)?;
        let (records, rest) = bytes[BATCH_HEADER_BYTES..].split_at(header.records_bytes.get() as usize);
        let trailer = &rest[..header.trailer_bytes.get() as usize];
        if checksum(trailer) != header.trailer_crc.get() {
            return Err(BatchDefect::TrailerChecksum);
        }
        let owed = <[OwedRun]>::ref_from_bytes(trailer).map_err(|_| BatchDefect::Lengths)?;
        Ok(BatchView { header, records, owed })
    }

    /// As [`BatchView::parse`], and every record verified too.
    pub fn parse_verified(bytes: &'a [u8]) -> Result<BatchView<'a>, BatchDefect> {
        let view = Self::parse(bytes)?;
        let (mut count, mut records_crc) = (0, 0);
        for record in Records::new(view.records) {
            let record = record
                .and_then(|record| record.verify_body().map(|()| record))
                .map_err(|defect| BatchDefect::Record { index: count, defect })?;
            records_crc = checksum_more(records_crc, record.header.header_crc.as_bytes());
            count += 1;
        }
        if count != view.header.record_count.get() {
            return Err(BatchDefect::Count);
        }
        if records_crc == view.header.records_crc.get() { Ok(view) } else { Err(BatchDefect::OtherRecords) }
    }
}

/// Bytes of a batch on disk whose header, records and trailer take `used` bytes.
#[must_use]
pub const fn padded(used: usize) -> usize {
    used.next_multiple_of(BLOCK_BYTES)
}

/// The checksum of the header checksums of the records that fill `bytes`. The records were just written, so nothing
/// of them is verified; panics if their lengths do not add up.
#[must_use]
pub fn records_crc(bytes: &[u8]) -> u32 {
    let mut crcs = Vec::new();
    header_crcs(bytes, &mut crcs);
    checksum(crcs.as_bytes())
}

/// Adds the `header_crc` of each record in `bytes` to `out`. [`records_crc`] is the checksum of all of them.
pub fn header_crcs(mut bytes: &[u8], out: &mut Vec<U32>) {
    while !bytes.is_empty() {
        // Invariant: only whole records are put into a batch.
        let (header, _) = RecordHeader::ref_from_prefix(bytes).expect("a record that is cut off");
        out.push(header.header_crc);
        bytes = &bytes[header.record_bytes()..];
    }
}

/// Makes a batch of `buffer`, whose records already lie behind the room for its header: writes the trailer and the
/// header, zeroes the rest of the last block, and says how many bytes are to be written.
///
/// Panics if the batch does not fit the buffer: staging keeps room for the trailer.
pub fn seal(
    buffer: &mut [u8],
    records_bytes: usize,
    first_lsn: Lsn,
    record_count: u32,
    owed: &[OwedRun],
    facts: &BatchFacts,
) -> BatchHeader {
    let crc = records_crc(&buffer[BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + records_bytes]);
    seal_counted(buffer, records_bytes, crc, first_lsn, record_count, owed, facts)
}

/// As [`seal`], where [`records_crc`] was computed while the batch was filled.
pub fn seal_counted(
    buffer: &mut [u8],
    records_bytes: usize,
    records_crc: u32,
    first_lsn: Lsn,
    record_count: u32,
    owed: &[OwedRun],
    facts: &BatchFacts,
) -> BatchHeader {
    let trailer = owed.as_bytes();
    let trailer_at = BATCH_HEADER_BYTES + records_bytes;
    let used = trailer_at + trailer.len();
    let batch_bytes = padded(used);
    assert!(batch_bytes <= buffer.len() && batch_bytes <= BATCH_BYTES_MAX);
    buffer[trailer_at..used].copy_from_slice(trailer);
    buffer[used..batch_bytes].fill(0);
    let mut header = BatchHeader {
        magic: BATCH_MAGIC,
        version: U16::new(FORMAT_VERSION),
        flags: U16::new(if facts.closing { FLAG_CLOSING } else { 0 }),
        log_id: U64::new(facts.log_id),
        epoch: U64::new(facts.epoch.0),
        nonce: U64::new(facts.nonce),
        batch_number: U64::new(facts.batch_number.0),
        durable_batch: U64::new(facts.durable_batch.0),
        first_lsn: U64::new(first_lsn.0),
        segment_number: U64::new(facts.segment.0),
        record_count: U32::new(record_count),
        records_bytes: U32::new(records_bytes as u32),
        trailer_bytes: U32::new(trailer.len() as u32),
        batch_bytes: U32::new(batch_bytes as u32),
        previous_header_crc: U32::new(facts.previous_header_crc),
        trailer_crc: U32::new(checksum(trailer)),
        records_crc: U32::new(records_crc),
        header_crc: U32::ZERO,
    };
    header.header_crc = U32::new(checksum(&header.as_bytes()[..BATCH_HEADER_BYTES - 4]));
    buffer[..BATCH_HEADER_BYTES].copy_from_slice(header.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::super::record::{self, RecordKind};
    use super::*;

    fn facts() -> BatchFacts {
        BatchFacts {
            log_id: 1,
            epoch: Epoch(2),
            nonce: 3,
            batch_number: BatchNumber(4),
            durable_batch: BatchNumber(3),
            segment: SegmentNumber(1),
            previous_header_crc: 9,
            closing: false,
        }
    }

    fn sealed() -> Vec<u8> {
        let mut buffer = vec![0xee; 2 * BLOCK_BYTES];
        let mut records = Vec::new();
        record::append(&mut records, Lsn(10), RecordKind::Message, 0, b"first");
        record::append(&mut records, Lsn(11), RecordKind::Message, 0, b"second");
        buffer[BATCH_HEADER_BYTES..][..records.len()].copy_from_slice(&records);
        let owed = [OwedRun { count: U32::new(2), set: U32::new(1) }];
        let header = seal(&mut buffer, records.len(), Lsn(10), 2, &owed, &facts());
        buffer.truncate(header.batch_bytes.get() as usize);
        buffer
    }

    #[test]
    fn a_sealed_batch_reads_back() {
        let bytes = sealed();
        let view = BatchView::parse_verified(&bytes).unwrap();
        assert_eq!(
            (view.header.number(), view.header.first_lsn(), view.header.end_lsn()),
            (BatchNumber(4), Lsn(10), Lsn(12))
        );
        assert_eq!(view.owed, [OwedRun { count: U32::new(2), set: U32::new(1) }]);
        assert_eq!(Records::new(view.records).count(), 2);
        assert_eq!(bytes.len(), BLOCK_BYTES);
    }

    #[test]
    fn every_single_bit_flip_in_what_counts_is_detected() {
        let good = sealed();
        let view = BatchView::parse_verified(&good).unwrap();
        let used = BATCH_HEADER_BYTES + view.records.len() + view.owed.len() * OWED_RUN_BYTES;
        for bit in 0..used * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(BatchView::parse_verified(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn good_records_that_are_not_its_own_are_detected() {
        let mut bytes = sealed();
        let mut other = Vec::new();
        record::append(&mut other, Lsn(5), RecordKind::Message, 0, b"first");
        bytes[BATCH_HEADER_BYTES..][..other.len()].copy_from_slice(&other);
        assert_eq!(BatchView::parse_verified(&bytes).err(), Some(BatchDefect::OtherRecords));
    }

    #[test]
    fn padding_is_zeros() {
        let bytes = sealed();
        let view = BatchView::parse_verified(&bytes).unwrap();
        let used = BATCH_HEADER_BYTES + view.records.len() + view.owed.len() * OWED_RUN_BYTES;
        assert!(bytes[used..].iter().all(|b| *b == 0));
    }

    #[test]
    fn records_beyond_the_largest_lsn_are_refused() {
        let mut bytes = vec![0; BLOCK_BYTES];
        seal(&mut bytes, 0, Lsn(u64::MAX - 1), 1, &[], &facts());
        assert!(BatchHeader::parse(&bytes).is_ok());
        seal(&mut bytes, 0, Lsn(u64::MAX - 1), 2, &[], &facts());
        assert_eq!(BatchHeader::parse(&bytes).err(), Some(BatchDefect::Lengths));
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = sealed();
        bytes[4] = 2;
        assert_eq!(BatchView::parse(&bytes).err(), Some(BatchDefect::HeaderChecksum));
        let crc = checksum(&bytes[..BATCH_HEADER_BYTES - 4]);
        bytes[92..96].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(BatchView::parse(&bytes).err(), Some(BatchDefect::NewerFormat(2)));
    }
}
