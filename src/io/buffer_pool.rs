//! Where the log's buffers come from and go back to.
//!
//! ```text
//! region  |  slot 0, 1 MiB  |  slot 1, 1 MiB  |  slot 2, 1 MiB  |   one mapping, registered with the kernel if it lets us
//! others  |  1 MiB  |   |  1 MiB  |   ...                           a mapping each, made when asked for
//! ```
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::errno::Errno;
use tokio_uring::buf::fixed::FixedBufRegistry;

use crate::io::buffer::{Block, Buffer, Region};
use crate::limits::{BUFFERS_IDLE_MAX, BUFFERS_REGISTERED};

/// Whether writes go out from memory that the kernel already knows, and if not, why not. Shown in status; nothing but
/// a little speed depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegistrationState {
    /// No ring has been asked yet.
    Untried,
    /// The first [`BUFFERS_REGISTERED`] buffers are registered.
    Registered,
    /// The kernel refused.
    Unregistered {
        /// Its reason, and what would help.
        reason: String,
    },
}

impl fmt::Display for RegistrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistrationState::Untried => f.write_str("not yet registered"),
            RegistrationState::Registered => f.write_str("registered"),
            RegistrationState::Unregistered { reason } => write!(f, "not registered: {reason}"),
        }
    }
}

/// How many buffers a pool has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferCounts {
    /// All of them: idle, being filled, shared.
    pub total: usize,
    /// Those that wait for reuse.
    pub idle: usize,
}

struct Idle {
    /// Slots of the region: taken first.
    region: Vec<Block>,
    /// Others, at most [`BUFFERS_IDLE_MAX`].
    others: Vec<Block>,
    total: usize,
    registration: RegistrationState,
}

/// The inside of a pool: what leases go back to.
pub(super) struct Shelf {
    region: Region,
    idle: Mutex<Idle>,
    /// The kernel's number for each slot of the region, once it is registered.
    indexes: OnceLock<[u16; BUFFERS_REGISTERED]>,
}

impl Shelf {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        // Nothing in here panics between two steps that belong together, so a poisoned lock guards sound data.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn give_back(&self, block: Block) {
        let mut idle = self.idle();
        if block.slot().is_some() {
            idle.region.push(block);
            assert!(idle.region.len() <= BUFFERS_REGISTERED);
        } else if idle.others.len() < BUFFERS_IDLE_MAX {
            idle.others.push(block);
        } else {
            idle.total -= 1;
            // The lock first, the unmapping after it.
            drop(idle);
            drop(block);
        }
    }

    /// The kernel's number for a slot of the region, once it is registered.
    pub(super) fn registered_index(&self, slot: usize) -> Option<u16> {
        self.indexes.get().map(|indexes| indexes[slot])
    }
}

/// A pool of buffers of [`BATCH_BYTES_MAX`](crate::limits::BATCH_BYTES_MAX) bytes, each at a multiple of
/// [`BLOCK_BYTES`](crate::limits::BLOCK_BYTES), as O_DIRECT wants them.
///
/// A clone is the same pool. It does not bound how many buffers are taken: who takes them does.
#[derive(Clone)]
pub struct BufferPool {
    shelf: Arc<Shelf>,
}

impl BufferPool {
    /// A pool that has mapped, and not yet touched, the region that can be registered.
    #[must_use]
    pub fn new() -> BufferPool {
        let (region, blocks) = Region::map();
        let idle = Idle {
            region: blocks,
            others: Vec::new(),
            total: BUFFERS_REGISTERED,
            registration: RegistrationState::Untried,
        };
        BufferPool { shelf: Arc::new(Shelf { region, idle: Mutex::new(idle), indexes: OnceLock::new() }) }
    }

    /// A buffer of one's own, one that is or may be registered if there is any. Its bytes are zeros or whatever it
    /// last held.
    #[must_use]
    pub fn take(&self) -> Buffer {
        let mut idle = self.shelf.idle();
        let reused = idle.region.pop().or_else(|| idle.others.pop());
        if reused.is_none() {
            idle.total += 1;
        }
        drop(idle);
        let block = reused.unwrap_or_else(Block::alone);
        Buffer::of(block, Arc::clone(&self.shelf))
    }

    /// Asks the kernel to register the region with the ring of the tokio-uring runtime that this is called in, where
    /// alone registered writes may then be made: another ring answers them with EFAULT.
    ///
    /// A refusal is no error: writes work without it. It may be tried again, since a dead process gives its share of
    /// locked memory back late. Once registered, further calls change nothing.
    ///
    /// Panics outside a tokio-uring runtime.
    pub fn register(&self) -> RegistrationState {
        let state = match self.registered_indexes() {
            Ok(indexes) => {
                self.shelf.indexes.get_or_init(|| indexes);
                RegistrationState::Registered
            }
            Err(error) => RegistrationState::Unregistered { reason: why_unregistered(&error) },
        };
        self.shelf.idle().registration = state.clone();
        state
    }

