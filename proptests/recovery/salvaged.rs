//! What is left of a damaged log: records as they were written, and nothing else, whatever was done to it.

use proptest::prelude::*;
use resolute::format::batch::BATCH_HEADER_BYTES;
use resolute::format::checksum::checksum;
use resolute::format::record::{FLAG_ATOMIC_MORE, RECORD_HEADER_BYTES, RecordKind};
use resolute::ids::{Lsn, LsnRange, SegmentNumber};
use resolute::limits::BATCH_BYTES_MAX;
use resolute::log::damaged_batch::Source;
use resolute::log::recovery::SegmentFile;
use resolute::log::salvage::{Damage, DamageKind, Found, Salvage};
use zerocopy::IntoBytes;

use super::written_log::{Image, WrittenLog};
use super::written_records::{Records, records};
use super::{all_kinds, body};

/// What a salvage made of a log.
pub struct Salvaged {
    /// Records that were not given out.
    pub lost: Vec<Lsn>,
    /// Messages that were given out without saying whose they are.
    pub nameless: Vec<Lsn>,
    pub damage: Vec<Damage>,
}

/// Salvages what `image` shows, and holds each record against what was written.
pub fn salvage(written: &Records<'_>, image: &Image) -> Salvaged {
    let files = image
        .iter()
        .map(|(number, bytes)| SegmentFile { number: SegmentNumber(*number), file_bytes: bytes.len() as u64 })
        .collect();
    let (mut salvage, mut damage) = (Salvage::new(files, BATCH_BYTES_MAX), Vec::new());
    let (mut given, mut nameless): (Vec<Lsn>, Vec<Lsn>) = (Vec::new(), Vec::new());
    let mut on_found = |found: Found<'_>| match found {
        Found::Damage(found) => damage.push(found),
        Found::Record(found) => {
            let record = &written[found.lsn];
            let (header, body) = record.bytes.split_at(RECORD_HEADER_BYTES);
            let is_same = found.record.header.as_bytes() == header && found.record.body == body;
            assert!(is_same, "{} as it was written", found.lsn);
            assert!(given.last().is_none_or(|last| *last < found.lsn), "in order");
            match found.source {
                Source::Unknown => nameless.push(found.lsn),
                source => assert_eq!(source, record.source),
            }
            given.push(found.lsn);
        }
    };
    while let Some(window) = salvage.wanted() {
        let bytes = &image[&window.segment.0][window.offset as usize..][..window.bytes];
        salvage.show(bytes, &mut on_found);
    }
    salvage.finish(&mut on_found).unwrap();
    let mut given = given.into_iter().peekable();
    let lost = (1..written.end().0).map(Lsn).filter(|lsn| given.next_if_eq(lsn).is_none()).collect();
    Salvaged { lost, nameless, damage }
}

/// Two segments: batches of three records, some of them large.
fn log() -> WrittenLog {
    let mut log = WrittenLog::new(1 << 18);
    for seed in 0..20 {
        if seed == 10 {
            log.roll();
        }
        log.append(&[700, 9000, 40].map(|bytes| body(seed, bytes)));
    }
    log
}

fn range(first: u64, count: u64) -> LsnRange {
    LsnRange { first: Lsn(first), count }
}

#[test]
fn a_whole_log_is_given_out_whole() {
    let log = log();
    let found = salvage(&records(&log), &log.image);
    assert_eq!((found.lost, found.damage), (vec![], vec![]));
}

#[test]
fn behind_a_header_that_is_beyond_repair_the_rest_of_its_batch_is_lost_and_named() {
    let log = log();
    let (batch, mut image) = (&log.batches[4], log.image.clone());
    let (lsn, begin, _) = batch.records().nth(1).unwrap();
    image.get_mut(&1).unwrap()[batch.offset + begin..][..RECORD_HEADER_BYTES].fill(0xa5);
    let found = salvage(&records(&log), &image);
    assert_eq!(found.lost, [lsn, lsn.plus(1)]);
    let (segment, offset) = (SegmentNumber(1), batch.offset as u64);
    let lost = vec![range(lsn.0, 2)];
    assert_eq!(found.damage, [Damage { segment, offset, kind: DamageKind::Batch, lost }]);
}

#[test]
fn the_records_of_a_batch_without_a_header_are_told_by_its_neighbours_also_where_a_segment_begins_or_ends() {
    let log = log();
    for number in [0, 4, 9, 10, 18] {
        let (batch, mut image) = (&log.batches[number], log.image.clone());
        image.get_mut(&batch.segment).unwrap()[batch.offset..][..BATCH_HEADER_BYTES].fill(0);
        let found = salvage(&records(&log), &image);
        assert_eq!(found.lost, []);
        let (segment, offset) = (SegmentNumber(batch.segment), batch.offset as u64);
        assert_eq!(
            found.damage,
            [Damage { segment, offset, kind: DamageKind::Batch, lost: vec![] }],
            "{number}"
        );
    }
}

