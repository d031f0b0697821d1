//! What the disk can do, measured in the way that the log uses it: O_DIRECT and O_DSYNC writes to a file that was written
//! before.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use nix::fcntl::OFlag;

use super::buffer_pool::BufferPool;
use super::clock;
use super::directory::FILE_MODE;
use super::ring::set_up;
use super::segment_file::{SegmentFile, open_direct};
use super::zeros::Zeros;
use crate::format::segment::spare_name;
use crate::limits::{BATCH_BYTES_MAX, BLOCK_BYTES};

/// One way to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Bytes of one write: a multiple of 4 KiB, at most 1 MiB.
    pub block_bytes: usize,
    /// Writes in flight at once.
    pub depth: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How it was written.
    pub pattern: Pattern,
    /// Bytes written.
    pub bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// How long each write took, in nanoseconds.
    pub latencies: Vec<u64>,
    /// Whether the writes went around the page cache.
    pub direct: bool,
}

impl Measured {
    /// Bytes a second.
    #[must_use]
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency below which that part of the writes stayed, in microseconds.
    #[must_use]
    pub fn percentile_us(&self, part: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1));
        sorted.get(at - 1).map_or(0.0, |nanos| *nanos as f64 / 1e3)
    }
}

/// A file in a directory that writes are measured on. It is removed when this is dropped.
#[derive(Debug)]
pub struct Yardstick {
    path: PathBuf,
    bytes: u64,
}

impl Yardstick {
    /// Writes a file of `bytes` of zeros into `directory`.
    ///
    /// # Errors
    /// As from writing a file.
    pub fn prepare(directory: &Path, bytes: u64) -> io::Result<Yardstick> {
        let yardstick = Yardstick { path: directory.join("yardstick.tmp"), bytes: whole(bytes) };
        write_zeros(&yardstick.path, yardstick.bytes)?;
        Ok(yardstick)
    }

    /// Writes for `duration`, from the start of the file again and again.
    ///
    /// # Errors
    /// As from setting up io_uring, and from write(2).
    pub fn measure(&self, pattern: Pattern, duration: Duration) -> io::Result<Measured> {
        assert!(pattern.block_bytes.is_multiple_of(BLOCK_BYTES) && pattern.block_bytes <= BATCH_BYTES_MAX);
        let (path, bytes) = (self.path.clone(), self.bytes);
        // On a thread of its own: the caller may be on a runtime already.
        let thread = std::thread::spawn(move || {
            let runtime = set_up(|| tokio_uring::Runtime::new(&tokio_uring::builder()))?;
            runtime.block_on(measure(&path, bytes, pattern, duration))
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the measuring thread panicked")))
    }
}

impl Drop for Yardstick {
    fn drop(&mut self) {
        // What stays is a file of zeros with a name that says what it is.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Puts files of zeros into a data directory that no node holds, for a node to take as segments: what a log in steady
/// state has from the segments that it freed.
///
/// # Errors
/// As from writing a file.
pub fn stock_segments(directory: &Path, count: u64, segment_bytes: u64) -> io::Result<()> {
    for number in 0..count {
        // Numbers that the node itself does not reach.
        write_zeros(&directory.join(spare_name(1_000_000 + number)), segment_bytes)?;
    }
    File::open(directory)?.sync_all()
}

fn whole(bytes: u64) -> u64 {
    bytes.max(BATCH_BYTES_MAX as u64) / BATCH_BYTES_MAX as u64 * BATCH_BYTES_MAX as u64
}

/// As a node prewrites its segments: around the page cache. What is left in it of a file is taken out again when writes with
/// O_DIRECT come to it, which the kernel does in their time.
fn write_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    let (file, _) = open_direct(&mut options, OFlag::empty(), path)?;
    let zeros = Zeros::new();
    let mut written = 0;
    while written < bytes {
        let piece = zeros.piece(bytes - written);
        file.write_all_at(piece, written)?;
        written += piece.len() as u64;
    }
    file.sync_all()
}

async fn measure(path: &Path, bytes: u64, pattern: Pattern, duration: Duration) -> io::Result<Measured> {
    let file = SegmentFile::open(path)?;
    let pool = BufferPool::new();
    pool.register();
    let (next, latencies) = (Rc::new(Cell::new(0_u64)), Rc::new(RefCell::new(Vec::new())));
    let started = clock::now().monotonic;
    let end = started.plus_millis(duration.as_millis() as u64);
    let writers: Vec<_> = (0..pattern.depth)
        .map(|_| {
            let (file, next, latencies) = (file.clone(), Rc::clone(&next), Rc::clone(&latencies));
            let mut buffer = pool.take();
            buffer.fill(0x5a);
            let buffer = buffer.freeze();
            tokio_uring::spawn(async move {
                loop {
                    let begun = clock::now().monotonic;
                    if begun >= end {
                        return Ok::<(), io::Error>(());
                    }
                    let offset = next.get();
                    let block = pattern.block_bytes as u64;
                    next.set(if offset + 2 * block > bytes { 0 } else { offset + block });
                    file.write(buffer.clone(), pattern.block_bytes, offset).await?;
                    latencies.borrow_mut().push(clock::now().monotonic.0 - begun.0);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.map_err(io::Error::other)??;
    }
    let elapsed = Duration::from_nanos(clock::now().monotonic.0 - started.0);
    let latencies = latencies.take();
    let bytes = latencies.len() as u64 * pattern.block_bytes as u64;
    Ok(Measured { pattern, bytes, elapsed, latencies, direct: file.is_direct() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_counted_and_the_file_is_gone_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let yardstick = Yardstick::prepare(dir.path(), 4 << 20).unwrap();
        let pattern = Pattern { block_bytes: 4096, depth: 2 };
        let measured = yardstick.measure(pattern, Duration::from_millis(50)).unwrap();
        assert_eq!(measured.bytes, measured.latencies.len() as u64 * 4096);
        assert!(measured.bytes > 0 && measured.percentile_us(0.5) <= measured.percentile_us(0.99));
        drop(yardstick);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn stocked_segments_are_taken_by_the_node_that_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        stock_segments(dir.path(), 2, 8 << 20).unwrap();
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| crate::format::segment::is_spare(&name.to_string_lossy())));
        assert_eq!(names.len(), 2);
    }
}
