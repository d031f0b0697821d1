//! One file of the log: whole batches down, whole blocks back.
//!
//! The operations are submitted through tokio-uring's [`UnsubmittedOneshot`], which keeps what the kernel reads from
//! or writes into, buffer and file, until the operation completed. **What an abandoned operation holds is leaked**, and
//! on purpose: tokio-uring keeps it while its runtime lives, but lets go of it when the runtime ends, before the kernel
//! has let go too. A leak is safe and a reused buffer is not. So the future of a write or read is polled to its end;
//! dropping it is sound, and costs its buffer for good.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use io_uring::{cqueue, opcode, squeue, types};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use tokio_uring::{OneshotOutputTransform, UnsubmittedOneshot};

use crate::io::buffer::{Buffer, SharedBuffer};
use crate::limits::{BATCH_BYTES_MAX, BLOCK_BYTES, DEAD_WRITERS_MS, RESUBMISSIONS_MAX};

/// Waits until no write that a killed process left behind is on its way into the file at `path`.
///
/// The kernel gives back the lock of a data directory when the process that held it is gone, and may finish a write of
/// that process later. For as long it holds the written file itself, and with it the lock that [`SegmentFile::open`] took
/// on it.
///
/// # Errors
/// The file cannot be opened, or is still being written after [`DEAD_WRITERS_MS`].
pub fn wait_for_dead_writers(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    for _ in 0..DEAD_WRITERS_MS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            // Locked, and unlocked when the file is closed; or no lock is to be had here.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "a process that is gone still writes to it"))
}

/// A segment's file, open for reading and writing. A clone is the same open file.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    file: Arc<File>,
    direct: bool,
}

impl SegmentFile {
    /// Opens an existing file so that a write that returned is on stable storage: O_DIRECT and O_DSYNC, or O_DSYNC
    /// alone where the file system refuses O_DIRECT.
    ///
    /// # Errors
    /// As from open(2).
    pub fn open(path: &Path) -> io::Result<SegmentFile> {
        let (file, direct) = open_direct(OpenOptions::new().read(true).write(true), OFlag::O_DSYNC, path)?;
        // See `wait_for_dead_writers`. A file system that knows no such locks is no reason not to open a log.
        drop(file.try_lock_shared());
        Ok(SegmentFile { file: Arc::new(file), direct })
    }

    /// Whether writes go around the page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// The length of the file in bytes.
    ///
    /// # Errors
    /// As from fstat(2).
    pub fn bytes(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// Writes the first `bytes` of `buffer` at `offset`, all of it, and returns once it is on stable storage. Both
    /// are multiples of [`BLOCK_BYTES`]. Must be called in a tokio-uring runtime: the one the buffer was registered
    /// with, if it was. It is submitted when first polled.
    ///
    /// # Errors
    /// What the kernel answered, and then nothing is known of what was written. Interrupted and short writes are taken
    /// up again first, [`RESUBMISSIONS_MAX`] times in a row.
    pub async fn write(&self, mut buffer: SharedBuffer, bytes: usize, offset: u64) -> io::Result<()> {
        assert_blocks(bytes, offset);
        let mut progress = Progress::of(bytes);
        while progress.done < bytes {
            let entry = self.write_entry(&buffer, progress.done, bytes, offset);
            let result;
            (result, buffer) = self.submit(buffer, entry).await;
            progress.take(result)?;
        }
        Ok(())
    }

    fn write_entry(&self, buffer: &SharedBuffer, from: usize, to: usize, offset: u64) -> squeue::Entry {
        let file = types::Fd(self.file.as_raw_fd());
        let part = &buffer[from..to];
        let length = length(part.len());
        let offset = offset + from as u64;
        match buffer.registered_index() {
            Some(index) => opcode::WriteFixed::new(file, part.as_ptr(), length, index).offset(offset).build(),
            None => opcode::Write::new(file, part.as_ptr(), length).offset(offset).build(),
        }
    }

    /// Reads up to `bytes` at `offset` into the start of `buffer`: fewer at the end of the file. Both are multiples of
    /// [`BLOCK_BYTES`]. Must be called in a tokio-uring runtime.
    ///
    /// # Errors
    /// What the kernel answered. Interrupted reads are submitted again first, [`RESUBMISSIONS_MAX`] times in a row.
    pub async fn read(&self, mut buffer: Buffer, bytes: usize, offset: u64) -> (io::Result<usize>, Buffer) {
        assert_blocks(bytes, offset);
        let mut interruptions = 0;
        loop {
            let part = &mut buffer[..bytes];
            let read = opcode::Read::new(types::Fd(self.file.as_raw_fd()), part.as_mut_ptr(), length(bytes));
            let result;
            (result, buffer) = self.submit(buffer, read.offset(offset).build()).await;
            match result {
                Err(error) if is_interruption(&error) && interruptions < RESUBMISSIONS_MAX => {
                    interruptions += 1
                }
                result => return (result, buffer),
            }
        }
    }

    /// Reads up to `buffer.len()` bytes at `offset` without a ring, and blocks the thread. For O_DIRECT, the address,
    /// the length and the offset must be multiples of [`BLOCK_BYTES`].
    ///
    /// # Errors
    /// As from pread(2).
    pub fn read_blocking(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// `entry` may point at nothing but what `memory` owns, at an address that stays when `memory` moves; and at
    /// this file. Both are held until the operation completed.
    async fn submit<M: Unpin + 'static>(&self, memory: M, entry: squeue::Entry) -> (io::Result<usize>, M) {
        let held = ManuallyDrop::new((memory, Arc::clone(&self.file)));
        UnsubmittedOneshot::new(held, Completed(PhantomData), entry).submit().await
    }
}

/// Takes out of a completed operation what it held.
struct Completed<M>(PhantomData<M>);

impl<M> OneshotOutputTransform for Completed<M> {
    type Output = (io::Result<usize>, M);
    /// Leaked if the operation is abandoned: see the head of this file.
    type StoredData = ManuallyDrop<(M, Arc<File>)>;

