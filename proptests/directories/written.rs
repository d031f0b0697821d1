//! The batches that a node has written, as they lie in its files.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use resolute::format::batch::{BATCH_HEADER_BYTES, BatchHeader};

/// Where one batch lies.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub offset: u64,
    pub bytes: u64,
}

/// The files of the log, in their order.
pub fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_segment = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        resolute::format::segment::segment_number(name).is_some()
    };
    let mut segments: Vec<PathBuf> = entries.filter(is_segment).collect();
    segments.sort();
    segments
}

/// The batches at the start of a segment.
pub fn batches(segment: &Path) -> Vec<Written> {
    let bytes = std::fs::read(segment).unwrap();
    let (mut found, mut offset) = (Vec::new(), 0);
    while let Some(head) = bytes.get(offset..offset + BATCH_HEADER_BYTES) {
        let Ok(header) = BatchHeader::parse(head) else { break };
        found.push(Written { offset: offset as u64, bytes: u64::from(header.batch_bytes.get()) });
        offset += header.batch_bytes.get() as usize;
    }
    found
}

/// Changes bytes of a file in place.
pub fn overwrite(file: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(file).unwrap().write_all_at(bytes, offset).unwrap();
}

/// A copy of the log as it lies now, as a crash would leave it.
pub fn copy_as_it_lies(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for path in segments(from) {
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Every file and what is in it, but for the lock.
pub fn content(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| !path.ends_with("lock"));
    let mut content: Vec<(PathBuf, Vec<u8>)> =
        files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    content.sort();
    content
}
