//! What the disk can do, for programs that measure the bus against it.

pub use crate::io::yardstick::{Measured, Pattern, Yardstick, stock_segments};
