//! A log as the engine writes it, in memory: segments that can be torn, damaged, put on a disk and gone on with.

use std::collections::BTreeMap;
use std::path::Path;

use resolute::format::batch::{BATCH_HEADER_BYTES, BatchFacts, BatchHeader, seal};
use resolute::format::record::{self, RECORD_HEADER_BYTES, RecordHeader, RecordKind};
use resolute::format::segment::{segment_name, segment_number};
use resolute::ids::{BatchNumber, Epoch, Lsn, SegmentNumber};
use resolute::limits::BATCH_BYTES_MAX;
use resolute::log::batch_builder::BatchBuilder;
use resolute::log::tail::Tail;

/// The files of a log.
pub type Image = BTreeMap<u64, Vec<u8>>;

/// One batch as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub number: u64,
    pub segment: u64,
    pub offset: usize,
    /// Header and records; behind them is the trailer.
    pub records_end: usize,
    /// Header, records and trailer; behind them is padding that no checksum covers.
    pub used: usize,
    pub bytes: Vec<u8>,
    pub first_lsn: u64,
    pub end_lsn: u64,
}

impl Written {
    pub fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }

    /// The records with their headers, and where each begins in the batch.
    pub fn records(&self) -> impl Iterator<Item = (Lsn, usize, &[u8])> {
        let mut at = BATCH_HEADER_BYTES;
        (self.first_lsn..self.end_lsn).map(move |lsn| {
            let begin = at;
            at += RecordHeader::parse(&self.bytes[at..]).unwrap().record_bytes();
            (Lsn(lsn), begin, &self.bytes[begin..at])
        })
    }

    /// The record in whose body a byte of the batch is.
    pub fn body_of_which(&self, at: usize) -> Option<Lsn> {
        self.records()
            .find(|(_, begin, bytes)| (begin + RECORD_HEADER_BYTES..begin + bytes.len()).contains(&at))
            .map(|(lsn, ..)| lsn)
    }
}

#[derive(Clone, Debug)]
pub struct WrittenLog {
    pub image: Image,
    pub batches: Vec<Written>,
    pub segment_bytes: usize,
    facts: BatchFacts,
    next_lsn: u64,
    offset: usize,
}

impl WrittenLog {
    pub fn new(segment_bytes: usize) -> WrittenLog {
        let facts = BatchFacts {
            log_id: 0x10,
            epoch: Epoch(1),
            nonce: 100,
            batch_number: BatchNumber(1),
            durable_batch: BatchNumber(0),
            segment: SegmentNumber(1),
            previous_header_crc: 0,
            closing: false,
        };
        let image = Image::from([(1, vec![0; segment_bytes])]);
        WrittenLog { image, batches: Vec::new(), segment_bytes, facts, next_lsn: 1, offset: 0 }
    }

    /// Goes on in `image` as a node does that opened it and was told `tail`.
    pub fn go_on(image: Image, segment_bytes: usize, tail: &Tail, nonce: u64) -> WrittenLog {
        let facts = BatchFacts {
            log_id: tail.log_id.unwrap_or(0x10),
            epoch: Epoch(tail.last_epoch.0 + 1),
            nonce,
            batch_number: tail.next_batch,
            durable_batch: BatchNumber(tail.next_batch.0 - 1),
            segment: tail.active,
            previous_header_crc: tail.last_header_crc,
            closing: false,
        };
        let offset = tail.append_at as usize;
        WrittenLog { image, batches: Vec::new(), segment_bytes, facts, next_lsn: tail.next_lsn.0, offset }
    }

    /// Another log: its batches are none of the first one's.
    pub fn with_log_id(mut self, log_id: u64) -> WrittenLog {
        self.facts.log_id = log_id;
        self
    }

    pub fn room(&self) -> usize {
        self.segment_bytes - self.offset
    }

    /// The next segment, whose file is there already or is made now, of zeros.
    pub fn roll(&mut self) {
        self.facts.segment = self.facts.segment.plus(1);
        self.offset = 0;
        self.image.entry(self.facts.segment.0).or_insert_with(|| vec![0; self.segment_bytes]);
    }

    pub fn open_again(&mut self) {
        self.facts.epoch = self.facts.epoch.plus(1);
        self.facts.nonce += 1;
    }

