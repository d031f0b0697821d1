//! Makes and retires the files of segments, on a thread of its own: a file that was written once in full takes the
//! log's writes at full speed, and one that is merely allocated or growing at half of it or less.
//!
//! ```text
//! prepare   spare-N.log                         ──rename, flush──▶  segment
//!           preparing-N.tmp  ──zeros, flush──▶  ──rename, flush──▶  segment
//! free      segment  ──rename, flush──▶  spare-N.log     if nobody else links to it and spares are wanted
//!           segment  ──unlink, flush──▶  gone            otherwise
//! ```
//!
//! A crash between any two steps leaves what was there before or after it: a segment's name is only ever given to a
//! file that is whole. What a spare holds is some old segment's, which the log tells apart by its batches.
//!
//! A step that fails is taken again where it stopped, at the next request: the log has a hole if a segment goes while an
//! older one stays, so what is to be freed is freed before anything else is done, in order.
#![forbid(unsafe_code)]

mod workshop;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use workshop::Workshop;

use crate::ids::SegmentNumber;
use crate::io::directory::{Directory, DirectoryError};
use crate::io::segment_file::SegmentFile;
use crate::limits::BLOCK_BYTES;

/// How fast zeros are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speed {
    /// As fast as the disk takes them: appends that go on beside it suffer.
    Full,
    /// At most [`PREWRITE_PACE_BYTES_PER_SECOND`](crate::limits::PREWRITE_PACE_BYTES_PER_SECOND), unless [`Prewriter::hurry`]
    /// says otherwise.
    Paced,
}

enum Request {
    Prepare { number: SegmentNumber, speed: Speed },
    Free { number: SegmentNumber },
}

/// What came of a request. Each gets one answer, in the order of the requests, unless the prewriter is dropped first.
#[derive(Debug)]
pub enum Answer {
    /// The file has its name for good and can be written.
    Prepared {
        /// The segment asked for.
        number: SegmentNumber,
        /// Its file.
        file: SegmentFile,
    },
    /// There is no room for another segment. Nothing was left behind.
    DiskFull {
        /// The segment asked for.
        number: SegmentNumber,
    },
    /// The file could not be prepared.
    PrepareFailed {
        /// The segment asked for.
        number: SegmentNumber,
        /// Why.
        source: DirectoryError,
    },
    /// The segment is gone for good.
    Freed {
        /// The segment.
        number: SegmentNumber,
        /// Whether its file became a spare.
        recycled: bool,
    },
    /// The segment may still be there. It is tried again with the next request, before anything else is done.
    FreeFailed {
        /// The segment.
        number: SegmentNumber,
        /// Why.
        source: DirectoryError,
    },
}

/// The thread, and the way to it. Dropping this stops it, with what it is doing cut short and no answer given to what
/// it has not begun.
pub struct Prewriter {
    requests: Option<mpsc::Sender<Request>>,
    signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
}

/// What reaches the thread in the middle of a file.
#[derive(Default)]
struct Signals {
    stop: AtomicBool,
    /// Segments below this number are wanted at once.
    hurry_below: AtomicU64,
}

impl Signals {
    fn hurry(&self, number: SegmentNumber) {
        self.hurry_below.fetch_max(number.0.saturating_add(1), Ordering::Relaxed);
    }

    fn is_wanted_at_once(&self, number: SegmentNumber) -> bool {
        number.0 < self.hurry_below.load(Ordering::Relaxed)
    }
}

