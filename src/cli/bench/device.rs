//! The disk itself.

use std::time::Duration;

use serde::Serialize;

use super::facts::Facts;
use super::{YARDSTICK_FILE_BYTES, io, progress, scratch};
use crate::bus::yardstick::{Pattern, Yardstick};
use crate::cli::arguments::BenchCommon;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Output;

const BLOCKS: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
const DEPTHS: [usize; 3] = [1, 2, 4];

/// One line of the result.
#[derive(Serialize)]
struct Line {
    block_bytes: usize,
    depth: usize,
    bytes_per_second: f64,
    writes_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    direct: bool,
    durable: &'static str,
    #[serde(flatten)]
    facts: Facts,
}

pub fn run(arguments: &BenchCommon) -> Result<(), Failure> {
    let dir = scratch(arguments)?;
    let blocks: Vec<usize> = match arguments.size {
        Some(size) if size % 4096 != 0 => {
            return Err(Failure::new(Exit::Usage, "the size of a write is a multiple of 4096"));
        }
        Some(size) => vec![size as usize],
        None => BLOCKS.to_vec(),
    };
    let failed = io("measure the disk");
    let yardstick = Yardstick::prepare(dir.path(), YARDSTICK_FILE_BYTES).map_err(&failed)?;
    let each = Duration::from_secs(arguments.seconds) / (blocks.len() * DEPTHS.len()) as u32;
    let facts = Facts::of(dir.path(), crate::bus::inspect::file_system(dir.path()));
    let mut out = Output::new();
    if !arguments.json {
        let Facts { kernel, file_system, device, write_cache, .. } = &facts;
        out.line(&format!(
            "Linux {kernel}, {file_system} on {device} ({write_cache}); every write is flushed"
        ))?;
        out.line(&format!(
            "{:>12}{:>8}{:>12}{:>12}{:>10}{:>10}",
            "bytes", "depth", "MB/s", "writes/s", "p50 us", "p99 us"
        ))?;
    }
    for block_bytes in blocks {
        for depth in DEPTHS {
            let bar = progress(&format!("{block_bytes} bytes, {depth} in flight"));
            let measured = yardstick.measure(Pattern { block_bytes, depth }, each).map_err(&failed)?;
            bar.finish_and_clear();
            let line = Line {
                block_bytes,
                depth,
                bytes_per_second: measured.bytes_per_second(),
                writes_per_second: measured.bytes_per_second() / block_bytes as f64,
                p50_us: measured.percentile_us(0.5),
                p99_us: measured.percentile_us(0.99),
                direct: measured.direct,
                durable: "each write flushed (O_DSYNC)",
                facts: facts.clone(),
            };
            if arguments.json {
                out.json(&line)?;
            } else {
                let (speed, rate) = (line.bytes_per_second / 1e6, line.writes_per_second);
                out.line(&format!(
                    "{block_bytes:>12}{depth:>8}{speed:>12.1}{rate:>12.0}{:>10.0}{:>10.0}",
                    line.p50_us, line.p99_us
                ))?;
            }
        }
    }
    out.finish().map(drop)
}
