//! A brokerless durable service bus for Linux.
#![deny(unsafe_code)]

pub mod engine;
pub mod format;
pub mod ids;
pub mod io;
pub mod limits;
pub mod log;
pub mod manual;
pub mod time;
#[doc(hidden)]
pub mod wire;