impl Prewriter {
    /// Starts the thread, for segments of `segment_bytes`, a multiple of [`BLOCK_BYTES`]. `answer` is called on it for
    /// each request. What an earlier life left unfinished is removed.
    ///
    /// # Errors
    /// The directory cannot be read or cleaned, or there can be no more threads.
    pub fn start(
        directory: Arc<Directory>,
        segment_bytes: u64,
        answer: Box<dyn Fn(Answer) + Send>,
    ) -> Result<Prewriter, DirectoryError> {
        assert!(segment_bytes > 0 && segment_bytes.is_multiple_of(BLOCK_BYTES as u64));
        let listing = directory.list()?;
        for name in &listing.unfinished {
            directory.unlink(name)?;
        }
        let signals = Arc::new(Signals::default());
        let (requests, inbound) = mpsc::channel();
        let workshop = Workshop::new(&directory, segment_bytes, listing.spares, &signals);
        let thread = thread::Builder::new()
            .name("resolute-prewrite".to_owned())
            .spawn(move || workshop.run(&inbound, &answer))
            .map_err(|error| DirectoryError::io("start a thread for", directory.path(), error))?;
        Ok(Prewriter { requests: Some(requests), signals, thread: Some(thread) })
    }

    /// Asks for the file of segment `number`: [`Answer::Prepared`], [`Answer::DiskFull`] or
    /// [`Answer::PrepareFailed`].
    pub fn prepare(&self, number: SegmentNumber, speed: Speed) {
        self.send(Request::Prepare { number, speed });
    }

    /// Segments up to `number` are wanted at once: if one of them is being prepared, or will be, it is at full speed.
    pub fn hurry(&self, number: SegmentNumber) {
        self.signals.hurry(number);
    }

    /// Gives up the file of segment `number`, which nobody reads or writes any more: [`Answer::Freed`] or
    /// [`Answer::FreeFailed`].
    pub fn free(&self, number: SegmentNumber) {
        self.send(Request::Free { number });
    }

    fn send(&self, request: Request) {
        let sent = self.requests.as_ref().map(|requests| requests.send(request).is_ok());
        assert_eq!(sent, Some(true), "the prewriting thread lives until this is dropped, unless it panicked");
    }
}

impl Drop for Prewriter {
    fn drop(&mut self) {
        self.signals.stop.store(true, Ordering::Relaxed);
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the prewriting thread panicked");
        }
    }
}

