//! Moves bytes between a socket and the driver. It decides nothing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::Notify;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

use super::inputs::{Input, Inputs};
use crate::engine::effect::SessionId;
use crate::limits::{GATHER_BYTES_MAX, HANDSHAKE_FRAME_BYTES_MAX, WRITE_BYTES_MAX, WRITE_PIECES_MAX};
use crate::wire::frame_buffer::ReceiveWindow;
use crate::wire::held_frames::HeldFrames;

/// One connection. Two tasks serve it: one reads while the driver has consumed what came, one writes what is queued.
pub struct Connection {
    stream: TcpStream,
    /// What was received; nothing is in it while a read is on its way.
    window: RefCell<Option<ReceiveWindow>>,
    /// Frames that wait for room on a full disk, while reading goes on.
    held: RefCell<HeldFrames>,
    /// Frames wait for room where they were received, and nothing is read meanwhile.
    stopped: Cell<bool>,
    out: RefCell<VecDeque<Bytes>>,
    out_bell: Notify,
    read_bell: Notify,
    closing: Cell<bool>,
    /// Nothing more is read, consumed or not what was.
    aborted: Cell<bool>,
}

impl Connection {
    /// A connection that was just made. Its tasks run until it ends; both are joined by whoever waits for `tasks`.
    pub fn start(stream: TcpStream, id: SessionId, inputs: &Rc<Inputs>) -> (Rc<Connection>, Tasks) {
        let connection = Rc::new(Connection {
            stream,
            window: RefCell::new(Some(ReceiveWindow::new(HANDSHAKE_FRAME_BYTES_MAX))),
            held: RefCell::default(),
            stopped: Cell::new(false),
            out: RefCell::default(),
            out_bell: Notify::new(),
            read_bell: Notify::new(),
            closing: Cell::new(false),
            aborted: Cell::new(false),
        });
        let (reader, writer) = (Rc::clone(&connection), Rc::clone(&connection));
        let (to_read, to_write) = (Rc::clone(inputs), Rc::clone(inputs));
        let tasks = Tasks {
            reader: tokio_uring::spawn(async move { reader.read(id, &to_read).await }),
            writer: tokio_uring::spawn(async move { writer.write(id, &to_write).await }),
        };
        (connection, tasks)
    }

    /// Gives the window to `look`, unless a read has it.
    pub fn with_window<T>(&self, look: impl FnOnce(&mut ReceiveWindow) -> T) -> Option<T> {
        self.window.borrow_mut().as_mut().map(look)
    }

    /// Gives the frames that were set aside to `look`.
    pub fn with_held<T>(&self, look: impl FnOnce(&mut HeldFrames) -> T) -> T {
        look(&mut self.held.borrow_mut())
    }

    /// Nothing is read until [`Connection::read_on`].
    pub fn stop_reading(&self) {
        self.stopped.set(true);
    }

    /// Whether nothing is read for want of room.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// The driver has consumed what it could: the next read may begin.
    pub fn read_on(&self) {
        self.stopped.set(false);
        self.read_bell.notify_one();
    }

    /// Queues bytes to be written.
    pub fn send(&self, pieces: Vec<Bytes>) {
        // A short piece is copied, and soon written with others: it does not hold a whole batch in memory meanwhile.
        let copied = pieces
            .into_iter()
            .map(|piece| if piece.len() < GATHER_BYTES_MAX { Bytes::copy_from_slice(&piece) } else { piece });
        self.out.borrow_mut().extend(copied);
        self.out_bell.notify_one();
    }

    /// Ends the connection once what is queued is written. A write that is stuck is for the caller to abort.
    pub fn close(&self) {
        self.closing.set(true);
        self.out_bell.notify_one();
    }

    /// Ends the connection at once. The reader reports it.
    pub fn abort(&self) {
        self.closing.set(true);
        self.aborted.set(true);
        self.out.borrow_mut().clear();
        // It fails only if the socket is not connected any more, which is what is wanted.
        drop(self.stream.shutdown(Shutdown::Both));
        self.out_bell.notify_one();
        self.read_bell.notify_one();
    }

