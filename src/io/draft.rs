//! A directory that is there in whole or not at all: it is filled under another name beside its place.
//!
//! ```text
//! NAME.partial  ──files, each flushed──▶  ──flush──▶  ──rename, flush of the one above──▶  NAME
//! ```
//!
//! What a process that was killed left under that name is taken up by the next that comes with the same target. Who fills it
//! holds a lock on it meanwhile.
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::directory::{DIRECTORY_MODE, DirectoryError, FILE_MODE};

/// Why a directory cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// There is something at its place already, and in it, if it is a directory.
    #[error("{} is there already, and is no empty directory", .0.display())]
    Taken(PathBuf),
    /// Somebody else is about to make it.
    #[error("{} is being filled by another process", .0.display())]
    Busy(PathBuf),
    /// There is something under the name that it would have meanwhile, and it is not what an earlier try left.
    #[error("{} holds {what:?}, which no earlier try left there: move it away", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What is in it.
        what: PathBuf,
    },
    /// The operating system failed us.
    #[error(transparent)]
    Io(#[from] DirectoryError),
}

/// A directory that is being filled. Dropped before it is finished, it leaves nothing, as far as that can be.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    target: PathBuf,
    above: PathBuf,
    handle: Option<Flock<File>>,
}

impl Draft {
    /// Begins one that is to be at `target`, where there may be an empty directory. `is_ours` knows the names of files that an
    /// earlier try may have left.
    ///
    /// # Errors
    /// See [`DraftError`]. Nothing is at `target` then that was not there before.
    pub fn begin(target: &Path, is_ours: impl Fn(&str) -> bool) -> Result<Draft, DraftError> {
        let target =
            std::path::absolute(target).map_err(|error| DirectoryError::io("find", target, error))?;
        refuse_taken(&target)?;
        let (Some(above), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(DraftError::Taken(target));
        };
        let mut draft_name = name.to_owned();
        draft_name.push(".partial");
        let (path, above) = (above.join(draft_name), above.to_owned());
        match DirBuilder::new().mode(DIRECTORY_MODE).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(DirectoryError::refused_or("create", &path, error).into());
            }
            _ => {}
        }
        let handle = File::open(&path).map_err(|error| DirectoryError::io("open", &path, error))?;
        let handle = match Flock::lock(handle, FlockArg::LockExclusiveNonblock) {
            Ok(handle) => Some(handle),
            Err((_, Errno::EWOULDBLOCK)) => return Err(DraftError::Busy(path)),
            Err((_, error)) => return Err(DirectoryError::io("lock", &path, error).into()),
        };
        empty(&path, &is_ours)?;
        Ok(Draft { path, target, above, handle })
    }

    /// Where a file of it is meanwhile.
    #[must_use]
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where it is meanwhile.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a file with what `from` has up to `bytes`, on stable storage. Says how many bytes there were.
    ///
    /// # Errors
    /// The operating system failed us.
    pub fn write(&self, name: &str, from: impl Read, bytes: u64) -> Result<u64, DirectoryError> {
        let path = self.path_of(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(FILE_MODE);
        let written = options.open(&path).and_then(|mut file| {
            let bytes = io::copy(&mut from.take(bytes), &mut file)?;
            file.sync_all()?;
            Ok(bytes)
        });
        written.map_err(|error| DirectoryError::io("write", &path, error))
    }

    /// Gives it its name, durably.
    ///
    /// # Errors
    /// There is something at its place by now, or the operating system failed us.
    pub fn finish(mut self) -> Result<(), DraftError> {
        let flush = |path: &Path, handle: &File| {
            handle.sync_all().map_err(|error| DirectoryError::io("flush", path, error))
        };
        if let Some(handle) = &self.handle {
            flush(&self.path, handle)?;
        }
        match fs::rename(&self.path, &self.target) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty
                        | io::ErrorKind::AlreadyExists
                        | io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(DraftError::Taken(self.target.clone()));
            }
            Err(error) => return Err(DirectoryError::io("rename", &self.path, error).into()),
        }
        // There is nothing left to take away.
        self.handle = None;
        let above = File::open(&self.above);
        let above = above.map_err(|error| DirectoryError::io("open", &self.above, error))?;
        Ok(flush(&self.above, &above)?)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.handle.is_some() {
            // Whatever stays is taken up by the next try.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// That there is nothing at `target`, or an empty directory.
pub fn refuse_taken(target: &Path) -> Result<(), DraftError> {
    match fs::read_dir(target) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(DraftError::Taken(target.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(DraftError::Taken(target.to_owned()))
        }
        Err(error) => Err(DirectoryError::io("look at", target, error).into()),
    }
}

/// Removes what an earlier try left.
fn empty(path: &Path, is_ours: &impl Fn(&str) -> bool) -> Result<(), DraftError> {
    let failed = |error| DirectoryError::io("empty", path, error);
    let entries: Vec<PathBuf> = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(failed)?;
    let name = |entry: &Path| entry.file_name().and_then(|name| name.to_str()).is_some_and(is_ours);
    if let Some(what) = entries.iter().find(|entry| !name(entry) || entry.is_dir()) {
        return Err(DraftError::Foreign { path: path.to_owned(), what: what.clone() });
    }
    Ok(entries.iter().try_for_each(fs::remove_file).map_err(failed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(target: &Path) -> Result<Draft, DraftError> {
        Draft::begin(target, |name| name == "file")
    }

    #[test]
    fn a_directory_is_there_in_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        let names = || fs::read_dir(dir.path()).unwrap().count();
        let draft = begin(&target).unwrap();
        assert_eq!(draft.write("file", &b"content"[..], 4).unwrap(), 4);
        assert!(matches!(begin(&target), Err(DraftError::Busy(_))));
        assert!(!target.exists());
        drop(draft);
        assert_eq!(names(), 0, "what is not finished is gone");

        // As a process leaves it that was killed.
        fs::create_dir(dir.path().join("target.partial")).unwrap();
        fs::write(dir.path().join("target.partial/file"), "half").unwrap();
        let draft = begin(&target).unwrap();
        draft.write("file", &b"content"[..], 99).unwrap();
        draft.finish().unwrap();
        assert_eq!((fs::read(target.join("file")).unwrap(), names()), (b"content".to_vec(), 1));
        assert!(matches!(begin(&target), Err(DraftError::Taken(_))));
    }

    #[test]
    fn an_empty_directory_gives_way_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        fs::create_dir(&target).unwrap();
        let draft = begin(&target).unwrap();
        fs::write(target.join("other"), "").unwrap();
        assert!(matches!(draft.finish(), Err(DraftError::Taken(_))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::remove_dir_all(&target).unwrap();
        fs::write(&target, "a file").unwrap();
        assert!(matches!(begin(&target), Err(DraftError::Taken(_))));
        fs::remove_file(&target).unwrap();
        fs::create_dir(dir.path().join("target.partial")).unwrap();
        fs::write(dir.path().join("target.partial/notes"), "somebody's").unwrap();
        assert!(matches!(begin(&target), Err(DraftError::Foreign { .. })));
        assert!(dir.path().join("target.partial/notes").exists());
    }
}
