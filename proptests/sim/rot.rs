//! A bit that flips at rest, in a copy of a log: what the shipped scan says of it.

use std::sync::Arc;

use resolute::format::batch::BATCH_HEADER_BYTES;
use resolute::format::checksum::checksum;
use resolute::ids::{BatchNumber, SegmentNumber};
use resolute::log::place::BatchPlace;
use resolute::log::recovery::ScanError;
use resolute::log::tail::Tail;
use resolute::log::verdict::Verdict;

use super::disk::{Files, read};
use super::rng::Rng;

/// A batch that a scan gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Given {
    place: BatchPlace,
    number: BatchNumber,
    /// What was known durable when it was written.
    durable: BatchNumber,
    /// Of its header and records.
    sum: u32,
}

/// Flips a bit of a copy. What it held is given out as it was or not at all, and the damage is named; only what nothing behind
/// it calls durable may be cut off instead. Says whether there was a bit to flip.
pub fn flip(files: &Files, rng: &mut Rng) -> bool {
    let (whole, tail) = given(files);
    let tail = tail.expect("a lawful disk is called damaged");
    let Some((segment, at)) = choose(files, &whole, rng) else { return false };
    let mut copy = files.clone();
    Arc::make_mut(copy.get_mut(&segment).unwrap())[at] ^= 1 << rng.below(8);
    let what = format!("a bit of byte {at} of segment {segment}");
    let (left, said) = given(&copy);
    assert!(whole.starts_with(&left), "{what} changed what is given out");
    let Some(first) = whole.get(left.len()) else {
        let said = said.unwrap_or_else(|error| panic!("{what} is in no batch: {error}"));
        let ends = |tail: &Tail| (tail.next_batch, tail.next_lsn, tail.last_header_crc, tail.append_at);
        assert_eq!(ends(&said), ends(&tail), "{what} moved the end");
        return true;
    };
    let is_hit =
        first.place.segment == segment && (first.place.offset..first.place.end()).contains(&(at as u64));
    assert!(is_hit, "{what} is not in {first:?}, which is gone");
    match said {
        Ok(said) => {
            assert_eq!((said.verdict, said.next_batch), (Verdict::Torn, first.number), "{what}");
            let is_confirmed = whole[left.len()..].iter().any(|batch| batch.durable >= first.number);
            assert!(!is_confirmed, "{what} took what was known durable, and nobody says so");
        }
        Err(ScanError::Corrupt(found)) => {
            let named = (found.segment, found.offset);
            assert_eq!(named, (first.place.segment, first.place.offset), "{what}: {found}");
        }
        Err(other) => panic!("{what}: {other}"),
    }
    true
}

/// Mostly in a batch, and often in one of the last: elsewhere there is little to hurt.
fn choose(files: &Files, batches: &[Given], rng: &mut Rng) -> Option<(SegmentNumber, usize)> {
    let from = if rng.chance(50) { batches.len().saturating_sub(3) } else { 0 };
    if batches.is_empty() || rng.chance(25) {
        let (segment, file) = files.iter().nth(rng.below(files.len().max(1) as u64) as usize)?;
        return Some((*segment, rng.below(file.len() as u64) as usize));
    }
    let place = batches[rng.between(from as u64, batches.len() as u64 - 1) as usize].place;
    Some((place.segment, (place.offset + rng.below(place.bytes.into())) as usize))
}

fn given(files: &Files) -> (Vec<Given>, Result<Tail, ScanError>) {
    let mut given = Vec::new();
    let said = read(files, &mut |place, view| {
        let used = BATCH_HEADER_BYTES + view.records.len();
        let sum = checksum(&files[&place.segment][place.offset as usize..][..used]);
        let durable = BatchNumber(view.header.durable_batch.get());
        given.push(Given { place, number: view.header.number(), durable, sum });
    });
    (given, said)
}
