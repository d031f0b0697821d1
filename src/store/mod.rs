//! Maps and queues on logs of their own, as pure state machines: what they hold, and how their log is kept small. Batches,
//! segments and recovery are the same as a node's.
//!
//! ```text
//!   a change ──▶ contents, and a record ──batch──▶ durable
//!                                                     │ most of the log is dead
//!   the oldest segment ◀── what it holds that is still so is written again, at the end
//! ```
//!
//! | file | noun |
//! |---|---|
//! | [`contents`] | what a store holds, as far as its log is concerned |
//! | [`map`] | keys with their values |
//! | [`queue`] | items in an order |
//! | [`store_log`] | the log of a store: what is written when, what is freed |
//! | [`compaction`] | the oldest segment while it is looked through |
//! | [`legacy`] | the files of the ancestor, read and never written |
#![forbid(unsafe_code)]

pub mod compaction;
pub mod contents;
pub mod legacy;
pub mod map;
pub mod queue;
pub mod store_log;
