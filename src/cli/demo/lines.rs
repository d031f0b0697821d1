//! Files of lines that survive a SIGKILL: what was written is in the kernel's hands.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 << 10;

/// The writing end. A clone of the file may be written by several; each line goes down in one call.
#[derive(Debug)]
pub struct Appender {
    file: File,
}

impl Appender {
    /// Opens a file to go on with it. A last line that a kill has cut off is taken away: it says nothing that can be
    /// relied on, and what it was about is done again.
    pub fn open(path: &Path) -> io::Result<Appender> {
        let whole = match File::open(path) {
            Ok(file) => whole_lines_bytes(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        file.set_len(whole)?;
        Ok(Appender { file })
    }

    /// Appends whole lines.
    pub fn append(&self, lines: &[u8]) -> io::Result<()> {
        (&self.file).write_all(lines)
    }
}

fn whole_lines_bytes(file: File) -> io::Result<u64> {
    let mut follower = Follower { file: Some(file), rest: Vec::new(), piece: vec![0; PIECE_BYTES] };
    let mut bytes = 0;
    follower.read(&mut |line| bytes += line.len() as u64 + 1)?;
    Ok(bytes)
}

/// The reading end: shows every whole line once, as the file grows.
#[derive(Debug)]
pub struct Follower {
    /// `None` until the file is there.
    file: Option<File>,
    /// The beginning of a line that is not whole yet.
    rest: Vec<u8>,
    piece: Vec<u8>,
}

impl Follower {
    pub fn new() -> Follower {
        Follower { file: None, rest: Vec::new(), piece: vec![0; PIECE_BYTES] }
    }

    /// Shows the whole lines that were not shown before, without their ends.
    pub fn follow(&mut self, path: &Path, on_line: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        if self.file.is_none() {
            match File::open(path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.read(on_line)
    }

    fn read(&mut self, on_line: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        // The part of a line that was seen last time is read again: a kill may have cut it off, and then another stands
        // there now.
        file.seek(SeekFrom::Current(-(self.rest.len() as i64)))?;
        self.rest.clear();
        loop {
            let read = file.read(&mut self.piece)?;
            if read == 0 {
                return Ok(());
            }
            let mut bytes = &self.piece[..read];
            while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                if self.rest.is_empty() {
                    on_line(&bytes[..end]);
                } else {
                    self.rest.extend_from_slice(&bytes[..end]);
                    on_line(&self.rest);
                    self.rest.clear();
                }
                bytes = &bytes[end + 1..];
            }
            self.rest.extend_from_slice(bytes);
        }
    }
}

/// A line that is a number.
pub fn number(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// Numbers from 1 to a known one, each there or not.
#[derive(Clone, Debug)]
pub struct Numbers {
    there: Vec<bool>,
    count: u64,
}

impl Numbers {
    pub fn up_to(last: u64) -> Numbers {
        Numbers { there: vec![false; last as usize + 1], count: 0 }
    }

    /// Adds a number, and says whether it was not there. One that is out of range is passed over.
    pub fn insert(&mut self, number: u64) -> bool {
        let Some(there) = self.there.get_mut(number as usize).filter(|there| number > 0 && !**there) else {
            return false;
        };
        *there = true;
        self.count += 1;
        true
    }

    pub fn contains(&self, number: u64) -> bool {
        self.there.get(number as usize).copied().unwrap_or(false)
    }

    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(follower: &mut Follower, path: &Path) -> Vec<String> {
        let mut seen = Vec::new();
        follower.follow(path, &mut |line| seen.push(String::from_utf8(line.to_vec()).unwrap())).unwrap();
        seen
    }

    #[test]
    fn each_whole_line_is_shown_once_and_one_that_was_cut_off_never() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        let mut follower = Follower::new();
        assert!(follow(&mut follower, &path).is_empty());
        let lines = Appender::open(&path).unwrap();
        lines.append(b"1\n2\n345").unwrap();
        assert_eq!(follow(&mut follower, &path), ["1", "2"]);
        assert!(follow(&mut follower, &path).is_empty());
        let lines = Appender::open(&path).unwrap();
        lines.append(b"3\n4\n").unwrap();
        assert_eq!(follow(&mut follower, &path), ["3", "4"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"1\n2\n3\n4\n");
    }

    #[test]
    fn numbers_count_once_and_only_in_their_range() {
        let mut numbers = Numbers::up_to(3);
        assert!(numbers.insert(3) && !numbers.insert(3) && !numbers.insert(0) && !numbers.insert(4));
        assert!(numbers.contains(3) && !numbers.contains(2) && !numbers.contains(99));
        assert_eq!(numbers.count(), 1);
    }
}
