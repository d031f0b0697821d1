//! How long the disk takes.

use std::fmt;
use std::str::FromStr;

/// In microseconds, at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Of a write with O_DSYNC, without its flush.
    pub write_us: u64,
    /// Of the flush of a file.
    pub flush_us: u64,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.write_us, self.flush_us)
    }
}

impl FromStr for Latency {
    type Err = ();

    /// Reads what [`fmt::Display`] wrote.
    fn from_str(text: &str) -> Result<Latency, ()> {
        let (write_us, flush_us) = text.trim().split_once(' ').ok_or(())?;
        Ok(Latency { write_us: write_us.parse().map_err(drop)?, flush_us: flush_us.parse().map_err(drop)? })
    }
}
