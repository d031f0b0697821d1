//! A door before a node's port, where there is no network of our own: connections that others make to the node pass
//! through it, and it can be shut.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How often each thread looks whether the door is still as it was.
const LOOK: Duration = Duration::from_millis(10);

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    All = 0,
    /// Only what is said to the node.
    Inwards = 1,
    Nothing = 2,
}

#[derive(Default)]
struct State {
    passes: AtomicU8,
    /// Raised when all connections are to break.
    break_count: AtomicU64,
    connections: AtomicUsize,
    is_closed: AtomicBool,
}

/// See the module. Closed when this is dropped.
pub struct Door {
    state: Arc<State>,
}

impl Door {
    /// A door at `outside` to the port `inside`.
    pub fn open(outside: u16, inside: u16) -> Result<Door, String> {
        let listener = TcpListener::bind(("127.0.0.1", outside));
        let listener = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        let listener = listener.map_err(|error| format!("port {outside}: {error}"))?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || admit(&listener, inside, &shared));
        Ok(Door { state })
    }

    pub fn set(&self, passes: Passes) {
        self.state.passes.store(passes as u8, Ordering::SeqCst);
    }

    /// Breaks all connections; says how many there were.
    pub fn reset(&self) -> usize {
        self.state.break_count.fetch_add(1, Ordering::SeqCst);
        self.connections()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.state.is_closed.store(true, Ordering::SeqCst);
    }
}

fn admit(listener: &TcpListener, inside: u16, state: &Arc<State>) {
    while !state.is_closed.load(Ordering::SeqCst) {
        let Ok((outer, _)) = listener.accept() else {
            std::thread::sleep(LOOK);
            continue;
        };
        let state = Arc::clone(state);
        // Whoever knocks while the node is away is told so: the connection ends.
        std::thread::spawn(move || {
            let Ok(inner) = TcpStream::connect(("127.0.0.1", inside)) else { return };
            drop(pass(&outer, &inner, &state));
        });
    }
}

/// Carries both directions until one side ends it, or the door does.
fn pass(outer: &TcpStream, inner: &TcpStream, state: &Arc<State>) -> std::io::Result<()> {
    let epoch = state.break_count.load(Ordering::SeqCst);
    for stream in [outer, inner] {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(LOOK))?;
    }
    let (back_from, back_to, shared) = (inner.try_clone()?, outer.try_clone()?, Arc::clone(state));
    state.connections.fetch_add(1, Ordering::SeqCst);
    let back = std::thread::spawn(move || carry(&back_from, &back_to, Passes::All, epoch, &shared));
    carry(outer, inner, Passes::Inwards, epoch, state);
    drop(back.join());
    state.connections.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

/// Carries one direction while as much as `needs` passes.
fn carry(mut from: &TcpStream, mut to: &TcpStream, needs: Passes, epoch: u64, state: &State) {
    let mut bytes = vec![0; 64 << 10];
    let mut held = 0..0;
    let is_over =
        || state.is_closed.load(Ordering::SeqCst) || state.break_count.load(Ordering::SeqCst) != epoch;
    while !is_over() {
        if state.passes.load(Ordering::SeqCst) > needs as u8 {
            std::thread::sleep(LOOK);
            continue;
        }
        let done = if held.is_empty() {
            from.read(&mut bytes).inspect(|count| held = 0..*count)
        } else {
            to.write(&bytes[held.clone()]).inspect(|count| held.start += count)
        };
        match done {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // What is left of the connection says so on both sides, and the other direction ends too.
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
