//! The records of a log as they were written, and what is to be known of each: what a salvage gives is held against them.

use std::ops::Index;

use resolute::format::control::Accepted;
use resolute::format::record::{FLAG_ATOMIC_MORE, RecordHeader, RecordKind, RecordView};
use resolute::ids::{Lsn, LsnRange};
use resolute::log::damaged_batch::Source;

use super::written_log::{Written, WrittenLog};

/// A record as it was written.
#[derive(Clone, Copy, Debug)]
pub struct WrittenRecord<'a> {
    /// With its header.
    pub bytes: &'a [u8],
    pub kind: RecordKind,
    pub source: Source,
    /// The atomic group that it belongs to; itself alone, if to none.
    pub group: LsnRange,
}

/// All records of a log, by their numbers, of which the first is 1.
#[derive(Debug)]
pub struct Records<'a>(Vec<WrittenRecord<'a>>);

impl<'a> Index<Lsn> for Records<'a> {
    type Output = WrittenRecord<'a>;

    fn index(&self, lsn: Lsn) -> &WrittenRecord<'a> {
        &self.0[lsn.0 as usize - 1]
    }
}

impl<'a> Records<'a> {
    pub fn iter(&self) -> impl Iterator<Item = &WrittenRecord<'a>> {
        self.0.iter()
    }

    pub fn end(&self) -> Lsn {
        Lsn(self.0.len() as u64 + 1)
    }
}

pub fn records(log: &WrittenLog) -> Records<'_> {
    let mut records = Vec::new();
    log.batches.iter().for_each(|batch| add(&mut records, batch));
    Records(records)
}

fn add<'a>(records: &mut Vec<WrittenRecord<'a>>, batch: &'a Written) {
    let (mut run, mut left, mut members) = (None, 0, Vec::new());
    for (lsn, _, bytes) in batch.records() {
        let RecordView { header, body, kind } = RecordView::parse(bytes).unwrap();
        let source = run.filter(|_| left > 0).map_or(Source::Own, Source::Run);
        match source {
            Source::Own => (run, left) = begun_by(kind, body),
            _ => left -= 1,
        }
        members.push(WrittenRecord { bytes, kind, source, group: LsnRange { first: lsn, count: 1 } });
        if source != Source::Own || !is_followed(header) {
            let group = LsnRange { first: members[0].group.first, count: members.len() as u64 };
            records.extend(members.drain(..).map(|record| WrittenRecord { group, ..record }));
        }
    }
    assert!(members.is_empty(), "a group ends with its batch");
}

fn begun_by(kind: RecordKind, body: &[u8]) -> (Option<Accepted>, u32) {
    let run = (kind == RecordKind::Accepted).then(|| Accepted::decode(body).unwrap());
    (run, run.map_or(0, |run| run.count))
}

fn is_followed(header: &RecordHeader) -> bool {
    header.flags & FLAG_ATOMIC_MORE != 0
}
