//! What each life of a process wrote down: a file that nothing but the process writes, and that a kill takes nothing from.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::{ENTRY_BYTES, Entry};

fn path(directory: &Path, name: &str, life: u32) -> PathBuf {
    directory.join(format!("{name}.{life}.journal"))
}

/// The journal of one life, to be written. Each entry is one write(2): once that has returned, the page cache has it, and
/// the death of the process does not take it from there.
#[derive(Clone)]
pub struct Journal(Arc<File>);

impl Journal {
    pub fn create(directory: &Path, name: &str, life: u32) -> Journal {
        let file = File::options().create_new(true).append(true).open(path(directory, name, life));
        Journal(Arc::new(file.unwrap()))
    }

    pub fn write(&self, entry: Entry) {
        (&*self.0).write_all(&entry.to_bytes()).unwrap();
    }
}

/// Passes on each entry of one life, in the order in which they were written.
pub fn read(
    directory: &Path,
    name: &str,
    life: u32,
    mut each: impl FnMut(Entry) -> Result<(), String>,
) -> Result<(), String> {
    let file = match File::open(path(directory, name, life)) {
        Ok(file) => file,
        // It was killed before it could begin one.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let file_bytes = file.metadata().map_err(|error| error.to_string())?.len();
    if !file_bytes.is_multiple_of(ENTRY_BYTES as u64) {
        return Err(format!("{name}, life {life}: the journal ends within an entry, at {file_bytes}"));
    }
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut bytes = [0; ENTRY_BYTES];
    for _ in 0..file_bytes / ENTRY_BYTES as u64 {
        file.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        each(Entry::from_bytes(bytes)?).map_err(|why| format!("{name}, life {life}: {why}"))?;
    }
    Ok(())
}
