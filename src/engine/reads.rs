//! Records that someone needs and that are no longer in memory.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::Engine;
use crate::format::control::Carried;
use crate::format::record::RecordView;
use crate::ids::Lsn;
use crate::limits::READS_IN_FLIGHT_MAX;
use crate::log::chunk::{Chunk, ChunkDefect, Place, Slices};
use crate::log::index::Span;
use crate::time::Now;

/// What is wanted from the log, and what is on its way.
#[derive(Debug, Default)]
pub struct Reads {
    wanted: VecDeque<Lsn>,
    in_flight: BTreeSet<Lsn>,
    /// Behind the last record that was taken alone.
    place: Place,
}

impl Reads {
    /// Reads that were begun and are not done.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.in_flight.is_empty()
    }
}

impl Engine {
    /// Records from `lsn` on, if they are in memory; else they are asked for. A carried record comes alone.
    pub(super) fn fetch(&mut self, lsn: Lsn, count_max: u64, bytes_max: usize) -> Option<Slices> {
        let bearer = self.state.index.bearer(lsn);
        let Some(chunk) = self.resident.find(bearer) else {
            if !self.reads.wanted.contains(&bearer) {
                self.reads.wanted.push_back(bearer);
            }
            return None;
        };
        let next = chunk.end();
        if self.resident.is_read_back(bearer) && next <= self.commit.durable() && self.reads.is_idle() {
            // Whoever reads one piece of the log reads the next: it comes while this one is sent. With several who read,
            // it might be forgotten before it is looked at.
            self.reads.wanted.push_back(next);
        }
        let place = &mut self.reads.place;
        if self.state.index.is_carried(lsn) {
            let bearing = chunk.slice_behind(place, bearer, 1, usize::MAX);
            return Some(unwrap_carried(&bearing.pieces[0]));
        }
        let until_carried = self.state.index.next_carried(lsn).map_or(u64::MAX, |next| next.since(lsn));
        let count_max = count_max.min(until_carried);
        // Whoever takes many takes whole extents.
        if count_max > 1 {
            return Some(chunk.slice(lsn, count_max, bytes_max));
        }
        Some(chunk.slice_behind(place, lsn, count_max, bytes_max))
    }

    /// Whether something is being read.
    pub(super) fn is_reading(&self) -> bool {
        !self.reads.in_flight.is_empty()
    }

    /// The next piece of the log that is to be read.
    pub fn poll_read(&mut self) -> Option<Span> {
        while self.reads.in_flight.len() < READS_IN_FLIGHT_MAX {
            let lsn = self.reads.wanted.pop_front()?;
            if self.resident.find(lsn).is_some()
                || lsn < self.state.index.first()
                || lsn > self.commit.durable()
            {
                continue;
            }
            let span = self.state.index.span(lsn, self.commit.durable());
            if self.reads.in_flight.insert(span.first) {
                return Some(span);
            }
        }
        None
    }

    /// A piece of the log was read. An error says that what stands there is not what was written: nothing is sent
    /// or handled of it.
    pub fn handle_read(&mut self, now: Now, span: &Span, bytes: Bytes) -> Result<(), ChunkDefect> {
        self.now = now;
        self.reads.in_flight.remove(&span.first);
        self.resident.read_back(Chunk::read_back(bytes, span.first)?);
        Ok(())
    }

    /// A piece of the log could not be read.
    pub fn handle_read_failed(&mut self, now: Now, span: &Span) {
        self.now = now;
        self.reads.in_flight.remove(&span.first);
    }
}

/// The record that a carried one wraps.
fn unwrap_carried(bearing: &Bytes) -> Slices {
    // Invariant: it was verified when it was read or made, and the index says that it is a carried record.
    let record = RecordView::parse(bearing).expect("a record of a chunk is damaged in memory");
    let carried = Carried::decode(record.body).expect("the index names a record that carries nothing");
    let bytes = bearing.slice_ref(carried.record);
    Slices { count: 1, bytes: bytes.len(), pieces: vec![bytes] }
}
