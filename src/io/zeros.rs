//! Zeros to write to a file.
#![forbid(unsafe_code)]

use crate::limits::{BLOCK_BYTES, PREWRITE_PIECE_BYTES};

/// One piece of zeros, where O_DIRECT takes it from.
#[repr(align(4096))]
pub(super) struct Zeros([u8; PREWRITE_PIECE_BYTES]);

impl Zeros {
    pub(super) fn new() -> Box<Zeros> {
        Box::new(Zeros([0; PREWRITE_PIECE_BYTES]))
    }

    /// All of it, or as much as is left.
    pub(super) fn piece(&self, left: u64) -> &[u8] {
        // Fits: no more than a piece.
        &self.0[..left.min(PREWRITE_PIECE_BYTES as u64) as usize]
    }
}

const _: () = assert!(align_of::<Zeros>() == BLOCK_BYTES);
