//! The data directory of a node: who holds it, what lies in it, and what it lies on.
//!
//! ```text
//! DIR/lock                      flock(2)ed while a node is open; holds the pid of the last that opened it, as text
//! DIR/NNNNNNNNNNNNNNNNNNNN.log  segments
//! DIR/spare-N.log               prewritten, waiting to become segments
//! DIR/preparing-N.tmp           being prewritten; worth nothing after a crash
//! DIR/torn-N.bin                what recovery cut off the log: see torn_file.rs
//! ```
//!
//! Names change on stable storage only with [`Directory::sync`].
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::format::segment::{is_spare, segment_number};
use crate::ids::SegmentNumber;
use crate::io::file_system::{FileSystem, free_bytes, is_disk_full};
use crate::limits::{LOCK_ATTEMPTS, LOCK_PAUSE_MS};

/// Mode of the data directory, and of directories made on the way to it.
pub(super) const DIRECTORY_MODE: u32 = 0o700;

/// Mode of every file in it: messages are nobody else's business.
pub(super) const FILE_MODE: u32 = 0o600;

const LOCK_NAME: &str = "lock";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another node has it open, in this process or another.
    #[error("{} is in use{}", path.display(), by_whom(*pid))]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process that holds it, if it said so.
        pid: Option<u32>,
    },
    /// There is something else at that path.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// It cannot be made, or not be written in.
    #[error("{} cannot be written", path.display())]
    Unwritable {
        /// What cannot be written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operating system failed us.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
}

fn by_whom(pid: Option<u32>) -> String {
    pid.map_or_else(|| " by another node".to_owned(), |pid| format!(" by process {pid}"))
}

impl DirectoryError {
    pub(super) fn io(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> DirectoryError {
        DirectoryError::Io { operation, path: path.to_owned(), source: source.into() }
    }

    pub(super) fn refused_or(operation: &'static str, path: &Path, source: io::Error) -> DirectoryError {
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                DirectoryError::Unwritable { path: path.to_owned(), source }
            }
            io::ErrorKind::NotADirectory => DirectoryError::NotADirectory(path.to_owned()),
            _ => DirectoryError::io(operation, path, source),
        }
    }

    /// Whether there is no such file.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, DirectoryError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether there is no room left: on the disk, or in what this user may take of it.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let (DirectoryError::Io { source, .. } | DirectoryError::Unwritable { source, .. }) = self else {
            return false;
        };
        is_disk_full(source)
    }
}

/// Who holds a data directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockState {
    /// Nobody.
    Free,
    /// A node that has it open.
    HeldBy {
        /// Its process, if it said so.
        pid: Option<u32>,
    },
    /// There is no such directory.
    NoDirectory,
}

/// The files of a data directory, each list in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// Segments, by the numbers in their names.
    pub segments: Vec<SegmentNumber>,
    /// Names of spare files.
    pub spares: Vec<String>,
    /// Names of files whose prewriting was cut short.
    pub unfinished: Vec<String>,
}

/// An open data directory. Opened for writing, it is locked until this is dropped or the process ends.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: File,
    file_system: FileSystem,
    /// `None` if opened read-only.
    lock: Option<Flock<File>>,
}

impl Directory {
    /// Opens a data directory for a node, and makes it if it is missing.
    ///
    /// # Errors
    /// See [`DirectoryError`]. Whether it is locked is only said after [`LOCK_ATTEMPTS`].
    pub fn open(path: &Path) -> Result<Directory, DirectoryError> {
        let path = absolute(path)?;
        create_missing(&path)?;
        let mut directory = Directory::open_unlocked(path)?;
        let mut lock = acquire(&directory.path)?;
        write_pid(&mut lock)
            .map_err(|error| DirectoryError::io("write", &directory.path.join(LOCK_NAME), error))?;
        directory.lock = Some(lock);
        Ok(directory)
    }

    /// Opens a data directory to look at it, in use or not. Panics follow if it is written through this.
    ///
    /// # Errors
    /// See [`DirectoryError`]; a missing directory is `Io`.
    pub fn open_read_only(path: &Path) -> Result<Directory, DirectoryError> {
        Directory::open_unlocked(absolute(path)?)
    }

