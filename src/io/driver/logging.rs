//! Batches to the disk, and pieces of the log back.

use super::{Closing, Driver, shared_bytes};
use crate::engine::sealing::SealPermit;
use crate::io::clock;
use crate::io::inputs::Input;
use crate::io::staging::{Filled, Gate};
use crate::log::index::Span;
use crate::log::sealing::Sealed;

impl Driver {
    /// Seals and submits batches while there is something to write and a write may begin. Returns whether one did.
    pub(super) fn write_batches(&mut self) -> bool {
        let mut wrote = false;
        if !matches!(self.closing, Closing::No | Closing::Flushing) {
            // Nothing follows the closing batch.
            return wrote;
        }
        loop {
            let permit = self.parts.engine.may_seal();
            if permit == SealPermit::No {
                self.stage_decisions();
                self.move_gate();
                return wrote;
            }
            if !self.write_batch(permit) {
                return wrote;
            }
            wrote = true;
        }
    }

    /// What was decided goes into the batch that is being filled even if no write can begin: runs of peers wait
    /// for it.
    fn stage_decisions(&mut self) {
        let engine = &mut self.parts.engine;
        if engine.has_decided() && !engine.has_failed() {
            self.parts.shared.staging.lock().with_stager(|stager| engine.stage_decisions(stager));
        }
    }

    /// Nothing is written that would move the gate on its way, but what the gate depends on may have changed.
    fn move_gate(&mut self) {
        let gate = gate_of(&self.parts.engine, self.closing);
        if gate != self.gate {
            self.gate = gate;
            self.parts.shared.staging.lock().set_gate(gate);
        }
    }

    fn write_batch(&mut self, permit: SealPermit) -> bool {
        let empty = self.spare.take().unwrap_or_else(|| self.parts.pool.take());
        let engine = &mut self.parts.engine;
        let mut locked = self.parts.shared.staging.lock();
        locked.with_stager(|stager| engine.stage(stager));
        if locked.is_empty() {
            self.gate = gate_of(engine, self.closing);
            locked.set_gate(self.gate);
            self.spare = Some(empty);
            return false;
        }
        let filled = locked.swap(empty);
        let must_wait = permit == SealPermit::HereThenRoll
            || engine.segments().is_disk_full()
            || engine.may_await_segment();
        let (sealed, submit) = if must_wait {
            // Publishers wait meanwhile: a checkpoint says what lies before it and nothing else, what is left of a full disk
            // is not theirs, and behind the last batch of a segment nobody may stage what might never be written.
            let sealed = Self::seal(engine, &mut self.owed, filled, false);
            if permit == SealPermit::HereThenRoll {
                locked.with_stager(|stager| engine.begin_segment(stager));
            }
            self.gate = gate_of(engine, self.closing);
            locked.set_gate(self.gate);
            drop(locked);
            sealed
        } else {
            self.gate = gate_of(engine, self.closing);
            locked.set_gate(self.gate);
            // They go on while the batch is made whole.
            drop(locked);
            Self::seal(engine, &mut self.owed, filled, false)
        };
        self.submit(sealed, submit);
        true
    }

    /// Makes the batch whole and lets it take effect.
    fn seal(
        engine: &mut crate::engine::Engine,
        owed: &mut Vec<crate::format::batch::OwedRun>,
        filled: Filled,
        closing: bool,
    ) -> (Sealed, crate::io::buffer::SharedBuffer) {
        let Filled { mut buffer, builder } = filled;
        let sealed = engine.seal(builder, &mut buffer, owed, closing);
        let shared = buffer.freeze();
        engine.handle_sealed(&sealed, shared_bytes(&shared, sealed.place.bytes as usize));
        (sealed, shared)
    }

    fn submit(&mut self, sealed: Sealed, buffer: crate::io::buffer::SharedBuffer) {
        let (place, number) = (sealed.place, sealed.batch.header.number());
        let inputs = std::rc::Rc::clone(&self.inputs);
        self.operations += 1;
        self.written_bytes += u64::from(place.bytes);
        self.commits.submitted(clock::now().monotonic, &sealed);
        match self.parts.files.borrow_for_write(place.segment) {
            Err(error) => inputs.push(Input::Written(number, Err(error))),
            Ok(file) => self.spawn(async move {
                let result = file.write(buffer, place.bytes as usize, place.offset).await;
                inputs.push(Input::Written(number, result));
            }),
        }
    }

    /// Writes the batch that says that nothing follows, if there is room for it.
    pub(super) fn write_closing_batch(&mut self) -> bool {
        let engine = &mut self.parts.engine;
        if !engine.has_room_for_closing() || engine.may_seal() == SealPermit::No {
            return false;
        }
        let empty = self.spare.take().unwrap_or_else(|| self.parts.pool.take());
        let filled = self.parts.shared.staging.lock().swap(empty);
        let (sealed, buffer) = Self::seal(engine, &mut self.owed, filled, true);
        self.submit(sealed, buffer);
        true
    }

    /// Begins the reads that the engine wants.
    pub(super) fn read_log(&mut self) {
        while let Some(span) = self.parts.engine.poll_read() {
            let inputs = std::rc::Rc::clone(&self.inputs);
            self.operations += 1;
            match self.parts.files.borrow(span.segment) {
                Err(error) => inputs.push(Input::Read(span, Err(error))),
                Ok(file) => {
                    let buffer = self.parts.pool.take();
                    self.spawn(async move {
                        let outcome = read_span(&file, buffer, &span).await;
                        inputs.push(Input::Read(span, outcome));
                    });
                }
            }
        }
    }
}

pub(in crate::io) async fn read_span(
    file: &crate::io::segment_file::SegmentFile,
    buffer: crate::io::buffer::Buffer,
    span: &Span,
) -> std::io::Result<bytes::Bytes> {
    let wanted = span.bytes as usize;
    let (result, buffer) = file.read(buffer, wanted, span.offset).await;
    if result? < wanted {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
    }
    Ok(shared_bytes(&buffer.freeze(), wanted))
}

/// Whether publishers may stage, as the engine sees it.
fn gate_of(engine: &crate::engine::Engine, closing: Closing) -> Gate {
    if engine.has_failed() {
        Gate::Failed
    } else if closing != Closing::No {
        Gate::Closed
    } else if engine.is_at_quota() {
        Gate::DiskQuota
    } else if engine.is_disk_full() {
        Gate::DiskFull
    } else if engine.is_in_checkpoint() || engine.awaits_segment() {
        Gate::Pause
    } else {
        Gate::Open
    }
}
