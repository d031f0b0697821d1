//! What tasks reported, and the frames that peers sent.

use super::{Closing, Driver};
use crate::engine::effect::SessionId;
use crate::engine::receive::RunVerdict;
use crate::format::frame::{FrameDefect, FrameKind, FrameView};
use crate::io::connection::Connection;
use crate::io::descriptors::leaves_enough;
use crate::io::inputs::Input;
use crate::limits::{FRAME_BYTES_MAX, WINDOWS_KEPT_MAX};
use crate::time::Now;
use crate::wire::frame_buffer::next_frame;

/// What became of the frames of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// All whole frames.
    All,
    /// Not all: there is no room for the next run.
    Blocked,
}

impl Driver {
    pub(super) fn take_inputs(&mut self, now: Now) {
        for input in self.inputs.take() {
            self.take_input(now, input);
        }
    }

    fn take_input(&mut self, now: Now, input: Input) {
        let engine = &mut self.parts.engine;
        match input {
            Input::Written(batch, result) => {
                self.operations -= 1;
                match result {
                    Ok(()) => {
                        self.commits.written(now.monotonic, batch);
                        engine.handle_written(now, batch);
                    }
                    Err(error) => self.fail(error),
                }
                self.write_done();
            }
            Input::Read(span, outcome) => {
                self.operations -= 1;
                self.parts.files.done(span.segment);
                match outcome {
                    Err(error) => {
                        engine.handle_read_failed(now, &span);
                        self.fail(error);
                    }
                    Ok(bytes) => {
                        if let Err(defect) = engine.handle_read(now, &span, bytes) {
                            let place = format!("segment {} at offset {}", span.segment, span.offset);
                            self.fail(std::io::Error::other(format!("{place} is damaged: {defect}")));
                        }
                    }
                }
            }
            Input::Accepted(stream) if !leaves_enough(&stream) => {
                tracing::warn!("a peer was not accepted: what descriptors are left are kept for the log");
            }
            Input::Accepted(stream) => {
                if let Some(id) = engine.handle_accepted(now) {
                    self.connect(id, stream);
                }
            }
            Input::AcceptFailed(error) => tracing::warn!(%error, "a peer could not be accepted"),
            Input::Received(id) => {
                engine.handle_received(now, id);
                self.take_frames(now, id);
            }
            Input::Sent(id, bytes) => engine.handle_sent(now, id, bytes),
            Input::Disconnected(id, reason) => {
                engine.handle_disconnected(now, id, &reason);
                self.connections.remove(&id);
                self.blocked.retain(|blocked| *blocked != id);
                // The writer may still be at work; it ends by itself.
                self.tasks.retain(|tasks| !tasks.are_finished());
            }
        }
    }

    fn write_done(&mut self) {
        // Writes end in any order; a segment counts as written until none is on its way.
        if self.parts.engine.is_write_idle() {
            self.parts.files.all_written();
        }
    }

    pub(super) fn connect(&mut self, id: SessionId, stream: tokio_uring::net::TcpStream) {
        let (connection, tasks) = Connection::start(stream, id, &self.inputs);
        self.connections.insert(id, connection);
        self.tasks.push(tasks);
    }

    /// Frames that found no room try again. Returns whether any found it.
    pub(super) fn take_blocked(&mut self, now: Now) -> bool {
        let blocked = std::mem::take(&mut self.blocked);
        let count = blocked.len();
        for id in blocked {
            self.take_held(now, id);
            if self.connections.get(&id).is_some_and(|connection| connection.is_stopped()) {
                self.take_frames(now, id);
            }
        }
        self.blocked.len() < count
    }

    /// Frames that were set aside, as far as there is room now.
    fn take_held(&mut self, now: Now, id: SessionId) {
        let Some(connection) = self.connections.get(&id).cloned() else { return };
        while let Some(held) = connection.with_held(|held| held.front()) {
            // It was whole and allowed when it was set aside.
            if let Ok(Some((frame, _))) = next_frame(&held, FRAME_BYTES_MAX)
                && self.take_frame(now, id, &frame) == Taken::Blocked
            {
                self.is_blocked(id);
                return;
            }
            connection.with_held(|held| held.pop());
        }
    }

