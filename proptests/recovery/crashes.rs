//! What a crash can leave: the last writes in part, and nothing else.

use proptest::prelude::*;
use resolute::io::recover::RecoverMode;
use resolute::log::repair::RepairStep;
use resolute::log::tail::Tail;
use resolute::log::verdict::Verdict;

use super::written_log::{Image, Written, WrittenLog, lose_blocks, put_on_disk, take_from_disk};
use super::{SEGMENT_BYTES, all_seen, body, on_disk, scan};

/// A log of two segments whose last two batches were in flight together; and what was there before these.
fn two_in_flight() -> (WrittenLog, Image) {
    let mut log = WrittenLog::new(SEGMENT_BYTES);
    log.append(&[body(1, 100)]);
    log.append(&[body(2, 6000), body(3, 10)]);
    log.open_again();
    log.roll();
    let durable = log.append(&[body(4, 300)]).number;
    let before = log.image.clone();
    log.append_with(&[body(5, 5000), body(6, 2000)], durable, false);
    log.append_with(&[body(7, 4100)], durable, false);
    (log, before)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rest {
    Absent,
    Zeros,
    Garbage,
}

fn cut_at(log: &WrittenLog, at: usize, rest: Rest) -> Image {
    let mut image = log.image.clone();
    let file = image.get_mut(&2).unwrap();
    match rest {
        Rest::Absent => file.truncate(at),
        Rest::Zeros => file[at..].fill(0),
        Rest::Garbage => {
            for (i, byte) in file[at..].iter_mut().enumerate() {
                *byte = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0] ^ 0xa5;
            }
        }
    }
    image
}

fn is_whole(written: &Written, at: usize, rest: Rest) -> bool {
    let needed = if rest == Rest::Absent { written.end() } else { written.offset + written.used };
    written.segment < 2 || needed <= at
}

/// Every fact of the tail but the verdict and what it rests on: what a repair must not change.
fn position(tail: &Tail) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        (tail.log_id, tail.last_epoch, tail.last_nonce, tail.next_batch, tail.last_header_crc),
        (tail.next_lsn, tail.segments.clone(), tail.active, tail.append_at, tail.blank.clone()),
    )
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_two_batches_keeps_every_batch_that_is_whole_and_no_other() {
    let (log, _) = two_in_flight();
    let begin = log.batches[log.batches.len() - 2].offset;
    let end = log.batches.last().unwrap().end();
    for rest in [Rest::Absent, Rest::Zeros, Rest::Garbage] {
        for at in begin..=end {
            let (seen, tail) = scan(&cut_at(&log, at, rest));
            let whole: Vec<_> = log.batches.iter().filter(|b| is_whole(b, at, rest)).collect();
            assert_eq!(seen, all_seen(whole.iter().copied()), "{at} {rest:?}");
            let tail = tail.unwrap();
            let last = whole.last().unwrap();
            assert_eq!(tail.append_at as usize, last.end());
            assert_eq!((tail.next_batch.0, tail.next_lsn.0), (last.number + 1, last.end_lsn));
            let is_between = rest != Rest::Garbage && at <= last.end() || at == SEGMENT_BYTES;
            let is_padding = rest == Rest::Zeros && whole.len() == log.batches.len();
            let expected = if is_between || is_padding { Verdict::Unclosed } else { Verdict::Torn };
            assert_eq!(tail.verdict, expected, "{at} {rest:?}");
        }
    }
}

#[test]
fn a_repair_keeps_the_cut_bytes_aside_and_a_second_one_finds_nothing_to_do() {
    let (log, _) = two_in_flight();
    let begin = log.batches[log.batches.len() - 2].offset;
    let end = log.batches.last().unwrap().end();
    for rest in [Rest::Absent, Rest::Zeros, Rest::Garbage] {
        for at in (begin..=end).step_by(1111).chain([begin + 1, begin + 96, end - 1]) {
            let directory = tempfile::tempdir().unwrap();
            let image = cut_at(&log, at, rest);
            put_on_disk(&image, directory.path());

            let (seen, looked) = on_disk(directory.path(), RecoverMode::ReadOnly);
            let looked = looked.unwrap();
            assert_eq!(take_from_disk(directory.path()), image, "reading alone changes nothing");

            let (seen_again, repaired) = on_disk(directory.path(), RecoverMode::Repair);
            let repaired = repaired.unwrap();
            assert_eq!(
                (&seen_again, &repaired.tail),
                (&seen, &looked.tail),
                "a repair does what was reported"
            );
            assert_eq!(repaired, looked);
            if let Some(torn) = &repaired.torn {
                let from = torn.cut.offset as usize;
                let cut = &image[&torn.cut.segment.0][from..][..torn.cut.bytes as usize];
                assert_eq!(std::fs::read(&torn.kept_in).unwrap(), cut);
                assert!(torn.kept_in.ends_with(format!("torn-{}.bin", repaired.tail.next_batch)));
            }
            let after = take_from_disk(directory.path());
            assert!(after[&2][repaired.tail.append_at as usize..].iter().all(|byte| *byte == 0));

            let (seen_third, third) = on_disk(directory.path(), RecoverMode::Repair);
            let third = third.unwrap();
            assert_eq!(seen_third, seen);
            assert_eq!(position(&third.tail), position(&repaired.tail));
            assert_eq!((third.tail.verdict, third.torn), (Verdict::Unclosed, None));
            assert_eq!(take_from_disk(directory.path()), after);
        }
    }
}

