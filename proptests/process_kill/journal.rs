//! Files of entries of one length, which divides a page: a kill never leaves half of one.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 128;

/// Where the journal of one process is.
pub fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.journal"))
}

/// Opens a journal to write at its end.
pub fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// One entry: words, then blanks and a newline.
pub fn entry(words: &str) -> String {
    assert!(words.len() < ENTRY_BYTES, "{words}");
    format!("{words:<width$}\n", width = ENTRY_BYTES - 1)
}

/// Writes one entry, at once.
pub fn write(mut file: &File, words: &str) {
    file.write_all(entry(words).as_bytes()).unwrap();
}

/// Entries in it so far.
pub fn count(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len() / ENTRY_BYTES as u64)
}

/// All entries, as words.
pub fn read(path: &Path) -> Vec<Vec<String>> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let entries = bytes.chunks_exact(ENTRY_BYTES);
    let words =
        |entry: &[u8]| std::str::from_utf8(entry).unwrap().split_whitespace().map(str::to_owned).collect();
    entries.map(words).collect()
}
