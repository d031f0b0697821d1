//! A log as nodes write it, and then damaged: what is read of it is what was written, in its order, and it ends in a verdict.
//! What is salvaged of it are records as they were written, in their order.

use std::collections::BTreeMap;
use std::convert::Infallible;

use resolute::format::batch::{BATCH_HEADER_BYTES, BatchFacts, BatchHeader, seal};
use resolute::format::record::{RecordHeader, RecordKind, RecordView, Records, append};
use resolute::ids::{BatchNumber, Epoch, Lsn, SegmentNumber};
use resolute::limits::{BATCH_BYTES_MAX, BLOCK_BYTES};
use resolute::log::look_ahead::IN_FLIGHT_BYTES_MAX;
use resolute::log::recovery::{Scan, SegmentFile};
use resolute::log::salvage::{Found, Salvage};

use super::mend;
use super::source::Source;

const SEGMENT_BLOCKS: usize = 12;
const SEGMENTS_MAX: u64 = 4;
const STEPS_MAX: usize = 64;

struct Log {
    files: BTreeMap<u64, Vec<u8>>,
    facts: BatchFacts,
    next_lsn: u64,
    offset: usize,
    /// Header checksums of what was written, by number.
    written: BTreeMap<u64, Vec<u32>>,
    /// As much of the records.
    records: BTreeMap<Lsn, Vec<u32>>,
}

impl Log {
    fn new() -> Log {
        let facts = BatchFacts {
            log_id: 1,
            epoch: Epoch(1),
            nonce: 7,
            batch_number: BatchNumber(1),
            durable_batch: BatchNumber(0),
            segment: SegmentNumber(1),
            previous_header_crc: 0,
            closing: false,
        };
        let files = BTreeMap::from([(1, vec![0; SEGMENT_BLOCKS * BLOCK_BYTES])]);
        Log { files, facts, next_lsn: 1, offset: 0, written: BTreeMap::new(), records: BTreeMap::new() }
    }

    fn file(&mut self) -> &mut Vec<u8> {
        let number = self.facts.segment.0;
        self.files.entry(number).or_insert_with(|| vec![0; SEGMENT_BLOCKS * BLOCK_BYTES])
    }

    fn write(&mut self, source: &mut Source<'_>, closing: bool) {
        let (count, bytes) = (source.below(4) as u64, source.below(100) * 80);
        let (mut records, mut made) = (Vec::new(), Vec::new());
        for number in 0..count {
            let (lsn, at) = (Lsn(self.next_lsn + number), records.len());
            append(&mut records, lsn, RecordKind::Message, 0, &vec![lsn.0 as u8; bytes]);
            made.extend(RecordHeader::parse(&records[at..]).map(|header| (lsn, header.header_crc.get())));
        }
        let used = BATCH_HEADER_BYTES + records.len();
        let mut batch = vec![0; used.next_multiple_of(BLOCK_BYTES)];
        if self.file().len() < self.offset + batch.len() {
            return self.roll();
        }
        batch[BATCH_HEADER_BYTES..used].copy_from_slice(&records);
        let behind = source.below(3) as u64 + 1;
        let durable_batch = BatchNumber(self.facts.batch_number.0.saturating_sub(behind));
        let facts = BatchFacts { durable_batch, closing, ..self.facts };
        let header: BatchHeader =
            seal(&mut batch, records.len(), Lsn(self.next_lsn), count as u32, &[], &facts);
        let offset = self.offset;
        self.file()[offset..offset + batch.len()].copy_from_slice(&batch);
        self.written.entry(header.number().0).or_default().push(header.header_crc.get());
        made.into_iter().for_each(|(lsn, crc)| self.records.entry(lsn).or_default().push(crc));
        self.offset += batch.len();
        self.next_lsn += count;
        self.facts.batch_number = self.facts.batch_number.plus(1);
        self.facts.previous_header_crc = header.header_crc.get();
    }

    fn roll(&mut self) {
        if self.facts.segment.0 < SEGMENTS_MAX {
            self.facts.segment = self.facts.segment.plus(1);
            self.offset = 0;
            self.file();
        }
    }

