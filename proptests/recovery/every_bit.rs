//! Every single bit of a log, flipped: what it held is given out as it was written or not at all, and the damage is named,
//! or cut off where nothing after it says that it was durable. A salvage gives out all records but the one whose body was hit,
//! with its atomic group. The log has records of every kind, as the engine writes them.
//!
//! All bits of 1 MiB take minutes in a release build, on all cores: `RESOLUTE_EVERY_BIT=1`. Otherwise one in some
//! thousand is flipped, other ones in each run; `RESOLUTE_SEED` repeats one.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use resolute::format::batch::BATCH_HEADER_BYTES;
use resolute::format::record::{FLAG_ATOMIC_MORE, RecordKind, RecordView};
use resolute::ids::{Lsn, LsnRange, SegmentNumber};
use resolute::log::damaged_batch::Source;
use resolute::log::look_ahead::IN_FLIGHT_BYTES_MAX;
use resolute::log::recovery::{Affected, Corrupt, Scan, ScanError, SegmentFile};
use resolute::log::salvage::DamageKind;
use resolute::log::tail::Tail;
use resolute::log::verdict::{Corruption, Verdict};

use super::all_kinds;
use super::salvaged::{Salvaged, salvage};
use super::written_log::{Image, Written, WrittenLog};
use super::written_records::{Records, WrittenRecord, records};
use crate::scene::seeds;

const LOG_BYTES: usize = 1 << 20;
const SEGMENTS: usize = 4;
/// One bit in so many is flipped where not all are; a prime, so that each place in a byte and in a block has its turn.
const SAMPLED: usize = 8009;

/// Segments full of batches of all sorts and sizes, of one block to eight, the last of them half empty.
fn log(closed: bool) -> WrittenLog {
    let mut log = WrittenLog::new(LOG_BYTES / SEGMENTS);
    let mut seed = 0;
    for segment in 1..=SEGMENTS {
        if segment > 1 {
            log.roll();
        }
        if segment == 1 || segment == SEGMENTS {
            all_kinds::append_state(&mut log, seed);
        }
        let left_empty = if segment == SEGMENTS { log.segment_bytes / 2 } else { 0 };
        while log.room() > left_empty + 10 * 4096 {
            all_kinds::append(&mut log, seed);
            seed += 1;
        }
    }
    if closed {
        log.close();
    }
    log
}

/// How many batches were given out, each of them as it was written, and what was said of the rest.
fn scan(log: &WrittenLog, image: &Image) -> (usize, Result<Tail, ScanError>) {
    let files = image
        .iter()
        .map(|(number, bytes)| SegmentFile { number: SegmentNumber(*number), file_bytes: bytes.len() as u64 })
        .collect();
    let (mut scan, mut given) = (Scan::new(files, IN_FLIGHT_BYTES_MAX as usize), 0);
    while let Some(window) = scan.wanted() {
        let bytes = &image[&window.segment.0][window.offset as usize..][..window.bytes];
        scan.show::<Infallible>(bytes, &mut |place, view| {
            let written = &log.batches[given];
            assert_eq!((place.segment.0, place.offset as usize), (written.segment, written.offset));
            assert_eq!(view.header.first_lsn(), Lsn(written.first_lsn));
            assert!(
                view.records == &written.bytes[BATCH_HEADER_BYTES..written.records_end],
                "not as it was written"
            );
            given += 1;
            Ok(())
        })
        .unwrap();
    }
    (given, scan.finish())
}

/// Flips one bit of a log, looks, and flips it back.
fn flip(log: &WrittenLog, written: &Records<'_>, image: &mut Image, whole: &Tail, bit: usize) {
    let (segment, at) = ((bit / 8 / log.segment_bytes + 1) as u64, bit / 8 % log.segment_bytes);
    image.get_mut(&segment).unwrap()[at] ^= 1 << (bit % 8);
    let hit = log.batches.iter().position(|batch| {
        batch.segment == segment && (batch.offset..batch.offset + batch.used).contains(&at)
    });
    match (hit, scan(log, image)) {
        (None, (given, Ok(tail))) => {
            assert_eq!((given, tail.next_batch), (log.batches.len(), whole.next_batch));
            assert_eq!(tail.append_at, whole.append_at);
            if tail.verdict != whole.verdict {
                // Behind an open log it might be what is left of a write that was on its way: it is cut, and nothing with it.
                let behind = !whole.closed && segment == tail.active.0 && at as u64 >= tail.append_at;
                assert!(behind && tail.verdict == Verdict::Torn, "bit {bit}: {:?}", tail.verdict);
                assert_eq!(tail.cut.map(|cut| cut.offset), Some(tail.append_at));
            }
        }
        (Some(hit), (given, Ok(tail))) => {
            assert_eq!(
                hit,
                log.batches.len() - 1,
                "only of the last one it is not known that it was durable"
            );
            assert_eq!((given, tail.verdict), (hit, Verdict::Torn));
            let (cut, batch) = (tail.cut.expect("what is torn is cut"), &log.batches[hit]);
            assert_eq!((cut.segment.0, cut.offset as usize), (segment, batch.offset));
            assert!(cut.bytes as usize >= batch.bytes.len());
        }
        (Some(hit), (given, Err(ScanError::Corrupt(found)))) => {
            let batch = &log.batches[hit];
            let (first, end) = (Some(Lsn(batch.first_lsn)), Some(Lsn(batch.end_lsn)));
            let Corrupt { kind, segment, offset, affected } = found;
            assert_eq!((given, segment.0, offset as usize), (hit, batch.segment, batch.offset));
            assert!(matches!(kind, Corruption::DurableBatch | Corruption::SealedSegment), "{kind:?}");
            assert_eq!(affected, Affected { first, end });
        }
        (hit, (_, said)) => panic!("bit {bit}, in batch {hit:?}: {said:?}"),
    }
    is_salvaged(written, &salvage(written, image), hit.map(|hit| &log.batches[hit]), at);
    image.get_mut(&segment).unwrap()[at] ^= 1 << (bit % 8);
}

