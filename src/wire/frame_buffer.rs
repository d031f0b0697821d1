//! Received bytes in, whole frames out, wherever the reads happened to end.
//!
//! ```text
//!  0          consumed              received         capacity
//!  +----------+---------------------+----------------+
//!  | done     | not yet a frame     | room to read   |
//!  +----------+---------------------+----------------+
//!
//!  consumed <= received <= capacity <= RECEIVE_WINDOW_BYTES_MAX, of a stranger HANDSHAKE_WINDOW_BYTES_MAX
//! ```
//!
//! The kernel reads straight into the window: its memory is taken out for the read and put back afterwards, and the
//! frames that come out are slices of it. Bytes move only when the room behind them is too short, and then it is the
//! start of one frame that moves. Memory grows only for a frame whose header was verified and whose length is
//! allowed, so a peer that announces much and sends little costs no more than it sent, rounded up to one frame. It grows
//! for a peer that fills every read too, but not for one of whom nothing is known.

use crate::format::frame::{FRAME_HEADER_BYTES, FrameDefect, FrameHeader, FrameView};
use crate::limits::{
    FRAME_BYTES_MAX, HANDSHAKE_FRAME_BYTES_MAX, HANDSHAKE_WINDOW_BYTES_MAX, READ_BYTES_MAX, READ_BYTES_MIN,
    RECEIVE_WINDOW_BYTES_MAX,
};

const _: () = assert!(RECEIVE_WINDOW_BYTES_MAX == FRAME_BYTES_MAX + FRAME_HEADER_BYTES + READ_BYTES_MAX);

/// The frame at the start of `window` and its whole length; `None` if more bytes are needed. A frame with more than
/// `frame_bytes_max` bytes after its header is refused as soon as its header is there.
///
/// Of a run the records are not verified yet: see [`verify_run`](super::records::verify_run).
pub fn next_frame(
    window: &[u8],
    frame_bytes_max: usize,
) -> Result<Option<(FrameView<'_>, usize)>, FrameDefect> {
    match bytes_of_next_frame(window, frame_bytes_max)? {
        Some(bytes) if bytes <= window.len() => FrameView::parse(window),
        _ => Ok(None),
    }
}

/// Bytes of the frame at the start of `window`, header included, if its header is there and allowed.
fn bytes_of_next_frame(window: &[u8], frame_bytes_max: usize) -> Result<Option<usize>, FrameDefect> {
    let Some((header, _)) = FrameHeader::parse(window)? else { return Ok(None) };
    let length = header.length.get();
    if length as usize > frame_bytes_max {
        return Err(FrameDefect::Oversized(length));
    }
    Ok(Some(FRAME_HEADER_BYTES + length as usize))
}

/// The bytes of one session that have been received and are not yet consumed. See the module for the picture.
///
/// One turn: [`take_for_read`](Self::take_for_read), read behind what is there, [`filled`](Self::filled), then
/// [`next_frame`](Self::next_frame) until there is none; or, to look at several frames at once, the function
/// [`next_frame`] over [`unread`](Self::unread), and [`consume`](Self::consume).
#[derive(Debug)]
pub struct ReceiveWindow {
    /// Its length is `received`, except while a read has it.
    bytes: Vec<u8>,
    consumed: usize,
    received: usize,
    taken: bool,
    /// Room that the next read is to be offered; half of it will do.
    read_bytes: usize,
    frame_bytes_max: usize,
    /// Memory that there may be: what the longest frame takes that was ever allowed. A session that is over is allowed
    /// less than before, and still has what it has.
    bytes_max: usize,
}

impl ReceiveWindow {
    /// A window without memory, which takes frames of at most `frame_bytes_max` bytes after the header.
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> ReceiveWindow {
        assert!(frame_bytes_max <= FRAME_BYTES_MAX);
        ReceiveWindow {
            bytes: Vec::new(),
            consumed: 0,
            received: 0,
            taken: false,
            read_bytes: READ_BYTES_MIN,
            frame_bytes_max,
            bytes_max: bytes_for(frame_bytes_max),
        }
    }

