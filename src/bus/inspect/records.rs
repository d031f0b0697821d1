//! The records of a log that is not being written, by their LSNs.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{InspectError, Snapshot};
use crate::bus::Envelope;
use crate::bus::envelope::id_of;
use crate::engine::inbox::Origin;
use crate::engine::state::State;
use crate::format::control::Carried;
use crate::format::record::RecordView;
use crate::ids::Lsn;
use crate::io::window_reader::WindowReader;
use crate::limits::BATCH_BYTES_MAX;
use crate::log::chunk::Chunk;
use crate::log::recovery::Window;

/// Reads records. Those that are asked for in the order of the log cost one read for each megabyte.
pub(super) struct RecordReader<'a> {
    state: &'a State,
    windows: WindowReader,
    chunk: Option<Chunk>,
    /// Records that were not yet asked for, the first of them `next`.
    ahead: VecDeque<Bytes>,
    next: Lsn,
}

impl<'a> RecordReader<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> RecordReader<'a> {
        let windows = WindowReader::new(snapshot.directory.clone(), BATCH_BYTES_MAX);
        RecordReader { state: &snapshot.state, windows, chunk: None, ahead: VecDeque::new(), next: Lsn(0) }
    }

    /// The message in record `lsn`, which that origin published; `attempt` is the next one of its handler.
    pub(super) fn message(
        &mut self,
        lsn: Lsn,
        origin: Origin,
        attempt: u32,
    ) -> Result<Envelope, InspectError> {
        let record = self.record(lsn)?;
        let id = id_of(self.state.node_of(origin.slot), origin.incarnation, &record);
        Ok(Envelope::new(record, id, attempt))
    }

    fn record(&mut self, lsn: Lsn) -> Result<Bytes, InspectError> {
        if !self.state.index.is_carried(lsn) {
            return self.read(lsn);
        }
        let bearing = self.read(self.state.index.bearer(lsn))?;
        // Invariant: its batch was verified when it was read, and the index says that it is a carried record.
        let record = RecordView::parse(&bearing).expect("a record of a chunk is damaged in memory");
        let carried = Carried::decode(record.body).expect("the index names a record that carries nothing");
        Ok(bearing.slice_ref(carried.record))
    }

    fn read(&mut self, lsn: Lsn) -> Result<Bytes, InspectError> {
        if self.next != lsn || self.ahead.is_empty() {
            let chunk = match self.chunk.take().filter(|chunk| chunk.first() <= lsn && lsn < chunk.end()) {
                Some(chunk) => chunk,
                None => self.load(lsn)?,
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

    fn load(&mut self, lsn: Lsn) -> Result<Chunk, InspectError> {
        let span = self.state.index.span(lsn, Lsn(self.state.index.end().0 - 1));
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