    fn open_unlocked(path: PathBuf) -> Result<Directory, DirectoryError> {
        let handle = File::open(&path).map_err(|error| DirectoryError::io("open", &path, error))?;
        let metadata = handle.metadata().map_err(|error| DirectoryError::io("look at", &path, error))?;
        if !metadata.is_dir() {
            return Err(DirectoryError::NotADirectory(path));
        }
        let file_system =
            FileSystem::of(&path).map_err(|error| DirectoryError::io("look at", &path, error))?;
        Ok(Directory { path, handle, file_system, lock: None })
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the file called `name` in it is.
    #[must_use]
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What it lies on; that knows whether there is a warning to give.
    #[must_use]
    pub fn file_system(&self) -> FileSystem {
        self.file_system
    }

    /// Why what is "durable" here may be lost; nothing where a flush can be trusted.
    #[must_use]
    pub fn durability_warning(&self) -> Option<String> {
        self.file_system.durability_warning()
    }

    /// Bytes that may still be written on this file system.
    ///
    /// # Errors
    /// The operating system failed us.
    pub fn free_bytes(&self) -> Result<u64, DirectoryError> {
        free_bytes(&self.path).map_err(|error| DirectoryError::io("look at", &self.path, error))
    }

    /// What is in it. Files that are none of ours are passed over.
    ///
    /// # Errors
    /// The operating system failed us.
    pub fn list(&self) -> Result<Listing, DirectoryError> {
        let failed = |error| DirectoryError::io("list", &self.path, error);
        let mut listing = Listing::default();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            // All our names are UTF-8.
            let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
            if let Some(number) = segment_number(&name) {
                listing.segments.push(number);
            } else if is_spare(&name) {
                listing.spares.push(name);
            } else if is_unfinished(&name) {
                listing.unfinished.push(name);
            }
        }
        listing.segments.sort_unstable();
        listing.spares.sort_unstable();
        listing.unfinished.sort_unstable();
        Ok(listing)
    }

    /// What the file system knows of the file called `name`.
    ///
    /// # Errors
    /// The operating system failed us.
    pub fn metadata(&self, name: &str) -> Result<Metadata, DirectoryError> {
        let path = self.path_of(name);
        fs::symlink_metadata(&path).map_err(|error| DirectoryError::io("look at", &path, error))
    }

    /// Gives a file another name, which no file has. Durable after [`Directory::sync`].
    ///
    /// # Errors
    /// There is a file of that name, or the operating system failed us.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), DirectoryError> {
        self.assert_locked();
        // rename(2) would replace it, and with it perhaps a segment. No other process writes here: we hold the lock.
        self.refuse_existing(to)?;
        let (from, to) = (self.path_of(from), self.path_of(to));
        fs::rename(&from, &to).map_err(|error| DirectoryError::io("rename", &from, error))
    }

    /// That no file is called `name`.
    pub(super) fn refuse_existing(&self, name: &str) -> Result<(), DirectoryError> {
        let path = self.path_of(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(DirectoryError::io("look at", &path, error)),
            Ok(_) => Err(DirectoryError::io("make", &path, io::Error::from(io::ErrorKind::AlreadyExists))),
        }
    }

    /// Removes the name of a file. Durable after [`Directory::sync`].
    ///
    /// # Errors
    /// The operating system failed us.
    pub fn unlink(&self, name: &str) -> Result<(), DirectoryError> {
        self.assert_locked();
        let path = self.path_of(name);
        fs::remove_file(&path).map_err(|error| DirectoryError::io("remove", &path, error))
    }

    /// Makes durable which files there are, and what they are called. It blocks the thread.
    ///
    /// # Errors
    /// The operating system failed us, and then nobody knows which names a crash would leave.
    pub fn sync(&self) -> Result<(), DirectoryError> {
        self.handle.sync_all().map_err(|error| DirectoryError::io("flush", &self.path, error))
    }

    fn assert_locked(&self) {
        assert!(self.lock.is_some(), "{} was opened read-only", self.path.display());
    }
}

/// Who holds the data directory at `path`. Nothing is written.
///
/// # Errors
/// The operating system failed us.
pub fn lock_state(path: &Path) -> Result<LockState, DirectoryError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(DirectoryError::NotADirectory(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LockState::NoDirectory),
        Err(error) => return Err(DirectoryError::io("look at", path, error)),
    }
    let lock_path = path.join(LOCK_NAME);
    let file = match File::open(&lock_path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LockState::Free),
        Err(error) => return Err(DirectoryError::io("open", &lock_path, error)),
    };
    // There is no asking without taking. Shared, so that two who ask do not see each other.
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(LockState::Free),
        Err((_, Errno::EWOULDBLOCK)) => Ok(LockState::HeldBy { pid: read_pid(&lock_path) }),
        Err((_, error)) => Err(DirectoryError::io("lock", &lock_path, error)),
    }
}

