//! Brings the files of a durable part of a log into another directory: what is sealed by a second name, what is still
//! written to by a copy of what is durable of it.
//!
//! Nobody may free a segment meanwhile: see [`super::pin`]. A link is taken by the segment's name, and the name is only ever that
//! of this segment; a file with two names is never used again in place (see [`super::prewriter`]). So what is linked stays as it is.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::directory::DirectoryError;
use super::draft::Draft;
use crate::format::batch::BatchView;
use crate::format::segment::segment_name;
use crate::ids::SegmentNumber;
use crate::limits::BATCH_BYTES_MAX;
use crate::log::durable_part::DurablePart;
use crate::log::recovery::Window;

use super::window_reader::WindowReader;

/// What was brought over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Segments that have a second name now.
    pub linked: u64,
    /// Segments that were copied, the last one among them.
    pub copied: u64,
    /// Bytes of these.
    pub copied_bytes: u64,
}

/// Whether sealed segments may get a second name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// Where the file system can: else they are copied.
    Link,
    /// They are copied: whoever gets them will change them.
    Copy,
}

/// Brings the durable part of the log in `directory` into a draft.
///
/// # Errors
/// The operating system failed us, or what was read is not what was written.
pub fn bring(
    directory: &Path,
    part: &DurablePart,
    sealed: Sealed,
    draft: &Draft,
) -> Result<Brought, DirectoryError> {
    let mut brought = Brought::default();
    for number in part.sealed() {
        let name = segment_name(number);
        let from = directory.join(&name);
        if sealed == Sealed::Link && link(&from, &draft.path_of(&name))? {
            brought.linked += 1;
        } else {
            copy(&from, u64::MAX, &name, draft, &mut brought)?;
        }
    }
    let name = segment_name(part.last);
    copy(&directory.join(&name), part.end, &name, draft, &mut brought)?;
    check_last(draft, part.last, part.end)?;
    Ok(brought)
}

/// Gives a file a second name in a draft, or copies it there where that cannot be.
pub(super) fn link_or_copy(from: &Path, name: &str, draft: &Draft) -> Result<(), DirectoryError> {
    if !link(from, &draft.path_of(name))? {
        copy(from, u64::MAX, name, draft, &mut Brought::default())?;
    }
    Ok(())
}

/// Whether the file has a second name now; `false` where that cannot be.
fn link(from: &Path, to: &Path) -> Result<bool, DirectoryError> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(error) if cannot_link(&error) => Ok(false),
        Err(error) => Err(DirectoryError::io("link", from, error)),
    }
}

/// Another file system, one without links, a file that is not ours, or too many links.
fn cannot_link(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EXDEV | Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EMLINK))
}

fn copy(
    from: &Path,
    bytes: u64,
    name: &str,
    draft: &Draft,
    brought: &mut Brought,
) -> Result<(), DirectoryError> {
    let file = File::open(from).map_err(|error| DirectoryError::io("open", from, error))?;
    let copied = draft.write(name, file, bytes)?;
    if bytes != u64::MAX && copied != bytes {
        let short = io::Error::from(io::ErrorKind::UnexpectedEof);
        return Err(DirectoryError::io("read", from, short));
    }
    (brought.copied, brought.copied_bytes) = (brought.copied + 1, brought.copied_bytes + copied);
    Ok(())
}

/// The copy of the last segment was made while others wrote behind it: it is batches, and nothing else.
fn check_last(draft: &Draft, segment: SegmentNumber, end: u64) -> Result<(), DirectoryError> {
    let path = draft.path_of(&segment_name(segment));
    let failed = |error| DirectoryError::io("read", &path, error);
    let mut reader = WindowReader::new(draft.path().to_owned(), BATCH_BYTES_MAX);
    let mut offset = 0;
    while offset < end {
        let bytes = (end - offset).min(BATCH_BYTES_MAX as u64) as usize;
        let read = reader.read(Window { segment, offset, bytes }).map_err(failed)?;
        let view = BatchView::parse_verified(read).map_err(|defect| failed(io::Error::other(defect)))?;
        offset += u64::from(view.header.batch_bytes.get());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Lsn;

    #[test]
    fn what_is_not_batches_is_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(segment_name(SegmentNumber(1))), [7; 8192]).unwrap();
        let draft = Draft::begin(&dir.path().join("to"), |_| true).unwrap();
        let part =
            DurablePart { first: SegmentNumber(1), last: SegmentNumber(1), end: 4096, last_lsn: Lsn(1) };
        let error = bring(dir.path(), &part, Sealed::Link, &draft).unwrap_err();
        assert!(error.to_string().contains("cannot read"), "{error}");
        let draft = Draft::begin(&dir.path().join("other"), |_| true).unwrap();
        let longer = DurablePart { end: 12_288, ..part };
        let error = bring(dir.path(), &longer, Sealed::Link, &draft).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.to_string().contains("end of file"), "{source}");
    }
}