    async fn read(&self, id: SessionId, inputs: &Inputs) {
        let reason = loop {
            // Invariant: only this task takes the window out, and it puts it back below.
            let mut window = self.window.borrow_mut().take().expect("the window is taken once at a time");
            let (memory, offset) = window.take_for_read();
            let (result, slice) = self.stream.read(memory.slice(offset..)).await;
            let count = *result.as_ref().unwrap_or(&0);
            window.filled(slice.into_inner(), count);
            *self.window.borrow_mut() = Some(window);
            match result {
                Ok(0) => break "the connection was closed".to_owned(),
                Ok(_) => inputs.push(Input::Received(id)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break format!("the connection broke: {error}"),
            }
            self.read_bell.notified().await;
            if self.aborted.get() {
                // Frames that wait for room may fill the window: there is none for a read that would see the end.
                break "the connection was closed".to_owned();
            }
        };
        self.abort();
        inputs.push(Input::Disconnected(id, reason));
    }

    async fn write(&self, id: SessionId, inputs: &Inputs) {
        loop {
            let pieces = gather(&mut self.out.borrow_mut());
            if pieces.is_empty() {
                if self.closing.get() {
                    self.abort();
                    return;
                }
                self.out_bell.notified().await;
                continue;
            }
            let outcome = self.write_all(pieces, id, inputs).await;
            if outcome.is_err() {
                // The reader sees the end of the connection too, and reports it.
                self.abort();
                return;
            }
        }
    }

    async fn write_all(&self, mut pieces: Vec<Bytes>, id: SessionId, inputs: &Inputs) -> io::Result<()> {
        while !pieces.is_empty() {
            let (result, returned) = self.stream.writev(pieces).await;
            pieces = returned;
            let mut written = match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            inputs.push(Input::Sent(id, written));
            let whole = pieces.iter().take_while(|piece| {
                let fits = piece.len() <= written;
                written -= if fits { piece.len() } else { 0 };
                fits
            });
            let whole = whole.count();
            pieces.drain(..whole);
            if let Some(first) = pieces.first_mut() {
                first.advance(written);
            }
        }
        Ok(())
    }
}

/// The tasks of a connection.
pub struct Tasks {
    reader: tokio::task::JoinHandle<()>,
    writer: tokio::task::JoinHandle<()>,
}

impl Tasks {
    /// Whether both are through.
    #[must_use]
    pub fn are_finished(&self) -> bool {
        self.reader.is_finished() && self.writer.is_finished()
    }

    /// Resolves when nothing of the connection is in the kernel's hands any more.
    pub async fn join(self) {
        // A task that panicked has nothing in the kernel's hands either: it panics between operations.
        drop(self.reader.await);
        drop(self.writer.await);
    }
}

/// What is written with one call: short pieces are copied together, long ones go as they lie.
fn gather(out: &mut VecDeque<Bytes>) -> Vec<Bytes> {
    let (mut pieces, mut short, mut bytes) = (Vec::new(), BytesMut::new(), 0);
    while let Some(piece) = out.front()
        && bytes < WRITE_BYTES_MAX
        && pieces.len() < WRITE_PIECES_MAX
    {
        bytes += piece.len();
        if piece.len() < GATHER_BYTES_MAX {
            short.extend_from_slice(piece);
        } else {
            if !short.is_empty() {
                pieces.push(short.split().freeze());
            }
            pieces.push(piece.clone());
        }
        out.pop_front();
    }
    if !short.is_empty() {
        pieces.push(short.freeze());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::format::frame::{FrameKind, append};
    use crate::limits::{FRAME_BYTES_MAX, RECEIVE_WINDOW_BYTES_MAX, RUN_BYTES_MAX};

    /// Polls until `so`: all that is waited for happens on this thread.
    async fn until(so: impl Fn() -> bool) {
        while !so() {
            tokio_uring::no_op().await.unwrap();
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_connection_that_is_aborted_while_its_window_is_full_reports_its_end() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = TcpStream::from_std(listener.accept().unwrap().0);
        let id = SessionId { key: 7, serial: 7 };
        tokio_uring::start(async {
            let inputs = Rc::new(Inputs::new(std::sync::Arc::default()));
            let (connection, tasks) = Connection::start(stream, id, &inputs);
            let mut frame = Vec::new();
            append(&mut frame, FrameKind::Interest, &vec![0; RUN_BYTES_MAX]);
            peer.write_all(&frame[..100]).unwrap();
            until(|| !inputs.is_empty()).await;
            // More than fits has come, and of what fits nothing is consumed: there is no room for the next frame.
            let unread = connection.with_window(|window| {
                window.set_frame_bytes_max(FRAME_BYTES_MAX);
                let mut at = 100;
                while window.unread().len() < RECEIVE_WINDOW_BYTES_MAX {
                    at = (at + window.push(&frame[at..])) % frame.len();
                }
                window.unread().len()
            });
            assert_eq!(unread, Some(RECEIVE_WINDOW_BYTES_MAX));
            connection.stop_reading();
            connection.abort();
            tasks.join().await;
            let is_its_end = |input: &Input| matches!(input, Input::Disconnected(of, _) if *of == id);
            assert_eq!(inputs.take().iter().filter(|input| is_its_end(input)).count(), 1);
        });
    }

    #[test]
    fn short_pieces_are_gathered_and_long_ones_are_not_copied() {
        let long = Bytes::from(vec![7; GATHER_BYTES_MAX]);
        let mut out: VecDeque<Bytes> =
            [Bytes::from_static(b"a"), Bytes::from_static(b"b"), long.clone(), Bytes::from_static(b"c")]
                .into();
        let pieces = gather(&mut out);
        assert!(out.is_empty());
        assert_eq!(pieces, [Bytes::from_static(b"ab"), long.clone(), Bytes::from_static(b"c")]);
        assert_eq!(pieces[1].as_ptr(), long.as_ptr());
    }
}
