//! Reads a log back from its directory and, if asked to, makes it fit to go on.
//!
//! The decisions are those of [`crate::log::recovery`], and the steps of a repair those of [`crate::log::repair`]; here
//! bytes are read and the steps done. What was cut off long before is removed then: see [`torn_file::remove_old`].
//!
//! What an earlier life of a recycled file left behind the zeros is harmless and stays: its batches have numbers
//! that were passed, and a batch counts only with exactly the number that is due.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::file_system::is_disk_full;
use super::torn_file;
use super::window_reader::WindowReader;
use crate::format::batch::{BatchView, FORMAT_VERSION};
use crate::format::segment::{segment_name, segment_number};
use crate::ids::SegmentNumber;
use crate::limits::{BATCH_BYTES_MAX, RECOVERY_WINDOW_BYTES};
use crate::log::look_ahead::IN_FLIGHT_BYTES_MAX;
use crate::log::place::BatchPlace;
use crate::log::recovery::{Corrupt, Scan, ScanError, SegmentFile, Window};
use crate::log::repair::RepairStep;
use crate::log::tail::{Stretch, Tail};

const _: () = assert!(IN_FLIGHT_BYTES_MAX as usize + BATCH_BYTES_MAX <= RECOVERY_WINDOW_BYTES);

/// Whether recovery may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoverMode {
    /// Nothing is written: what a repair would do is reported.
    ReadOnly,
    /// The log is made fit to go on. The caller holds the directory's lock.
    Repair,
}

/// A log that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where it ends, and how it goes on.
    pub tail: Tail,
    /// What was cut off, if the verdict is torn.
    pub torn: Option<Torn>,
}

/// What was cut off a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where it was.
    pub cut: Stretch,
    /// The file that holds its bytes now; after reading only, the one that would.
    pub kept_in: PathBuf,
}

/// Why a log cannot be used. Whatever it is, the log is as it was, unless it is an I/O error during a repair; then
/// the repair can be done again.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError<E: Error + 'static> {
    /// The operating system refused something.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something that was durable is damaged or gone. Nothing was changed.
    #[error("{}: {corrupt}", path.display())]
    Corrupt {
        /// The segment's file.
        path: PathBuf,
        /// What is known.
        corrupt: Corrupt,
    },
    /// A later version of this program wrote to the log. Nothing was changed.
    #[error("{} has a batch of format version {version} at offset {offset}; this program reads up to {FORMAT_VERSION}", path.display())]
    NewerFormat {
        /// The segment's file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The version.
        version: u16,
    },
    /// A segment of another log lies in the directory. Nothing was changed.
    #[error("{} belongs to log {found:016x}, not to {expected:016x}", path.display())]
    ForeignSegment {
        /// The segment's file.
        path: PathBuf,
        /// The id of the log.
        expected: u64,
        /// The id in that segment.
        found: u64,
    },
    /// The caller did not take a batch.
    #[error("a record of the log cannot be applied")]
    Apply(#[source] E),
}

impl<E: Error + 'static> RecoverError<E> {
    /// Whether there is no room left, on the disk or in what this user may take of it, to keep aside what is cut off.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, RecoverError::Io { source, .. } if is_disk_full(source))
    }
}

/// Reads the log in `directory`, hands every batch to `on_batch` in order, and says where the log ends.
///
/// A directory without segments, or with none that was ever written, is a fresh log. Reads some
/// [`RECOVERY_WINDOW_BYTES`] at a time and blocks the thread until it is through.
pub fn recover<E: Error + 'static>(
    directory: &Path,
    mode: RecoverMode,
    on_batch: &mut dyn FnMut(BatchPlace, &BatchView<'_>) -> Result<(), E>,
) -> Result<Recovered, RecoverError<E>> {
    let files = segment_files(directory).map_err(failed("list the segments in", directory))?;
    let mut reader = WindowReader::new(directory.to_owned(), RECOVERY_WINDOW_BYTES);
    let mut scan = Scan::new(files, RECOVERY_WINDOW_BYTES);
    while let Some(window) = scan.wanted() {
        let path = reader.path(window.segment);
        let bytes = reader.read(window).map_err(failed("read", &path))?;
        scan.show(bytes, on_batch).map_err(RecoverError::Apply)?;
    }
    let tail = scan.finish().map_err(|error| refused(directory, error))?;
    let torn = match mode {
        RecoverMode::ReadOnly => {
            let kept_in = directory.join(torn_file::torn_name(tail.next_batch));
            tail.cut.map(|cut| Torn { cut, kept_in })
        }
        RecoverMode::Repair => repair(directory, &tail, &mut reader)?,
    };
    Ok(Recovered { tail, torn })
}

