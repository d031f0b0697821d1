//! raft-engine, the log of TiKV: entries of one group for each thread.

use std::path::Path;

use anyhow::Result;
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine as Log, LogBatch, MessageExt, ReadableSize};

use super::embedded::{Append, Engine, locked_version};

/// Bytes of an entry that tell its index.
const INDEX: usize = size_of::<u64>();

pub struct RaftEngine(Log);

/// An entry is its index and the payload.
struct Indexed;

impl MessageExt for Indexed {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        let index = entry.value.first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(index)
    }
}

impl Engine for RaftEngine {
    fn version() -> String {
        locked_version("raft-engine")
    }

    fn open(dir: &Path) -> Result<RaftEngine> {
        let config = Config {
            dir: dir.to_string_lossy().into_owned(),
            // The payloads do not compress; to try costs time.
            batch_compression_threshold: ReadableSize(0),
            // Files that are there already, as in a log that recycles: resolute is given the same.
            prefill_for_recycle: true,
            prefill_limit: Some(ReadableSize::gb(2)),
            ..Config::default()
        };
        Ok(RaftEngine(Log::open(config)?))
    }

    fn appender<'a>(&'a self, thread: u64, payload: &'a [u8]) -> Append<'a> {
        let mut entry = BytesValue::new();
        entry.value = [&[0; INDEX], payload].concat();
        let (mut entries, mut next) = (Vec::new(), 1_u64);
        Box::new(move |count| {
            entries.resize(count, entry.clone());
            for entry in &mut entries {
                entry.value[..INDEX].copy_from_slice(&next.to_le_bytes());
                next += 1;
            }
            let mut batch = LogBatch::with_capacity(1);
            batch.add_entries::<Indexed>(thread + 1, &entries)?;
            self.0.write(&mut batch, true)?;
            Ok(())
        })
    }
}
