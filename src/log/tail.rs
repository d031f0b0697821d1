//! Where a log ends and how it goes on: what recovery says of a log that may be used.

use super::verdict::Verdict;
use crate::ids::{BatchNumber, Epoch, Lsn, SegmentNumber};

/// What is left of a log, and all that the next batch must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Fresh, clean, unclosed or torn; never corrupt.
    pub verdict: Verdict,
    /// The id of the log; none before its first batch.
    pub log_id: Option<u64>,
    /// The last opening; 0 before the first.
    pub last_epoch: Epoch,
    /// Its nonce.
    pub last_nonce: u64,
    /// The number of the next batch.
    pub next_batch: BatchNumber,
    /// The header CRC of the last batch; 0 before the first.
    pub last_header_crc: u32,
    /// The LSN of the next record.
    pub next_lsn: Lsn,
    /// The segments that hold batches, oldest first.
    pub segments: Vec<SegmentFacts>,
    /// The segment in which the log goes on: that of the last batch, or the first of a fresh log.
    pub active: SegmentNumber,
    /// Where in it the next batch goes. If that does not fit in the file, the log goes on in the next segment.
    pub append_at: u64,
    /// Whether the node closed the log: nothing was in flight.
    pub closed: bool,
    /// Files behind the active segment that are there and hold nothing of the log.
    pub blank: Vec<SegmentNumber>,
    /// What is cut off, if the verdict is torn.
    pub cut: Option<Stretch>,
    /// Where writes may have been in flight, unless the log was closed. Nothing in there is part of the log, and
    /// it must be made zeros before the log goes on, or a batch that was cut might be taken for one later.
    pub in_flight: Vec<Stretch>,
}

/// One segment that holds batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its number.
    pub number: SegmentNumber,
    /// Its first batch.
    pub first_batch: BatchNumber,
    /// Its first record.
    pub first_lsn: Lsn,
    /// The LSN after its last record.
    pub end_lsn: Lsn,
    /// Bytes of its file.
    pub file_bytes: u64,
}

/// Bytes of one segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The segment.
    pub segment: SegmentNumber,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}
