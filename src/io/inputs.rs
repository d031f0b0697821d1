//! What the tasks of the engine's thread report to the driver.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio_uring::net::TcpStream;

use super::wake::Wake;
use crate::engine::effect::SessionId;
use crate::ids::BatchNumber;
use crate::log::index::Span;

/// One report.
pub enum Input {
    /// A log write is done.
    Written(BatchNumber, io::Result<()>),
    /// A piece of the log was read.
    Read(Span, io::Result<Bytes>),
    /// A peer connected.
    Accepted(TcpStream),
    /// Peers can no longer connect, for a while.
    AcceptFailed(io::Error),
    /// Bytes came.
    Received(SessionId),
    /// Bytes were taken by the socket.
    Sent(SessionId, usize),
    /// A connection ended, for that reason.
    Disconnected(SessionId, String),
}

/// The reports that the driver has not taken yet.
pub struct Inputs {
    queue: RefCell<Vec<Input>>,
    wake: Arc<Wake>,
}

impl Inputs {
    /// An empty queue; `wake` is rung for each report.
    #[must_use]
    pub fn new(wake: Arc<Wake>) -> Inputs {
        Inputs { queue: RefCell::default(), wake }
    }

    /// Reports something.
    pub fn push(&self, input: Input) {
        self.queue.borrow_mut().push(input);
        self.wake.ring();
    }

    /// Takes all reports.
    #[must_use]
    pub fn take(&self) -> Vec<Input> {
        std::mem::take(&mut self.queue.borrow_mut())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }
}
