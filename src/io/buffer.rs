//! The memory of the log's batches: who may touch which bytes of it.
//!
//! A buffer has one owner while it is filled ([`Buffer`]). Frozen, it is shared by the write in flight, the ring of
//! recent batches and the sockets ([`SharedBuffer`], [`BufferSlice`]), and goes back to its pool when the last of
//! them lets go.
//!
//! This is the one file with `unsafe` in it. What it rests on: there is one `Block` for each stretch of memory, it
//! cannot be made or copied outside this file, and only a lease that owns it reads or writes there.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::ffi::c_void;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use tokio_uring::buf::{IoBuf, IoBufMut};

use crate::io::buffer_pool::Shelf;
use crate::limits::{BATCH_BYTES_MAX, BLOCK_BYTES, BUFFERS_REGISTERED};

/// Whole pages from the kernel, zeroed, at an address that never changes. They are given back with the last clone
/// of the `Arc` around this.
struct Pages {
    start: NonNull<u8>,
    bytes: NonZeroUsize,
}

// SAFETY: this is the ownership of a mapping and nothing that reads or writes it. Who may touch which bytes is the
// business of `Lease`, and pages do not care which thread unmaps them.
unsafe impl Send for Pages {}
// SAFETY: as above; `&Pages` gives an address, and no access to what lies there.
unsafe impl Sync for Pages {}

impl Pages {
    /// Room for `blocks` buffers. As with any allocation, the process ends if there is no memory.
    fn map(blocks: usize) -> Arc<Pages> {
        assert!(blocks > 0);
        let bytes = NonZeroUsize::MIN.saturating_add(blocks * BATCH_BYTES_MAX - 1);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new private mapping at an address of the kernel's choice takes no memory from anybody.
        let mapping = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_PRIVATE) };
        let Ok(start) = mapping else { handle_alloc_error(Layout::new::<[u8; BATCH_BYTES_MAX]>()) };
        assert!(start.as_ptr().addr().is_multiple_of(BLOCK_BYTES), "a page holds whole blocks");
        Arc::new(Pages { start: start.cast(), bytes })
    }

    fn block(&self, index: usize) -> NonNull<u8> {
        let offset = index * BATCH_BYTES_MAX;
        assert!(offset + BATCH_BYTES_MAX <= self.bytes.get());
        // SAFETY: the assert above: the block lies in the mapping.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and whole. Every lease, and the kernel's registration, holds the Arc around
        // `self`, so nothing points here any more.
        let unmapped = unsafe { munmap(self.start.cast::<c_void>(), self.bytes.get()) };
        assert!(unmapped.is_ok(), "our own mapping can be unmapped");
    }
}

/// One buffer's worth of pages. There is one `Block` for each at any time: idle in the pool, or in a lease.
pub(super) struct Block {
    pages: Arc<Pages>,
    /// Which buffer of the region this is; `None` for one that has its pages to itself.
    slot: Option<usize>,
}

impl Block {
    /// A block in a mapping of its own.
    pub(super) fn alone() -> Block {
        Block { pages: Pages::map(1), slot: None }
    }

    /// Which buffer of the region this is, if it is one.
    pub(super) fn slot(&self) -> Option<usize> {
        self.slot
    }

    fn address(&self) -> NonNull<u8> {
        self.pages.block(self.slot.unwrap_or(0))
    }
}

/// The mapping that the kernel may register: [`BUFFERS_REGISTERED`] blocks in a row.
pub(super) struct Region {
    pages: Arc<Pages>,
}

impl Region {
    /// A region and all its blocks.
    pub(super) fn map() -> (Region, Vec<Block>) {
        let pages = Pages::map(BUFFERS_REGISTERED);
        let block = |slot| Block { pages: Arc::clone(&pages), slot: Some(slot) };
        let blocks = (0..BUFFERS_REGISTERED).map(block).collect();
        (Region { pages }, blocks)
    }

    /// Its slots in order, to be registered.
    pub(super) fn slots(&self) -> impl Iterator<Item = RegionSlot> {
        (0..BUFFERS_REGISTERED).map(|slot| RegionSlot { pages: Arc::clone(&self.pages), slot })
    }
}

/// A slot of the region as tokio-uring's registry wants it. It only ever tells an address: nothing is read or written
/// through it.
pub(super) struct RegionSlot {
    pages: Arc<Pages>,
    slot: usize,
}

// SAFETY: the address is in a mapping that `self` keeps alive and that never moves. No byte of it is said to be
// initialised, so that no slice made by tokio-uring covers bytes that a lease owns.
unsafe impl IoBuf for RegionSlot {
    fn stable_ptr(&self) -> *const u8 {
        self.pages.block(self.slot).as_ptr()
    }

    fn bytes_init(&self) -> usize {
        0
    }

    fn bytes_total(&self) -> usize {
        BATCH_BYTES_MAX
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for RegionSlot {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.pages.block(self.slot).as_ptr()
    }

    unsafe fn set_init(&mut self, _: usize) {}
}

/// The right to one block, until it is dropped.
struct Lease {
    /// `None` only inside `drop`.
    block: Option<Block>,
    shelf: Arc<Shelf>,
}

impl Lease {
    fn block(&self) -> &Block {
        // Invariant: it is taken by `drop` alone.
        self.block.as_ref().expect("a lease has its block until it is dropped")
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the block lies in pages that `self` keeps mapped, initialised by the kernel with zeros. Only this
        // lease has this block. Its bytes change through `Buffer` alone, which borrows the lease mutably for that, or
        // through a read in flight, which owns its `Buffer`.
        unsafe { std::slice::from_raw_parts(self.block().address().as_ptr(), BATCH_BYTES_MAX) }
    }

