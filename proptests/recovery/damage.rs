//! What no crash leaves: batches that were durable and are damaged, gone, or not from here.

use proptest::prelude::*;
use resolute::format::checksum::checksum;
use resolute::format::segment::segment_name;
use resolute::ids::{Lsn, SegmentNumber};
use resolute::io::recover::{RecoverError, RecoverMode};
use resolute::log::recovery::{Affected, Corrupt, ScanError};
use resolute::log::tail::Tail;
use resolute::log::verdict::{Corruption, Verdict};

use super::written_log::{Image, Written, WrittenLog, put_on_disk, take_from_disk};
use super::{SEGMENT_BYTES, all_seen, body, on_disk, scan};

/// Three segments of four batches, each submitted when the one before was durable.
fn three_segments() -> WrittenLog {
    let mut log = WrittenLog::new(SEGMENT_BYTES);
    for segment in 0..3 {
        if segment > 0 {
            log.roll();
        }
        for batch in 0..4 {
            log.append(&[
                body(segment * 10 + batch, 50),
                body(segment * 10 + batch + 5, 2000 * batch as usize),
            ]);
        }
    }
    log
}

fn corrupt(result: Result<Tail, ScanError>) -> Corrupt {
    match result {
        Err(ScanError::Corrupt(corrupt)) => corrupt,
        other => panic!("{other:?}"),
    }
}

fn wipe(image: &mut Image, written: &Written) {
    image.get_mut(&written.segment).unwrap()[written.offset..written.end()].fill(0);
}

#[test]
fn a_hole_is_a_tear_only_below_what_the_batch_behind_it_knew_durable() {
    for (durable, is_torn) in [(1, true), (2, true), (3, false), (4, false)] {
        let mut log = WrittenLog::new(SEGMENT_BYTES);
        log.append(&[body(1, 10)]);
        log.append(&[body(2, 10)]);
        let hole = log.append(&[body(3, 5000)]);
        if durable == 4 {
            log.append(&[body(4, 10)]);
        }
        log.append_with(&[body(5, 10)], durable, false);
        let mut image = log.image.clone();
        wipe(&mut image, &hole);
        let (seen, tail) = scan(&image);
        assert_eq!(seen, all_seen(&log.batches[..2]));
        if is_torn {
            let tail = tail.unwrap();
            assert_eq!(tail.verdict, Verdict::Torn);
            assert!(tail.cut.unwrap().bytes as usize >= log.batches[3].end() - hole.offset);
        } else {
            let affected = Affected { first: Some(Lsn(hole.first_lsn)), end: Some(Lsn(hole.end_lsn)) };
            let (segment, offset) = (SegmentNumber(1), hole.offset as u64);
            let expected = Corrupt { kind: Corruption::DurableBatch, segment, offset, affected };
            assert_eq!(corrupt(tail), expected);
        }
    }
}

#[test]
fn a_segment_that_is_gone_is_named_and_so_are_its_records() {
    let log = three_segments();
    let mut image = log.image.clone();
    image.remove(&2);
    let (seen, tail) = scan(&image);
    assert_eq!(seen, all_seen(&log.batches[..4]));
    let affected =
        Affected { first: Some(Lsn(log.batches[4].first_lsn)), end: Some(Lsn(log.batches[8].first_lsn)) };
    let expected =
        Corrupt { kind: Corruption::MissingSegment, segment: SegmentNumber(2), offset: 0, affected };
    assert_eq!(corrupt(tail), expected);
}

#[test]
fn a_segment_of_zeros_between_others_is_corrupt() {
    let log = three_segments();
    let mut image = log.image.clone();
    image.insert(2, vec![0; SEGMENT_BYTES]);
    let found = corrupt(scan(&image).1);
    assert_eq!(found.kind, Corruption::SealedSegment);
    assert_eq!(found.affected.end, Some(Lsn(log.batches[8].first_lsn)));
}

