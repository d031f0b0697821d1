//! Records in memory: a batch that was just written, or batches read back.

use bytes::Bytes;

use super::extent::{Extent, ExtentDefect, extents_of};
use crate::format::batch::{BatchDefect, BatchView};
use crate::format::record::RecordHeader;
use crate::ids::Lsn;

/// Consecutive records of the log, in a buffer that they share with whoever sends or handles them.
#[derive(Clone, Debug)]
pub struct Chunk {
    bytes: Bytes,
    first: Lsn,
    end: Lsn,
    extents: Vec<Extent>,
}

/// Bytes of consecutive records, in as few pieces as they lie in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    /// The pieces, in order.
    pub pieces: Vec<Bytes>,
    /// Records in all.
    pub count: u64,
    /// Bytes in all.
    pub bytes: usize,
}

/// Why bytes read back are not the batches that were expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkDefect {
    /// A batch is not what was written.
    #[error(transparent)]
    Batch(#[from] BatchDefect),
    /// Its records make no sense together.
    #[error(transparent)]
    Extents(#[from] ExtentDefect),
    /// Another batch than the index says.
    #[error("another batch stands here: its first record is {found} where {expected} was expected")]
    Unexpected {
        /// What the index says.
        expected: Lsn,
        /// What stands there.
        found: Lsn,
    },
}

impl Chunk {
    /// A batch that was just sealed.
    #[must_use]
    pub fn sealed(bytes: Bytes, first: Lsn, end: Lsn, extents: Vec<Extent>) -> Chunk {
        assert!(extents.iter().map(|e| u64::from(e.count)).sum::<u64>() == end.since(first));
        Chunk { bytes, first, end, extents }
    }

    /// Batches read back, the first of which begins with record `first`.
    pub fn read_back(bytes: Bytes, first: Lsn) -> Result<Chunk, ChunkDefect> {
        let mut extents = Vec::new();
        let (mut end, mut offset) = (first, 0);
        while offset < bytes.len() {
            let view = BatchView::parse_verified(&bytes[offset..])?;
            if view.header.first_lsn() != end {
                return Err(ChunkDefect::Unexpected { expected: end, found: view.header.first_lsn() });
            }
            extents_of(&view, offset as u32, &mut extents)?;
            end = view.header.end_lsn();
            offset += view.header.batch_bytes.get() as usize;
        }
        Ok(Chunk { bytes, first, end, extents })
    }

    /// The first record.
    #[must_use]
    pub fn first(&self) -> Lsn {
        self.first
    }

    /// The record after the last.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// What the records are.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The buffer.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes of one extent.
    #[must_use]
    pub fn extent_bytes(&self, extent: &Extent) -> &[u8] {
        &self.bytes[extent.offset as usize..(extent.offset + extent.bytes) as usize]
    }

    /// As [`Chunk::slice`], beginning to walk where the last one ended, if that is in the same extent and not behind `lsn`: whoever
    /// takes one record after the other finds each at once.
    #[must_use]
    pub fn slice_behind(&self, place: &mut Place, lsn: Lsn, count_max: u64, bytes_max: usize) -> Slices {
        let at = self.extents.partition_point(|extent| extent.end() <= lsn);
        let is_here =
            |extent: &Extent| (place.extent..=lsn).contains(&place.next) && place.extent == extent.first;
        let Some(extent) = self.extents.get(at).filter(|extent| is_here(extent)) else {
            let slices = self.slice(lsn, count_max, bytes_max);
            *place = self.place_behind(lsn, &slices);
            return slices;
        };
        let bytes = self.extent_bytes(extent);
        let (skip, left) = (lsn.since(place.next), count_max.min(extent.end().since(lsn)));
        let (count, range) = walk(&bytes[place.offset..], skip, left, bytes_max, true);
        let range = place.offset + range.start..place.offset + range.end;
        let mut slices = Slices { count, ..Slices::default() };
        let start = extent.offset as usize;
        self.push(&mut slices, start + range.start..start + range.end);
        *place = Place { extent: extent.first, next: lsn.plus(count), offset: range.end };
        slices
    }

    /// Where what follows a slice begins, if all of that lies in one extent.
    fn place_behind(&self, lsn: Lsn, slices: &Slices) -> Place {
        let next = lsn.plus(slices.count);
        let at = self.extents.partition_point(|extent| extent.end() <= lsn);
        match (self.extents.get(at).filter(|extent| next < extent.end()), &slices.pieces[..]) {
            (Some(extent), [piece]) => {
                let end = piece.as_ptr().addr() + piece.len() - self.extent_bytes(extent).as_ptr().addr();
                Place { extent: extent.first, next, offset: end }
            }
            _ => Place::default(),
        }
    }

    /// At most `count_max` records from `lsn` on, cut before `bytes_max` where there is more than one. Whole extents
    /// cost one step each; only a place inside an extent is found by walking.
    #[must_use]
    pub fn slice(&self, lsn: Lsn, count_max: u64, bytes_max: usize) -> Slices {
        assert!(self.first <= lsn && lsn < self.end && count_max > 0);
        let mut out = Slices::default();
        let at = self.extents.partition_point(|extent| extent.end() <= lsn);
        let mut next = lsn;
        for extent in &self.extents[at..] {
            let skip = next.since(extent.first);
            let left = count_max - out.count;
            let whole = skip == 0
                && u64::from(extent.count) <= left
                && out.bytes + extent.bytes as usize <= bytes_max;
            let (count, range) = if whole {
                (u64::from(extent.count), 0..extent.bytes as usize)
            } else if out.count == 0 || skip > 0 || u64::from(extent.count) > left {
                walk(
                    self.extent_bytes(extent),
                    skip,
                    left,
                    bytes_max - out.bytes.min(bytes_max),
                    out.count == 0,
                )
            } else {
                break;
            };
            if count == 0 {
                break;
            }
            let start = extent.offset as usize + range.start;
            self.push(&mut out, start..extent.offset as usize + range.end);
            out.count += count;
            next = next.plus(count);
            if out.count == count_max || next < extent.end() {
                break;
            }
        }
        assert!(out.count > 0);
        out
    }

    fn push(&self, out: &mut Slices, range: std::ops::Range<usize>) {
        out.bytes += range.len();
        if let Some(last) = out.pieces.last_mut() {
            let last_end = last.as_ptr() as usize - self.bytes.as_ptr() as usize + last.len();
            if last_end == range.start {
                *last = self.bytes.slice(last_end - last.len()..range.end);
                return;
            }
        }
        out.pieces.push(self.bytes.slice(range));
    }
}

/// How many records of an extent, `skip` left out, fit `count_max` and `bytes_max`; the first always does if
/// `at_least_one`. The headers were verified when the batch was made or read.
/// A place inside of an extent: where a record begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The first record of the extent.
    extent: Lsn,
    /// The record.
    next: Lsn,
    /// Where it begins, from the beginning of the extent.
    offset: usize,
}

