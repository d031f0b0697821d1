//! What a node remembers of another's log: the last opening at which they met, and how far it was seen.

use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::ids::{Epoch, Incarnation, Lsn};

/// One opening of a peer's log, and what was written in it or before. The peer looks whether its log had that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// The life of the log.
    pub incarnation: Incarnation,
    /// The opening.
    pub epoch: Epoch,
    /// That opening's nonce.
    pub nonce: u64,
    /// The last record of that life that came from there; 0 if none did.
    pub seen: Lsn,
}

impl Met {
    /// How many bytes it takes.
    pub const BYTES: usize = 32;

    pub(super) fn put(&self, out: &mut BodyWriter) {
        out.u64(self.incarnation.0).u64(self.epoch.0).u64(self.nonce).u64(self.seen.0);
    }

    pub(super) fn read(reader: &mut BodyReader<'_>) -> Result<Met, BodyDefect> {
        let (incarnation, epoch) = (Incarnation(reader.u64()?), Epoch(reader.u64()?));
        Ok(Met { incarnation, epoch, nonce: reader.u64()?, seen: Lsn(reader.u64()?) })
    }
}