    fn transform_oneshot_output(self, held: Self::StoredData, completion: cqueue::Entry) -> Self::Output {
        let (memory, _file) = ManuallyDrop::into_inner(held);
        let answer = completion.result();
        // A negative answer is an error number, negated.
        let result = usize::try_from(answer).map_err(|_| io::Error::from_raw_os_error(-answer));
        (result, memory)
    }
}

/// How much of a batch is written.
struct Progress {
    bytes: usize,
    /// Written for certain: a multiple of [`BLOCK_BYTES`].
    done: usize,
    /// Answers in a row that brought no whole block.
    fruitless: u32,
}

impl Progress {
    fn of(bytes: usize) -> Progress {
        Progress { bytes, done: 0, fruitless: 0 }
    }

    /// Takes the answer to a write of all that was not yet done.
    fn take(&mut self, answer: io::Result<usize>) -> io::Result<()> {
        let written = match answer {
            Ok(written) => written,
            Err(error) if is_interruption(&error) && self.fruitless < RESUBMISSIONS_MAX => 0,
            // Final: after a failed flush the kernel may hold the pages for clean, and a second try would say "done".
            Err(error) => return Err(error),
        };
        assert!(written <= self.bytes - self.done, "the kernel wrote more than there was");
        // A block that was cut is written again in whole: nobody has been told of it yet.
        let whole = written - written % BLOCK_BYTES;
        if whole > 0 {
            self.done += whole;
            self.fruitless = 0;
        } else if self.fruitless < RESUBMISSIONS_MAX {
            self.fruitless += 1;
        } else {
            return Err(io::Error::from(io::ErrorKind::WriteZero));
        }
        Ok(())
    }
}

/// Whether the kernel did nothing and wants to be asked again.
fn is_interruption(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EINTR | Errno::EAGAIN))
}

fn assert_blocks(bytes: usize, offset: u64) {
    assert!(bytes > 0 && bytes <= BATCH_BYTES_MAX, "{bytes} bytes are not of one buffer");
    assert!(
        bytes.is_multiple_of(BLOCK_BYTES) && offset.is_multiple_of(BLOCK_BYTES as u64),
        "not whole blocks"
    );
}

fn length(bytes: usize) -> u32 {
    // Invariant: no more than a batch, which a const assertion keeps below this.
    u32::try_from(bytes).expect("a batch's length fits in 32 bits")
}

