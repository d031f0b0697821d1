//! The durable side as pure decisions: how a batch is filled, what a completed write releases, where records lie,
//! and what a log that was left behind says.
//!
//! ```text
//! staged ──seal──▶ submitted ──written, and all before it──▶ durable ──owed to nobody any more──▶ freed
//! ```
#![forbid(unsafe_code)]

pub mod batch_builder;
pub mod chunk;
pub mod damaged_batch;
pub mod due;
pub mod durable_part;
pub mod evidence;
pub mod extent;
pub mod group_commit;
pub mod index;
pub mod look_ahead;
pub mod place;
pub mod recovery;
pub mod repair;
pub mod resident;
pub mod salvage;
pub mod sealing;
pub mod segments;
pub mod sighting;
pub mod tail;
pub mod verdict;