    /// From the next frame on, takes frames of at most that many bytes after the header: more is allowed to a peer
    /// that has proved who it is. The frame that proves it and a long one may lie in the window together, so this
    /// must be said before the next frame is asked for.
    pub fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        assert!(frame_bytes_max <= FRAME_BYTES_MAX);
        self.frame_bytes_max = frame_bytes_max;
        self.bytes_max = self.bytes_max.max(bytes_for(frame_bytes_max));
    }

    /// The next whole frame, which is consumed by that; `None` if more must be read first. After a defect nothing
    /// that follows can be told apart: the session ends.
    pub fn next_frame(&mut self) -> Result<Option<FrameView<'_>>, FrameDefect> {
        assert!(!self.taken);
        let Some((frame, bytes)) = next_frame(&self.bytes[self.consumed..], self.frame_bytes_max)? else {
            return Ok(None);
        };
        self.consumed += bytes;
        Ok(Some(frame))
    }

    /// All bytes that are received and not consumed.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        assert!(!self.taken);
        &self.bytes[self.consumed..]
    }

    /// The first `count` unread bytes are done with.
    pub fn consume(&mut self, count: usize) {
        assert!(!self.taken && count <= self.received - self.consumed);
        self.consumed += count;
    }

    /// How many more bytes must come before there can be another frame; 0 if there is one, or a defect, already.
    #[must_use]
    pub fn wants_bytes_at_least(&self) -> usize {
        let unread = self.unread();
        match bytes_of_next_frame(unread, self.frame_bytes_max) {
            Ok(Some(bytes)) => bytes.saturating_sub(unread.len()),
            Ok(None) => FRAME_HEADER_BYTES - unread.len(),
            Err(_) => 0,
        }
    }

    /// The memory to read into, and the offset in it from which to read: its length, so that a vector extended by
    /// what was read is what [`filled`](Self::filled) expects back. There is room for at least
    /// [`wants_bytes_at_least`](Self::wants_bytes_at_least) bytes, and always for some.
    ///
    /// Panics if whole frames are left unread so that they would have to be kept beyond the bound.
    #[must_use]
    pub fn take_for_read(&mut self) -> (Vec<u8>, usize) {
        self.make_room(self.wants_bytes_at_least());
        self.taken = true;
        (std::mem::take(&mut self.bytes), self.received)
    }

    /// Puts the memory back, `count` bytes having been read into it; 0 if the read failed.
    pub fn filled(&mut self, bytes: Vec<u8>, count: usize) {
        assert!(self.taken, "only what was taken is put back");
        assert!(bytes.len() == self.received + count, "bytes are read behind those that are there");
        let filled_up = bytes.len() == bytes.capacity();
        self.bytes = bytes;
        self.received += count;
        self.taken = false;
        // A peer that fills every read has more to say: fewer, longer reads.
        if filled_up && self.bytes_max > HANDSHAKE_WINDOW_BYTES_MAX {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        self.check_invariants();
    }

    /// Copies bytes in, as if they had been read, and says how many found room: at least one, if any were given.
    #[must_use = "what found no room must be pushed again"]
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let (mut memory, offset) = self.take_for_read();
        let count = bytes.len().min(memory.capacity() - offset);
        memory.extend_from_slice(&bytes[..count]);
        self.filled(memory, count);
        count
    }

    /// Gives the memory back if nothing is unread: for a session that has been silent for a while.
    pub fn release_if_idle(&mut self) {
        if !self.taken && self.consumed == self.received {
            *self = ReceiveWindow::new(self.frame_bytes_max);
        }
    }

    /// Bytes of memory that the window owns, or has lent to a read; for status and tests.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The chain in the module's picture. While a read has the memory only its first link can be told.
    pub fn check_invariants(&self) {
        assert!(self.consumed <= self.received);
        assert!((READ_BYTES_MIN..=READ_BYTES_MAX).contains(&self.read_bytes));
        if !self.taken {
            assert!(self.bytes.len() == self.received);
            assert!(self.received <= self.bytes.capacity());
            assert!(self.bytes.capacity() <= self.bytes_max);
        }
    }

    /// Makes room behind the bytes received: as it is, or by moving what is unread to the front, or to more memory.
    fn make_room(&mut self, wants_bytes: usize) {
        // Half of what a read is to be offered will do, or a small rest would cost a move or new memory each time.
        let least = wants_bytes.max(self.read_bytes / 2);
        let unread = self.received - self.consumed;
        if unread > 0 && self.bytes.capacity() - self.received >= least {
            return;
        }
        if unread + least <= self.bytes.capacity() {
            self.bytes.copy_within(self.consumed.., 0);
            self.bytes.truncate(unread);
        } else {
            assert!(unread + least <= self.bytes_max, "frames are consumed before more is read");
            let most = (unread + wants_bytes.max(self.read_bytes)).next_power_of_two();
            let mut larger = Vec::with_capacity(most.min(self.bytes_max));
            larger.extend_from_slice(&self.bytes[self.consumed..]);
            self.bytes = larger;
        }
        (self.consumed, self.received) = (0, unread);
    }
}

