//! Frames of one session that find no room on a full disk, set aside so that those behind them are heard: what a peer
//! acknowledges is what makes room.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::format::frame::FrameKind;
use crate::limits::HELD_BYTES_MAX;

/// The frames, in their order.
#[derive(Debug, Default)]
pub struct HeldFrames {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl HeldFrames {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a frame is to wait for those before it. Those that make room, or say that a peer is alive, overtake.
    #[must_use]
    pub fn are_before(&self, kind: FrameKind) -> bool {
        !self.is_empty() && !matches!(kind, FrameKind::Ack | FrameKind::Heartbeat)
    }

    /// Sets a whole frame aside. Returns whether there was room: a peer that keeps to its credit finds some.
    pub fn push(&mut self, frame: &[u8]) -> bool {
        let fits = self.bytes + frame.len() <= HELD_BYTES_MAX;
        if fits {
            self.bytes += frame.len();
            self.frames.push_back(Bytes::copy_from_slice(frame));
        }
        fits
    }

    /// The first frame.
    #[must_use]
    pub fn front(&self) -> Option<Bytes> {
        self.frames.front().cloned()
    }

    /// The first frame is done with.
    pub fn pop(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_in_their_order_and_are_bounded() {
        let mut held = HeldFrames::default();
        assert!(held.push(b"a") && held.push(&vec![b'b'; HELD_BYTES_MAX - 1]));
        assert!(!held.push(b"c"));
        assert_eq!(held.front().unwrap(), "a");
        held.pop();
        assert!(held.push(b"c"));
        held.pop();
        assert_eq!(held.front().unwrap(), "c");
        held.pop();
        assert!(held.is_empty() && held.front().is_none());
    }

    #[test]
    fn only_what_makes_room_overtakes() {
        let mut held = HeldFrames::default();
        assert!(!held.are_before(FrameKind::Run));
        assert!(held.push(b"a"));
        assert!(held.are_before(FrameKind::Run) && held.are_before(FrameKind::Goodbye));
        assert!(!held.are_before(FrameKind::Ack) && !held.are_before(FrameKind::Heartbeat));
    }
}
