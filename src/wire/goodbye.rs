//! Why a session ends, as the one side tells the other.

use std::fmt;

/// Why a session ends. The numbers are for ever; one that this version does not know is kept as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GoodbyeCode {
    /// The node closes.
    Closing,
    /// Bytes that are no frame, or a frame that cannot be read.
    BadFrame,
    /// A frame that has no place at this point of the session, or says what cannot be.
    ProtocolError,
    /// No version of the protocol that both sides speak.
    Version,
    /// Another session between the same two nodes goes on.
    Duplicate,
    /// The peer is not the node that it says it is.
    ProofFailed,
    /// The peer was removed here.
    Removed,
    /// Another node with the same identity is live: one is a copy of the other.
    Clone,
    /// No room for one more session.
    TooManySessions,
    /// Nothing was heard for too long.
    Timeout,
    /// The log cannot be written.
    Storage,
    /// The peer is not known here, and proposed no secret: one of the two lost its data.
    NeverMet,
    /// A reason of a later version.
    Other(u16),
}

impl GoodbyeCode {
    /// Every code that has a name; its number is its place, from 1.
    pub const ALL: [GoodbyeCode; 12] = [
        GoodbyeCode::Closing,
        GoodbyeCode::BadFrame,
        GoodbyeCode::ProtocolError,
        GoodbyeCode::Version,
        GoodbyeCode::Duplicate,
        GoodbyeCode::ProofFailed,
        GoodbyeCode::Removed,
        GoodbyeCode::Clone,
        GoodbyeCode::TooManySessions,
        GoodbyeCode::Timeout,
        GoodbyeCode::Storage,
        GoodbyeCode::NeverMet,
    ];

    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            GoodbyeCode::Closing => 1,
            GoodbyeCode::BadFrame => 2,
            GoodbyeCode::ProtocolError => 3,
            GoodbyeCode::Version => 4,
            GoodbyeCode::Duplicate => 5,
            GoodbyeCode::ProofFailed => 6,
            GoodbyeCode::Removed => 7,
            GoodbyeCode::Clone => 8,
            GoodbyeCode::TooManySessions => 9,
            GoodbyeCode::Timeout => 10,
            GoodbyeCode::Storage => 11,
            GoodbyeCode::NeverMet => 12,
            GoodbyeCode::Other(number) => number,
        }
    }

    /// The code of that number.
    #[must_use]
    pub fn from_number(number: u16) -> GoodbyeCode {
        let named = Self::ALL.get(usize::from(number).wrapping_sub(1)).copied();
        named.unwrap_or(GoodbyeCode::Other(number))
    }
}

impl fmt::Display for GoodbyeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GoodbyeCode::Closing => "the node closes",
            GoodbyeCode::BadFrame => "a frame cannot be read",
            GoodbyeCode::ProtocolError => "the protocol was broken",
            GoodbyeCode::Version => "there is no common version of the protocol",
            GoodbyeCode::Duplicate => "another session between these nodes goes on",
            GoodbyeCode::ProofFailed => "the proof of identity failed",
            GoodbyeCode::Removed => "the peer was removed",
            GoodbyeCode::Clone => "two live nodes have one identity",
            GoodbyeCode::TooManySessions => "there are too many sessions",
            GoodbyeCode::Timeout => "nothing was heard for too long",
            GoodbyeCode::Storage => "the log cannot be written",
            GoodbyeCode::NeverMet => "the two nodes never met",
            GoodbyeCode::Other(number) => return write!(f, "reason {number}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_numbers() {
        for (index, code) in GoodbyeCode::ALL.iter().enumerate() {
            assert_eq!(usize::from(code.number()), index + 1);
        }
        for number in [0, 1, 5, 11, 12, u16::MAX] {
            assert_eq!(GoodbyeCode::from_number(number).number(), number);
        }
        assert_eq!(GoodbyeCode::from_number(13), GoodbyeCode::Other(13));
        assert_eq!(GoodbyeCode::from_number(0), GoodbyeCode::Other(0));
    }
}
