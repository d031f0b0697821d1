//! The messages of a log in the order in which they were written, whoever they are for.

use bytes::Bytes;

use crate::bus::Envelope;
use crate::bus::envelope::id_of;
use crate::engine::listing::LogPage;
use crate::format::control::Accepted;
use crate::format::record::{RecordKind, RecordView, Records};
use crate::ids::{Incarnation, Lsn, NodeId};
use crate::log::chunk::Chunk;
use crate::log::extent::{Extent, ExtentKind};

/// Something that passed through a node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Passing {
    /// A message: the node published or sent it, or accepted it from a peer.
    Message(Envelope),
    /// So many records were gone from the log before they could be read: whoever looks is slower than the node.
    Missed(u64),
}

/// The messages of a chunk from record `from` on, of the page that named it.
pub(in crate::bus) fn messages_in(chunk: &Chunk, page: &LogPage, from: Lsn) -> Vec<Envelope> {
    let (mut found, mut publisher) = (Vec::new(), page.own);
    for extent in chunk.extents() {
        match extent.kind {
            ExtentKind::Control => publisher = publisher_of_next(chunk, page, extent).unwrap_or(publisher),
            ExtentKind::Messages(_) => take(chunk, extent, from, page.own, &mut found),
            ExtentKind::Foreign => take(chunk, extent, from, publisher, &mut found),
        }
    }
    found
}

/// Who published the run behind these control records, if one is there.
fn publisher_of_next(chunk: &Chunk, page: &LogPage, extent: &Extent) -> Option<(NodeId, Incarnation)> {
    // Invariant: a chunk holds whole records that were verified.
    let records = Records::new(chunk.extent_bytes(extent))
        .map(|record| record.expect("a record of a chunk is damaged in memory"));
    let last = records.last().filter(|record| record.kind == RecordKind::Accepted)?;
    let run = Accepted::decode(last.body).ok()?;
    let node = page.peers.iter().find(|(slot, _)| *slot == run.slot).map(|(_, node)| *node);
    Some((node.unwrap_or_default(), run.incarnation))
}

fn take(
    chunk: &Chunk,
    extent: &Extent,
    from: Lsn,
    (node, incarnation): (NodeId, Incarnation),
    found: &mut Vec<Envelope>,
) {
    let mut rest: Bytes = chunk.bytes().slice_ref(chunk.extent_bytes(extent));
    for lsn in (0..u64::from(extent.count)).map(|n| extent.first.plus(n)) {
        // Invariant: a chunk holds whole records that were verified.
        let bytes = RecordView::parse(&rest).expect("a record of a chunk is damaged in memory").bytes();
        let record = rest.split_to(bytes);
        if lsn >= from {
            let id = id_of(node, incarnation, &record);
            found.push(Envelope::new(record, id, 1));
        }
    }
}