#[test]
fn the_last_batch_of_a_finished_segment_is_never_cut() {
    let log = three_segments();
    for whole_gone in [true, false] {
        let mut image = log.image.clone();
        let last = &log.batches[3];
        if whole_gone {
            wipe(&mut image, last);
        } else {
            image.get_mut(&1).unwrap()[last.offset + 150] ^= 4;
        }
        let found = corrupt(scan(&image).1);
        assert_eq!((found.kind, found.segment.0), (Corruption::SealedSegment, 1));
        assert_eq!(found.offset as usize, last.offset);
        assert_eq!(
            found.affected,
            Affected { first: Some(Lsn(last.first_lsn)), end: Some(Lsn(last.end_lsn)) }
        );
    }
}

#[test]
fn the_first_batch_of_a_segment_that_later_ones_confirm_is_corrupt_there() {
    let log = three_segments();
    let first = &log.batches[8];
    for flip in [Some(0), Some(40), Some(120), None] {
        let mut image = log.image.clone();
        match flip {
            Some(at) => image.get_mut(&3).unwrap()[first.offset + at] ^= 1,
            None => wipe(&mut image, first),
        }
        let found = corrupt(scan(&image).1);
        assert_eq!((found.kind, found.segment.0, found.offset), (Corruption::DurableBatch, 3, 0));
    }
}

#[test]
fn a_log_whose_head_was_freed_begins_with_the_first_batch_that_is_left() {
    let log = three_segments();
    let mut image = log.image.clone();
    image.remove(&1);
    let (seen, tail) = scan(&image);
    assert_eq!(seen, all_seen(&log.batches[4..]));
    assert_eq!(tail.unwrap().segments.len(), 2);
}

#[test]
fn a_head_without_its_first_batch_is_corrupt() {
    let log = three_segments();
    for damage in 0..3 {
        let mut image = log.image.clone();
        image.remove(&1);
        match damage {
            0 => wipe(&mut image, &log.batches[4]),
            1 => image.get_mut(&2).unwrap()[140] ^= 1,
            _ => image = Image::from([(2, vec![0; SEGMENT_BYTES])]),
        }
        let found = corrupt(scan(&image).1);
        assert_eq!((found.kind, found.segment.0, found.offset), (Corruption::LostHead, 2, 0));
    }
    let mut image = log.image.clone();
    wipe(&mut image, &log.batches[0]);
    assert!(matches!(corrupt(scan(&image).1).kind, Corruption::SealedSegment));
}

#[test]
fn a_batch_put_back_from_another_history_breaks_the_chain() {
    let mut one = WrittenLog::new(SEGMENT_BYTES);
    one.append(&[body(1, 10)]);
    let mut other = one.clone();
    one.append(&[body(2, 10)]);
    other.append(&[body(3, 10)]);
    other.append(&[body(4, 10)]);
    let mut image = one.image.clone();
    let later = &other.batches[2];
    image.get_mut(&1).unwrap()[later.offset..later.end()].copy_from_slice(&later.bytes);
    let found = corrupt(scan(&image).1);
    assert_eq!((found.kind, found.offset as usize), (Corruption::BrokenChain, later.offset));
}

#[test]
fn segments_that_changed_their_names_are_not_taken_for_each_other() {
    let log = three_segments();
    let mut image = log.image.clone();
    let (second, third) = (image[&2].clone(), image[&3].clone());
    image.extend([(2, third), (3, second)]);
    let (seen, tail) = scan(&image);
    assert_eq!(seen, all_seen(&log.batches[..4]));
    corrupt(tail);
}

