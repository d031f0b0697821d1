//! A log that a crash, a bad disk or a careless hand left behind, and what recovery makes of it.

mod all_kinds;
mod crashes;
mod damage;
mod every_bit;
mod files;
mod lookalikes;
mod pieces;
mod salvaged;
mod written_log;
mod written_records;

use std::convert::Infallible;
use std::path::Path;

use resolute::ids::SegmentNumber;
use resolute::io::recover::{RecoverError, RecoverMode, Recovered, recover};
use resolute::log::look_ahead::IN_FLIGHT_BYTES_MAX;
use resolute::log::recovery::{Scan, ScanError, SegmentFile};
use resolute::log::tail::Tail;

use written_log::{Image, Written};

const SEGMENT_BYTES: usize = 16 * 4096;

/// What was read of each batch: number, segment, offset, first LSN, records.
type Seen = (u64, u64, usize, u64, Vec<u8>);

fn as_seen(written: &Written) -> Seen {
    let records = written.bytes[resolute::format::batch::BATCH_HEADER_BYTES..written.used].to_vec();
    (written.number, written.segment, written.offset, written.first_lsn, records)
}

fn all_seen<'a>(batches: impl IntoIterator<Item = &'a Written>) -> Vec<Seen> {
    batches.into_iter().map(as_seen).collect()
}

fn scan(image: &Image) -> (Vec<Seen>, Result<Tail, ScanError>) {
    let files = image
        .iter()
        .map(|(number, bytes)| SegmentFile { number: SegmentNumber(*number), file_bytes: bytes.len() as u64 })
        .collect();
    let mut seen = Vec::new();
    let mut scan = Scan::new(files, IN_FLIGHT_BYTES_MAX as usize);
    while let Some(window) = scan.wanted() {
        let bytes = &image[&window.segment.0][window.offset as usize..][..window.bytes];
        scan.show::<Infallible>(bytes, &mut |place, view| {
            let header = view.header;
            let offset = place.offset as usize;
            seen.push((
                header.number().0,
                place.segment.0,
                offset,
                header.first_lsn().0,
                view.records.to_vec(),
            ));
            Ok(())
        })
        .unwrap();
    }
    (seen, scan.finish())
}

fn on_disk(directory: &Path, mode: RecoverMode) -> (Vec<Seen>, Result<Recovered, RecoverError<Infallible>>) {
    let mut seen = Vec::new();
    let recovered = recover(directory, mode, &mut |place, view| {
        let header = view.header;
        let offset = place.offset as usize;
        seen.push((header.number().0, place.segment.0, offset, header.first_lsn().0, view.records.to_vec()));
        Ok(())
    });
    (seen, recovered)
}

/// A body of `bytes` bytes that no other seed has.
fn body(seed: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|i| (seed.wrapping_mul(0x9e37_79b9).wrapping_add(i * 31) >> 3) as u8 | 1).collect()
}
