//! Batches, one behind the other. The first byte says whether they get checksums that fit.

use bytes::Bytes;
use resolute::format::batch::{BatchHeader, BatchView};
use resolute::ids::Lsn;
use resolute::limits::BLOCK_BYTES;
use resolute::log::chunk::Chunk;

use super::mend;

/// Blocks that are looked at.
const BLOCKS_MAX: usize = 8;

pub fn run(bytes: &[u8]) {
    let Some((mends, batch)) = bytes.split_first() else { return };
    // Whole blocks, as they come from a disk: what the fuzzer gives is mostly shorter.
    let mut batch = batch[..batch.len().min(BLOCKS_MAX * BLOCK_BYTES)].to_vec();
    batch.resize(batch.len().next_multiple_of(BLOCK_BYTES), 0);
    if mends % 2 == 1 {
        mend::batch(&mut batch);
    }
    if let Ok(view) = BatchView::parse_verified(&batch) {
        let header = BatchHeader::parse(&batch).expect("what was verified can be read");
        let owed: u64 = view.owed.iter().map(|run| u64::from(run.count.get())).sum();
        assert!(view.records.len() as u32 == header.records_bytes.get());
        assert!(view.owed.len() * 8 <= header.trailer_bytes.get() as usize);
        read_back(&batch[..header.batch_bytes.get() as usize], header.first_lsn(), owed);
    }
    // Whatever it is, it is not read beyond its end.
    drop(Chunk::read_back(Bytes::from(batch), Lsn(1)));
}

/// A batch that verifies is read back with all its records in their places, or refused for its trailer.
fn read_back(batch: &[u8], first: Lsn, owed: u64) {
    let Ok(chunk) = Chunk::read_back(Bytes::copy_from_slice(batch), first) else { return };
    let count = chunk.end().since(chunk.first());
    assert!(owed <= count, "a trailer that owes more than there is");
    let mut next = chunk.first();
    for extent in chunk.extents() {
        assert!(extent.first == next && extent.count > 0);
        assert!(chunk.extent_bytes(extent).len() == extent.bytes as usize);
        next = extent.end();
    }
    assert!(next == chunk.end());
    let mut at = chunk.first();
    while at < chunk.end() {
        let slices = chunk.slice(at, 3, 1000);
        assert!((1..=3).contains(&slices.count));
        at = at.plus(slices.count);
    }
}
