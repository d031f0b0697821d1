//! A disk of one node: segments of zeros, at most two writes in flight, and crashes between them.
//!
//! A write that is in flight when the node dies is there whole, is not there, or is there in part. What was
//! reported as written stays. That is the fault model of `io`, and all of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use resolute::engine::state::State;
use resolute::format::batch::BatchView;
use resolute::ids::{BatchNumber, Lsn, SegmentNumber};
use resolute::limits::{BLOCK_BYTES, SEGMENT_BYTES_MIN};
use resolute::log::chunk::Chunk;
use resolute::log::index::Span;
use resolute::log::place::BatchPlace;
use resolute::log::segments::Segment;

use super::rng::Rng;

#[derive(Clone, Default)]
pub struct Disk {
    segments: BTreeMap<SegmentNumber, Vec<u8>>,
    in_flight: BTreeMap<BatchNumber, (BatchPlace, Vec<u8>)>,
}

/// What a replay of a disk finds.
pub struct Recovered {
    pub state: State,
    pub segments: Vec<Segment>,
    pub offset: u64,
    pub last_batch: BatchNumber,
    pub previous_header_crc: u32,
    pub next_lsn: Lsn,
}

impl Disk {
    pub fn prepare(&mut self, number: SegmentNumber) {
        self.segments.insert(number, vec![0; SEGMENT_BYTES_MIN as usize]);
    }

    pub fn free(&mut self, number: SegmentNumber) {
        assert!(self.segments.remove(&number).is_some(), "a segment is freed twice");
    }

    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    pub fn begin_write(&mut self, batch: BatchNumber, place: BatchPlace, bytes: &[u8]) {
        let segment = &self.segments[&place.segment];
        let room = &segment[place.offset as usize..place.end() as usize];
        assert!(room.iter().all(|byte| *byte == 0), "no block is written twice");
        self.in_flight.insert(batch, (place, bytes.to_vec()));
        assert!(self.in_flight.len() <= 2);
    }

    pub fn end_write(&mut self, batch: BatchNumber) {
        let (place, bytes) = self.in_flight.remove(&batch).unwrap();
        self.put(place, &bytes);
    }

    fn put(&mut self, place: BatchPlace, bytes: &[u8]) {
        let at = place.offset as usize;
        self.segments.get_mut(&place.segment).unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// What is read is durable, so it is the same whenever the read ends; a segment that is freed meanwhile stays until
    /// nobody reads it.
    pub fn read(&self, span: &Span) -> Bytes {
        let at = span.offset as usize;
        Bytes::copy_from_slice(&self.segments[&span.segment][at..at + span.bytes as usize])
    }

    /// The node dies.
    pub fn crash(&mut self, rng: &mut Rng) {
        for (_, (place, bytes)) in std::mem::take(&mut self.in_flight) {
            match rng.below(4) {
                0 | 1 => self.put(place, &bytes),
                2 => {}
                _ => {
                    let blocks = bytes.len() / BLOCK_BYTES;
                    let mut torn = bytes[..rng.below(blocks as u64) as usize * BLOCK_BYTES].to_vec();
                    torn.resize(bytes.len(), 0xee);
                    self.put(place, &torn);
                }
            }
        }
    }

    /// Reads all that makes sense and wipes the rest, so that it never comes back.
    pub fn recover(&mut self) -> Recovered {
        let mut found = Recovered {
            state: State::default(),
            segments: Vec::new(),
            offset: 0,
            last_batch: BatchNumber(0),
            previous_header_crc: 0,
            next_lsn: Lsn(1),
        };
        let (mut applied, mut is_over) = (Vec::new(), false);
        for (number, bytes) in &mut self.segments {
            let mut offset = 0;
            loop {
                if is_over {
                    break;
                }
                let Ok(view) = BatchView::parse_verified(&bytes[offset..]) else { break };
                let header = *view.header;
                let fits = found.last_batch == BatchNumber(0)
                    || header.number() == found.last_batch.plus(1)
                        && header.previous_header_crc.get() == found.previous_header_crc;
                if !fits || header.segment() != *number {
                    break;
                }
                let length = header.batch_bytes.get();
                let place = BatchPlace { segment: *number, offset: offset as u64, bytes: length };
                let batch = Bytes::copy_from_slice(&bytes[offset..offset + length as usize]);
                let chunk = Chunk::read_back(batch, header.first_lsn()).unwrap();
                found.state.apply_batch(place, &chunk, &mut applied).unwrap();
                applied.clear();
                if offset == 0 {
                    found.segments.push(Segment { number: *number, first_lsn: header.first_lsn() });
                }
                offset += length as usize;
                found.offset = offset as u64;
                found.last_batch = header.number();
                found.previous_header_crc = header.header_crc.get();
                found.next_lsn = header.end_lsn();
                if offset >= bytes.len() {
                    break;
                }
            }
            is_over |= offset == 0;
            bytes[offset..].fill(0);
        }
        let last = found.segments.last().map(|segment| segment.number);
        self.segments.retain(|number, _| Some(*number) <= last);
        if last.is_none() {
            let number = SegmentNumber(1);
            self.prepare(number);
            found.segments.push(Segment { number, first_lsn: Lsn(1) });
        }
        found
    }
}
