//! How far a wish to subscribe has come.

use crate::format::body::{BodyDefect, BodyReader};

/// How far a wish to subscribe has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentState {
    /// Written down here; the publisher may not know.
    Wanted = 0,
    /// The publisher has it on stable storage.
    Confirmed = 1,
    /// To be ended; the publisher may not know.
    Removing = 2,
    /// Ended at both sides.
    Removed = 3,
}

pub(super) fn intent_state(reader: &mut BodyReader<'_>) -> Result<IntentState, BodyDefect> {
    match reader.u8()? {
        0 => Ok(IntentState::Wanted),
        1 => Ok(IntentState::Confirmed),
        2 => Ok(IntentState::Removing),
        3 => Ok(IntentState::Removed),
        _ => Err(BodyDefect::Value("intent state")),
    }
}