#[test]
fn what_is_left_of_a_log_that_was_freed_and_begins_with_a_damaged_header_is_told_by_its_first_record() {
    let log = log();
    let mut image = log.image.clone();
    image.remove(&1);
    image.get_mut(&2).unwrap()[..BATCH_HEADER_BYTES].fill(0xff);
    let found = salvage(&records(&log), &image);
    assert_eq!(found.lost.last(), Some(&Lsn(log.batches[9].end_lsn - 1)));
    assert_eq!(found.damage.len(), 1);
}

#[test]
fn batches_and_segments_that_are_gone_are_named_by_their_records() {
    let mut log = log();
    log.roll();
    log.append(&[body(1, 10)]);
    let mut image = log.image.clone();
    let (first, last) = (&log.batches[3], &log.batches[5]);
    image.get_mut(&1).unwrap()[first.offset..last.end()].fill(0);
    image.remove(&2);
    let found = salvage(&records(&log), &image);
    let gone = Damage {
        segment: SegmentNumber(1),
        offset: first.offset as u64,
        kind: DamageKind::Gone,
        lost: vec![range(first.first_lsn, last.end_lsn - first.first_lsn)],
    };
    let second = log.batches[10].first_lsn;
    let missing = Damage {
        segment: SegmentNumber(2),
        offset: 0,
        kind: DamageKind::Missing,
        lost: vec![range(second, log.batches[20].first_lsn - second)],
    };
    assert_eq!(found.damage, [gone, missing]);
}

#[test]
fn one_flipped_bit_in_the_header_of_a_batch_loses_nothing_wherever_the_batch_is() {
    let log = log();
    for number in [0, 5, 9, 10, 19] {
        let (batch, mut image) = (&log.batches[number], log.image.clone());
        image.get_mut(&batch.segment).unwrap()[batch.offset + 50] ^= 4;
        let found = salvage(&records(&log), &image);
        let (segment, offset) = (SegmentNumber(batch.segment), batch.offset as u64);
        let damage = Damage { segment, offset, kind: DamageKind::Batch, lost: vec![] };
        assert_eq!((found.lost, found.damage), (vec![], vec![damage]), "{number}");
    }
}

/// A message that holds a batch of another log, at the start of a block.
fn with_a_batch_in_a_message(other: &WrittenLog) -> WrittenLog {
    let mut payload = body(1, 4096 - BATCH_HEADER_BYTES - RECORD_HEADER_BYTES);
    payload.extend(other.batches.iter().flat_map(|batch| &batch.bytes));
    let mut log = WrittenLog::new(1 << 18);
    log.append(&[payload]);
    for seed in 2..12 {
        log.append(&[300, 9000].map(|bytes| body(seed, bytes)));
    }
    log
}

#[test]
fn a_batch_of_another_log_inside_of_a_message_is_not_taken_for_one_of_this() {
    let mut other = WrittenLog::new(1 << 16).with_log_id(0x99);
    other.append(&[body(7, 100)]);
    let log = with_a_batch_in_a_message(&other);
    for damaged in [1, 2, BATCH_HEADER_BYTES] {
        let mut image = log.image.clone();
        image.get_mut(&1).unwrap()[50..50 + damaged].iter_mut().for_each(|byte| *byte ^= 4);
        let found = salvage(&records(&log), &image);
        assert!(found.lost.len() <= 1 && found.damage.len() == 1, "{:?} {:?}", found.lost, found.damage);
    }
}

#[test]
fn a_file_of_another_log_is_named_and_left_out_and_the_others_are_served() {
    let log = log();
    let other = {
        let mut other = WrittenLog::new(1 << 18).with_log_id(0x99);
        other.append(&[body(7, 100)]);
        other
    };
    let mut image = log.image.clone();
    image.insert(1, other.image[&1].clone());
    let found = salvage(&records(&log), &image);
    assert_eq!(found.lost, (1..log.batches[10].first_lsn).map(Lsn).collect::<Vec<_>>());
    assert_eq!((found.damage[0].segment, found.damage[0].kind), (SegmentNumber(1), DamageKind::Foreign));
}