#[test]
fn a_crash_during_a_repair_is_repaired_as_if_it_were_the_first() {
    let (log, _) = two_in_flight();
    let torn = &log.batches[log.batches.len() - 2];
    let mut image = log.image.clone();
    image.get_mut(&2).unwrap()[torn.offset + 200] ^= 1;
    let (seen, first) = scan(&image);
    let first = first.unwrap();
    let stretch = first.in_flight[0];
    let blocks = log.batches.last().unwrap().end().div_ceil(4096) - torn.offset / 4096;
    for zeroed in 0..1_u64 << blocks {
        let mut half = image.clone();
        for block in (0..blocks).filter(|block| zeroed & 1 << block != 0) {
            half.get_mut(&2).unwrap()[stretch.offset as usize + block * 4096..][..4096].fill(0);
        }
        let (seen_again, again) = scan(&half);
        let again = again.unwrap();
        assert_eq!((seen_again, position(&again)), (seen.clone(), position(&first)));
        assert_eq!(again.in_flight, first.in_flight);
    }
}

// The next repair saw nothing to make zeros of, and flushed only the segment that the log goes on in. A power cut then
// brought back what had been cut, behind a new batch with the number of the old one: the log was called corrupt.
#[test]
fn zeros_that_a_killed_repair_left_in_a_cache_are_made_durable_by_the_next() {
    let mut log = WrittenLog::new(SEGMENT_BYTES);
    let last = log.append(&[body(1, 100)]);
    log.roll();
    let before = log.image.clone();
    let torn = log.append(&[body(2, 5000)]);
    log.append_with(&[body(3, 100)], last.number, false);
    lose_blocks(&mut log.image, &before, &torn, 0b01);
    let mut durable = log.image;
    let mut shown = durable.clone();
    for step in scan(&durable).1.unwrap().repair() {
        if let RepairStep::MakeZeros(stretch) = step {
            let file = shown.get_mut(&stretch.segment.0).unwrap();
            file[stretch.offset as usize..][..stretch.bytes as usize].fill(0);
        }
    }
    let tail = scan(&shown).1.unwrap();
    for step in tail.repair() {
        if let RepairStep::Sync(segment) = step {
            durable.insert(segment.0, shown[&segment.0].clone());
        }
    }
    let mut log = WrittenLog::go_on(durable, SEGMENT_BYTES, &tail, 1000);
    log.roll();
    let new = log.append(&[body(4, 5000)]);
    let (seen, tail) = scan(&log.image);
    assert_eq!((seen, tail.map(|tail| tail.verdict)), (all_seen([&last, &new]), Ok(Verdict::Unclosed)));
}

#[test]
fn the_first_batch_of_a_log_may_be_torn_too() {
    for kept in [0b01, 0b10, 0b00] {
        let mut log = WrittenLog::new(SEGMENT_BYTES);
        let before = log.image.clone();
        let first = log.append(&[body(1, 5000)]);
        lose_blocks(&mut log.image, &before, &first, kept);
        let directory = tempfile::tempdir().unwrap();
        put_on_disk(&log.image, directory.path());
        let repaired = on_disk(directory.path(), RecoverMode::Repair).1.unwrap();
        let expected = if kept == 0 { Verdict::Fresh } else { Verdict::Torn };
        assert_eq!(repaired.tail.verdict, expected);
        assert_eq!(
            (repaired.tail.next_batch.0, repaired.tail.next_lsn.0, repaired.tail.log_id),
            (1, 1, None)
        );
        let again = on_disk(directory.path(), RecoverMode::Repair).1.unwrap();
        assert_eq!(again.tail.verdict, Verdict::Fresh);
    }
}