/// The name of a segment's file while it is prewritten.
pub(super) fn unfinished_name(number: SegmentNumber) -> String {
    format!("preparing-{number}.tmp")
}

/// Whether a file of that name is the one that is locked.
#[must_use]
pub fn is_lock(name: &str) -> bool {
    name == LOCK_NAME
}

/// Whether a file of that name is one that was being prewritten.
#[must_use]
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with("preparing-") && name.ends_with(".tmp")
}

fn absolute(path: &Path) -> Result<PathBuf, DirectoryError> {
    std::path::absolute(path).map_err(|error| DirectoryError::io("find", path, error))
}

/// Makes the directory and those above it that are missing, each durable in the one above it.
fn create_missing(path: &Path) -> Result<(), DirectoryError> {
    let missing: Vec<&Path> = path.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    for directory in missing.into_iter().rev() {
        match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(DirectoryError::refused_or("create", directory, error));
            }
            _ => {}
        }
        if let Some(above) = directory.parent() {
            let synced = File::open(above).and_then(|above| above.sync_all());
            synced.map_err(|error| DirectoryError::io("flush", above, error))?;
        }
    }
    Ok(())
}

fn acquire(directory: &Path) -> Result<Flock<File>, DirectoryError> {
    let path = directory.join(LOCK_NAME);
    let mut options = OpenOptions::new();
    // Not truncated: the pid in it is that of the holder, until we are.
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    let mut file = options.open(&path).map_err(|error| DirectoryError::refused_or("open", &path, error))?;
    for _ in 1..LOCK_ATTEMPTS {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((unlocked, Errno::EWOULDBLOCK)) => file = unlocked,
            Err((_, error)) => return Err(DirectoryError::io("lock", &path, error)),
        }
        std::thread::sleep(Duration::from_millis(LOCK_PAUSE_MS));
    }
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => {
            Err(DirectoryError::Locked { path: directory.to_owned(), pid: read_pid(&path) })
        }
        Err((_, error)) => Err(DirectoryError::io("lock", &path, error)),
    }
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    match lock.write_all(format!("{}\n", std::process::id()).as_bytes()) {
        // A full disk must not keep a node from opening and draining; it is locked without its pid too.
        Err(error) if is_disk_full(&error) => Ok(()),
        written => written,
    }
}