    fn is_blocked(&mut self, id: SessionId) {
        if !self.blocked.contains(&id) {
            self.blocked.push(id);
        }
    }

    /// Takes a frame, or sets it aside on a full disk if there is no room for it or for one before it. Those that make
    /// room overtake.
    fn take_or_hold(
        &mut self,
        now: Now,
        id: SessionId,
        connection: &Connection,
        frame: &FrameView<'_>,
        bytes: &[u8],
    ) -> Taken {
        let waits = connection.with_held(|held| held.are_before(frame.kind));
        if !waits && self.take_frame(now, id, frame) == Taken::All {
            return Taken::All;
        }
        let is_to_hold = waits || self.parts.engine.is_disk_full();
        if !is_to_hold || !connection.with_held(|held| held.push(bytes)) {
            return Taken::Blocked;
        }
        self.is_blocked(id);
        Taken::All
    }

    fn take_frames(&mut self, now: Now, id: SessionId) {
        let Some(connection) = self.connections.get(&id).cloned() else { return };
        let taken = connection.with_window(|window| {
            let (mut consumed, mut taken) = (0, Taken::All);
            let mut frame_bytes_max = self.frame_bytes_max(id);
            loop {
                match next_frame(&window.unread()[consumed..], frame_bytes_max) {
                    Ok(None) => break,
                    Ok(Some((frame, bytes))) => {
                        let whole = &window.unread()[consumed..consumed + bytes];
                        if self.take_or_hold(now, id, &connection, &frame, whole) == Taken::Blocked {
                            taken = Taken::Blocked;
                            break;
                        }
                        consumed += bytes;
                        frame_bytes_max = self.frame_bytes_max(id);
                    }
                    Err(defect) => {
                        self.take_defect(now, id, &defect);
                        consumed = window.unread().len();
                        break;
                    }
                }
            }
            window.consume(consumed);
            window.set_frame_bytes_max(frame_bytes_max);
            taken
        });
        self.keep(now, id, &connection);
        match taken {
            Some(Taken::All) => connection.read_on(),
            Some(Taken::Blocked) => {
                connection.stop_reading();
                self.is_blocked(id);
            }
            None => {}
        }
    }

    /// Says what is kept of a session. Many that have nothing to say keep no memory for what they once said.
    fn keep(&mut self, now: Now, id: SessionId, connection: &Connection) {
        let many = self.connections.len() > WINDOWS_KEPT_MAX;
        let unread = connection.with_window(|window| {
            if many {
                window.release_if_idle();
            }
            window.unread().len()
        });
        let held = connection.with_held(|held| held.bytes());
        self.parts.engine.handle_kept(now, id, unread.unwrap_or(0) + held);
    }

    /// More is allowed to a peer that has proved who it is.
    fn frame_bytes_max(&self, id: SessionId) -> usize {
        let known =
            self.parts.engine.sessions().get(id).is_some_and(crate::engine::session::Session::is_known);
        if known { FRAME_BYTES_MAX } else { crate::limits::HANDSHAKE_FRAME_BYTES_MAX }
    }

    fn take_defect(&mut self, now: Now, id: SessionId, defect: &FrameDefect) {
        self.parts.engine.handle_bad_frame(now, id, defect);
    }

    fn take_frame(&mut self, now: Now, id: SessionId, frame: &FrameView<'_>) -> Taken {
        let engine = &mut self.parts.engine;
        if frame.kind != FrameKind::Run {
            engine.handle_frame(now, id, frame);
            return Taken::All;
        }
        let Some((run, records)) = frame.run() else { return Taken::All };
        if engine.has_failed() || self.closing != Closing::No {
            return Taken::All;
        }
        if !engine.accepts_runs() || !self.parts.shared.staging.lock().has_room_for_run(records.len()) {
            return Taken::Blocked;
        }
        if let RunVerdict::Accept { accepted, skip } = engine.handle_run(now, id, run, records) {
            // Publishers may have filled the buffer meanwhile; the run is looked at again then.
            if !self.parts.shared.staging.lock().push_run(&accepted, &records[skip..]) {
                return Taken::Blocked;
            }
            engine.run_staged(&accepted, skip);
        }
        Taken::All
    }
}