/// Memory for frames of that length.
const fn bytes_for(frame_bytes_max: usize) -> usize {
    if frame_bytes_max <= HANDSHAKE_FRAME_BYTES_MAX {
        HANDSHAKE_WINDOW_BYTES_MAX
    } else {
        RECEIVE_WINDOW_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::frame::{self, FrameKind};
    use crate::limits::HANDSHAKE_FRAME_BYTES_MAX;

    fn frame(kind: FrameKind, body_bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        frame::append(&mut out, kind, &vec![0x5a; body_bytes]);
        out
    }

    fn push_all(window: &mut ReceiveWindow, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = window.push(bytes);
            assert!(count > 0);
            bytes = &bytes[count..];
        }
    }

    #[test]
    fn frames_come_out_whole_and_in_order_whatever_the_reads() {
        let stream: Vec<u8> = (0..40).flat_map(|n| frame(FrameKind::ALL[n % 6], n * 37)).collect();
        for chunk_bytes in [1, 7, 16, 17, 1000, stream.len()] {
            let mut window = ReceiveWindow::new(FRAME_BYTES_MAX);
            let mut seen = Vec::new();
            for chunk in stream.chunks(chunk_bytes) {
                push_all(&mut window, chunk);
                while let Some(frame) = window.next_frame().unwrap() {
                    seen.push((frame.kind, frame.body.len()));
                }
                window.check_invariants();
            }
            let expected: Vec<_> = (0..40).map(|n| (FrameKind::ALL[n % 6], n * 37)).collect();
            assert_eq!(seen, expected, "in chunks of {chunk_bytes}");
        }
    }

    #[test]
    fn memory_does_not_grow_for_a_length_that_is_not_allowed() {
        let mut window = ReceiveWindow::new(HANDSHAKE_FRAME_BYTES_MAX);
        let long = frame(FrameKind::Hello, HANDSHAKE_FRAME_BYTES_MAX + 1);
        push_all(&mut window, &long[..FRAME_HEADER_BYTES]);
        assert_eq!(window.next_frame().err(), Some(FrameDefect::Oversized(4097)));
        let _ = window.push(&long[FRAME_HEADER_BYTES..]);
        assert_eq!(window.capacity(), READ_BYTES_MIN);
    }

    #[test]
    fn a_proved_peer_may_send_longer_frames_from_the_next_one_on() {
        let mut window = ReceiveWindow::new(HANDSHAKE_FRAME_BYTES_MAX);
        push_all(&mut window, &frame(FrameKind::Established, 32));
        push_all(&mut window, &frame(FrameKind::Interest, 5000));
        assert_eq!(window.next_frame().unwrap().map(|f| f.kind), Some(FrameKind::Established));
        assert!(window.next_frame().is_err());
        window.set_frame_bytes_max(FRAME_BYTES_MAX);
        assert_eq!(window.next_frame().unwrap().map(|f| f.kind), Some(FrameKind::Interest));
    }

    // It grew to half a megabyte for whoever sent many short frames, before anything was known of it.
    #[test]
    fn a_stranger_that_fills_every_read_gets_no_more_memory_for_it() {
        let mut window = ReceiveWindow::new(HANDSHAKE_FRAME_BYTES_MAX);
        let short = frame(FrameKind::Heartbeat, 0).repeat(1000);
        let long = frame(FrameKind::Hello, HANDSHAKE_FRAME_BYTES_MAX);
        for bytes in [&short, &long, &short, &long] {
            for _ in 0..20 {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    rest = &rest[window.push(rest)..];
                    while window.next_frame().unwrap().is_some() {}
                    assert!(window.capacity() <= HANDSHAKE_WINDOW_BYTES_MAX, "{}", window.capacity());
                }
            }
        }
        window.set_frame_bytes_max(FRAME_BYTES_MAX);
        // More than the window has room for, so that it is filled up.
        let long = short.repeat(2);
        for _ in 0..100 {
            push_all(&mut window, &long);
            while window.next_frame().unwrap().is_some() {}
        }
        assert!(window.capacity() > HANDSHAKE_WINDOW_BYTES_MAX, "a peer does");
        // Its session ends, and a read is still on its way.
        window.set_frame_bytes_max(HANDSHAKE_FRAME_BYTES_MAX);
        push_all(&mut window, b"rs");
        assert!(window.capacity() > HANDSHAKE_WINDOW_BYTES_MAX);
    }

    #[test]
    fn memory_grows_to_one_frame_and_one_read_and_no_further() {
        let mut window = ReceiveWindow::new(FRAME_BYTES_MAX);
        let largest = frame(FrameKind::Interest, FRAME_BYTES_MAX);
        for _ in 0..5 {
            push_all(&mut window, &largest);
            assert_eq!(window.next_frame().unwrap().map(|f| f.body.len()), Some(FRAME_BYTES_MAX));
        }
        assert!(window.capacity() > FRAME_BYTES_MAX && window.capacity() <= RECEIVE_WINDOW_BYTES_MAX);
        window.release_if_idle();
        assert_eq!(window.capacity(), 0);
    }

    #[test]
    fn what_is_wanted_is_the_rest_of_the_header_and_then_of_the_frame() {
        let mut window = ReceiveWindow::new(FRAME_BYTES_MAX);
        let bytes = frame(FrameKind::Goodbye, 100);
        assert_eq!(window.wants_bytes_at_least(), 16);
        push_all(&mut window, &bytes[..10]);
        assert_eq!(window.wants_bytes_at_least(), 6);
        push_all(&mut window, &bytes[10..20]);
        assert_eq!(window.wants_bytes_at_least(), 96);
        push_all(&mut window, &bytes[20..]);
        assert_eq!(window.wants_bytes_at_least(), 0);
        assert!(window.next_frame().unwrap().is_some());
        push_all(&mut window, &frame(FrameKind::Interest, FRAME_BYTES_MAX)[..17]);
        let (memory, offset) = window.take_for_read();
        assert!(memory.capacity() - offset >= FRAME_BYTES_MAX - 1, "there is room for all that is wanted");
    }

    #[test]
    fn bytes_stay_where_they_are_while_there_is_room() {
        let mut window = ReceiveWindow::new(FRAME_BYTES_MAX);
        let bytes = [frame(FrameKind::Goodbye, 100), frame(FrameKind::Goodbye, 100)].concat();
        push_all(&mut window, &bytes[..130]);
        let (memory, offset) = window.take_for_read();
        let place = memory.as_ptr();
        assert_eq!(offset, 130);
        window.filled(memory, 0);
        assert!(window.next_frame().unwrap().is_some());
        let (memory, offset) = window.take_for_read();
        assert_eq!((offset, memory.as_ptr()), (130, place));
    }

    #[test]
    fn several_frames_are_seen_at_once_and_consumed_together() {
        let mut window = ReceiveWindow::new(FRAME_BYTES_MAX);
        let bytes = [frame(FrameKind::Proof, 3), frame(FrameKind::Goodbye, 4), vec![b'r']].concat();
        push_all(&mut window, &bytes);
        let unread = window.unread();
        let (first, length) = next_frame(unread, FRAME_BYTES_MAX).unwrap().unwrap();
        let (second, more) = next_frame(&unread[length..], FRAME_BYTES_MAX).unwrap().unwrap();
        assert_eq!((first.kind, second.kind), (FrameKind::Proof, FrameKind::Goodbye));
        window.consume(length + more);
        assert_eq!(window.unread(), b"r");
    }

    #[test]
    #[should_panic(expected = "behind those that are there")]
    fn memory_put_back_must_hold_what_was_read() {
        let mut window = ReceiveWindow::new(FRAME_BYTES_MAX);
        let (memory, _) = window.take_for_read();
        window.filled(memory, 1);
    }
}
