//! What might be taken for a part of a damaged log, and is none.

use resolute::format::batch::BATCH_HEADER_BYTES;
use resolute::format::checksum::checksum;
use resolute::format::record::{self, RECORD_HEADER_BYTES, RecordKind};
use resolute::ids::SegmentNumber;
use resolute::log::salvage::DamageKind;

use super::body;
use super::salvaged::salvage;
use super::written_log::WrittenLog;
use super::written_records::records;

/// A log of two segments, and one of the same id that went on otherwise behind its fourth batch.
fn two_histories() -> (WrittenLog, WrittenLog) {
    let mut one = WrittenLog::new(1 << 16);
    (0..4).for_each(|seed| drop(one.append(&[body(seed, 700)])));
    let mut other = one.clone();
    for (log, seed) in [(&mut one, 10), (&mut other, 20)] {
        (seed..seed + 3).for_each(|seed| drop(log.append(&[body(seed, 700)])));
        log.roll();
        log.append(&[body(seed + 3, 700)]);
    }
    (one, other)
}

#[test]
fn a_header_with_a_flipped_bit_counts_only_where_the_one_before_it_proves_what_it_was() {
    let (log, other) = two_histories();
    let (batch, mut image) = (&log.batches[5], log.image.clone());
    let at = &mut image.get_mut(&1).unwrap()[batch.offset..batch.end()];
    // What was there before the log was cut and went on.
    at.copy_from_slice(&other.batches[5].bytes);
    at[50] ^= 4;
    // It has the number and the records that are due, but not the batch before it that it knew: it is as good as no header,
    // and its neighbours tell the records, which are those that stand there.
    let mut expected = log.clone();
    expected.batches[5] = other.batches[5].clone();
    let found = salvage(&records(&expected), &image);
    assert_eq!(found.lost, []);
    let kinds: Vec<_> = found.damage.iter().map(|damage| (damage.offset as usize, damage.kind)).collect();
    assert_eq!(kinds, [(batch.offset, DamageKind::Batch)]);
}

#[test]
fn a_record_under_another_number_is_not_taken_for_the_one_that_is_due() {
    let mut log = WrittenLog::new(1 << 16);
    (0..5).for_each(|seed| drop(log.append(&[100, 200, 300].map(|bytes| body(seed, bytes)))));
    let (batch, mut image) = (&log.batches[2], log.image.clone());
    let at = &mut image.get_mut(&1).unwrap()[batch.offset..batch.end()];
    // Without its header, the records are all there is to go by.
    at[..BATCH_HEADER_BYTES].fill(0);
    let (lsn, begin, bytes) = batch.records().nth(1).unwrap();
    let mut stale = Vec::new();
    record::append(
        &mut stale,
        lsn.plus(100),
        RecordKind::Message,
        0,
        &body(77, bytes.len() - RECORD_HEADER_BYTES),
    );
    at[begin..begin + stale.len()].copy_from_slice(&stale);
    let found = salvage(&records(&log), &image);
    assert_eq!(found.lost, [lsn, lsn.plus(1)]);
}

#[test]
fn a_batch_of_a_later_version_inside_of_a_message_is_not_taken_for_one_of_the_log() {
    let mut other = WrittenLog::new(1 << 16);
    let mut newer = other.append(&[body(7, 100)]).bytes;
    newer[4] = 9;
    let crc = checksum(&newer[..BATCH_HEADER_BYTES - 4]).to_le_bytes();
    newer[BATCH_HEADER_BYTES - 4..BATCH_HEADER_BYTES].copy_from_slice(&crc);
    let mut log = WrittenLog::new(1 << 16);
    log.append(&[body(1, 10)]);
    let message = [body(2, 4096 - BATCH_HEADER_BYTES - RECORD_HEADER_BYTES), newer].concat();
    log.append(&[message]);
    log.append(&[body(3, 10)]);
    let mut image = log.image.clone();
    image.get_mut(&1).unwrap()[log.batches[1].offset..][..BATCH_HEADER_BYTES].fill(0);
    let found = salvage(&records(&log), &image);
    assert_eq!((found.lost, found.damage.len()), (vec![], 1));
}

#[test]
fn a_file_of_a_log_that_came_further_is_foreign_all_the_same() {
    let mut log = WrittenLog::new(1 << 16);
    log.append(&[body(1, 10)]);
    log.roll();
    log.append(&[body(2, 10)]);
    let mut other = WrittenLog::new(1 << 16).with_log_id(0x99);
    (0..9).for_each(|seed| drop(other.append(&[body(seed, 10)])));
    other.roll();
    other.roll();
    other.append(&[body(7, 100)]);
    let mut image = log.image.clone();
    image.insert(3, other.image[&3].clone());
    let found = salvage(&records(&log), &image);
    let named: Vec<_> = found.damage.iter().map(|damage| (damage.segment, damage.kind)).collect();
    assert_eq!((found.lost, named), (vec![], vec![(SegmentNumber(3), DamageKind::Foreign)]));
}
