//! The control socket: a node that is open is looked at and changed through it.
//!
//! It lies in the data directory and is its owner's alone. Whoever connects sends one request, a line of JSON, and gets
//! lines of JSON back; a message follows the line that says what it is as bytes, as it lies in the log.

mod ages;
mod client;
mod desk;
mod guests;
mod place;
mod protocol;
mod server;

pub(super) use client::Client;
pub use client::ControlError;
pub(super) use desk::{Caller, Desk, NoAnswer};
pub(super) use protocol::{Decree, Hand, VerbName};
pub(super) use server::Server;