/// The segments' files in the order of their numbers.
///
/// # Errors
/// The directory, or a file in it, cannot be looked at.
pub fn segment_files(directory: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(segment_number) {
            files.push(SegmentFile { number, file_bytes: fs::metadata(entry.path())?.len() });
        }
    }
    files.sort_by_key(|file| file.number);
    Ok(files)
}

fn repair<E: Error + 'static>(
    directory: &Path,
    tail: &Tail,
    reader: &mut WindowReader,
) -> Result<Option<Torn>, RecoverError<E>> {
    let mut torn = None;
    for step in tail.repair() {
        match step {
            RepairStep::KeepAside(cut) => {
                let bytes = read_stretch(reader, cut)?;
                let kept_in = torn_file::keep(directory, tail.next_batch, bytes)
                    .map_err(failed("keep what was cut off the log in", directory))?;
                torn = Some(Torn { cut, kept_in });
            }
            RepairStep::MakeZeros(stretch) => {
                let path = reader.path(stretch.segment);
                if read_stretch(reader, stretch)?.iter().any(|byte| *byte != 0) {
                    make_zeros(&path, stretch)
                        .map_err(failed("write zeros behind the last batch of", &path))?;
                }
            }
            RepairStep::Sync(segment) => {
                let path = reader.path(segment);
                let file = OpenOptions::new().write(true).open(&path).map_err(failed("open", &path))?;
                file.sync_data().map_err(failed("make durable", &path))?;
            }
        }
    }
    remove_old_cuts(directory, torn.as_ref());
    Ok(torn)
}

/// What cannot be removed is no reason not to open a log.
fn remove_old_cuts(directory: &Path, torn: Option<&Torn>) {
    match torn_file::remove_old(directory, torn.map(|torn| &*torn.kept_in)) {
        Ok(removed) => removed.iter().for_each(|path| {
            tracing::info!(file = %path.display(), "removed: newer pieces that were cut off the log are kept");
        }),
        Err(error) => tracing::warn!(%error, "pieces that were cut off the log long ago stay"),
    }
}

/// All of a stretch at once: it is never longer than a window, for what lies further behind was not in flight.
fn read_stretch<E: Error + 'static>(
    reader: &mut WindowReader,
    stretch: Stretch,
) -> Result<&[u8], RecoverError<E>> {
    let path = reader.path(stretch.segment);
    let window = Window { segment: stretch.segment, offset: stretch.offset, bytes: stretch.bytes as usize };
    reader.read(window).map_err(failed("read", &path))
}

fn make_zeros(path: &Path, stretch: Stretch) -> io::Result<()> {
    const PIECE: usize = 256 << 10;
    let file: File = OpenOptions::new().write(true).open(path)?;
    let zeros = vec![0; PIECE];
    let end = stretch.offset + stretch.bytes;
    let mut at = stretch.offset;
    while at < end {
        let piece = (end - at).min(PIECE as u64);
        file.write_all_at(&zeros[..piece as usize], at)?;
        at += piece;
    }
    Ok(())
}

fn failed<E: Error + 'static>(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecoverError<E> {
    let path = path.to_owned();
    move |source| RecoverError::Io { doing, path, source }
}

fn refused<E: Error + 'static>(directory: &Path, error: ScanError) -> RecoverError<E> {
    let path = |segment: SegmentNumber| directory.join(segment_name(segment));
    match error {
        ScanError::Corrupt(corrupt) => RecoverError::Corrupt { path: path(corrupt.segment), corrupt },
        ScanError::NewerFormat { segment, offset, version } => {
            RecoverError::NewerFormat { path: path(segment), offset, version }
        }
        ScanError::ForeignSegment { segment, expected, found } => {
            RecoverError::ForeignSegment { path: path(segment), expected, found }
        }
    }
}
