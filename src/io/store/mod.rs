//! The shell around a store: its directory, its thread and its ring. It shares all that it can with that of a node.

pub mod driver;
pub mod open;
pub mod shared;