    /// Something befalls one of the files.
    fn damage(&mut self, source: &mut Source<'_>) {
        let number = 1 + source.below(SEGMENTS_MAX as usize) as u64;
        let how = source.below(6);
        let (block, at) = (source.below(SEGMENT_BLOCKS), source.number() as usize);
        let Some(file) = self.files.get_mut(&number) else { return };
        let start = block * BLOCK_BYTES;
        match how {
            0 => file.truncate(start + at % BLOCK_BYTES),
            1 if start < file.len() => file[start..].fill(0),
            2 if !file.is_empty() => {
                let at = start.wrapping_add(at) % file.len();
                file[at] ^= source.byte().max(1);
            }
            3 => drop(self.files.remove(&number)),
            // Another whole block of the log in its place, or a changed batch under good checksums.
            4 if start + BLOCK_BYTES <= file.len() => {
                let other = source.below(file.len() / BLOCK_BYTES) * BLOCK_BYTES;
                file.copy_within(other..other + BLOCK_BYTES, start);
            }
            5 if start + BLOCK_BYTES <= file.len() => {
                let changed = source.some();
                let from = start + source.below(BATCH_HEADER_BYTES);
                let end = (from + changed.len()).min(file.len());
                file[from..end].copy_from_slice(&changed[..end - from]);
                self.written.clear();
                mend::batch(&mut file[start..]);
            }
            _ => {}
        }
    }
}

pub fn run(bytes: &[u8]) {
    let (mut source, mut log) = (Source::new(bytes), Log::new());
    let mut is_forged = false;
    for _ in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        match source.below(8) {
            0..=3 => log.write(&mut source, false),
            4 => log.roll(),
            5 => {
                log.facts.epoch = log.facts.epoch.plus(1);
                log.facts.nonce += 1;
            }
            6 => log.write(&mut source, true),
            _ => {
                let known = !log.written.is_empty();
                log.damage(&mut source);
                is_forged |= known && log.written.is_empty();
            }
        }
    }
    scan(&log, is_forged);
    salvage(&log, is_forged);
}

fn files(log: &Log) -> Vec<SegmentFile> {
    let file = |(number, file): (&u64, &Vec<u8>)| SegmentFile {
        number: SegmentNumber(*number),
        file_bytes: file.len() as u64,
    };
    log.files.iter().map(file).collect()
}

fn is_written(log: &Log, lsn: Lsn, record: &RecordView<'_>) -> bool {
    let crcs = log.records.get(&lsn);
    record.verify_body().is_ok() && crcs.is_some_and(|crcs| crcs.contains(&record.header.header_crc.get()))
}

fn salvage(log: &Log, is_forged: bool) {
    let (mut salvage, mut last, mut windows) = (Salvage::new(files(log), BATCH_BYTES_MAX), None, 0);
    let mut on_found = |found: Found<'_>| {
        let Found::Record(found) = found else { return };
        assert!(last.is_none_or(|last| last < found.lsn), "records come in their order");
        assert!(is_forged || is_written(log, found.lsn, &found.record), "{} was never written", found.lsn);
        last = Some(found.lsn);
    };
    while let Some(window) = salvage.wanted() {
        windows += 1;
        assert!(windows < 1000, "a salvage that never ends");
        let from = window.offset as usize;
        salvage.show(&log.files[&window.segment.0][from..from + window.bytes], &mut on_found);
    }
    // Only a header that was forged is of a newer version.
    assert!(salvage.finish(&mut on_found).is_ok() || is_forged);
}

fn scan(log: &Log, is_forged: bool) {
    let mut scan = Scan::new(files(log), IN_FLIGHT_BYTES_MAX as usize);
    let (mut last, mut windows): (Option<(BatchNumber, Lsn)>, usize) = (None, 0);
    while let Some(window) = scan.wanted() {
        windows += 1;
        assert!(windows < 1000, "a scan that never ends");
        let from = window.offset as usize;
        let shown = &log.files[&window.segment.0][from..from + window.bytes];
        let seen = scan.show::<Infallible>(shown, &mut |place, view| {
            let (number, first) = (view.header.number(), view.header.first_lsn());
            if let Some((before, end)) = last {
                assert!(number == before.plus(1) && first == end, "batches come in their order");
            }
            assert!(place.bytes == view.header.batch_bytes.get() && view.header.segment() == place.segment);
            let was_written = log.written.get(&number.0);
            let is_own = was_written.is_some_and(|crcs| crcs.contains(&view.header.header_crc.get()));
            assert!(is_own || is_forged, "batch {number} was never written");
            let mut records = (first.0..).map(Lsn).zip(Records::new(view.records));
            let is_whole = |(lsn, record): (Lsn, Result<RecordView<'_>, _>)| {
                record.is_ok_and(|record| is_written(log, lsn, &record))
            };
            assert!(is_forged || records.all(is_whole), "batch {number} was written otherwise");
            last = Some((number, view.header.end_lsn()));
            Ok(())
        });
        let Ok(()) = seen;
    }
    if let Ok(tail) = scan.finish() {
        assert!(last.is_none_or(|(number, end)| tail.next_batch == number.plus(1) && tail.next_lsn == end));
        assert!(tail.append_at.is_multiple_of(BLOCK_BYTES as u64));
    }
}