#[test]
fn files_whose_names_were_exchanged_are_known_by_their_batches() {
    let mut log = log();
    log.roll();
    log.append(&[body(1, 10)]);
    let image: Image = [(1, 1), (2, 3), (3, 2)].map(|(name, from)| (name, log.image[&from].clone())).into();
    let found = salvage(&records(&log), &image);
    assert_eq!(found.lost, []);
    let named: Vec<_> = found.damage.iter().map(|damage| (damage.segment.0, damage.kind)).collect();
    assert_eq!(named, [(2, DamageKind::Misnamed), (3, DamageKind::Misnamed)]);
    // Only one is left, under a name that is not its own.
    let image = Image::from([(3, log.image[&2].clone())]);
    let found = salvage(&records(&log), &image);
    assert_eq!(found.lost.first(), Some(&Lsn(1)));
    assert_eq!((found.lost.len(), found.damage.len()), (31, 1));
}

#[test]
fn a_batch_that_does_not_follow_the_one_before_it_is_given_out_and_named() {
    let log = log();
    let (batch, mut image) = (&log.batches[5], log.image.clone());
    let header = &mut image.get_mut(&1).unwrap()[batch.offset..][..BATCH_HEADER_BYTES];
    header[80] ^= 1;
    let crc = checksum(&header[..BATCH_HEADER_BYTES - 4]).to_le_bytes();
    header[BATCH_HEADER_BYTES - 4..].copy_from_slice(&crc);
    let found = salvage(&records(&log), &image);
    let kinds: Vec<_> = found.damage.iter().map(|damage| damage.kind).collect();
    // Nor does the one after it: it knows the header that was there.
    assert_eq!((found.lost, kinds), (vec![], vec![DamageKind::Misfit; 2]));
}

#[test]
fn what_a_recycled_file_held_is_no_damage_to_the_log_though_it_is_damaged() {
    let log = log();
    let mut image = log.image.clone();
    // The next segment's file, recycled and not yet begun.
    image.insert(3, log.image[&1].clone());
    image.get_mut(&3).unwrap()[50] ^= 4;
    let found = salvage(&records(&log), &image);
    assert_eq!((found.lost, found.damage), (vec![], vec![]));
}

#[test]
fn a_log_of_a_later_version_is_not_taken_for_a_damaged_one() {
    let log = log();
    let (batch, mut image) = (&log.batches[5], log.image.clone());
    let header = &mut image.get_mut(&1).unwrap()[batch.offset..][..BATCH_HEADER_BYTES];
    header[4..6].copy_from_slice(&9_u16.to_le_bytes());
    let crc = checksum(&header[..BATCH_HEADER_BYTES - 4]).to_le_bytes();
    header[BATCH_HEADER_BYTES - 4..].copy_from_slice(&crc);
    let files = image
        .iter()
        .map(|(number, bytes)| SegmentFile { number: SegmentNumber(*number), file_bytes: bytes.len() as u64 })
        .collect();
    let mut salvage = Salvage::new(files, BATCH_BYTES_MAX);
    while let Some(window) = salvage.wanted() {
        let bytes = &image[&window.segment.0][window.offset as usize..][..window.bytes];
        salvage.show(bytes, &mut |_| {});
    }
    let newer = salvage.finish(&mut |_| {}).unwrap_err();
    assert_eq!((newer.segment, newer.offset, newer.version), (SegmentNumber(1), batch.offset as u64, 9));
}

#[test]
fn an_atomic_batch_is_given_out_whole_or_not_at_all() {
    let mut log = WrittenLog::new(1 << 16);
    let bodies = [10, 20, 30, 40].map(|bytes| body(bytes as u64, bytes));
    log.append_flagged(&bodies, &[0, FLAG_ATOMIC_MORE, FLAG_ATOMIC_MORE, 0], 0, false);
    log.append(&bodies);
    let places: Vec<_> = log.batches[0].records().map(|(lsn, begin, _)| (lsn, begin)).collect();
    for (hit, lost) in [(0, vec![1]), (1, vec![2, 3, 4]), (2, vec![2, 3, 4]), (3, vec![2, 3, 4])] {
        let mut image = log.image.clone();
        image.get_mut(&1).unwrap()[places[hit].1 + RECORD_HEADER_BYTES + 3] ^= 0x11;
        assert_eq!(
            salvage(&records(&log), &image).lost,
            lost.iter().map(|lsn| Lsn(*lsn)).collect::<Vec<_>>()
        );
    }
}

#[test]
fn an_atomic_batch_that_is_cut_by_a_header_beyond_repair_is_not_given_out() {
    let mut log = WrittenLog::new(1 << 16);
    let bodies = [10, 20, 30, 40].map(|bytes| body(bytes as u64, bytes));
    log.append_flagged(&bodies, &[0, FLAG_ATOMIC_MORE, FLAG_ATOMIC_MORE, 0], 0, false);
    log.append(&bodies);
    let (_, begin, _) = log.batches[0].records().nth(3).unwrap();
    let mut image = log.image.clone();
    image.get_mut(&1).unwrap()[begin..begin + RECORD_HEADER_BYTES].fill(0xa5);
    assert_eq!(salvage(&records(&log), &image).lost, [2, 3, 4].map(Lsn));
}

