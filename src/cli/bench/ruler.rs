//! The yardstick of one run: how fast the disk is, and how soon.

use std::path::Path;
use std::time::Duration;

use super::io;
use crate::bus::yardstick::{Measured, Pattern, Yardstick};
use crate::cli::exit::Failure;

/// Bytes of the file that the yardstick writes.
pub const YARDSTICK_FILE_BYTES: u64 = 512 << 20;

/// What the disk can do beside what is measured.
pub struct Ruler {
    /// 1 MiB writes, two in flight.
    pub fast: Measured,
    /// 4 KiB writes, one at a time.
    pub soon: Measured,
    /// Its file stays until all is measured: a disk that is told which blocks were freed (mount option "discard") would be
    /// told while the next thing is measured.
    _file: Option<Yardstick>,
}

impl Ruler {
    /// Measures in `directory`, for a second each way.
    pub fn measure(directory: &Path) -> Result<Ruler, Failure> {
        let measured = io("measure the disk");
        let yardstick = Yardstick::prepare(directory, YARDSTICK_FILE_BYTES).map_err(&measured)?;
        let second = Duration::from_secs(1);
        let fast = Pattern { block_bytes: 1 << 20, depth: 2 };
        let soon = Pattern { block_bytes: 4 << 10, depth: 1 };
        Ok(Ruler {
            fast: yardstick.measure(fast, second).map_err(&measured)?,
            soon: yardstick.measure(soon, second).map_err(&measured)?,
            _file: Some(yardstick),
        })
    }
}

#[cfg(test)]
impl Ruler {
    /// One that takes so many bytes a second, and each write so long.
    pub fn example(bytes_per_second: u64, micros: u64) -> Ruler {
        let measured = |block_bytes, depth| Measured {
            pattern: Pattern { block_bytes, depth },
            bytes: bytes_per_second,
            elapsed: Duration::from_secs(1),
            latencies: vec![micros * 1_000],
            direct: true,
        };
        Ruler { fast: measured(1 << 20, 2), soon: measured(4 << 10, 1), _file: None }
    }
}
