//! What a node remembers of another's log: the last opening at which they met.

use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::ids::{Epoch, Incarnation};

/// One opening of a peer's log. The peer looks whether its log had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// The life of the log.
    pub incarnation: Incarnation,
    /// The opening.
    pub epoch: Epoch,
    /// That opening's nonce.
    pub nonce: u64,
}

impl Met {
    /// How many bytes it takes.
    pub const BYTES: usize = 24;

    pub(super) fn put(&self, out: &mut BodyWriter) {
        out.u64(self.incarnation.0).u64(self.epoch.0).u64(self.nonce);
    }

    pub(super) fn read(reader: &mut BodyReader<'_>) -> Result<Met, BodyDefect> {
        Ok(Met { incarnation: Incarnation(reader.u64()?), epoch: Epoch(reader.u64()?), nonce: reader.u64()? })
    }
}