/// Whether the file system lets the file at `path` be read, and so written, around the page cache. Nothing is written.
#[must_use]
pub fn reads_directly(path: &Path) -> bool {
    open_direct(OpenOptions::new().read(true), OFlag::empty(), path).is_ok_and(|(_, direct)| direct)
}

/// Opens `path` with O_DIRECT and `flags`, or with `flags` alone where the file system refuses O_DIRECT (EINVAL, as
/// open(2) has it), and says which it was.
pub(super) fn open_direct(options: &mut OpenOptions, flags: OFlag, path: &Path) -> io::Result<(File, bool)> {
    match options.custom_flags((flags | OFlag::O_DIRECT).bits()).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
            options.custom_flags(flags.bits()).open(path).map(|file| (file, false))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::task::Poll;

    use tempfile::TempDir;

    use super::*;
    use crate::io::buffer_pool::{BufferPool, RegistrationState};
    use crate::limits::BUFFERS_REGISTERED;

    const BLOCK: usize = BLOCK_BYTES;

    fn empty_file() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        File::create(&path).unwrap();
        (directory, path)
    }

    async fn write_and_read_back(pool: &BufferPool, registered: bool) {
        let (_directory, path) = empty_file();
        let file = SegmentFile::open(&path).unwrap();
        let mut buffer = pool.take();
        buffer[..BLOCK].fill(1);
        buffer[BLOCK..3 * BLOCK].fill(2);
        let buffer = buffer.freeze();
        assert_eq!(buffer.registered_index().is_some(), registered);
        file.write(buffer.clone(), 3 * BLOCK, BLOCK as u64).await.unwrap();

        assert_eq!(file.bytes().unwrap(), 4 * BLOCK as u64);
        let on_disk = std::fs::read(&path).unwrap();
        assert!(on_disk[..BLOCK].iter().all(|&byte| byte == 0), "nothing is written before the offset");
        assert_eq!(&on_disk[BLOCK..], &buffer[..3 * BLOCK]);

        let (result, back) = file.read(pool.take(), 8 * BLOCK, 2 * BLOCK as u64).await;
        assert_eq!(result.unwrap(), 2 * BLOCK, "a read ends where the file does");
        assert_eq!(&back[..2 * BLOCK], &buffer[BLOCK..3 * BLOCK]);
    }

    #[test]
    fn where_there_is_no_direct_io_each_write_is_flushed_all_the_same() {
        // A file of a file system that knows no O_DIRECT, and may be opened for writing.
        let file = SegmentFile::open(Path::new("/proc/self/comm")).unwrap();
        assert!(!file.is_direct());
        let flags = nix::fcntl::fcntl(&*file.file, nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert!(OFlag::from_bits_retain(flags).contains(OFlag::O_DSYNC));
    }

    #[test]
    fn a_file_that_a_dead_process_still_writes_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        std::fs::write(&path, [0; 4096]).unwrap();
        let writer = SegmentFile::open(&path).unwrap();
        let reader = SegmentFile::open(&path).unwrap();
        drop(reader);
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || wait_for_dead_writers(&path)
        });
        std::thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished());
        drop(writer);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn what_is_written_from_registered_memory_is_in_the_file() {
        tokio_uring::start(async {
            let pool = BufferPool::new();
            assert_eq!(pool.register(), RegistrationState::Registered);
            write_and_read_back(&pool, true).await;
            let idle = pool.counts().idle;
            assert_eq!(idle, BUFFERS_REGISTERED, "completed operations give their buffers back");
        });
    }

    #[test]
    fn what_is_written_from_unregistered_memory_is_in_the_file() {
        tokio_uring::start(async {
            let pool = BufferPool::new();
            write_and_read_back(&pool, false).await;
            assert_eq!(pool.counts().idle, BUFFERS_REGISTERED);
        });
    }

    #[test]
    fn two_writes_in_flight_land_each_in_its_place() {
        tokio_uring::start(async {
            let (_directory, path) = empty_file();
            let file = SegmentFile::open(&path).unwrap();
            let pool = BufferPool::new();
            pool.register();
            let writes: Vec<_> = [(1, 0), (2, BATCH_BYTES_MAX as u64)]
                .into_iter()
                .map(|(filling, offset)| {
                    let (file, mut buffer) = (file.clone(), pool.take());
                    buffer.fill(filling);
                    let buffer = buffer.freeze();
                    tokio_uring::spawn(async move { file.write(buffer, BATCH_BYTES_MAX, offset).await })
                })
                .collect();
            for write in writes {
                write.await.unwrap().unwrap();
            }
            let on_disk = std::fs::read(&path).unwrap();
            assert!(on_disk[..BATCH_BYTES_MAX].iter().all(|&byte| byte == 1));
            assert!(
                on_disk.len() == 2 * BATCH_BYTES_MAX
                    && on_disk[BATCH_BYTES_MAX..].iter().all(|&byte| byte == 2)
            );
        });
    }

    #[test]
    fn an_abandoned_write_keeps_its_buffer_for_good() {
        let pool = BufferPool::new();
        tokio_uring::start(async {
            let (_directory, path) = empty_file();
            let file = SegmentFile::open(&path).unwrap();
            let buffer = pool.take().freeze();
            let mut write = Box::pin(file.write(buffer, BLOCK, 0));
            std::future::poll_fn(|context| {
                assert!(write.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            drop(write);
            tokio_uring::no_op().await.unwrap();
        });
        assert_eq!(pool.counts().idle, BUFFERS_REGISTERED - 1);
    }

    #[test]
    fn a_failed_write_says_what_the_kernel_said() {
        tokio_uring::start(async {
            let file = SegmentFile::open(Path::new("/dev/full")).unwrap();
            let error = file.write(BufferPool::new().take().freeze(), BLOCK, 0).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::ENOSPC as i32));
        });
    }

    #[test]
    fn where_direct_writes_are_refused_they_are_buffered() {
        let (_directory, path) = empty_file();
        // This file can be written and has no blocks to write directly.
        assert!(!SegmentFile::open(Path::new("/proc/self/comm")).unwrap().is_direct());
        let missing = SegmentFile::open(&path.with_extension("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_short_write_goes_on_from_the_block_below() {
        let mut progress = Progress::of(4 * BLOCK);
        progress.take(Ok(2 * BLOCK + 100)).unwrap();
        assert_eq!(progress.done, 2 * BLOCK);
        progress.take(Ok(BLOCK - 1)).unwrap();
        assert_eq!(progress.done, 2 * BLOCK);
        progress.take(Ok(2 * BLOCK)).unwrap();
        assert_eq!(progress.done, 4 * BLOCK);
    }

    #[test]
    fn interruptions_are_borne_in_bounds_and_progress_resets_the_bound() {
        let interrupted = |errno: Errno| Err(io::Error::from(errno));
        let mut progress = Progress::of(2 * BLOCK);
        for _ in 0..RESUBMISSIONS_MAX {
            progress.take(interrupted(Errno::EINTR)).unwrap();
        }
        progress.take(Ok(BLOCK)).unwrap();
        for _ in 0..RESUBMISSIONS_MAX {
            progress.take(interrupted(Errno::EAGAIN)).unwrap();
        }
        let error = progress.take(interrupted(Errno::EAGAIN)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EAGAIN as i32));
        let error = progress.take(Ok(0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn any_other_error_is_final() {
        /// The kernel has no greater one.
        const ERRNO_MAX: i32 = 4095;
        let continued: Vec<i32> = (1..=ERRNO_MAX)
            .filter(|errno| match Progress::of(BLOCK).take(Err(io::Error::from_raw_os_error(*errno))) {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(*errno), "it is told as the kernel said it");
                    false
                }
            })
            .collect();
        assert_eq!(continued, [Errno::EINTR as i32, Errno::EAGAIN as i32]);
    }

    #[test]
    fn after_any_answer_just_the_whole_blocks_are_done() {
        const BYTES: usize = 3 * BLOCK;
        for written in 0..=BYTES {
            let mut progress = Progress::of(BYTES);
            progress.take(Ok(written)).unwrap();
            assert_eq!(progress.done, written / BLOCK * BLOCK, "{written} of {BYTES}");
            assert_eq!(progress.fruitless, u32::from(written < BLOCK));
        }
    }

    #[test]
    #[should_panic(expected = "not whole blocks")]
    fn parts_of_blocks_are_not_written() {
        assert_blocks(BLOCK, 512);
    }
}
