//! The records of a batch that is damaged, or may be: walked by their headers, as far as they can be believed.
//!
//! A record is believed if it begins where the one before it ends, its header's checksum fits, or would without one flipped
//! bit, and its number is the one that is due. If all headers are there, the batch's checksum of them must fit too: then
//! nothing that lay in the file before can stand in for them. Where a header is beyond repair, nobody knows where the
//! next record begins: a message may hold records of its own, so nothing behind that place is looked for.

use zerocopy::IntoBytes;

use crate::format::checksum::checksum_more;
use crate::format::control::Accepted;
use crate::format::record::{FLAG_ATOMIC_MORE, RECORD_HEADER_BYTES, RecordHeader, RecordKind, RecordView};
use crate::ids::{Lsn, LsnRange};

/// Whose record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This log's own, under its own number.
    Own,
    /// A message of a run that a peer sent.
    Run(Accepted),
    /// A message of a peer; what said of which is damaged.
    Unknown,
}

/// One record of a log that may be damaged.
#[derive(Clone, Copy, Debug)]
pub struct Salvaged<'a> {
    /// Its number in this log.
    pub lsn: Lsn,
    /// Whose it is.
    pub source: Source,
    /// What it says: as it was written, to the last bit.
    pub record: RecordView<'a>,
}

/// What should be in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Promised {
    /// The first record.
    pub first: Lsn,
    /// Records.
    pub count: u32,
    /// The checksum of their headers', unless it is lost.
    pub records_crc: Option<u32>,
    /// The whole batch was verified already.
    pub is_verified: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    header: RecordHeader,
    at: usize,
    source: Source,
    /// Nothing speaks against it being this log's own: where it is lost how long a run is, the number decides.
    is_own: bool,
    /// Its body is as it was written.
    is_good: bool,
}

/// Hands the good records of a batch to `on_record`, in order, and returns the numbers of the others. `bytes` begin with
/// the first record; what lies behind the last one does not matter.
pub(super) fn salvage(
    bytes: &[u8],
    promised: Promised,
    on_record: &mut dyn FnMut(Salvaged<'_>),
) -> Vec<LsnRange> {
    let mut entries = walk(bytes, promised);
    let is_complete = entries.len() == promised.count as usize;
    let other = |crc: u32| !promised.is_verified && crc != headers_crc(&entries);
    if is_complete && promised.records_crc.is_some_and(other) {
        entries.clear();
    }
    withhold_broken_groups(&mut entries, is_complete);
    let mut lost = Vec::new();
    for (number, entry) in (0..).zip(&entries) {
        let lsn = promised.first.plus(number);
        if entry.is_good {
            give(bytes, lsn, entry, on_record);
        } else {
            add(&mut lost, LsnRange { first: lsn, count: 1 });
        }
    }
    let rest = u64::from(promised.count) - entries.len() as u64;
    if rest > 0 {
        add(&mut lost, LsnRange { first: promised.first.plus(entries.len() as u64), count: rest });
    }
    lost
}

/// Whether the first record of a batch is there.
pub(super) fn begins(bytes: &[u8], promised: Promised) -> bool {
    promised.count > 0 && header_at(bytes).is_some_and(|header| header.lsn.get() == promised.first.0)
}

/// The number of the record that begins there, if one does.
pub(super) fn first_lsn(bytes: &[u8]) -> Option<Lsn> {
    header_at(bytes).map(|header| Lsn(header.lsn.get()))
}

fn give(bytes: &[u8], lsn: Lsn, entry: &Entry, on_record: &mut dyn FnMut(Salvaged<'_>)) {
    let body = &bytes[entry.at + RECORD_HEADER_BYTES..][..entry.header.body_length.get() as usize];
    // Invariant: only entries of a known kind are good.
    let kind = RecordKind::from_number(entry.header.kind).expect("a record of an unknown kind is good");
    let record = RecordView { header: &entry.header, body, kind };
    on_record(Salvaged { lsn, source: entry.source, record });
}

fn add(lost: &mut Vec<LsnRange>, more: LsnRange) {
    match lost.last_mut() {
        Some(last) if last.end() == more.first => last.count += more.count,
        _ => lost.push(more),
    }
}

/// The records up to the first whose header is not to be had.
fn walk(bytes: &[u8], promised: Promised) -> Vec<Entry> {
    let (mut entries, mut at, mut run) = (Vec::new(), 0, Run::None);
    while entries.len() < promised.count as usize {
        let Some(header) = header_at(&bytes[at..]) else { break };
        let Some(body) = bytes[at..].get(RECORD_HEADER_BYTES..header.record_bytes()) else { break };
        let kind = RecordKind::from_number(header.kind);
        let source = run.source(kind);
        let lsn = promised.first.plus(entries.len() as u64);
        if source == Source::Own && header.lsn.get() != lsn.0 {
            break;
        }
        let record = kind.map(|kind| RecordView { header: &header, body, kind });
        let is_good = record.is_some_and(|record| promised.is_verified || record.verify_body().is_ok());
        if let (Source::Own, Some(record)) = (source, record) {
            run = Run::begun_by(&record, is_good);
        }
        let is_own = header.lsn.get() == lsn.0 && !matches!(source, Source::Run(_));
        entries.push(Entry { header, at, source, is_own, is_good });
        at += header.record_bytes();
    }
    entries
}

fn header_at(bytes: &[u8]) -> Option<RecordHeader> {
    RecordHeader::parse(bytes).ok().copied().or_else(|| RecordHeader::with_one_bit_mended(bytes))
}

fn headers_crc(entries: &[Entry]) -> u32 {
    entries.iter().fold(0, |crc, entry| checksum_more(crc, entry.header.header_crc.as_bytes()))
}

/// The messages that a peer sent stand behind the record that says so, under the peer's numbers.
#[derive(Clone, Copy, Debug)]
enum Run {
    None,
    Of(Accepted, u32),
    /// How many they are is lost. All messages that follow may be of it.
    Lost,
}

impl Run {
    fn begun_by(record: &RecordView<'_>, is_good: bool) -> Run {
        if record.kind != RecordKind::Accepted {
            return Run::None;
        }
        match Accepted::decode(record.body) {
            Ok(accepted) if is_good => Run::Of(accepted, accepted.count),
            _ => Run::Lost,
        }
    }

    fn source(&mut self, kind: Option<RecordKind>) -> Source {
        match *self {
            Run::Of(accepted, left) if left > 0 => {
                *self = Run::Of(accepted, left - 1);
                Source::Run(accepted)
            }
            Run::Lost if kind == Some(RecordKind::Message) => Source::Unknown,
            _ => {
                *self = Run::None;
                Source::Own
            }
        }
    }
}

/// The messages of an atomic batch are kept all or none. What a peer sent was one by one what it is.
fn withhold_broken_groups(entries: &mut [Entry], is_complete: bool) {
    let mut from = 0;
    while from < entries.len() {
        let more = |entry: &Entry| entry.is_own && entry.header.flags & FLAG_ATOMIC_MORE != 0;
        let members = entries[from..].iter().position(|entry| !more(entry)).map(|last| last + 1);
        let end = members.map_or(entries.len(), |members| from + members);
        let is_cut = members.is_none() && !is_complete;
        if is_cut || entries[from..end].iter().any(|entry| !entry.is_good) {
            entries[from..end].iter_mut().for_each(|entry| entry.is_good = false);
        }
        from = end;
    }
}
