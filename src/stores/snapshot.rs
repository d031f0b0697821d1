//! Looking at a store that no process has open. Nothing is written, not even a lock.

use std::path::Path;

use crate::bus::inspect::{InspectError, refuse_running};
use crate::io::recover::RecoverMode;
use crate::io::store::open::read_back;
use crate::log::verdict::Verdict;
use crate::store::contents::Contents;
use crate::store::map::MapContents;
use crate::store::queue::QueueContents;

/// A map as its log describes it.
#[derive(Debug)]
pub struct MapSnapshot(MapContents);

/// A queue as its log describes it.
#[derive(Debug)]
pub struct QueueSnapshot(QueueContents);

impl MapSnapshot {
    /// Reads the log in `directory`.
    ///
    /// # Errors
    /// [`InspectError::Running`] while a process has it open, and whatever keeps the log from being read.
    pub fn read(directory: &Path) -> Result<MapSnapshot, InspectError> {
        read(directory).map(MapSnapshot)
    }

    /// Keys with their values, as JSON, in the order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut last = None;
        std::iter::from_fn(move || {
            let (key, kept) = self.0.next(last)?;
            last = Some(key);
            Some((key, &*kept.value))
        })
    }

    /// The value of a key, both as JSON.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key).map(|kept| &*kept.value)
    }
}

impl QueueSnapshot {
    /// Reads the log in `directory`.
    ///
    /// # Errors
    /// As [`MapSnapshot::read`].
    pub fn read(directory: &Path) -> Result<QueueSnapshot, InspectError> {
        read(directory).map(QueueSnapshot)
    }

    /// Items from the front on, as JSON.
    pub fn items(&self) -> impl Iterator<Item = &[u8]> {
        let mut last = None;
        std::iter::from_fn(move || {
            let (place, kept) = self.0.next(last)?;
            last = Some(place);
            Some(&*kept.value)
        })
    }
}

fn read<C: Contents>(directory: &Path) -> Result<C, InspectError> {
    refuse_running(directory)?;
    let read = read_back::<C>(directory, RecoverMode::ReadOnly);
    // One that was opened meanwhile changes what is being read: that is then the error, whatever else it led to.
    refuse_running(directory)?;
    let read = read?;
    if read.recovered.tail.verdict == Verdict::Fresh {
        return Err(InspectError::NoLog(directory.to_owned()));
    }
    Ok(read.contents)
}