    fn registered_index(&self) -> Option<u16> {
        self.block().slot.and_then(|slot| self.shelf.registered_index(slot))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.shelf.give_back(block);
        }
    }
}

/// A buffer with one owner, who may write in it.
pub struct Buffer {
    lease: Lease,
}

impl Buffer {
    /// The memory of `block`, which goes back to `shelf`.
    pub(super) fn of(block: Block, shelf: Arc<Shelf>) -> Buffer {
        Buffer { lease: Lease { block: Some(block), shelf } }
    }

    /// Whether it lies in the region that can be registered.
    #[cfg(test)]
    pub(super) fn is_of_region(&self) -> bool {
        self.lease.block().slot.is_some()
    }

    /// From here on it is read only, by as many as want to.
    #[must_use]
    pub fn freeze(self) -> SharedBuffer {
        SharedBuffer { lease: Arc::new(self.lease) }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.lease.bytes()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `Lease::bytes`; and the lease is not shared, for a `Buffer` is its only owner and is borrowed
        // mutably here.
        unsafe { std::slice::from_raw_parts_mut(self.lease.block().address().as_ptr(), BATCH_BYTES_MAX) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("registered", &self.lease.registered_index()).finish_non_exhaustive()
    }
}

/// A buffer that is read only. A clone is the same bytes; with the last one they go back to the pool.
#[derive(Clone)]
pub struct SharedBuffer {
    lease: Arc<Lease>,
}

impl SharedBuffer {
    /// The buffer to write in again, if nobody else holds it.
    ///
    /// # Errors
    /// Somebody does: the buffer as it was.
    pub fn try_unfreeze(self) -> Result<Buffer, SharedBuffer> {
        Arc::try_unwrap(self.lease).map(|lease| Buffer { lease }).map_err(|lease| SharedBuffer { lease })
    }

    /// A part of it that can be sent on its own. Panics if `range` does not lie in the buffer.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> BufferSlice {
        assert!(
            range.start <= range.end && range.end <= BATCH_BYTES_MAX,
            "{range:?} does not lie in a buffer"
        );
        BufferSlice { buffer: self.clone(), range }
    }

    /// The kernel's number for this buffer, if it is registered.
    #[must_use]
    pub fn registered_index(&self) -> Option<u16> {
        self.lease.registered_index()
    }
}

impl AsRef<[u8]> for SharedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for SharedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.lease.bytes()
    }
}

impl fmt::Debug for SharedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBuffer").field("registered", &self.registered_index()).finish_non_exhaustive()
    }
}

/// A range of a shared buffer: what goes to a socket. It keeps the whole buffer from its pool.
#[derive(Clone)]
pub struct BufferSlice {
    buffer: SharedBuffer,
    range: Range<usize>,
}

impl Deref for BufferSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

impl fmt::Debug for BufferSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BufferSlice").field(&self.range).finish()
    }
}

// SAFETY: the bytes lie in a mapping that `self` keeps alive and that never moves, whatever happens to `self`. All are
// initialised, and while a `SharedBuffer` exists nobody writes in them.
unsafe impl IoBuf for BufferSlice {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }

    fn bytes_total(&self) -> usize {
        self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::buffer_pool::{BufferCounts, BufferPool};

    fn assert_send_and_sync<T: Send + Sync>() {}

    #[test]
    fn everything_but_the_ring_may_cross_threads() {
        assert_send_and_sync::<BufferPool>();
        assert_send_and_sync::<Buffer>();
        assert_send_and_sync::<SharedBuffer>();
        assert_send_and_sync::<BufferSlice>();
    }

    #[test]
    fn buffers_are_zeroed_aligned_whole_and_apart() {
        let pool = BufferPool::new();
        let mut buffers: Vec<Buffer> = (0..BUFFERS_REGISTERED + 2).map(|_| pool.take()).collect();
        for (filling, buffer) in (1..).zip(&mut buffers) {
            assert!(buffer.as_ptr().addr().is_multiple_of(BLOCK_BYTES));
            assert!(buffer.len() == BATCH_BYTES_MAX && buffer.iter().all(|&byte| byte == 0));
            buffer.fill(filling);
        }
        for (filling, buffer) in (1..).zip(&buffers) {
            assert!(buffer.iter().all(|&byte| byte == filling), "buffer {filling} overlaps another");
        }
    }

    #[test]
    fn a_buffer_comes_back_when_the_last_that_reads_it_lets_go() {
        let pool = BufferPool::new();
        let all_idle = BufferCounts { total: BUFFERS_REGISTERED, idle: BUFFERS_REGISTERED };
        let one_taken = BufferCounts { total: BUFFERS_REGISTERED, idle: BUFFERS_REGISTERED - 1 };
        assert_eq!(pool.counts(), all_idle);

        let mut buffer = pool.take();
        buffer[7..10].copy_from_slice(b"abc");
        let shared = buffer.freeze();
        let slice = shared.slice(7..10);
        drop(shared);
        assert_eq!(pool.counts(), one_taken, "a slice keeps its buffer");
        assert_eq!(&*slice.clone(), b"abc");
        drop(slice);
        assert_eq!(pool.counts(), all_idle);
    }

    #[test]
    fn buffers_outlive_their_pool() {
        let mut buffer = BufferPool::new().take();
        buffer.fill(3);
        assert!(buffer.freeze().iter().all(|&byte| byte == 3));
    }

    #[test]
    fn only_a_sole_owner_may_write_again() {
        let pool = BufferPool::new();
        let shared = pool.take().freeze();
        let slice = shared.slice(0..1);
        let shared = shared.try_unfreeze().expect_err("a slice is still out");
        drop(slice);
        let mut buffer = shared.try_unfreeze().unwrap();
        buffer[0] = 1;
        assert_eq!(pool.counts().idle, BUFFERS_REGISTERED - 1);
    }
}
