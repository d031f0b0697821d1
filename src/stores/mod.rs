//! Maps and queues on disk, without a bus: each has a directory of its own, and one `await` says that a change is on stable
//! storage.
//!
//! A store holds in memory what it has, and on disk the log of its changes: the same log as a node's, with the same recovery.
//! Changes of many callers share a flush. While a store is open its log is kept small by itself: it is at most some 64 MiB larger
//! than what the store has, or half as large again if that is more.
//!
//! Keys, values and items are written as JSON through serde. One process at a time opens a store; all handles of it, which are
//! cheap to clone, are the same store.

mod map;
mod open;
mod queue;
mod snapshot;

pub use crate::store::legacy;
pub use map::{Entries, Map};
pub use open::OpenStore;
pub use queue::{Item, Items, Queue};
pub use snapshot::{MapSnapshot, QueueSnapshot};
