//! Cuts a damaged log before its first damage, and keeps what lay behind in `quarantine/`.
//!
//! ```text
//! DIR/repairing          what is to be done: written before anything is changed, removed when all is done
//! DIR/quarantine/N/      the files of the segments from the damaged one on, whole, as they were found
//! ```
//!
//! Each step can be taken again: whoever is killed leaves a directory in which no node is opened, and the next repair takes the
//! steps that were written down. The files are never written to, for a backup may have them too: they get a second name in the
//! quarantine, and what is kept of the damaged one is copied.
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::backup::link_or_copy;
use super::directory::{DIRECTORY_MODE, Directory, DirectoryError, FILE_MODE, unfinished_name};
use super::draft::{Draft, DraftError};
use crate::format::segment::{segment_name, segment_number};
use crate::ids::SegmentNumber;

/// The file that says that a repair goes on.
const PLAN_NAME: &str = "repairing";

/// The directory of all that was set aside.
const QUARANTINE_NAME: &str = "quarantine";

/// The file that says what was set aside, and why.
const REPORT_NAME: &str = "report.json";

/// Where a log is cut, and which quarantine gets what lies behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The segment.
    pub segment: SegmentNumber,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The number of the quarantine.
    pub quarantine: u64,
}

impl Plan {
    /// The next one of a directory.
    ///
    /// # Errors
    /// The operating system failed us.
    pub fn next(directory: &Directory, segment: SegmentNumber, offset: u64) -> Result<Plan, DirectoryError> {
        let path = directory.path_of(QUARANTINE_NAME);
        let mut last = 0;
        match fs::read_dir(&path) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry.map_err(|error| DirectoryError::io("list", &path, error))?.file_name();
                    let number = name.to_str().and_then(|name| name.parse().ok());
                    last = last.max(number.unwrap_or(0));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DirectoryError::io("list", &path, error)),
        }
        Ok(Plan { segment, offset, quarantine: last + 1 })
    }

    /// The one that was written down and not carried out to its end.
    ///
    /// # Errors
    /// The operating system failed us, or nobody wrote that.
    pub fn pending(directory: &Directory) -> Result<Option<Plan>, DirectoryError> {
        let path = directory.path_of(PLAN_NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DirectoryError::io("read", &path, error)),
        };
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [segment, offset, quarantine] = numbers[..] else {
            let odd =
                io::Error::new(io::ErrorKind::InvalidData, "it names no segment, offset and quarantine");
            return Err(DirectoryError::io("read", &path, odd));
        };
        Ok(Some(Plan { segment: SegmentNumber(segment), offset, quarantine }))
    }

    /// Writes it down. From here on no node is opened until it is carried out.
    ///
    /// # Errors
    /// The operating system failed us.
    pub fn write(&self, directory: &Directory) -> Result<(), DirectoryError> {
        let (draft, path) = (directory.path_of("repairing.tmp"), directory.path_of(PLAN_NAME));
        let Plan { segment, offset, quarantine } = self;
        let text = format!("{segment} {offset} {quarantine}\n");
        let written = make_file(&draft).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| DirectoryError::io("write", &draft, error))?;
        fs::rename(&draft, &path).map_err(|error| DirectoryError::io("rename", &draft, error))?;
        directory.sync()
    }

    /// Where what lies behind the cut is kept.
    #[must_use]
    pub fn kept_in(&self, directory: &Directory) -> PathBuf {
        directory.path_of(QUARANTINE_NAME).join(self.quarantine.to_string())
    }

    /// Keeps what lies behind the cut, and the report on it. Nothing of the log is changed yet.
    ///
    /// # Errors
    /// The operating system failed us.
    pub fn set_aside(&self, directory: &Directory, report: &[u8]) -> Result<(), DraftError> {
        let above = directory.path_of(QUARANTINE_NAME);
        match DirBuilder::new().mode(DIRECTORY_MODE).create(&above) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(DirectoryError::refused_or("create", &above, error).into());
            }
            _ => directory.sync()?,
        }
        let kept_in = self.kept_in(directory);
        if kept_in.exists() {
            // It has its name only when all is in it; whoever was killed behind that may not have made the name durable.
            File::open(&above)
                .and_then(|above| above.sync_all())
                .map_err(|error| DirectoryError::io("flush", &above, error))?;
            return Ok(());
        }
        let is_ours = |name: &str| name == REPORT_NAME || segment_number(name).is_some();
        let draft = Draft::begin(&kept_in, is_ours)?;
        for number in self.concerned(directory)? {
            let name = segment_name(number);
            link_or_copy(&directory.path_of(&name), &name, &draft)?;
        }
        draft.write(REPORT_NAME, report, u64::MAX)?;
        draft.finish()
    }

    /// The report, if what lies behind the cut is kept already.
    ///
    /// # Errors
    /// The operating system failed us.
    pub fn report(&self, directory: &Directory) -> Result<Option<Vec<u8>>, DirectoryError> {
        let path = self.kept_in(directory).join(REPORT_NAME);
        match fs::read(&path) {
            Ok(report) => Ok(Some(report)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DirectoryError::io("read", &path, error)),
        }
    }

    /// Cuts the log: behind this it ends where the damage began.
    ///
    /// # Errors
    /// The operating system failed us.
    pub fn cut(&self, directory: &Directory) -> Result<(), DirectoryError> {
        if self.offset == 0 {
            // The log goes on in the segment before, which is written to again.
            self.own_segment_before(directory)?;
        }
        // The last one first: a crash leaves no gap.
        for number in self.concerned(directory)?.into_iter().rev().filter(|number| *number > self.segment) {
            directory.unlink(&segment_name(number))?;
            directory.sync()?;
        }
        let name = segment_name(self.segment);
        let path = directory.path_of(&name);
        if !path.exists() {
            return Ok(());
        }
        if self.offset == 0 {
            directory.unlink(&name)?;
            return directory.sync();
        }
        replace_by_copy(directory, self.segment, self.offset)
    }

    /// Of the segment before, which a backup may have too, the log gets a file of its own.
    fn own_segment_before(&self, directory: &Directory) -> Result<(), DirectoryError> {
        let before = directory.list()?.segments.into_iter().rev().find(|number| *number < self.segment);
        let Some(before) = before else { return Ok(()) };
        let path = directory.path_of(&segment_name(before));
        let known = fs::metadata(&path).map_err(|error| DirectoryError::io("look at", &path, error))?;
        if known.nlink() < 2 { Ok(()) } else { replace_by_copy(directory, before, known.len()) }
    }

    /// All is done: a node may be opened again.
    ///
    /// # Errors
    /// The operating system failed us.
    pub fn remove(directory: &Directory) -> Result<(), DirectoryError> {
        directory.unlink(PLAN_NAME)?;
        directory.sync()
    }

    /// The segments that the cut concerns, that in which it is among them.
    fn concerned(&self, directory: &Directory) -> Result<Vec<SegmentNumber>, DirectoryError> {
        let segments = directory.list()?.segments;
        Ok(segments.into_iter().filter(|number| *number >= self.segment).collect())
    }
}

/// A segment's file is another from here on, with the first `bytes` of what it had.
fn replace_by_copy(directory: &Directory, number: SegmentNumber, bytes: u64) -> Result<(), DirectoryError> {
    let (path, draft) =
        (directory.path_of(&segment_name(number)), directory.path_of(&unfinished_name(number)));
    let copied = File::open(&path).and_then(|from| {
        let mut to = make_file(&draft)?;
        let copied = io::copy(&mut io::Read::take(from, bytes), &mut to)?;
        to.sync_all()?;
        if copied == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    });
    copied.map_err(|error| DirectoryError::io("copy", &path, error))?;
    fs::rename(&draft, &path).map_err(|error| DirectoryError::io("rename", &draft, error))?;
    directory.sync()
}

/// An empty file, whatever an earlier try left under its name.
fn make_file(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)
}