#[test]
fn a_newer_format_is_refused_wherever_it_shows() {
    let log = three_segments();
    for index in [0, 2, 4, 11] {
        let mut image = log.image.clone();
        let newer = &log.batches[index];
        let header = &mut image.get_mut(&newer.segment).unwrap()[newer.offset..][..96];
        header[4] = 2;
        let crc = checksum(&header[..92]);
        header[92..].copy_from_slice(&crc.to_le_bytes());
        let (segment, offset) = (SegmentNumber(newer.segment), newer.offset as u64);
        assert_eq!(scan(&image).1, Err(ScanError::NewerFormat { segment, offset, version: 2 }));
        let directory = tempfile::tempdir().unwrap();
        put_on_disk(&image, directory.path());
        let refused = on_disk(directory.path(), RecoverMode::Repair).1.unwrap_err();
        assert!(matches!(refused, RecoverError::NewerFormat { version: 2, .. }));
        assert_eq!(take_from_disk(directory.path()), image);
    }
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let log = three_segments();
    let mut other = WrittenLog::new(SEGMENT_BYTES).with_log_id(0x20);
    other.append(&[body(1, 10)]);
    for number in [2, 4] {
        let mut image = log.image.clone();
        image.insert(number, other.image[&1].clone());
        let segment = SegmentNumber(number);
        let expected = ScanError::ForeignSegment { segment, expected: 0x10, found: 0x20 };
        assert_eq!(scan(&image).1, Err(expected));
    }
}

#[test]
fn destruction_wider_than_all_writes_in_flight_is_never_taken_for_a_tear() {
    let mut log = WrittenLog::new(8 << 20);
    log.append(&[body(1, 10)]);
    let durable = 1;
    while log.room() > 2 << 20 {
        let bodies: Vec<_> = (0..4).map(|i| body(i, 200_000)).collect();
        log.append_with(&bodies, durable, false);
    }
    let mut image = log.image.clone();
    let from = log.batches[1].offset;
    image.get_mut(&1).unwrap()[from..from + (3 << 20)].fill(0);
    let found = corrupt(scan(&image).1);
    assert_eq!((found.kind, found.offset as usize), (Corruption::DurableBatch, from));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_flipped_bit_before_the_last_batch_is_corrupt_at_its_batch_and_nothing_is_changed(
        which in 0..11_usize,
        place in 0.0..1.0_f64,
        bit in 0..8_u32,
        to_disk in proptest::bool::weighted(0.1),
    ) {
        let log = three_segments();
        let hit = &log.batches[which];
        let mut image = log.image.clone();
        let at = hit.offset + (place * hit.used as f64) as usize;
        image.get_mut(&hit.segment).unwrap()[at] ^= 1_u8 << bit;
        let (seen, tail) = scan(&image);
        prop_assert_eq!(seen, all_seen(&log.batches[..which]));
        let found = corrupt(tail);
        prop_assert_eq!((found.segment.0, found.offset as usize), (hit.segment, hit.offset));
        prop_assert_eq!(found.affected, Affected { first: Some(Lsn(hit.first_lsn)), end: Some(Lsn(hit.end_lsn)) });
        if to_disk {
            let directory = tempfile::tempdir().unwrap();
            put_on_disk(&image, directory.path());
            for mode in [RecoverMode::ReadOnly, RecoverMode::Repair] {
                let Err(RecoverError::Corrupt { path, corrupt }) = on_disk(directory.path(), mode).1 else { panic!() };
                prop_assert_eq!(corrupt, found);
                prop_assert!(path.ends_with(segment_name(SegmentNumber(hit.segment))));
                prop_assert_eq!(&take_from_disk(directory.path()), &image);
                prop_assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), image.len());
            }
        }
    }

    /// Whatever bytes the files hold, recovery comes to an end and says something.
    #[test]
    fn no_damage_makes_it_panic(
        hits in proptest::collection::vec((1..4_u64, 0..SEGMENT_BYTES, any::<u8>(), 1..5000_usize), 0..6),
        shorter in proptest::option::of((1..4_u64, 0..SEGMENT_BYTES)),
    ) {
        let mut image = three_segments().image;
        for (segment, at, value, length) in hits {
            let file = image.get_mut(&segment).unwrap();
            let end = (at + length).min(file.len());
            file[at..end].fill(value);
        }
        if let Some((segment, length)) = shorter {
            image.get_mut(&segment).unwrap().truncate(length);
        }
        let (seen, tail) = scan(&image);
        if let Ok(tail) = tail {
            prop_assert_eq!(tail.next_batch.0 as usize, seen.len() + 1);
        }
    }
}