#[test]
fn a_last_batch_whose_header_is_beyond_repair_is_named() {
    let log = log();
    let (batch, mut image) = (&log.batches[19], log.image.clone());
    image.get_mut(&2).unwrap()[batch.offset + 8..batch.offset + 16].fill(0xff);
    let found = salvage(&records(&log), &image);
    assert_eq!(found.lost, (batch.first_lsn..batch.end_lsn).map(Lsn).collect::<Vec<_>>());
    // Nobody knows how many records it had.
    let (segment, offset) = (SegmentNumber(2), batch.offset as u64);
    assert_eq!(found.damage, [Damage { segment, offset, kind: DamageKind::Gone, lost: vec![] }]);
}

/// Where it is lost how long a run is, what stands behind it may be of the peer; and yet a group is a group.
#[test]
fn an_atomic_batch_is_given_out_whole_or_not_at_all_also_behind_a_run_of_unknown_length() {
    let mut log = WrittenLog::new(1 << 18);
    all_kinds::append_runs_and_group(&mut log, 1);
    all_kinds::append_runs_and_group(&mut log, 2);
    let written = records(&log);
    let batch = &log.batches[0];
    let places: Vec<_> = batch.records().map(|(lsn, begin, _)| (lsn, batch.offset + begin)).collect();
    let hit = |records: &[usize]| {
        let mut image = log.image.clone();
        let file = image.get_mut(&1).unwrap();
        records.iter().for_each(|record| file[places[*record].1 + RECORD_HEADER_BYTES] ^= 1);
        salvage(&written, &image).lost
    };
    let run = places.iter().rposition(|(lsn, _)| written[*lsn].kind == RecordKind::Accepted).unwrap();
    let group: Vec<Lsn> =
        places.iter().map(|(lsn, _)| *lsn).filter(|lsn| written[*lsn].group.count > 1).collect();
    assert_eq!(hit(&[run]), [places[run].0]);
    for member in places.len() - group.len()..places.len() {
        assert_eq!(hit(&[run, member]), [&[places[run].0], &group[..]].concat());
    }
    // What the peer sent was one by one what it is, though it was a group there.
    assert_eq!(hit(&[run, run + 1]), [places[run].0, places[run + 1].0]);
}

#[test]
fn records_of_an_earlier_life_of_the_file_do_not_stand_in_for_those_of_a_batch() {
    let (old, new) = (log(), log());
    let mut image = new.image.clone();
    let batch = &new.batches[4];
    // Other records with the same numbers, as a log has that was cut and went on.
    let mut other = WrittenLog::new(1 << 18);
    for seed in 0..5 {
        other.append(&[700, 9000, 40].map(|bytes| body(seed + 100, bytes)));
    }
    let at = batch.offset + BATCH_HEADER_BYTES;
    let stale = &other.batches[4].bytes[BATCH_HEADER_BYTES..];
    image.get_mut(&1).unwrap()[at..at + stale.len()].copy_from_slice(stale);
    let found = salvage(&records(&old), &image);
    assert_eq!(found.lost, (batch.first_lsn..batch.end_lsn).map(Lsn).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Sectors made zeros, noise, or those of another place: a record is as it was written, or it is lost, and then it is
    /// named. Nothing happens to the last segment, so what was before it is known.
    #[test]
    fn whatever_is_done_to_sectors_no_record_is_wrong_and_none_is_lost_in_silence(
        hits in prop::collection::vec((0_usize..512, 0_u8..3, any::<u64>()), 1..12)
    ) {
        let log = log();
        let mut image = log.image.clone();
        let file = image.get_mut(&1).unwrap();
        for (sector, how, seed) in hits {
            let bytes = match how {
                0 => vec![0; 512],
                1 => body(seed, 512),
                _ => file[(seed as usize % 512) * 512..][..512].to_vec(),
            };
            file[sector * 512..][..512].copy_from_slice(&bytes);
        }
        let found = salvage(&records(&log), &image);
        let named = |lsn: &Lsn| {
            found.damage.iter().flat_map(|damage| &damage.lost).any(|lost| lost.first <= *lsn && *lsn < lost.end())
        };
        prop_assert!(found.lost.iter().all(named), "{:?} {:?}", found.lost, found.damage);
        prop_assert!(super::scan(&image).1.is_ok() || !found.damage.is_empty());
    }
}
