//! Reads a log's files from front to back in large pieces.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::format::segment::segment_name;
use crate::ids::SegmentNumber;
use crate::limits::BLOCK_BYTES;
use crate::log::recovery::Window;

/// One window over the segments in a directory. What two windows have in common is not read twice.
#[derive(Debug)]
pub struct WindowReader {
    directory: PathBuf,
    open: Option<(SegmentNumber, File)>,
    buffer: Vec<u8>,
    offset: u64,
    filled: usize,
}

impl WindowReader {
    /// A reader of windows of at most `window_bytes`.
    #[must_use]
    pub fn new(directory: PathBuf, window_bytes: usize) -> WindowReader {
        WindowReader { directory, open: None, buffer: vec![0; window_bytes], offset: 0, filled: 0 }
    }

    /// The path of a segment's file.
    #[must_use]
    pub fn path(&self, segment: SegmentNumber) -> PathBuf {
        self.directory.join(segment_name(segment))
    }

    /// The bytes of `window`. An error if the file has become shorter than it was.
    pub fn read(&mut self, window: Window) -> io::Result<&[u8]> {
        if self.open.as_ref().is_none_or(|(segment, _)| *segment != window.segment) {
            self.open(window.segment)?;
        }
        let end = self.offset + self.filled as u64;
        if self.offset <= window.offset && window.offset < end {
            let from = (window.offset - self.offset) as usize;
            self.buffer.copy_within(from..self.filled, 0);
            self.filled -= from;
        } else {
            self.filled = 0;
        }
        self.offset = window.offset;
        if let (Some((_, file)), true) = (&self.open, self.filled < window.bytes) {
            let missing = &mut self.buffer[self.filled..window.bytes];
            let missing_at = self.offset + self.filled as u64;
            // Nothing counts as read until all of it is.
            let kept = std::mem::take(&mut self.filled);
            file.read_exact_at(missing, missing_at)?;
            self.filled = kept + missing.len();
        }
        Ok(&self.buffer[..window.bytes])
    }

    /// As [`WindowReader::read`]; but blocks that the disk does not give back are zeros, and `on_unreadable` is told where
    /// they begin and why.
    pub fn read_what_can_be(
        &mut self,
        window: Window,
        on_unreadable: &mut dyn FnMut(u64, io::Error),
    ) -> io::Result<&[u8]> {
        // Twice, for the borrow of what was read would last through the other way.
        if self.read(window).is_ok() {
            return self.read(window);
        }
        self.open(window.segment)?;
        if let Some((_, file)) = &self.open {
            let blocks = self.buffer[..window.bytes].chunks_mut(BLOCK_BYTES);
            for (block, at) in blocks.zip((window.offset..).step_by(BLOCK_BYTES)) {
                if let Err(error) = file.read_exact_at(block, at) {
                    block.fill(0);
                    on_unreadable(at, error);
                }
            }
        }
        Ok(&self.buffer[..window.bytes])
    }

    fn open(&mut self, segment: SegmentNumber) -> io::Result<()> {
        let file = File::open(self.path(segment))?;
        // Advice only: a file system that takes none is read all the same.
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL).ok();
        self.open = Some((segment, file));
        self.filled = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_overlap_jump_and_change_segments_show_what_the_files_hold() {
        let directory = tempfile::tempdir().unwrap();
        let content = |n: u64| (0..100_u64).map(|i| (i * 7 + n * 31) as u8).collect::<Vec<u8>>();
        for n in [1, 2] {
            std::fs::write(directory.path().join(segment_name(SegmentNumber(n))), content(n)).unwrap();
        }
        let mut reader = WindowReader::new(directory.path().to_owned(), 40);
        for (n, offset, bytes) in [
            (1, 0, 40),
            (1, 30, 40),
            (1, 70, 30),
            (1, 100, 0),
            (2, 0, 40),
            (1, 10, 40),
            (1, 20, 5),
            (1, 22, 40),
            (1, 90, 10),
        ] {
            let shown = reader.read(Window { segment: SegmentNumber(n), offset, bytes }).unwrap();
            assert_eq!(shown, &content(n)[offset as usize..][..bytes], "{n} {offset} {bytes}");
        }
        assert!(reader.read(Window { segment: SegmentNumber(1), offset: 90, bytes: 20 }).is_err());
        assert!(reader.read(Window { segment: SegmentNumber(3), offset: 0, bytes: 1 }).is_err());
    }

    #[test]
    fn what_the_disk_does_not_give_back_is_zeros_and_named_and_the_rest_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(segment_name(SegmentNumber(1)));
        std::fs::write(path, vec![7; 2 * BLOCK_BYTES + 1]).unwrap();
        let mut reader = WindowReader::new(directory.path().to_owned(), 4 * BLOCK_BYTES);
        let window = Window { segment: SegmentNumber(1), offset: 0, bytes: 4 * BLOCK_BYTES };
        let mut unreadable = Vec::new();
        let shown = reader.read_what_can_be(window, &mut |at, _| unreadable.push(at)).unwrap();
        assert_eq!(shown, [vec![7; 2 * BLOCK_BYTES], vec![0; 2 * BLOCK_BYTES]].concat());
        assert_eq!(unreadable, [2 * BLOCK_BYTES as u64, 3 * BLOCK_BYTES as u64]);
        let window = Window { offset: BLOCK_BYTES as u64, bytes: BLOCK_BYTES, ..window };
        assert_eq!(reader.read_what_can_be(window, &mut |_, _| panic!()).unwrap(), vec![7; BLOCK_BYTES]);
    }
}
