//! Files of every kind that lie in a log's directory.

use std::convert::Infallible;

use resolute::ids::SegmentNumber;
use resolute::io::recover::{RecoverError, RecoverMode, recover};
use resolute::limits::{BATCH_BYTES_MAX, BATCH_RECORD_BYTES_MAX};
use resolute::log::verdict::Verdict;

use super::written_log::{Image, WrittenLog, put_on_disk, take_from_disk};
use super::{SEGMENT_BYTES, all_seen, body, on_disk, scan};

#[test]
fn a_directory_without_a_written_segment_is_a_fresh_log() {
    for image in [Image::new(), Image::from([(1, vec![0; SEGMENT_BYTES])]), Image::from([(1, Vec::new())])] {
        let directory = tempfile::tempdir().unwrap();
        put_on_disk(&image, directory.path());
        std::fs::write(directory.path().join("spare-1.log"), [7; 8192]).unwrap();
        std::fs::write(directory.path().join("lock"), "").unwrap();
        let (seen, recovered) = on_disk(directory.path(), RecoverMode::Repair);
        let tail = recovered.unwrap().tail;
        assert_eq!((seen.len(), tail.verdict, tail.log_id), (0, Verdict::Fresh, None));
        assert_eq!(
            (tail.next_batch.0, tail.next_lsn.0, tail.active, tail.append_at),
            (1, 1, SegmentNumber(1), 0)
        );
    }
}

#[test]
fn a_next_segment_of_zeros_or_of_an_earlier_life_is_blank() {
    let mut log = WrittenLog::new(SEGMENT_BYTES);
    log.append(&[body(1, 100)]);
    log.roll();
    let last = log.append(&[body(2, 100)]);
    for next in [vec![0; SEGMENT_BYTES], log.image[&1].clone(), Vec::new()] {
        let mut image = log.image.clone();
        image.insert(3, next);
        let (seen, tail) = scan(&image);
        let tail = tail.unwrap();
        assert_eq!(seen, all_seen(&log.batches));
        assert_eq!(
            (tail.verdict, tail.active.0, tail.append_at as usize),
            (Verdict::Unclosed, 2, last.end())
        );
        assert_eq!(tail.blank, [SegmentNumber(3)]);
    }
}

#[test]
fn what_a_recycled_file_held_before_is_neither_read_nor_called_torn() {
    let mut log = WrittenLog::new(SEGMENT_BYTES);
    for i in 0..6 {
        log.append(&[body(i, 3000)]);
    }
    log.image.insert(2, log.image[&1].clone());
    log.roll();
    log.append(&[body(10, 5000)]);
    log.append(&[body(11, 100)]);
    let (seen, tail) = scan(&log.image);
    assert_eq!(seen, all_seen(&log.batches));
    assert_eq!(tail.unwrap().verdict, Verdict::Unclosed);
    log.close();
    assert_eq!(scan(&log.image).1.unwrap().verdict, Verdict::Clean);
}

#[test]
fn a_segment_filled_to_its_last_byte_goes_on_in_the_next() {
    let mut log = WrittenLog::new(4 * 4096);
    for i in 0..4 {
        log.append(&[body(i, 100)]);
    }
    let tail = scan(&log.image).1.unwrap();
    assert_eq!(
        (tail.append_at as usize, tail.in_flight.len(), tail.verdict),
        (4 * 4096, 0, Verdict::Unclosed)
    );
    log.roll();
    log.append(&[body(5, 100)]);
    assert_eq!(scan(&log.image).0, all_seen(&log.batches));
}

#[test]
fn the_facts_of_each_segment_are_those_of_its_batches() {
    let mut log = WrittenLog::new(SEGMENT_BYTES);
    log.append(&[body(1, 10), body(2, 10)]);
    log.append(&[body(3, 10)]);
    log.roll();
    log.append(&[body(4, 10)]);
    let facts = scan(&log.image).1.unwrap().segments;
    let plain: Vec<_> =
        facts.iter().map(|s| (s.number.0, s.first_batch.0, s.first_lsn.0, s.end_lsn.0)).collect();
    assert_eq!(plain, [(1, 1, 1, 4), (2, 3, 4, 5)]);
    assert!(facts.iter().all(|s| s.file_bytes as usize == SEGMENT_BYTES));
}

#[test]
fn large_batches_are_read_across_the_edges_of_windows() {
    let mut log = WrittenLog::new(9 << 20);
    for segment in 0..3_u64 {
        if segment > 0 {
            log.roll();
        }
        let mut size = 1000 + segment as usize;
        while log.room() >= BATCH_BYTES_MAX {
            size = (size * 7 + 4099) % (BATCH_RECORD_BYTES_MAX / 4);
            let bodies: Vec<_> = (0..3).map(|i| body(size as u64 + i, size.min(250_000))).collect();
            log.append(&bodies);
        }
    }
    let (seen, tail) = scan(&log.image);
    assert_eq!(seen, all_seen(&log.batches));
    let directory = tempfile::tempdir().unwrap();
    put_on_disk(&log.image, directory.path());
    let (seen, recovered) = on_disk(directory.path(), RecoverMode::ReadOnly);
    assert_eq!((seen, recovered.unwrap().tail), (all_seen(&log.batches), tail.unwrap()));
}

#[test]
fn a_caller_that_refuses_a_batch_ends_the_recovery() {
    let mut log = WrittenLog::new(SEGMENT_BYTES);
    log.append(&[body(1, 10)]);
    let directory = tempfile::tempdir().unwrap();
    put_on_disk(&log.image, directory.path());
    let refused = recover(directory.path(), RecoverMode::Repair, &mut |_, _| Err(std::fmt::Error));
    assert!(matches!(refused, Err(RecoverError::Apply(std::fmt::Error))));
    assert_eq!(take_from_disk(directory.path()), log.image);
    let missing = directory.path().join("nowhere");
    let refused = recover::<Infallible>(&missing, RecoverMode::Repair, &mut |_, _| Ok(()));
    assert!(matches!(refused, Err(RecoverError::Io { .. })));
}

#[test]
fn a_closed_log_is_clean_even_where_the_file_shows_only_the_inside_of_an_old_batch() {
    let mut log = WrittenLog::new(SEGMENT_BYTES);
    log.append(&[body(1, 12_000)]);
    log.image.insert(2, log.image[&1].clone());
    log.roll();
    log.append(&[body(2, 100)]);
    assert_eq!(scan(&log.image).1.unwrap().verdict, Verdict::Torn, "without a header it may be anything");
    log.close();
    assert_eq!(scan(&log.image).1.unwrap().verdict, Verdict::Clean);
}
