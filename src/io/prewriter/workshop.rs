//! What the prewriting thread does, one request after the other.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;

use super::{Answer, Request, Signals, Speed};
use crate::format::segment::{segment_name, spare_name};
use crate::ids::SegmentNumber;
use crate::io::clock;
use crate::io::directory::{Directory, DirectoryError, FILE_MODE, unfinished_name};
use crate::io::segment_file::{SegmentFile, open_direct};
use crate::io::zeros::Zeros;
use crate::limits::{PREWRITE_PACE_BYTES_PER_SECOND, SPARES_MAX};

/// Why there is no file.
enum Refusal {
    Stopped,
    Failed(DirectoryError),
}

impl From<DirectoryError> for Refusal {
    fn from(error: DirectoryError) -> Refusal {
        Refusal::Failed(error)
    }
}

type FlushNames = dyn Fn(&Directory) -> Result<(), DirectoryError> + Send;

/// What the thread works with.
pub(super) struct Workshop {
    directory: Arc<Directory>,
    segment_bytes: u64,
    /// The names of the spare files.
    spares: BTreeSet<String>,
    /// Segments that are to be freed, and once their name is taken, whether their file became a spare.
    unfreed: BTreeMap<SegmentNumber, Option<bool>>,
    /// The segment that is being prepared, if its file has its name already, and perhaps not for good.
    named: Option<SegmentNumber>,
    zeros: Box<Zeros>,
    signals: Arc<Signals>,
    /// How the thread waits.
    sleep: Box<dyn Fn(Duration) + Send>,
    /// How names are made durable.
    flush_names: Box<FlushNames>,
}

impl Workshop {
    /// For segments of `segment_bytes`, with the spare files of these names.
    pub(super) fn new(
        directory: &Arc<Directory>,
        segment_bytes: u64,
        spares: Vec<String>,
        signals: &Arc<Signals>,
    ) -> Workshop {
        Workshop {
            directory: Arc::clone(directory),
            segment_bytes,
            spares: spares.into_iter().collect(),
            unfreed: BTreeMap::new(),
            named: None,
            zeros: Zeros::new(),
            signals: Arc::clone(signals),
            sleep: Box::new(thread::sleep),
            flush_names: Box::new(Directory::sync),
        }
    }

    pub(super) fn run(mut self, requests: &mpsc::Receiver<Request>, answer: &dyn Fn(Answer)) {
        while let Ok(request) = requests.recv() {
            if self.stopped() {
                return;
            }
            match request {
                Request::Prepare { number, speed } => match self.prepare(number, speed) {
                    Ok(file) => answer(Answer::Prepared { number, file }),
                    Err(Refusal::Failed(source)) if source.is_disk_full() => {
                        answer(Answer::DiskFull { number })
                    }
                    Err(Refusal::Failed(source)) => answer(Answer::PrepareFailed { number, source }),
                    Err(Refusal::Stopped) => return,
                },
                Request::Free { number } => {
                    self.unfreed.insert(number, None);
                    match self.free_all() {
                        Ok(recycled) => answer(Answer::Freed { number, recycled }),
                        Err(source) => answer(Answer::FreeFailed { number, source }),
                    }
                }
            }
        }
    }

    fn stopped(&self) -> bool {
        self.signals.stop.load(Ordering::Relaxed)
    }

    fn prepare(&mut self, number: SegmentNumber, speed: Speed) -> Result<SegmentFile, Refusal> {
        self.free_all()?;
        let name = segment_name(number);
        if self.named != Some(number) {
            self.give_name(&name, number, speed)?;
            self.named = Some(number);
        }
        (self.flush_names)(&self.directory)?;
        let path = self.directory.path_of(&name);
        let file = SegmentFile::open(&path).map_err(|error| DirectoryError::io("open", &path, error))?;
        self.named = None;
        Ok(file)
    }

    /// Finds or makes a file for the segment, and gives it its name.
    fn give_name(&mut self, name: &str, number: SegmentNumber, speed: Speed) -> Result<(), Refusal> {
        self.directory.refuse_existing(name)?;
        if let Some(spare) = self.find_spare()? {
            self.directory.rename(&spare, name)?;
            self.spares.remove(&spare);
        } else {
            let unfinished = unfinished_name(number);
            self.prewrite(&unfinished, number, speed)?;
            self.directory.rename(&unfinished, name)?;
        }
        Ok(())
    }

