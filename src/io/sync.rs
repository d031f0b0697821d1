//! The atomics that [`super::sleep_flag`] is made of. Its model puts others in their place.

pub use std::sync::atomic::{AtomicBool, Ordering, fence};
