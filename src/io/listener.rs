//! Accepts peers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};

use super::inputs::{Input, Inputs};
use crate::limits::ACCEPT_PAUSE_MS;

/// The socket that peers connect to. Dropping it does not end the task; [`Listener::end`] does.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// A listener on a socket that is bound.
    #[must_use]
    pub fn new(socket: TcpListener) -> Listener {
        Listener { socket }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// As from getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts peers until it is ended.
    ///
    /// # Errors
    /// There can be no second descriptor of the socket.
    pub fn start(&self, inputs: &Rc<Inputs>) -> io::Result<tokio::task::JoinHandle<()>> {
        let listener = tokio_uring::net::TcpListener::from_std(self.socket.try_clone()?);
        let inputs = Rc::clone(inputs);
        Ok(tokio_uring::spawn(async move { accept(&listener, &inputs).await }))
    }

    /// No more peers are accepted, and the task ends.
    pub fn end(&self) {
        // It fails only if the socket does not listen any more.
        shutdown(self.socket.as_raw_fd(), Shutdown::Both).unwrap_or_default();
    }
}

async fn accept(listener: &tokio_uring::net::TcpListener, inputs: &Inputs) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match stream.set_nodelay(true) {
                Ok(()) => inputs.push(Input::Accepted(stream)),
                Err(error) => inputs.push(Input::AcceptFailed(error)),
            },
            // The socket was shut down.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                let brief = error.kind() == io::ErrorKind::ConnectionAborted;
                inputs.push(Input::AcceptFailed(error));
                // Out of descriptors or memory: a pause, or this would spin.
                if !brief {
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }
}