/// All records are there but the one in whose body the byte `at` of the segment is, with the group that is kept whole or not
/// at all; and the damage is named.
fn is_salvaged(written: &Records<'_>, found: &Salvaged, hit: Option<&Written>, at: usize) {
    let Some(batch) = hit else {
        assert_eq!((&found.lost[..], &found.nameless[..], &found.damage[..]), (&[][..], &[][..], &[][..]));
        return;
    };
    let [damage] = &found.damage[..] else { panic!("{:?}", found.damage) };
    assert_eq!((damage.segment.0, damage.offset as usize), (batch.segment, batch.offset));
    let hit = batch.body_of_which(at - batch.offset);
    let lost: Vec<LsnRange> = hit.iter().map(|lsn| written[*lsn].group).collect();
    assert_eq!((damage.kind, &damage.lost), (DamageKind::Batch, &lost));
    let lost = lost.iter().flat_map(|group| (group.first.0..group.end().0).map(Lsn));
    assert_eq!(found.lost, lost.collect::<Vec<_>>());
    assert_eq!(found.nameless, hit.map_or(vec![], |hit| named_by(written, batch, hit)));
}

/// The messages of which nobody knows whose they are without the record `hit`: those behind what says that a run follows,
/// also where the run is over, for that record knew its length.
fn named_by(written: &Records<'_>, batch: &Written, hit: Lsn) -> Vec<Lsn> {
    if written[hit].kind != RecordKind::Accepted {
        return vec![];
    }
    let behind = (hit.0 + 1..batch.end_lsn).map(Lsn);
    behind.take_while(|lsn| written[*lsn].kind == RecordKind::Message).collect()
}

/// Flips all bits, or a sample that is the same each time and another one. Returns how many.
fn flip_all(log: &WrittenLog) -> usize {
    if std::env::var_os("RESOLUTE_EVERY_BIT").is_some() {
        return flip_each(log, 1, 0);
    }
    let samples = seeds("recovery::every_bit").into_iter();
    samples.map(|seed| flip_each(log, SAMPLED, seed as usize % SAMPLED)).sum()
}

/// Flips one bit after another, on all cores. Returns how many.
fn flip_each(log: &WrittenLog, step: usize, first: usize) -> usize {
    let whole = scan(log, &log.image).1.unwrap();
    let (flipped, written) = (AtomicUsize::new(0), records(log));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for core in 0..cores {
            let (flipped, whole, written) = (&flipped, &whole, &written);
            scope.spawn(move || {
                let mut image = log.image.clone();
                for bit in (first..LOG_BYTES * 8).step_by(step).skip(core).step_by(cores) {
                    flip(log, written, &mut image, whole, bit);
                    flipped.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    flipped.into_inner()
}

#[test]
fn the_log_whose_bits_are_flipped_has_all_that_a_log_has() {
    let log = log(true);
    let written = records(&log);
    let kinds: BTreeSet<RecordKind> = written.iter().map(|record| record.kind).collect();
    let mut all = BTreeSet::from(RecordKind::ALL);
    assert!(all.remove(&RecordKind::Entry), "that is for logs of stores");
    assert_eq!(kinds, all, "what is written down is also damaged");
    assert!(written.iter().any(|record| record.group.count > 2));
    let of_a_peer = |record: &&WrittenRecord<'_>| record.source != Source::Own;
    let is_grouped = |record: &WrittenRecord<'_>| {
        RecordView::parse(record.bytes).unwrap().header.flags & FLAG_ATOMIC_MORE != 0
    };
    assert!(written.iter().filter(of_a_peer).any(is_grouped), "what was a group at a peer");
    assert!(log.batches.iter().any(|batch| batch.used > batch.records_end), "trailers");
    let blocks: BTreeSet<usize> = log.batches.iter().map(|batch| batch.bytes.len() / 4096).collect();
    assert!(blocks.contains(&1) && blocks.len() > 3, "{blocks:?}");
}

#[test]
fn a_flipped_bit_of_a_closed_log_is_named_or_meant_nothing() {
    let log = log(true);
    assert!(scan(&log, &log.image).1.unwrap().closed);
    assert!(flip_all(&log) >= LOG_BYTES * 8 / SAMPLED);
}

#[test]
fn a_flipped_bit_of_a_log_that_was_not_closed_is_named_or_cut_off_or_meant_nothing() {
    let log = log(false);
    assert!(!scan(&log, &log.image).1.unwrap().closed);
    assert!(flip_all(&log) >= LOG_BYTES * 8 / SAMPLED);
}
