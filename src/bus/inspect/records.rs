//! The records of a log, by the places that a list gives them.

use std::collections::VecDeque;
use std::path::PathBuf;

use bytes::Bytes;

use super::InspectError;
use super::found::Found;
use crate::bus::Envelope;
use crate::bus::envelope::id_of;
use crate::engine::listing::{Listed, RecordPlace};
use crate::format::control::Carried;
use crate::format::record::RecordView;
use crate::ids::Lsn;
use crate::io::window_reader::WindowReader;
use crate::limits::BATCH_BYTES_MAX;
use crate::log::chunk::Chunk;
use crate::log::index::Span;
use crate::log::recovery::Window;

/// Reads records. Those that are asked for in the order of the log cost one read for each megabyte.
pub(in crate::bus) struct RecordReader {
    windows: WindowReader,
    chunk: Option<Chunk>,
    /// Records that were not yet asked for, the first of them `next`.
    ahead: VecDeque<Bytes>,
    next: Lsn,
}

impl RecordReader {
    /// A reader of the log in that directory.
    pub(in crate::bus) fn new(directory: PathBuf) -> RecordReader {
        let windows = WindowReader::new(directory, BATCH_BYTES_MAX);
        RecordReader { windows, chunk: None, ahead: VecDeque::new(), next: Lsn(0) }
    }

    /// A message of a list, with what is said of it.
    pub(in crate::bus) fn found(&mut self, listed: &Listed) -> Result<Found, InspectError> {
        let record = self.record(&listed.place)?;
        let id = id_of(listed.node, listed.incarnation, &record);
        let said = (&listed.remark).into();
        Ok(Found { message: Envelope::new(record, id, 1), said })
    }

    fn record(&mut self, place: &RecordPlace) -> Result<Bytes, InspectError> {
        let bearing = self.read(place.bearer, place.span)?;
        if !place.is_carried {
            return Ok(bearing);
        }
        // Invariant: its batch was verified when it was read, and the index says that it is a carried record.
        let record = RecordView::parse(&bearing).expect("a record of a chunk is damaged in memory");
        let carried = Carried::decode(record.body).expect("the index names a record that carries nothing");
        Ok(bearing.slice_ref(carried.record))
    }

    fn read(&mut self, lsn: Lsn, span: Span) -> Result<Bytes, InspectError> {
        if self.next != lsn || self.ahead.is_empty() {
            let chunk = match self.chunk.take().filter(|chunk| chunk.first() <= lsn && lsn < chunk.end()) {
                Some(chunk) => chunk,
                None => self.load(span)?,
            };
            self.ahead = chunk.slice(lsn, u64::MAX, usize::MAX).pieces.into();
            self.next = lsn;
            self.chunk = Some(chunk);
        }
        let mut record = Bytes::new();
        if let Some(piece) = self.ahead.front_mut() {
            // Invariant: a chunk holds whole records that were verified.
            let bytes = RecordView::parse(piece).expect("a record of a chunk is damaged in memory").bytes();
            record = piece.split_to(bytes);
        }
        if self.ahead.front().is_some_and(Bytes::is_empty) {
            self.ahead.pop_front();
        }
        self.next = lsn.plus(1);
        Ok(record)
    }

    /// What lies in a span.
    pub(in crate::bus) fn load(&mut self, span: Span) -> Result<Chunk, InspectError> {
        let window = Window { segment: span.segment, offset: span.offset, bytes: span.bytes as usize };
        let path = self.windows.path(span.segment);
        let bytes = match self.windows.read(window) {
            Ok(bytes) => Bytes::copy_from_slice(bytes),
            Err(source) => return Err(InspectError::Read { path, source }),
        };
        let changed = |source| InspectError::Changed { path, offset: span.offset, source };
        Chunk::read_back(bytes, span.first).map_err(changed)
    }
}
