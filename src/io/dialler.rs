//! Makes connections on threads of their own: a name may take its time to be looked up, and a host to answer.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::address::Address;
use crate::limits::{DIALS_AT_ONCE_MAX, HANDSHAKE_TIMEOUT_MS};

#[derive(Default)]
struct Queue {
    waiting: VecDeque<String>,
    threads: usize,
}

/// What is told of each attempt: the address, and the connection or why there is none.
pub type Report = dyn Fn(String, io::Result<TcpStream>) + Send + Sync;

/// The dialler of one node. Threads live as long as there is something to dial.
#[derive(Clone)]
pub struct Dialler {
    queue: Arc<Mutex<Queue>>,
    report: Arc<Report>,
}

impl Dialler {
    /// A dialler that tells `report` what came of each attempt.
    #[must_use]
    pub fn new(report: Arc<Report>) -> Dialler {
        Dialler { queue: Arc::default(), report }
    }

    /// Dials an address; the report comes later.
    pub fn dial(&self, address: String) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.push_back(address);
        if queue.threads < DIALS_AT_ONCE_MAX {
            let dialler = self.clone();
            let spawned =
                std::thread::Builder::new().name("resolute-dial".to_owned()).spawn(move || dialler.run());
            match spawned {
                Ok(_) => queue.threads += 1,
                Err(error) if queue.threads == 0 => {
                    let address = queue.waiting.pop_back();
                    drop(queue);
                    address
                        .into_iter()
                        .for_each(|address| (self.report)(address, Err(io::Error::from(error.kind()))));
                }
                // Those that run will come to it.
                Err(_) => {}
            }
        }
    }

    fn run(&self) {
        loop {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(address) = queue.waiting.pop_front() else {
                queue.threads -= 1;
                return;
            };
            drop(queue);
            let outcome = connect(&address);
            (self.report)(address, outcome);
        }
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let parsed: Address =
        address.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
    for socket in parsed.resolve()? {
        match TcpStream::connect_timeout(&socket, Duration::from_millis(HANDSHAKE_TIMEOUT_MS)) {
            // A port of our own that nobody listens at may be connected to itself.
            Ok(stream) if stream.local_addr().ok() == stream.peer_addr().ok() => {
                last = io::Error::from(io::ErrorKind::ConnectionRefused);
            }
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