    /// A spare that can be used: others are removed, such as those of another size from before the options changed.
    fn find_spare(&mut self) -> Result<Option<String>, DirectoryError> {
        while let Some(name) = self.spares.first().cloned() {
            match self.is_recyclable(&name) {
                Ok(true) => return Ok(Some(name)),
                Ok(false) => self.directory.unlink(&name)?,
                // Somebody took it away.
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
            self.spares.remove(&name);
        }
        Ok(None)
    }

    /// A file with a second name belongs to someone else too: a backup, which must not change any more.
    fn is_recyclable(&self, name: &str) -> Result<bool, DirectoryError> {
        let metadata = self.directory.metadata(name)?;
        Ok(metadata.nlink() == 1 && metadata.len() == self.segment_bytes)
    }

    /// Makes a file of zeros on stable storage, or none.
    fn prewrite(&self, name: &str, number: SegmentNumber, speed: Speed) -> Result<(), Refusal> {
        // Asked first, so as not to fill the last of a disk that others use too.
        if self.directory.free_bytes()? < self.segment_bytes {
            let full = io::Error::from(nix::errno::Errno::ENOSPC);
            return Err(DirectoryError::io("make room for", &self.directory.path_of(name), full).into());
        }
        let path = self.directory.path_of(name);
        let failed = |error| Refusal::Failed(DirectoryError::io("prewrite", &path, error));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(FILE_MODE);
        let (file, _) = open_direct(&mut options, OFlag::empty(), &path).map_err(failed)?;
        let written = match self.write_zeros(&file, number, speed) {
            Ok(true) => file.sync_data().map_err(failed),
            Ok(false) => Err(Refusal::Stopped),
            Err(error) => Err(failed(error)),
        };
        if written.is_err() {
            // If that fails too, the first failure is the one to tell. What stays is overwritten by the next try, or
            // removed at the next start.
            drop(self.directory.unlink(name));
        }
        written
    }

    /// Whether the whole file was written, and not cut short by a stop.
    fn write_zeros(&self, file: &File, number: SegmentNumber, speed: Speed) -> io::Result<bool> {
        let started = clock::now().monotonic;
        let mut written = 0;
        while written < self.segment_bytes {
            if self.stopped() {
                return Ok(false);
            }
            let piece = self.zeros.piece(self.segment_bytes - written);
            file.write_all_at(piece, written)?;
            written += piece.len() as u64;
            if speed == Speed::Paced && !self.signals.is_wanted_at_once(number) {
                (self.sleep)(pause(written, clock::now().monotonic.0 - started.0));
            }
        }
        Ok(true)
    }

    /// Frees what is to be freed, oldest first, and says whether the last of it became a spare.
    fn free_all(&mut self) -> Result<bool, DirectoryError> {
        let mut recycled = false;
        while let Some((number, taken)) = self.unfreed.first_key_value() {
            let number = *number;
            recycled = match taken {
                Some(recycled) => *recycled,
                None => self.take_name(number)?,
            };
            self.unfreed.insert(number, Some(recycled));
            (self.flush_names)(&self.directory)?;
            self.unfreed.remove(&number);
        }
        Ok(recycled)
    }

    /// Takes a segment's name from its file, and says whether that became a spare.
    fn take_name(&mut self, number: SegmentNumber) -> Result<bool, DirectoryError> {
        let name = segment_name(number);
        let recyclable = self.is_recyclable(&name).inspect_err(|error| {
            if error.is_missing() {
                // Whoever took it away, there is nothing left to do.
                self.unfreed.remove(&number);
            }
        })?;
        let recycled = recyclable && self.spares.len() < SPARES_MAX;
        if recycled {
            let spare = self.unused_spare_name();
            self.directory.rename(&name, &spare)?;
            self.spares.insert(spare);
        } else {
            self.directory.unlink(&name)?;
        }
        Ok(recycled)
    }

    fn unused_spare_name(&self) -> String {
        // Invariant: of one number more than there are spares, one is unused.
        (0..)
            .map(spare_name)
            .find(|name| !self.spares.contains(name))
            .expect("there are more numbers than spares")
    }
}

/// How long to wait after `written` bytes that took `nanoseconds`, so as not to exceed the pace.
fn pause(written: u64, nanoseconds: u64) -> Duration {
    let due = u128::from(written) * 1_000_000_000 / u128::from(PREWRITE_PACE_BYTES_PER_SECOND);
    let due = u64::try_from(due).unwrap_or(u64::MAX);
    Duration::from_nanos(due.saturating_sub(nanoseconds))
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::AtomicU64;

    use tempfile::TempDir;

    use super::*;
    use crate::limits::PREWRITE_PIECE_BYTES;

    /// Not a whole number of pieces.
    const BYTES: u64 = 2 * PREWRITE_PIECE_BYTES as u64 + 4096;

    fn workshop(path: &Path) -> Workshop {
        Workshop::new(&Arc::new(Directory::open(path).unwrap()), BYTES, Vec::new(), &Arc::default())
    }

    /// A workshop in which so many flushes of names fail, and which counts them all.
    fn workshop_with_failures(path: &Path, failures: &Arc<AtomicU64>, flushes: &Arc<AtomicU64>) -> Workshop {
        let (failures, flushes) = (Arc::clone(failures), Arc::clone(flushes));
        let flush_names = move |directory: &Directory| {
            flushes.fetch_add(1, Ordering::Relaxed);
            let left = failures.load(Ordering::Relaxed);
            failures.store(left.saturating_sub(1), Ordering::Relaxed);
            if left > 0 {
                let error = io::Error::from(nix::errno::Errno::EIO);
                return Err(DirectoryError::io("flush", directory.path(), error));
            }
            directory.sync()
        };
        Workshop { flush_names: Box::new(flush_names), ..workshop(path) }
    }

    /// The files of a directory, but for its lock.
    pub fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|n| n != "lock")
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_pace_is_kept_by_waiting_for_what_was_written_too_early() {
        let second = 1_000_000_000;
        assert_eq!(pause(PREWRITE_PACE_BYTES_PER_SECOND, second / 4), Duration::from_millis(750));
        assert_eq!(pause(PREWRITE_PACE_BYTES_PER_SECOND, 2 * second), Duration::ZERO);
    }