impl fmt::Debug for Prewriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prewriter").finish_non_exhaustive()
    }
}
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;
    use std::time::Duration;

    use super::workshop::tests::names;
    use super::*;
    use crate::format::segment::{segment_name, spare_name};
    use crate::io::directory::unfinished_name;
    use crate::limits::PREWRITE_PIECE_BYTES;

    /// Not a whole number of pieces.
    const BYTES: u64 = 2 * PREWRITE_PIECE_BYTES as u64 + 4096;

    struct Bench {
        prewriter: Prewriter,
        answers: mpsc::Receiver<Answer>,
        directory: Arc<Directory>,
    }

    impl Bench {
        fn start(path: &Path, segment_bytes: u64) -> Bench {
            let directory = Arc::new(Directory::open(path).unwrap());
            let (answer, answers) = mpsc::channel();
            let answer = Box::new(move |given| answer.send(given).unwrap());
            let prewriter = Prewriter::start(Arc::clone(&directory), segment_bytes, answer).unwrap();
            Bench { prewriter, answers, directory }
        }

        fn prepared(&self, number: u64) -> SegmentFile {
            self.prewriter.prepare(SegmentNumber(number), Speed::Full);
            match self.answers.recv().unwrap() {
                Answer::Prepared { number: prepared, file } if prepared == SegmentNumber(number) => file,
                other => panic!("{other:?}"),
            }
        }

        fn freed(&self, number: u64) -> bool {
            self.prewriter.free(SegmentNumber(number));
            match self.answers.recv().unwrap() {
                Answer::Freed { number: freed, recycled } if freed == SegmentNumber(number) => recycled,
                other => panic!("{other:?}"),
            }
        }

        fn path(&self, number: u64) -> std::path::PathBuf {
            self.directory.path_of(&segment_name(SegmentNumber(number)))
        }

        fn inode(&self, number: u64) -> u64 {
            fs::metadata(self.path(number)).unwrap().ino()
        }
    }

    #[test]
    fn a_prepared_segment_is_zeros_of_the_right_size_and_name() {
        let place = tempfile::tempdir().unwrap();
        let bench = Bench::start(place.path(), BYTES);
        let file = bench.prepared(7);
        assert_eq!(file.bytes().unwrap(), BYTES);
        assert_eq!(names(&place), [segment_name(SegmentNumber(7))]);
        let content = fs::read(bench.path(7)).unwrap();
        assert!(content.len() as u64 == BYTES && content.iter().all(|&byte| byte == 0));
        assert_eq!(fs::metadata(bench.path(7)).unwrap().permissions().mode() & 0o777, 0o600);
        let allocated = fs::metadata(bench.path(7)).unwrap().blocks() * 512;
        assert!(allocated >= BYTES, "written, and not a hole");
    }

    #[test]
    fn a_freed_file_is_the_next_segment() {
        let place = tempfile::tempdir().unwrap();
        let bench = Bench::start(place.path(), BYTES);
        bench.prepared(1);
        let inode = bench.inode(1);
        assert!(bench.freed(1));
        assert_eq!(names(&place), [spare_name(0)]);
        bench.prepared(2);
        assert_eq!(bench.inode(2), inode);
        assert_eq!(names(&place), [segment_name(SegmentNumber(2))]);
    }

    #[test]
    fn spares_are_kept_up_to_the_bound_and_found_by_the_next_life() {
        let place = tempfile::tempdir().unwrap();
        let bench = Bench::start(place.path(), BYTES);
        for number in 1..=3 {
            bench.prepared(number);
        }
        assert_eq!([bench.freed(1), bench.freed(2), bench.freed(3)], [true, true, false]);
        assert_eq!(names(&place), [spare_name(0), spare_name(1)]);
        drop(bench);

        let bench = Bench::start(place.path(), BYTES);
        bench.prepared(4);
        assert_eq!(names(&place), [segment_name(SegmentNumber(4)), spare_name(1)]);
        assert!(bench.freed(4));
        assert_eq!(names(&place), [spare_name(0), spare_name(1)]);
    }

    #[test]
    fn a_file_that_a_backup_links_to_is_unlinked_and_not_recycled() {
        let place = tempfile::tempdir().unwrap();
        let bench = Bench::start(place.path(), BYTES);
        bench.prepared(1);
        fs::hard_link(bench.path(1), place.path().join("backup")).unwrap();
        assert!(!bench.freed(1));
        assert_eq!(names(&place), ["backup"]);

        bench.prepared(2);
        assert!(bench.freed(2));
        fs::hard_link(place.path().join(spare_name(0)), place.path().join("late")).unwrap();
        let inode = fs::metadata(place.path().join("late")).unwrap().ino();
        bench.prepared(3);
        assert_ne!(bench.inode(3), inode, "a spare that was linked to is not used");
    }

    #[test]
    fn a_spare_of_another_size_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(spare_name(5)), "short").unwrap();
        let bench = Bench::start(place.path(), BYTES);
        assert_eq!(bench.prepared(1).bytes().unwrap(), BYTES);
        assert_eq!(names(&place), [segment_name(SegmentNumber(1))]);
    }

    #[test]
    fn a_spare_that_somebody_took_away_is_not_missed() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(spare_name(5)), "short").unwrap();
        let bench = Bench::start(place.path(), BYTES);
        fs::remove_file(place.path().join(spare_name(5))).unwrap();
        bench.prepared(1);
        assert_eq!(names(&place), [segment_name(SegmentNumber(1))]);
    }

    #[test]
    fn what_an_earlier_life_left_unfinished_is_removed() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(unfinished_name(SegmentNumber(1))), "half").unwrap();
        let bench = Bench::start(place.path(), BYTES);
        assert_eq!(names(&place), [""; 0]);
        bench.prepared(1);
    }

    #[test]
    fn a_disk_without_room_is_reported_as_full_and_nothing_is_left() {
        let place = tempfile::tempdir().unwrap();
        let bench = Bench::start(place.path(), 1 << 60);
        // Paced and with an end to our patience: if this fails, it must not fill the disk to find out.
        bench.prewriter.prepare(SegmentNumber(1), Speed::Paced);
        let answer = bench.answers.recv_timeout(Duration::from_secs(2)).unwrap();
        assert!(matches!(answer, Answer::DiskFull { number: SegmentNumber(1) }), "{answer:?}");
        assert_eq!(names(&place), [""; 0]);
    }

    #[test]
    fn a_segment_that_exists_is_not_replaced() {
        let place = tempfile::tempdir().unwrap();
        let bench = Bench::start(place.path(), BYTES);
        fs::write(bench.path(1), "precious").unwrap();
        bench.prewriter.prepare(SegmentNumber(1), Speed::Full);
        let answer = bench.answers.recv().unwrap();
        assert!(matches!(answer, Answer::PrepareFailed { number: SegmentNumber(1), .. }), "{answer:?}");
        assert_eq!(fs::read(bench.path(1)).unwrap(), b"precious");
        assert_eq!(names(&place), [segment_name(SegmentNumber(1))], "and nothing was written beside it");
    }

    #[test]
    fn no_segment_is_freed_while_an_older_one_stays() {
        let place = tempfile::tempdir().unwrap();
        let bench = Bench::start(place.path(), BYTES);
        (1..=2).for_each(|number| drop(bench.prepared(number)));
        // No spare can have this name, so it cannot be freed.
        fs::write(place.path().join(spare_name(0)), "in the way").unwrap();
        bench.prewriter.free(SegmentNumber(1));
        let answer = bench.answers.recv().unwrap();
        assert!(matches!(answer, Answer::FreeFailed { number: SegmentNumber(1), .. }), "{answer:?}");
        bench.prewriter.free(SegmentNumber(2));
        let answer = bench.answers.recv().unwrap();
        assert!(matches!(answer, Answer::FreeFailed { number: SegmentNumber(2), .. }), "{answer:?}");
        bench.prewriter.prepare(SegmentNumber(3), Speed::Full);
        let answer = bench.answers.recv().unwrap();
        assert!(matches!(answer, Answer::PrepareFailed { number: SegmentNumber(3), .. }), "{answer:?}");

        fs::remove_file(place.path().join(spare_name(0))).unwrap();
        bench.prepared(3);
        assert_eq!(names(&place), [segment_name(SegmentNumber(3)), spare_name(1)], "both were, in order");
    }

    #[test]
    fn freeing_what_is_not_there_is_told() {
        let place = tempfile::tempdir().unwrap();
        let bench = Bench::start(place.path(), BYTES);
        bench.prewriter.free(SegmentNumber(1));
        let answer = bench.answers.recv().unwrap();
        assert!(matches!(answer, Answer::FreeFailed { number: SegmentNumber(1), .. }), "{answer:?}");
    }

    #[test]
    fn a_drop_cuts_a_paced_file_short_and_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let Bench { prewriter, answers, .. } = Bench::start(place.path(), 1 << 30);
        prewriter.prepare(SegmentNumber(1), Speed::Paced);
        while names(&place).is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        drop(prewriter);
        assert_eq!(names(&place), [""; 0]);
        assert!(answers.try_recv().is_err(), "it was not written to its end");
    }

    #[test]
    fn a_hurry_is_for_the_segments_it_names_and_is_not_forgotten() {
        let signals = Signals::default();
        assert!(!signals.is_wanted_at_once(SegmentNumber(0)));
        signals.hurry(SegmentNumber(7));
        signals.hurry(SegmentNumber(3));
        assert!(signals.is_wanted_at_once(SegmentNumber(7)) && !signals.is_wanted_at_once(SegmentNumber(8)));
    }
}