fn walk(
    bytes: &[u8],
    skip: u64,
    count_max: u64,
    bytes_max: usize,
    at_least_one: bool,
) -> (u64, std::ops::Range<usize>) {
    let mut at = 0;
    for _ in 0..skip {
        at += record_bytes(&bytes[at..]);
    }
    let (start, mut count) = (at, 0);
    while at < bytes.len() && count < count_max {
        let next = record_bytes(&bytes[at..]);
        if at + next - start > bytes_max && !(at_least_one && count == 0) {
            break;
        }
        at += next;
        count += 1;
    }
    (count, start..at)
}

fn record_bytes(bytes: &[u8]) -> usize {
    // Invariant: a chunk holds whole records that were verified.
    RecordHeader::parse(bytes).expect("a record of a chunk is damaged in memory").record_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::batch_builder::BatchBuilder;
    use super::*;
    use crate::format::batch::BatchFacts;
    use crate::format::message::{MessageHead, MessageParts};
    use crate::format::record::Records;
    use crate::ids::{BatchNumber, Epoch, SegmentNumber, SetId};
    use crate::limits::BATCH_BYTES_MAX;
    use crate::time::Wall;

    fn chunk(sizes: &[usize]) -> Chunk {
        let mut buffer = vec![0; BATCH_BYTES_MAX];
        let mut builder = BatchBuilder::new(Lsn(10));
        for size in sizes {
            let head = MessageHead::with_topics(Wall(1), ["t"]).unwrap();
            let payload = vec![1; *size];
            builder.push_message(&mut buffer, &MessageParts::new(&head, &payload).unwrap(), 0, SetId(1));
        }
        let facts = BatchFacts {
            log_id: 1,
            epoch: Epoch(1),
            nonce: 1,
            batch_number: BatchNumber(1),
            durable_batch: BatchNumber(0),
            segment: SegmentNumber(1),
            previous_header_crc: 0,
            closing: false,
        };
        let sealed = builder.seal(&mut buffer, &mut Vec::new(), &facts);
        buffer.truncate(sealed.header.batch_bytes.get() as usize);
        Chunk::read_back(buffer.into(), Lsn(10)).unwrap()
    }

    #[test]
    fn a_slice_of_everything_is_one_piece() {
        let chunk = chunk(&[1000; 200]);
        let all = chunk.slice(Lsn(10), u64::MAX, usize::MAX);
        assert_eq!((all.count, all.pieces.len()), (200, 1));
        assert_eq!(all.bytes, all.pieces[0].len());
    }

    #[test]
    fn slices_in_a_row_cover_every_record_once() {
        let chunk = chunk(&[1000; 200]);
        for (count_max, bytes_max) in [(7, usize::MAX), (u64::MAX, 70_000), (u64::MAX, 10), (64, 65_000)] {
            let (mut lsn, mut lsns) = (Lsn(10), Vec::new());
            while lsn < chunk.end() {
                let slice = chunk.slice(lsn, count_max, bytes_max);
                assert!(slice.count <= count_max && (slice.bytes <= bytes_max || slice.count == 1));
                for piece in &slice.pieces {
                    lsns.extend(Records::new(piece).map(|record| record.unwrap().lsn().0));
                }
                lsn = lsn.plus(slice.count);
            }
            assert_eq!(lsns, (10..210).collect::<Vec<_>>(), "{count_max} {bytes_max}");
        }
    }

    #[test]
    fn one_record_after_the_other_is_found_from_where_the_last_one_was() {
        let chunk = chunk(&[1000; 200]);
        let ascending: Vec<u64> = (10..210).collect();
        let odd: Vec<u64> = (10..210).step_by(3).chain([11, 10, 209, 100, 101, 100]).collect();
        for lsns in [ascending, odd] {
            let mut place = Place::default();
            for lsn in lsns {
                for count in [1, 2, 200] {
                    let found = chunk.slice_behind(&mut place, Lsn(lsn), count, usize::MAX);
                    let records = found.pieces.iter().flat_map(|piece| Records::new(piece));
                    let records: Vec<u64> = records.map(|record| record.unwrap().lsn().0).collect();
                    assert_eq!(records, (lsn..lsn + found.count).collect::<Vec<_>>());
                    assert!(found.count >= 1 && found.count <= count);
                    assert_eq!(found.bytes, found.pieces.iter().map(bytes::Bytes::len).sum::<usize>());
                }
            }
        }
    }

    #[test]
    fn another_batch_than_expected_is_refused() {
        let good = chunk(&[10]);
        let defect = Chunk::read_back(good.bytes.clone(), Lsn(11)).unwrap_err();
        assert_eq!(defect, ChunkDefect::Unexpected { expected: Lsn(11), found: Lsn(10) });
    }
}
