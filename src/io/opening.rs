//! What a node and a store do alike when they open a directory.
#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::directory::{Directory, DirectoryError};
use super::node::OpenError;
use super::prewriter::{Answer, Prewriter, Speed};
use super::recover::Recovered;
use super::segment_file::{SegmentFile, wait_for_dead_writers};
use super::segment_files::SegmentFiles;
use crate::format::segment::segment_name;
use crate::ids::SegmentNumber;
use crate::limits::WRITES_IN_FLIGHT_MAX;
use crate::log::segments::Segments;

/// What a process that was killed had given to the kernel is waited for.
///
/// # Errors
/// A file cannot be looked at.
pub fn wait_for_the_dead(directory: &Directory) -> Result<(), DirectoryError> {
    for number in directory.list()?.segments.iter().rev().take(WRITES_IN_FLIGHT_MAX + 1) {
        let path = directory.path_of(&segment_name(*number));
        wait_for_dead_writers(&path).map_err(|error| DirectoryError::io("wait for", &path, error))?;
    }
    Ok(())
}

/// What is needed to find or make the segments that the log goes on in.
pub struct Opening<'a> {
    /// Bytes of a new segment.
    pub segment_bytes: u64,
    /// The data directory.
    pub directory: &'a Arc<Directory>,
    /// Makes the files.
    pub prewriter: &'a Prewriter,
    /// What it answers.
    pub mail: &'a Receiver<Answer>,
}

impl Opening<'_> {
    /// The segments in which a log goes on, and the open file of the last.
    ///
    /// # Errors
    /// A file cannot be made or opened.
    pub fn segments(&mut self, recovered: &Recovered) -> Result<(Segments, SegmentFiles), OpenError> {
        let mut files = SegmentFiles::new(Arc::clone(self.directory));
        let tail = &recovered.tail;
        let known: Vec<SegmentNumber> = tail.segments.iter().map(|segment| segment.number).collect();
        // Files with a segment's name that never became one are spares. The last one first: were the node to die between
        // two, those that are left must not lie behind a gap, which would be taken for a segment that is lost.
        let unused = self.directory.list()?.segments.into_iter().filter(|number| !known.contains(number));
        for number in unused.rev() {
            self.prewriter.free(number);
            self.answer()?;
        }
        let (segments, wanted) = Segments::of_tail(self.segment_bytes, tail);
        if !tail.segments.is_empty() {
            let path = self.directory.path_of(&segment_name(tail.active));
            let file = SegmentFile::open(&path).map_err(|error| DirectoryError::io("open", &path, error))?;
            files.insert(tail.active, file);
        }
        if let Some(number) = wanted {
            files.insert(number, self.make(number)?);
        }
        Ok((segments, files))
    }

    fn make(&mut self, number: SegmentNumber) -> Result<SegmentFile, OpenError> {
        self.prewriter.prepare(number, Speed::Full);
        match self.answer()? {
            Answer::Prepared { file, .. } => Ok(file),
            Answer::PrepareFailed { source, .. } => Err(source.into()),
            _ => Err(OpenError::DiskFull),
        }
    }

    fn answer(&mut self) -> Result<Answer, OpenError> {
        self.mail.recv().map_err(|error| OpenError::System {
            doing: "prepare a segment",
            source: io::Error::other(error),
        })
    }
}

/// Random bytes of the system.
///
/// # Errors
/// There are none to be had.
pub fn random<const N: usize>() -> Result<[u8; N], OpenError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| OpenError::System { doing: "draw random numbers", source: error.into() })?;
    Ok(bytes)
}
