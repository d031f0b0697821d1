//! The disk itself.

use std::time::Duration;

use serde::Serialize;

use super::arguments::BenchDevice;
use super::facts::Facts;
use super::ruler::YARDSTICK_FILE_BYTES;
use super::scratch::Scratch;
use super::usage::Usage;
use super::{io, progress};
use crate::bus::yardstick::{Measured, Pattern, Yardstick};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Output;

const BLOCKS: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
const DEPTHS: [usize; 3] = [1, 2, 4];

const DURABLE: &str = "each write flushed (O_DSYNC)";

/// One line of the result.
#[derive(Serialize)]
struct Line {
    block_bytes: usize,
    depth: usize,
    bytes_per_second: f64,
    writes_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    /// Of this process.
    cpu_ns_per_write: f64,
    direct: bool,
    durable: String,
    #[serde(flatten)]
    facts: Facts,
}

impl Line {
    fn new(measured: &Measured, usage: &Usage, facts: Facts) -> Line {
        let Pattern { block_bytes, depth } = measured.pattern;
        Line {
            block_bytes,
            depth,
            bytes_per_second: measured.bytes_per_second(),
            writes_per_second: measured.bytes_per_second() / block_bytes as f64,
            p50_us: measured.percentile_us(0.5),
            p99_us: measured.percentile_us(0.99),
            p999_us: measured.percentile_us(0.999),
            max_us: measured.percentile_us(1.0),
            cpu_ns_per_write: usage.cpu_ns as f64 / measured.latencies.len().max(1) as f64,
            direct: measured.direct,
            durable: facts.durable(DURABLE),
            facts,
        }
    }

    fn row(&self) -> String {
        let Line { block_bytes, depth, p50_us, p99_us, p999_us, max_us, cpu_ns_per_write: cpu, .. } = self;
        let (speed, rate) = (self.bytes_per_second / 1e6, self.writes_per_second);
        let cached = if self.direct { "" } else { "  through the page cache" };
        let row = format!("{block_bytes:>12}{depth:>8}{speed:>12.1}{rate:>12.0}{p50_us:>10.0}{p99_us:>10.0}");
        format!("{row}{p999_us:>10.0}{max_us:>10.0}{cpu:>14.0}{cached}")
    }
}

pub fn run(arguments: &BenchDevice) -> Result<(), Failure> {
    let blocks: Vec<usize> = match arguments.size {
        Some(size) if size % 4096 != 0 => {
            return Err(Failure::new(Exit::Usage, "the size of a write is a multiple of 4096"));
        }
        Some(size) => vec![size as usize],
        None => BLOCKS.to_vec(),
    };
    let (common, failed) = (&arguments.common, io("measure the disk"));
    let dir = Scratch::new(&common.dir)?;
    let bar = progress("preparing the file");
    let yardstick = Yardstick::prepare(dir.path(), YARDSTICK_FILE_BYTES).map_err(&failed)?;
    bar.finish_and_clear();
    let each = Duration::from_secs(common.seconds) / (blocks.len() * DEPTHS.len()) as u32;
    let facts = Facts::of(dir.path());
    let mut out = Output::new();
    if !common.json {
        out.line(&format!("{}; {}", facts.line(), facts.durable(DURABLE)))?;
        out.line(&format!(
            "{:>12}{:>8}{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}{:>14}",
            "bytes", "depth", "MB/s", "writes/s", "p50 us", "p99 us", "p99.9 us", "max us", "CPU ns/write"
        ))?;
    }
    for block_bytes in blocks {
        for depth in DEPTHS {
            let bar = progress(&format!("{block_bytes} bytes, {depth} in flight"));
            let before = Usage::now();
            let measured = yardstick.measure(Pattern { block_bytes, depth }, each).map_err(&failed)?;
            let usage = Usage::now().since(&before);
            bar.finish_and_clear();
            let line = Line::new(&measured, &usage, facts.clone());
            if common.json {
                out.json(&line)?
            } else {
                out.line(&line.row())?
            };
        }
    }
    out.finish().map(drop)
}