fn read_pid(lock_path: &Path) -> Option<u32> {
    fs::read_to_string(lock_path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::format::segment::{segment_name, spare_name};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_missing_directory_is_made_for_its_owner_alone() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("a/b");
        assert_eq!(lock_state(&path).unwrap(), LockState::NoDirectory);
        let directory = Directory::open(&path).unwrap();
        assert_eq!((mode(&path), mode(&path.join("lock"))), (0o700, 0o600));
        assert_eq!(directory.path(), path);
        assert_eq!(directory.list().unwrap(), Listing::default());
        assert!(directory.free_bytes().unwrap() > 0);
        directory.sync().unwrap();
    }

    #[test]
    fn a_second_opening_names_the_process_that_holds_it() {
        let above = tempfile::tempdir().unwrap();
        let first = Directory::open(above.path()).unwrap();
        let us = std::process::id();
        let error = Directory::open(above.path()).unwrap_err();
        assert!(
            matches!(&error, DirectoryError::Locked { path, pid: Some(pid) } if path == above.path() && *pid == us)
        );
        assert!(error.to_string().ends_with(&format!("is in use by process {us}")), "{error}");
        assert_eq!(lock_state(above.path()).unwrap(), LockState::HeldBy { pid: Some(us) });

        drop(first);
        assert_eq!(lock_state(above.path()).unwrap(), LockState::Free);
        Directory::open(above.path()).unwrap();
    }

    #[test]
    fn asking_who_holds_it_does_not_keep_it_from_being_opened() {
        let above = tempfile::tempdir().unwrap();
        drop(Directory::open(above.path()).unwrap());
        let asking = File::open(above.path().join("lock")).unwrap();
        let asking = Flock::lock(asking, FlockArg::LockSharedNonblock).unwrap();
        let opening = std::thread::spawn({
            let path = above.path().to_owned();
            move || Directory::open(&path).map(drop)
        });
        std::thread::sleep(Duration::from_millis(LOCK_PAUSE_MS));
        drop(asking);
        opening.join().unwrap().unwrap();
    }

    #[test]
    fn a_lock_without_a_readable_pid_is_a_lock() {
        let above = tempfile::tempdir().unwrap();
        let _held = Directory::open(above.path()).unwrap();
        fs::write(above.path().join("lock"), "somebody").unwrap();
        assert_eq!(lock_state(above.path()).unwrap(), LockState::HeldBy { pid: None });
        let error = Directory::open(above.path()).unwrap_err();
        assert!(error.to_string().ends_with("is in use by another node"), "{error}");
    }

    #[test]
    fn a_file_is_not_a_directory() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("file");
        File::create(&path).unwrap();
        assert!(matches!(Directory::open(&path), Err(DirectoryError::NotADirectory(_))));
        assert!(matches!(Directory::open(&path.join("below")), Err(DirectoryError::NotADirectory(_))));
        assert!(matches!(Directory::open_read_only(&path), Err(DirectoryError::NotADirectory(_))));
        assert!(matches!(lock_state(&path), Err(DirectoryError::NotADirectory(_))));
    }

    #[test]
    fn where_nothing_can_be_made_is_unwritable() {
        // Nobody makes directories there, whatever their rights.
        let error = Directory::open(Path::new("/proc/sys/resolute")).unwrap_err();
        assert!(matches!(error, DirectoryError::Unwritable { .. } | DirectoryError::Io { .. }), "{error:?}");
        let refused = io::Error::from(Errno::EROFS);
        let error = DirectoryError::refused_or("create", Path::new("/x"), refused);
        assert!(matches!(error, DirectoryError::Unwritable { .. }));
    }

    #[test]
    fn only_a_lack_of_room_is_a_full_disk() {
        let because = |errno: Errno| DirectoryError::io("write", Path::new("/x"), errno);
        assert!(because(Errno::ENOSPC).is_disk_full() && because(Errno::EDQUOT).is_disk_full());
        assert!(
            !because(Errno::EIO).is_disk_full() && !DirectoryError::NotADirectory("/x".into()).is_disk_full()
        );
    }

    #[test]
    fn looking_takes_no_lock_and_writes_nothing() {
        let above = tempfile::tempdir().unwrap();
        let looking = Directory::open_read_only(above.path()).unwrap();
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0);
        let _held = Directory::open(above.path()).unwrap();
        assert_eq!(looking.list().unwrap(), Directory::open_read_only(above.path()).unwrap().list().unwrap());
        assert!(matches!(
            Directory::open_read_only(&above.path().join("missing")),
            Err(DirectoryError::Io { operation: "open", .. })
        ));
    }

    #[test]
    #[should_panic(expected = "was opened read-only")]
    fn looking_never_removes() {
        let above = tempfile::tempdir().unwrap();
        drop(Directory::open_read_only(above.path()).unwrap().unlink("lock"));
    }

    #[test]
    fn files_are_listed_by_kind_and_in_order() {
        let above = tempfile::tempdir().unwrap();
        let directory = Directory::open(above.path()).unwrap();
        let unfinished = unfinished_name(SegmentNumber(11));
        for name in
            [&segment_name(SegmentNumber(10)), &segment_name(SegmentNumber(9)), &spare_name(0), &unfinished]
        {
            File::create(directory.path_of(name)).unwrap();
        }
        File::create(directory.path_of("notes.txt")).unwrap();
        let listing = directory.list().unwrap();
        assert_eq!(listing.segments, [SegmentNumber(9), SegmentNumber(10)]);
        assert_eq!((listing.spares, listing.unfinished), (vec![spare_name(0)], vec![unfinished]));
    }

    #[test]
    fn a_rename_replaces_no_file() {
        let above = tempfile::tempdir().unwrap();
        let directory = Directory::open(above.path()).unwrap();
        fs::write(directory.path_of("a"), "a").unwrap();
        fs::write(directory.path_of("b"), "b").unwrap();
        let error = directory.rename("a", "b").unwrap_err();
        assert!(
            matches!(&error, DirectoryError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
        );
        assert_eq!(fs::read(directory.path_of("b")).unwrap(), b"b");
        directory.unlink("b").unwrap();
        directory.rename("a", "b").unwrap();
        assert_eq!(fs::read(directory.path_of("b")).unwrap(), b"a");
        assert!(directory.metadata("a").is_err());
    }
}
