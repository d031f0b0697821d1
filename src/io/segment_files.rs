//! The open files of the log.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::directory::Directory;
use super::segment_file::SegmentFile;
use crate::format::segment::segment_name;
use crate::ids::SegmentNumber;
use crate::limits::OPEN_SEGMENTS_MAX;

/// The open segments of one log.
#[derive(Debug)]
pub struct SegmentFiles {
    directory: Arc<Directory>,
    open: BTreeMap<SegmentNumber, SegmentFile>,
    /// Reads and writes on their way.
    busy: BTreeMap<SegmentNumber, usize>,
    writing: Vec<SegmentNumber>,
}

impl SegmentFiles {
    /// No open segment yet.
    #[must_use]
    pub fn new(directory: Arc<Directory>) -> SegmentFiles {
        SegmentFiles { directory, open: BTreeMap::new(), busy: BTreeMap::new(), writing: Vec::new() }
    }

    /// A file that someone else opened.
    pub fn insert(&mut self, number: SegmentNumber, file: SegmentFile) {
        self.open.insert(number, file);
    }

    /// The file of a segment for one read or write; [`SegmentFiles::done`] ends it.
    ///
    /// # Errors
    /// As from open(2).
    pub fn borrow(&mut self, number: SegmentNumber) -> io::Result<SegmentFile> {
        let file = match self.open.get(&number) {
            Some(file) => file.clone(),
            None => {
                self.make_room();
                let file = SegmentFile::open(&self.directory.path_of(&segment_name(number)))?;
                self.open.insert(number, file.clone());
                file
            }
        };
        *self.busy.entry(number).or_default() += 1;
        Ok(file)
    }

    /// Of many old segments only some stay open; the newest, which is written, always does.
    fn make_room(&mut self) {
        while self.open.len() >= OPEN_SEGMENTS_MAX {
            let idle = self.open.keys().find(|number| !self.busy.contains_key(number)).copied();
            match idle {
                Some(number) => drop(self.open.remove(&number)),
                None => return,
            }
        }
    }

    /// A read or write is done.
    pub fn done(&mut self, number: SegmentNumber) {
        if let Some(count) = self.busy.get_mut(&number) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(&number);
            }
        }
    }

    /// Every write is done.
    pub fn all_written(&mut self) {
        for number in std::mem::take(&mut self.writing) {
            self.done(number);
        }
    }

    /// The file of a segment for one write; [`SegmentFiles::all_written`] ends it.
    ///
    /// # Errors
    /// As from open(2).
    pub fn borrow_for_write(&mut self, number: SegmentNumber) -> io::Result<SegmentFile> {
        let file = self.borrow(number)?;
        self.writing.push(number);
        Ok(file)
    }

    /// Whether nobody reads or writes a segment.
    #[must_use]
    pub fn is_idle(&self, number: SegmentNumber) -> bool {
        !self.busy.contains_key(&number)
    }

    /// Closes a segment that is no longer needed.
    pub fn close(&mut self, number: SegmentNumber) {
        self.open.remove(&number);
    }

    /// Whether writes go around the page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.open.values().next_back().is_none_or(SegmentFile::is_direct)
    }
}
