//! Gives changed bytes the checksums that fit them. Without that hardly anything that was changed is looked at any further.

use resolute::format::batch::{BATCH_HEADER_BYTES, BATCH_MAGIC};
use resolute::format::checksum::{checksum, checksum_more};
use resolute::format::frame::{FRAME_HEADER_BYTES, FRAME_MAGIC, FrameKind, RUN_HEADER_BYTES};
use resolute::format::record::RECORD_HEADER_BYTES;

fn number(bytes: &[u8], at: usize) -> usize {
    let bytes = bytes[at..at + 4].try_into().expect("four bytes");
    u32::from_le_bytes(bytes) as usize
}

fn put(bytes: &mut [u8], at: usize, crc: u32) {
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Of the records that lie one behind the other, as far as their lengths lead from one to the next. The checksum that
/// a batch has of them.
pub fn records(mut bytes: &mut [u8]) -> u32 {
    let mut all = 0;
    while bytes.len() >= RECORD_HEADER_BYTES {
        let length = RECORD_HEADER_BYTES + number(bytes, 16);
        let whole = length.min(bytes.len());
        let (record, rest) = bytes.split_at_mut(whole);
        let body_crc = checksum(&record[RECORD_HEADER_BYTES..]);
        put(record, 4, body_crc);
        let header_crc = checksum(&record[4..RECORD_HEADER_BYTES]);
        put(record, 0, header_crc);
        all = checksum_more(all, &header_crc.to_le_bytes());
        bytes = rest;
    }
    all
}

/// Of a frame's header alone.
pub fn frame_header(frame: &mut [u8]) {
    if frame.len() >= FRAME_HEADER_BYTES {
        let crc = checksum(&frame[..12]);
        put(frame, 12, crc);
    }
}

/// Of the frames that lie one behind the other; of runs the records too.
pub fn frames(mut bytes: &mut [u8]) {
    while bytes.len() >= FRAME_HEADER_BYTES {
        bytes[..2].copy_from_slice(&FRAME_MAGIC);
        let whole = (FRAME_HEADER_BYTES + number(bytes, 4)).min(bytes.len());
        let (frame, rest) = bytes.split_at_mut(whole);
        let (header, body) = frame.split_at_mut(FRAME_HEADER_BYTES);
        let is_run = header[2] == FrameKind::Run as u8;
        let covered = if is_run { body.len().min(RUN_HEADER_BYTES) } else { body.len() };
        if is_run {
            records(&mut body[covered..]);
        }
        put(header, 8, checksum(&body[..covered]));
        frame_header(frame);
        bytes = rest;
    }
}

/// Of a batch: its records, its trailer and its header.
pub fn batch(bytes: &mut [u8]) {
    if bytes.len() < BATCH_HEADER_BYTES {
        return;
    }
    bytes[..4].copy_from_slice(&BATCH_MAGIC);
    let (header, rest) = bytes.split_at_mut(BATCH_HEADER_BYTES);
    let records_end = number(header, 68).min(rest.len());
    let trailer_end = (records_end + number(header, 72)).min(rest.len());
    let records_crc = records(&mut rest[..records_end]);
    put(header, 88, records_crc);
    put(header, 84, checksum(&rest[records_end..trailer_end]));
    let crc = checksum(&header[..92]);
    put(header, 92, crc);
}
