//! What makes no sense in a file, and where.

use std::fmt;

/// Why something makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A number that begins no operation.
    Marker(u32),
    /// An operation that goes on behind the end of the file.
    Length,
    /// A key that is no text, or has a zero byte.
    Key,
    /// A value that is no JSON.
    Value,
    /// Zeros, as at the end, with something behind them.
    Hole,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Marker(number) => write!(f, "the number {number} begins no operation"),
            Trouble::Length => f.write_str("an operation goes on behind the end of the file"),
            Trouble::Key => f.write_str("a key is no text"),
            Trouble::Value => f.write_str("a value is no JSON"),
            Trouble::Hole => f.write_str("there are zeros with something behind them"),
        }
    }
}

/// Bytes that were passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where they begin in the file.
    pub offset: usize,
    /// How many they are, up to the next operation that makes sense, or to the last byte that is not zero.
    pub bytes: usize,
    /// Why they make no sense.
    pub trouble: Trouble,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}: {}; {} bytes are passed over", self.offset, self.trouble, self.bytes)
    }
}