#[test]
fn the_first_batch_of_a_segment_that_is_torn_is_cut_there_and_the_log_goes_on_before_it() {
    for kept in [0b01_u64, 0b10] {
        for follower in [false, true] {
            let mut log = WrittenLog::new(SEGMENT_BYTES);
            let last = log.append(&[body(1, 100)]);
            log.roll();
            let before = log.image.clone();
            let torn = log.append(&[body(2, 5000)]);
            if follower {
                log.append_with(&[body(3, 100)], last.number, false);
            }
            lose_blocks(&mut log.image, &before, &torn, kept);
            let directory = tempfile::tempdir().unwrap();
            put_on_disk(&log.image, directory.path());
            let repaired = on_disk(directory.path(), RecoverMode::Repair).1.unwrap();
            assert_eq!(repaired.tail.verdict, Verdict::Torn);
            let cut = repaired.torn.unwrap().cut;
            assert_eq!((cut.segment.0, cut.offset), (2, 0));
            assert_eq!((repaired.tail.active.0, repaired.tail.append_at as usize), (1, last.end()));
            assert_eq!(repaired.tail.blank.iter().map(|n| n.0).collect::<Vec<_>>(), [2]);
            let again = on_disk(directory.path(), RecoverMode::Repair).1.unwrap();
            assert_eq!(again.tail.verdict, Verdict::Unclosed);
            assert_eq!(position(&again.tail), position(&repaired.tail));
        }
    }
}

#[test]
fn a_closed_log_is_clean_and_a_torn_opening_after_it_is_not() {
    let mut log = WrittenLog::new(SEGMENT_BYTES);
    log.append(&[body(1, 100)]);
    log.close();
    let tail = scan(&log.image).1.unwrap();
    assert_eq!((tail.verdict, tail.closed, tail.in_flight.len()), (Verdict::Clean, true, 0));
    log.open_again();
    let before = log.image.clone();
    let opening = log.append(&[body(2, 5000)]);
    lose_blocks(&mut log.image, &before, &opening, 0b01);
    let (seen, tail) = scan(&log.image);
    let tail = tail.unwrap();
    assert_eq!((seen.len(), tail.verdict, tail.closed), (2, Verdict::Torn, false));
}

/// Which of the two batches in flight reached the disk whole, of the blocks that were kept.
fn survivors(in_flight: &[Written], kept: &[u64]) -> usize {
    let is_whole = |(written, kept): &(&Written, &u64)| {
        let blocks = written.used.div_ceil(4096);
        (0..blocks).all(|block| **kept & (1 << block) != 0)
    };
    in_flight.iter().zip(kept).take_while(is_whole).count()
}

#[derive(Clone, Debug)]
struct Life {
    durable: Vec<usize>,
    in_flight: Vec<usize>,
    kept: Vec<u64>,
    prepare_next: bool,
    close: bool,
}

fn life() -> impl Strategy<Value = Life> {
    let bytes = || prop_oneof![1..200_usize, 3000..5000_usize, 8000..12_000_usize];
    let in_flight = proptest::collection::vec(bytes(), 0..=2);
    let kept = proptest::collection::vec(0..16_u64, 2);
    let durable = proptest::collection::vec(bytes(), 0..5);
    (durable, in_flight, kept, any::<bool>(), proptest::bool::weighted(0.2)).prop_map(
        |(durable, in_flight, kept, prepare_next, close)| Life {
            durable,
            in_flight,
            kept,
            prepare_next,
            close,
        },
    )
}

