//! The manual: how a node works, byte by byte and promise by promise.
//!
//! | page | what it tells |
//! |---|---|
//! | [`architecture`] | the layers, the one log, one turn of the engine, and what is absent where |
//! | [`log_format`] | the bytes on disk, and what recovery says of them |
//! | [`wire_format`] | the bytes between two nodes, and who says what when |
//! | [`durability`] | what is promised of a message that was published, and what is not |
//! | [`delivery`] | who gets a message, how often, in which order, and what happens when a handler fails |
//! | [`testing`] | how all of this is tested |
//! | [`performance`] | what it costs, what was tuned and by which ratio, and what stands in the way |
//!
//! The tables of bytes, kinds, codes and limits are compared with the source by a test: where they stand in the
//! manual, they are true.

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("log_format.md")]
pub mod log_format {}

#[doc = include_str!("wire_format.md")]
pub mod wire_format {}

#[doc = include_str!("durability.md")]
pub mod durability {}

#[doc = include_str!("delivery.md")]
pub mod delivery {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("performance.md")]
pub mod performance {}