    /// A batch of one record a body, after all before it were durable.
    pub fn append(&mut self, bodies: &[Vec<u8>]) -> Written {
        self.append_with(bodies, self.facts.batch_number.0 - 1, false)
    }

    pub fn close(&mut self) -> Written {
        self.append_with(&[], self.facts.batch_number.0 - 1, true)
    }

    pub fn append_with(&mut self, bodies: &[Vec<u8>], durable: u64, closing: bool) -> Written {
        self.append_flagged(bodies, &vec![0; bodies.len()], durable, closing)
    }

    /// A batch of one record a body, each with its flags.
    pub fn append_flagged(
        &mut self,
        bodies: &[Vec<u8>],
        flags: &[u8],
        durable: u64,
        closing: bool,
    ) -> Written {
        let mut records = Vec::new();
        for (lsn, (body, flags)) in (self.next_lsn..).zip(bodies.iter().zip(flags)) {
            record::append(&mut records, Lsn(lsn), RecordKind::Message, *flags, body);
        }
        let used = BATCH_HEADER_BYTES + records.len();
        let mut bytes = vec![0; used.next_multiple_of(4096)];
        bytes[BATCH_HEADER_BYTES..used].copy_from_slice(&records);
        let facts = BatchFacts { durable_batch: BatchNumber(durable), closing, ..self.facts };
        let header = seal(&mut bytes, records.len(), Lsn(self.next_lsn), bodies.len() as u32, &[], &facts);
        self.put(&header, bytes)
    }

    /// A batch that `fill` fills as the engine does, after all before it were durable.
    pub fn append_filled(&mut self, fill: impl FnOnce(&mut BatchBuilder, &mut [u8])) -> Written {
        let (mut builder, mut bytes) = (BatchBuilder::new(Lsn(self.next_lsn)), vec![0; BATCH_BYTES_MAX]);
        fill(&mut builder, &mut bytes);
        let durable_batch = BatchNumber(self.facts.batch_number.0 - 1);
        let facts = BatchFacts { durable_batch, ..self.facts };
        let header = builder.seal(&mut bytes, &mut Vec::new(), &facts).header;
        bytes.truncate(header.batch_bytes.get() as usize);
        self.put(&header, bytes)
    }

    fn put(&mut self, header: &BatchHeader, bytes: Vec<u8>) -> Written {
        let records_end = BATCH_HEADER_BYTES + header.records_bytes.get() as usize;
        let written = Written {
            number: header.number().0,
            segment: header.segment().0,
            offset: self.offset,
            records_end,
            used: records_end + header.trailer_bytes.get() as usize,
            bytes,
            first_lsn: self.next_lsn,
            end_lsn: header.end_lsn().0,
        };
        let file = self.image.get_mut(&written.segment).unwrap();
        file[written.offset..written.end()].copy_from_slice(&written.bytes);
        self.offset = written.end();
        self.next_lsn = written.end_lsn;
        self.facts.batch_number = self.facts.batch_number.plus(1);
        self.facts.previous_header_crc = header.header_crc.get();
        self.batches.push(written.clone());
        written
    }
}

/// Takes back the blocks of `written` that did not reach the disk, to what was there before it.
pub fn lose_blocks(image: &mut Image, before: &Image, written: &Written, kept: u64) {
    for block in 0..written.bytes.len() / 4096 {
        if kept & (1 << (block % 64)) == 0 {
            let at = written.offset + block * 4096;
            let old = before.get(&written.segment).map_or(&[0; 4096][..], |file| &file[at..at + 4096]);
            image.get_mut(&written.segment).unwrap()[at..at + 4096].copy_from_slice(old);
        }
    }
}

pub fn put_on_disk(image: &Image, directory: &Path) {
    for (number, bytes) in image {
        std::fs::write(directory.join(segment_name(SegmentNumber(*number))), bytes).unwrap();
    }
}

pub fn take_from_disk(directory: &Path) -> Image {
    let mut image = Image::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if let Some(number) = segment_number(entry.file_name().to_str().unwrap()) {
            image.insert(number.0, std::fs::read(entry.path()).unwrap());
        }
    }
    image
}
