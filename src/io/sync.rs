//! The atomics that [`super::wake_flags`] is made of. Its model puts others in their place.

pub use std::sync::atomic::{AtomicBool, Ordering, fence};
