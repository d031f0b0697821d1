//! The bytes on disk and on the wire. Pure: structs that are their own layout, and functions over byte slices.
//!
//! Everything is little-endian and unaligned, and no byte is trusted before its checksum was.
#![forbid(unsafe_code)]

pub mod batch;
pub mod body;
pub mod checksum;
pub mod control;
pub mod entry;
pub mod frame;
pub mod message;
pub mod record;
pub mod segment;
