//! Those who are connected to the control socket.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::desk::Listener;
use crate::io::{clock, unix_socket};
use crate::limits::{CONTROL_CONNECTIONS_MAX, CONTROL_STALL_MS};

/// All of them, each by a number.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    is_over: bool,
    all: BTreeMap<u64, Guest>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    stream: Arc<UnixStream>,
    /// When it last took something, or waited for nothing.
    moved_at: Arc<AtomicU64>,
}

/// A place among them, which is free again however it ends.
pub(super) struct Seat<'a> {
    guests: &'a Guests,
    number: u64,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.guests.inner().all.remove(&self.number);
    }
}

impl Guests {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one in. Where all places are taken, it gets that of whoever has taken nothing for longest, if that is long; `None` if
    /// there is no such one.
    pub(super) fn take_in(&self, guest: Guest) -> Option<u64> {
        let mut inner = self.inner();
        if inner.is_over {
            return None;
        }
        if inner.all.len() >= CONTROL_CONNECTIONS_MAX {
            let (moved_at, number) = inner
                .all
                .iter()
                .map(|(number, guest)| (guest.moved_at.load(Ordering::Relaxed), *number))
                .min()?;
            if guest.moved_at.load(Ordering::Relaxed).saturating_sub(moved_at) < CONTROL_STALL_MS * 1_000_000
            {
                return None;
            }
            inner.all.remove(&number)?.cut_off();
        }
        let number = inner.next;
        inner.next += 1;
        inner.all.insert(number, guest);
        Some(number)
    }

    /// The place with that number, for whoever serves it.
    pub(super) fn seat(&self, number: u64) -> Seat<'_> {
        Seat { guests: self, number }
    }

    /// Cuts off all of them, and takes in no more.
    pub(super) fn end(&self) {
        let mut inner = self.inner();
        inner.is_over = true;
        inner.all.values().for_each(Guest::cut_off);
    }
}

impl Guest {
    pub(super) fn new(stream: UnixStream) -> Guest {
        Guest { stream: Arc::new(stream), moved_at: Arc::new(AtomicU64::new(clock::now().monotonic.0)) }
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    fn moved(&self) {
        self.moved_at.store(clock::now().monotonic.0, Ordering::Relaxed);
    }

    fn cut_off(&self) {
        // One that is closed already is what is wanted.
        drop(self.stream.shutdown(Shutdown::Both));
    }
}

impl Write for &Guest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream().write(bytes)?;
        self.moved();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream().flush()
    }
}

impl Listener for Guest {
    fn listen(&self) -> io::Result<()> {
        self.moved();
        if unix_socket::has_gone(&self.stream) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(moved_at: u64) -> (Guest, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        let guest = Guest::new(here);
        guest.moved_at.store(moved_at, Ordering::Relaxed);
        (guest, there)
    }

    #[test]
    fn whoever_takes_nothing_for_long_makes_room() {
        let guests = Guests::default();
        let begun = 1_000_000_000;
        let all: Vec<_> = (0..CONTROL_CONNECTIONS_MAX as u64).map(|n| guest(begun + n)).collect();
        for (number, (guest, _)) in all.iter().enumerate() {
            assert_eq!(guests.take_in(guest.clone()), Some(number as u64));
        }
        let patience = CONTROL_STALL_MS * 1_000_000;
        let (early, _there) = guest(begun + patience - 1);
        assert_eq!(guests.take_in(early), None);
        // The first one takes something after all.
        all[0].0.moved();
        let (late, _there) = guest(begun + 1 + patience);
        assert_eq!(guests.take_in(late), Some(CONTROL_CONNECTIONS_MAX as u64));
        assert!(unix_socket::has_gone(&all[1].1) && !unix_socket::has_gone(&all[0].1));
    }

    #[test]
    fn a_place_is_free_again_and_in_the_end_none_is() {
        let guests = Guests::default();
        let (one, there) = guest(0);
        let number = guests.take_in(one.clone()).unwrap();
        drop(guests.seat(number));
        assert!(guests.inner().all.is_empty());
        let _kept = guests.take_in(one.clone()).unwrap();
        guests.end();
        assert!(unix_socket::has_gone(&there));
        assert_eq!(guests.take_in(one), None);
    }
}