/// A file for the next segment: an old one of the same log if there is one to spare, or zeros.
fn prepare(image: &mut Image, number: u64, spare: &Image) {
    let stale = spare.values().next().cloned();
    image.entry(number).or_insert_with(|| stale.unwrap_or_else(|| vec![0; SEGMENT_BYTES]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Many openings of one log, each ended by a crash that keeps any blocks of the writes in flight. Whatever was
    /// durable is there, whatever was cut never comes back, and every life reads the same history.
    #[test]
    fn over_many_crashes_the_log_is_every_durable_batch_and_no_batch_that_was_cut(
        lives in proptest::collection::vec(life(), 1..8),
        recycle: bool,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut log = WrittenLog::new(SEGMENT_BYTES);
        let mut history: Vec<Written> = Vec::new();
        let mut seed = 0;
        let spare = if recycle { two_in_flight().0.image } else { Image::new() };
        for (epoch, life) in lives.iter().enumerate() {
            let mut next_body = |bytes: usize| { seed += 1; vec![body(seed, bytes)] };
            for bytes in &life.durable {
                if log.room() < 8 * 4096 {
                    let next = *log.image.keys().last().unwrap() + 1;
                    if log.batches.last().is_none_or(|last| last.segment + 1 == next) && !history.is_empty() && history.len() > 8 {
                        prepare(&mut log.image, next, &spare);
                    }
                    log.roll();
                }
                history.push(log.append(&next_body(*bytes)));
            }
            if life.close {
                if log.room() >= 4096 { history.push(log.close()); }
            } else {
                if log.room() < 8 * 4096 { log.roll(); }
                let before = log.image.clone();
                let durable = history.last().map_or(0, |last| last.number);
                let flying: Vec<_> =
                    life.in_flight.iter().map(|bytes| log.append_with(&next_body(*bytes), durable, false)).collect();
                for (written, kept) in flying.iter().zip(&life.kept) {
                    lose_blocks(&mut log.image, &before, written, *kept);
                }
                let whole = survivors(&flying, &life.kept);
                history.extend(flying.into_iter().take(whole));
            }
            if life.prepare_next {
                let next = *log.image.keys().last().unwrap() + 1;
                log.image.insert(next, vec![0; SEGMENT_BYTES]);
            }
            put_on_disk(&log.image, directory.path());
            let (seen, recovered) = on_disk(directory.path(), RecoverMode::Repair);
            let tail = recovered.unwrap().tail;
            prop_assert_eq!(seen, all_seen(&history));
            log = WrittenLog::go_on(take_from_disk(directory.path()), SEGMENT_BYTES, &tail, 1000 + epoch as u64);
        }
    }

    /// The two last writes in any subset of their blocks, over zeros or over what the file held in an earlier life.
    #[test]
    fn any_subset_of_the_blocks_in_flight_leaves_the_whole_batches_up_to_the_first_that_is_not(
        kept in proptest::collection::vec(0..4_u64, 2),
        stale: bool,
    ) {
        let (log, mut before) = two_in_flight();
        let mut image = log.image.clone();
        let in_flight = &log.batches[log.batches.len() - 2..];
        if stale {
            // An earlier life of the same file: batches of segment 1, with numbers passed long ago.
            let old = &log.batches[1];
            for segment in [before.get_mut(&2).unwrap(), image.get_mut(&2).unwrap()] {
                for at in (in_flight[1].end()..SEGMENT_BYTES - old.bytes.len()).step_by(old.bytes.len()) {
                    segment[at..at + old.bytes.len()].copy_from_slice(&old.bytes);
                }
            }
            for (i, byte) in before.get_mut(&2).unwrap()[in_flight[0].offset..in_flight[1].end()].iter_mut().enumerate() {
                *byte = old.bytes[(4096 + i) % old.bytes.len()];
            }
        }
        for (written, kept) in in_flight.iter().zip(&kept) {
            lose_blocks(&mut image, &before, written, *kept);
        }
        let whole = log.batches.len() - 2 + survivors(in_flight, &kept);
        let (seen, tail) = scan(&image);
        prop_assert_eq!(seen, all_seen(&log.batches[..whole]));
        prop_assert!(matches!(tail.unwrap().verdict, Verdict::Torn | Verdict::Unclosed));
    }
}

/// Messages of one size fill a recycled file as they filled it in its earlier life: record upon record, so that
/// each block that did not arrive still shows whole records, with good checksums, in just the right places.
#[test]
fn a_torn_batch_is_never_completed_by_the_records_of_an_earlier_life() {
    // Four records of 1,000 bytes behind a header of 96: the fifth begins with the second block.
    let bodies = |seed: u64| (0..8).map(|i| body(seed + i, 1000 - 24)).collect::<Vec<_>>();
    let mut log = WrittenLog::new(SEGMENT_BYTES);
    log.append(&bodies(1));
    log.image.insert(2, log.image[&1].clone());
    log.roll();
    let before = log.image.clone();
    let torn = log.append(&bodies(100));
    assert_eq!(torn.bytes.len(), 8192);
    lose_blocks(&mut log.image, &before, &torn, 0b01);
    let (seen, tail) = scan(&log.image);
    assert_eq!(seen, all_seen(&log.batches[..1]));
    assert_eq!(tail.unwrap().verdict, Verdict::Torn);
}
