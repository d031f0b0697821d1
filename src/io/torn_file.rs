//! What was cut off a log is kept aside: `torn-N.bin`, where N is the number of the batch that is missing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::ids::BatchNumber;
use crate::limits::TORN_FILES_MAX;

/// How many cuts at one batch are kept apart. Each takes a crash during the repair of the one before.
const SAME_BATCH_MAX: u32 = 1000;

/// The file in which bytes cut at `batch` are kept, unless there is one already.
#[must_use]
pub fn torn_name(batch: BatchNumber) -> String {
    format!("torn-{batch}.bin")
}

/// Keeps `bytes` in `directory` and says where. They are on stable storage, under that name, when this returns.
///
/// A file that was kept before is never written over: if it holds the same bytes it is the one, and otherwise the
/// name gets another number behind it.
pub fn keep(directory: &Path, batch: BatchNumber, bytes: &[u8]) -> io::Result<PathBuf> {
    let draft = directory.join(format!("torn-{batch}.part"));
    let kept = write_draft(&draft, bytes).and_then(|()| name_draft(directory, batch, &draft, bytes));
    if kept.is_err() {
        // On a full disk half a draft would take the last room. The next repair begins anew, whether it is gone or not.
        drop(fs::remove_file(&draft));
    }
    kept
}

fn name_draft(directory: &Path, batch: BatchNumber, draft: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut kept = directory.join(torn_name(batch));
    for attempt in 2..=SAME_BATCH_MAX {
        // A link, unlike a rename, fails if the name is taken.
        match fs::hard_link(draft, &kept) {
            Ok(()) => break,
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) if fs::read(&kept)? == bytes => break,
            Err(error) if attempt == SAME_BATCH_MAX => return Err(error),
            Err(_) => kept = directory.join(format!("torn-{batch}-{attempt}.bin")),
        }
    }
    // A file that was there before may have lost its way to the disk in the crash that made this necessary.
    File::open(&kept)?.sync_all()?;
    fs::remove_file(draft)?;
    File::open(directory)?.sync_all()?;
    Ok(kept)
}

/// Removes what was kept of earlier cuts, the oldest first, until [`TORN_FILES_MAX`] files are left, and says which it
/// removed. `newest`, if there is one, stays in any case: in a directory that was put back from a copy others may have
/// higher numbers.
///
/// Whether the names are gone for good is known after the next flush of the directory; what comes back is removed again.
pub fn remove_old(directory: &Path, newest: Option<&Path>) -> io::Result<Vec<PathBuf>> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if let Some(cut) = path.file_name().and_then(|name| name.to_str()).and_then(cut_of) {
            kept.push((Some(path.as_path()) == newest, cut, path));
        }
    }
    kept.sort_unstable();
    kept.truncate(kept.len().saturating_sub(TORN_FILES_MAX));
    let old: Vec<PathBuf> = kept.into_iter().map(|(.., path)| path).collect();
    old.iter().try_for_each(fs::remove_file)?;
    Ok(old)
}

/// The batch of a file with a name that [`keep`] gives, and the how manieth cut at that batch it holds.
fn cut_of(name: &str) -> Option<(u64, u32)> {
    let cut = name.strip_prefix("torn-")?.strip_suffix(".bin")?;
    let (batch, attempt) = cut.split_once('-').unwrap_or((cut, "1"));
    Some((batch.parse().ok()?, attempt.parse().ok()?))
}

fn write_draft(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_kept_is_never_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let first = keep(directory.path(), BatchNumber(7), b"one").unwrap();
        let second = keep(directory.path(), BatchNumber(7), b"two").unwrap();
        assert_eq!(first, directory.path().join("torn-7.bin"));
        assert_ne!(first, second);
        assert_eq!(
            (fs::read(&first).unwrap(), fs::read(&second).unwrap()),
            (b"one".to_vec(), b"two".to_vec())
        );
        assert_eq!(keep(directory.path(), BatchNumber(7), b"one").unwrap(), first);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "no draft is left");
    }

    #[test]
    fn only_the_newest_files_stay() {
        let directory = tempfile::tempdir().unwrap();
        let names = |range: std::ops::RangeInclusive<usize>| range.map(|number| format!("torn-{number}.bin"));
        let earlier = names(1..=TORN_FILES_MAX).chain(["torn-2-2.bin".to_owned()]);
        for name in earlier.chain(["torn-x.bin", "torn-3.part", "notes.txt"].map(str::to_owned)) {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        let left = || {
            let entries = fs::read_dir(directory.path()).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(remove_old(directory.path(), None).unwrap(), [directory.path().join("torn-1.bin")]);
        // Of two cuts at one batch, the first is the older one.
        let newest = keep(directory.path(), BatchNumber(100), b"new").unwrap();
        let removed = remove_old(directory.path(), Some(&newest)).unwrap();
        assert_eq!(removed, [directory.path().join("torn-2.bin")]);
        // The directory was put back, and the log is at a lower number than when others were kept.
        let newest = keep(directory.path(), BatchNumber(1), b"newest").unwrap();
        let removed = remove_old(directory.path(), Some(&newest)).unwrap();
        assert_eq!(removed, [directory.path().join("torn-2-2.bin")]);
        let mut expected: Vec<String> = names(3..=TORN_FILES_MAX).collect();
        expected.extend(
            ["torn-1.bin", "torn-100.bin", "torn-x.bin", "torn-3.part", "notes.txt"].map(str::to_owned),
        );
        expected.sort();
        assert_eq!(left(), expected);
        assert_eq!(remove_old(directory.path(), Some(&newest)).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn only_the_owner_may_read_it_and_an_old_draft_does_not_matter() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("torn-7.part"), b"half of some").unwrap();
        let kept = keep(directory.path(), BatchNumber(7), b"one").unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"one");
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
