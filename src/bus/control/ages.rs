//! How long messages have been owed: when the oldest of each destination was published, which only its record says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::bus::DestinationStatus;
use crate::bus::inspect::RecordReader;
use crate::engine::listing::{Listed, Remark};
use crate::ids::Lsn;

/// Destinations of which that is told, those first to whom something has been owed longest.
pub(super) const OLDEST_LOOKED_AT_MAX: usize = 256;

/// Records that one look reads. A destination that takes nothing has the same oldest message at the next look, and by then it
/// is known.
const READS_PER_LOOK_MAX: usize = 16;

/// Reads when messages were published, and remembers it as long as they are the oldest.
#[derive(Debug)]
pub(super) struct Ages {
    directory: PathBuf,
    known: Mutex<BTreeMap<Lsn, SystemTime>>,
}

impl Ages {
    pub(super) fn new(directory: PathBuf) -> Ages {
        Ages { directory, known: Mutex::default() }
    }

    /// Says of each destination when its oldest message was published, as far as that is known or can be read now.
    pub(super) fn tell(&self, destinations: &mut [DestinationStatus], oldest: &[Listed]) {
        let known = std::mem::take(&mut *self.known.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut still, mut reads) = (BTreeMap::new(), 0);
        let mut reader = RecordReader::new(self.directory.clone());
        for listed in oldest {
            let mut at = known.get(&listed.lsn).or_else(|| still.get(&listed.lsn)).copied();
            if at.is_none() && reads < READS_PER_LOOK_MAX {
                reads += 1;
                // Its segment may have been freed or used again meanwhile: then something else is the oldest.
                at = reader.found(listed).ok().map(|found| found.message.published_at());
            }
            if let Some(at) = at {
                still.insert(listed.lsn, at);
                let (node, address) = owed_to(listed);
                let is_it = |to: &&mut DestinationStatus| {
                    to.node == node && (node.is_some() || to.address == address)
                };
                if let Some(to) = destinations.iter_mut().find(is_it) {
                    to.oldest_at = Some(at);
                }
            }
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = still;
    }
}

/// The node, or the address where nobody has answered yet.
fn owed_to(listed: &Listed) -> (Option<String>, &str) {
    match &listed.remark {
        Remark::Owed { node, address, .. } => (node.map(|node| node.to_string()), address),
        _ => (None, ""),
    }
}
