//! Records that lie side by side and are treated alike. The engine counts in these, never in records.

use crate::format::batch::{BATCH_HEADER_BYTES, BatchView, OwedRun};
use crate::format::body::BodyDefect;
use crate::format::control::Accepted;
use crate::format::record::{RecordKind, Records};
use crate::ids::{Lsn, SetId};
use crate::limits::EXTENT_BYTES;

/// What the records of an extent are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentKind {
    /// Messages published by this node, owed to one set of streams.
    Messages(SetId),
    /// Messages as a peer sent them; their headers hold its LSNs and not ours.
    Foreign,
    /// What the node wrote down for itself.
    Control,
}

/// `count` records from `first`, `bytes` long, `offset` bytes into the buffer that holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first record.
    pub first: Lsn,
    /// Records; at least 1.
    pub count: u32,
    /// What they are.
    pub kind: ExtentKind,
    /// Where the first one begins.
    pub offset: u32,
    /// Bytes of all.
    pub bytes: u32,
}

impl Extent {
    /// The record after the last.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.first.plus(self.count as u64)
    }
}

/// Adds one record to the last extent, or opens a new one: of another kind, or when the last is large enough.
/// An extent is never much larger than [`EXTENT_BYTES`], so that streams can be cut at its ends.
#[inline]
pub fn extend(extents: &mut Vec<Extent>, kind: ExtentKind, lsn: Lsn, offset: u32, count: u32, bytes: u32) {
    if let Some(last) = extents.last_mut()
        && last.kind == kind
        && last.end() == lsn
        && last.offset + last.bytes == offset
        && last.bytes + bytes <= EXTENT_BYTES
    {
        last.count += count;
        last.bytes += bytes;
        return;
    }
    extents.push(Extent { first: lsn, count, kind, offset, bytes });
}

/// The runs of a trailer for these extents: up to the last that is owed to somebody.
pub fn owed_runs(extents: &[Extent], out: &mut Vec<OwedRun>) {
    out.clear();
    for extent in extents {
        let set = match extent.kind {
            ExtentKind::Messages(set) => set,
            ExtentKind::Foreign | ExtentKind::Control => SetId::NONE,
        };
        match out.last_mut() {
            Some(run) if run.set() == set => run.count += extent.count,
            _ => out.push(OwedRun { count: extent.count.into(), set: set.0.into() }),
        }
    }
    while out.last().is_some_and(|run| run.set() == SetId::NONE) {
        out.pop();
    }
}

/// Why the records of a sound batch do not make sense together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtentDefect {
    /// A record is not what was written.
    #[error(transparent)]
    Record(#[from] crate::format::record::RecordDefect),
    /// The header of an accepted run cannot be read.
    #[error("the header of an accepted run: {0}")]
    Accepted(#[from] BodyDefect),
    /// A trailer that covers more or other records than there are.
    #[error("the trailer does not fit the records")]
    Trailer,
}

/// The extents of a batch that was read back, `base` bytes into its buffer.
pub fn extents_of(view: &BatchView<'_>, base: u32, extents: &mut Vec<Extent>) -> Result<(), ExtentDefect> {
    let mut owed = view.owed.iter().flat_map(|run| std::iter::repeat_n(run.set(), run.count.get() as usize));
    let mut lsn = view.header.first_lsn();
    let mut foreign = 0_u32;
    let mut offset = base + BATCH_HEADER_BYTES as u32;
    for record in Records::new(view.records) {
        let record = record?;
        let set = owed.next().unwrap_or(SetId::NONE);
        let kind = if foreign > 0 {
            foreign -= 1;
            ExtentKind::Foreign
        } else if record.kind == RecordKind::Message {
            ExtentKind::Messages(set)
        } else {
            if record.kind == RecordKind::Accepted {
                foreign = Accepted::decode(record.body)?.count;
            }
            ExtentKind::Control
        };
        if set != SetId::NONE && !matches!(kind, ExtentKind::Messages(_)) {
            return Err(ExtentDefect::Trailer);
        }
        let bytes = record.bytes() as u32;
        extend(extents, kind, lsn, offset, 1, bytes);
        offset += bytes;
        lsn = lsn.plus(1);
    }
    if foreign > 0 || owed.next().is_some() { Err(ExtentDefect::Trailer) } else { Ok(()) }
}
