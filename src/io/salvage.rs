//! Reads what is left of a damaged log from its directory. What counts is for [`crate::log::salvage`] to say.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::recover::segment_files;
use super::window_reader::WindowReader;
use crate::ids::SegmentNumber;
use crate::limits::RECOVERY_WINDOW_BYTES;
use crate::log::salvage::{Found, NewerFormat, Salvage};

/// A file cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
pub struct SalvageIo {
    /// What was being done.
    pub doing: &'static str,
    /// With which file.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// A block that the disk does not give back. The salvage takes it for zeros.
#[derive(Debug)]
pub struct Unreadable {
    /// The segment.
    pub segment: SegmentNumber,
    /// Where the block begins.
    pub offset: u64,
    /// What the disk says.
    pub source: io::Error,
}

/// One salvage from a directory. Nothing is written.
#[derive(Debug)]
pub struct SalvageReader {
    windows: WindowReader,
    salvage: Salvage,
    /// Blocks that were named. Windows overlap, and each is named once.
    named: BTreeSet<(SegmentNumber, u64)>,
}

impl SalvageReader {
    /// A reader of the log in `directory`; none if there are no segments.
    pub fn new(directory: &Path) -> Result<Option<SalvageReader>, SalvageIo> {
        let path = directory.to_owned();
        let files = segment_files(directory).map_err(|source| {
            let doing = "list the segments in";
            SalvageIo { doing, path, source }
        })?;
        Ok((!files.is_empty()).then(|| SalvageReader {
            windows: WindowReader::new(directory.to_owned(), RECOVERY_WINDOW_BYTES),
            salvage: Salvage::new(files, RECOVERY_WINDOW_BYTES),
            named: BTreeSet::new(),
        }))
    }

    /// Reads one window more, and says whether there was one.
    pub fn step(
        &mut self,
        on_unreadable: &mut dyn FnMut(Unreadable),
        on_found: &mut dyn FnMut(Found<'_>),
    ) -> Result<bool, SalvageIo> {
        let Some(window) = self.salvage.wanted() else { return Ok(false) };
        let (segment, path) = (window.segment, self.windows.path(window.segment));
        let named = &mut self.named;
        let bytes = self.windows.read_what_can_be(window, &mut |offset, source| {
            if named.insert((segment, offset)) {
                on_unreadable(Unreadable { segment, offset, source });
            }
        });
        let bytes = bytes.map_err(|source| SalvageIo { doing: "read", path, source })?;
        self.salvage.show(bytes, on_found);
        Ok(true)
    }

    /// Says what is missing at the end.
    pub fn finish(self, on_found: &mut dyn FnMut(Found<'_>)) -> Result<(), NewerFormat> {
        self.salvage.finish(on_found)
    }
}
