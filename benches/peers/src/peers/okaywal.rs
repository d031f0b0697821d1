//! okaywal: a write-ahead log that combines the flushes of many threads.

use std::path::Path;

use anyhow::Result;
use okaywal::{Configuration, LogVoid, WriteAheadLog};

use super::embedded::{Append, Engine, locked_version};

/// Larger than by default, so that the log is not forever beginning a new file.
const SEGMENT_BYTES: u32 = 64 << 20;

pub struct OkayWal(WriteAheadLog);

impl Engine for OkayWal {
    fn version() -> String {
        locked_version("okaywal")
    }

    fn open(dir: &Path) -> Result<OkayWal> {
        let configuration = Configuration::default_for(dir)
            .preallocate_bytes(SEGMENT_BYTES)
            .checkpoint_after_bytes(u64::from(SEGMENT_BYTES) / 8 * 7)
            .buffer_bytes(1 << 20);
        Ok(OkayWal(configuration.open(LogVoid)?))
    }

    /// A batch is one entry, a message one chunk of it.
    fn appender<'a>(&'a self, _: u64, payload: &'a [u8]) -> Append<'a> {
        Box::new(move |count| {
            let mut entry = self.0.begin_entry()?;
            for _ in 0..count {
                entry.write_chunk(payload)?;
            }
            entry.commit()?;
            Ok(())
        })
    }
}