    fn registered_indexes(&self) -> io::Result<[u16; BUFFERS_REGISTERED]> {
        if let Some(indexes) = self.shelf.indexes.get() {
            return Ok(*indexes);
        }
        let registry = FixedBufRegistry::new(self.shelf.region.slots());
        registry.register()?;
        // Checked out once to learn its number and given back at once: the registry's own handles are exclusive and
        // bound to a thread, so they are never used for data.
        Ok(std::array::from_fn(|slot| {
            // Invariant: the registry was made above with this many buffers, none of them checked out.
            let handle = registry.check_out(slot).expect("a new registry has all its buffers");
            handle.buf_index()
        }))
    }

    /// What came of [`BufferPool::register`].
    #[must_use]
    pub fn registration(&self) -> RegistrationState {
        self.shelf.idle().registration.clone()
    }

    /// How many buffers there are.
    #[must_use]
    pub fn counts(&self) -> BufferCounts {
        let idle = self.shelf.idle();
        BufferCounts { total: idle.total, idle: idle.region.len() + idle.others.len() }
    }
}

impl Default for BufferPool {
    fn default() -> BufferPool {
        BufferPool::new()
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BufferPool").field(&self.counts()).finish()
    }
}

fn why_unregistered(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOMEM | Errno::EPERM) => {
            format!(
                "{error} (the limit of locked memory is reached: raise `ulimit -l`, or LimitMEMLOCK= of the unit)"
            )
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::buffer::SharedBuffer;

    #[test]
    fn buffers_of_the_region_are_taken_first() {
        let pool = BufferPool::new();
        let mut taken: Vec<Buffer> = (0..BUFFERS_REGISTERED + 1).map(|_| pool.take()).collect();
        let beyond = taken.pop().unwrap();
        assert!(!beyond.is_of_region() && taken.iter().all(Buffer::is_of_region));
        drop(taken);
        drop(beyond);
        assert!(pool.take().is_of_region());
    }

    #[test]
    fn no_more_than_the_bound_stay_idle() {
        let pool = BufferPool::new();
        let taken: Vec<Buffer> =
            (0..BUFFERS_REGISTERED + BUFFERS_IDLE_MAX + 4).map(|_| pool.take()).collect();
        assert_eq!(pool.counts(), BufferCounts { total: taken.len(), idle: 0 });
        drop(taken);
        let kept = BUFFERS_REGISTERED + BUFFERS_IDLE_MAX;
        assert_eq!(pool.counts(), BufferCounts { total: kept, idle: kept });
    }

    #[test]
    fn the_region_is_registered_once_and_its_buffers_know_their_numbers() {
        let pool = BufferPool::new();
        assert_eq!(pool.registration(), RegistrationState::Untried);
        let early = pool.take().freeze();
        assert_eq!(early.registered_index(), None);
        tokio_uring::start(async {
            assert_eq!(pool.register(), RegistrationState::Registered);
            assert_eq!(pool.register(), RegistrationState::Registered, "asked again, it stays as it is");
        });
        assert_eq!(pool.registration(), RegistrationState::Registered);
        let mut indexes: Vec<Option<u16>> = vec![early.registered_index()];
        let more: Vec<SharedBuffer> = (0..BUFFERS_REGISTERED).map(|_| pool.take().freeze()).collect();
        indexes.extend(more.iter().map(SharedBuffer::registered_index));
        indexes.sort_unstable();
        assert_eq!(indexes, [None, Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn a_refused_registration_is_a_state_with_its_reason_and_not_an_error() {
        tokio_uring::start(async {
            // A ring takes one registration: the kernel refuses the second pool's.
            let (first, second) = (BufferPool::new(), BufferPool::new());
            assert_eq!(first.register(), RegistrationState::Registered);
            let RegistrationState::Unregistered { reason } = second.register() else {
                panic!("it was not refused")
            };
            assert!(reason.contains("busy"), "{reason}");
            assert_eq!(second.registration(), RegistrationState::Unregistered { reason });
            assert_eq!(second.take().freeze().registered_index(), None);
        });
    }

    #[test]
    fn a_refusal_for_locked_memory_says_what_to_raise() {
        let reason = why_unregistered(&io::Error::from(Errno::ENOMEM));
        assert!(reason.contains("LimitMEMLOCK"), "{reason}");
    }
}