    #[test]
    fn a_paced_file_waits_after_each_piece_until_it_is_wanted_at_once() {
        let place = tempfile::tempdir().unwrap();
        let pauses = Arc::new(AtomicU64::new(0));
        let (count, signals) = (Arc::clone(&pauses), Arc::new(Signals::default()));
        let hurried = Arc::clone(&signals);
        let sleep = move |_| {
            if count.fetch_add(1, Ordering::Relaxed) == 3 {
                hurried.hurry(SegmentNumber(2));
            }
        };
        let workshop = Workshop { signals, sleep: Box::new(sleep), ..workshop(place.path()) };
        let paused_for = |number, speed| {
            pauses.store(0, Ordering::Relaxed);
            assert!(workshop.prewrite("x", SegmentNumber(number), speed).is_ok());
            pauses.load(Ordering::Relaxed)
        };
        assert_eq!(paused_for(1, Speed::Full), 0);
        assert_eq!(paused_for(1, Speed::Paced), 3, "two pieces and a little");
        pauses.store(3, Ordering::Relaxed);
        (workshop.sleep)(Duration::ZERO);
        assert_eq!(paused_for(2, Speed::Paced), 0, "wanted at once");
        assert_eq!(paused_for(3, Speed::Paced), 3, "and the next is not");
    }

    #[test]
    fn a_name_is_used_once_it_was_flushed_and_not_before() {
        let place = tempfile::tempdir().unwrap();
        let (failures, flushes) = (Arc::new(AtomicU64::new(2)), Arc::default());
        let mut workshop = workshop_with_failures(place.path(), &failures, &flushes);
        let prepared = [(); 3].map(|()| workshop.prepare(SegmentNumber(1), Speed::Full).is_ok());
        assert_eq!(
            prepared,
            [false, false, true],
            "the second time it has its name, and perhaps not for good"
        );
        assert_eq!(flushes.load(Ordering::Relaxed), 3);
        assert!(workshop.prepare(SegmentNumber(2), Speed::Full).is_ok());
        assert_eq!(flushes.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_segment_is_gone_once_that_was_flushed_and_not_before() {
        let place = tempfile::tempdir().unwrap();
        let (failures, flushes) = (Arc::default(), Arc::default());
        let mut workshop = workshop_with_failures(place.path(), &failures, &flushes);
        for number in 1..=2 {
            assert!(workshop.prepare(SegmentNumber(number), Speed::Full).is_ok());
        }
        workshop.unfreed.extend([1, 2].map(|number| (SegmentNumber(number), None)));
        failures.store(2, Ordering::Relaxed);
        let freed = [(); 3].map(|()| {
            let freed = workshop.free_all().is_ok();
            (freed, names(&place).contains(&segment_name(SegmentNumber(2))))
        });
        assert_eq!(freed, [(false, true), (false, true), (true, false)], "the younger one stays as long");
        assert_eq!(flushes.load(Ordering::Relaxed), 2 + 2 + 2);
    }
}
