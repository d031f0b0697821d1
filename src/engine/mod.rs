//! The bus as one deterministic state machine: delivery, acknowledgement, retry, dead letters.
//!
//! It is told what happened (`handle_*`) and asked what is to be done (`poll_*`); it knows no clock, no socket and no
//! file. What it decides goes into the log before it is spoken of, and comes back to it through
//! [`state::State::apply_batch`], live as at replay.
#![forbid(unsafe_code)]

pub mod apply;
pub mod inbox;
pub mod ranges;
pub mod routing;
pub mod state;
pub mod stream;
