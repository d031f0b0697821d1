//! The records of a run, verified once, before they are stored as they came.
//!
//! Whoever stores them trusts nothing but this walk: both checksums of every record, that each is a message and well
//! formed, and that they are exactly as many and as long as the run says. It allocates nothing.

use crate::format::body::BodyDefect;
use crate::format::frame::RunHeader;
use crate::format::message::MessageView;
use crate::format::record::{FLAG_ATOMIC_MORE, FLAG_COMMAND, RecordDefect, RecordKind, RecordView, Records};
use crate::ids::{Lsn, StreamId};
use crate::limits::{POSITION_MAX, RECORD_BYTES_MAX, RUN_BYTES_MAX};

/// A run that was verified whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunFacts {
    /// Records; at least 1.
    pub count: u32,
    /// Their bytes; at most [`RUN_BYTES_MAX`].
    pub bytes: u32,
    /// The last of them in the sender's log.
    pub last_lsn: Lsn,
}

/// Why a run is not stored. Each of these ends the session: what the sender has and what it says differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunDefect {
    /// The stream or the positions cannot be.
    #[error("the run's stream or positions cannot be")]
    Place,
    /// More bytes than a run may have.
    #[error("the run has {0} bytes of records, and {RUN_BYTES_MAX} is the most")]
    LongRun(usize),
    /// The records are not as many as the run says.
    #[error("the run says {said} records and has {found}")]
    Count {
        /// What the header says.
        said: u32,
        /// Whole records found, up to one more than it says.
        found: u32,
    },
    /// A record is not what was written, or is cut off.
    #[error("record {index} of the run is bad")]
    Record {
        /// Which one, from 0.
        index: u32,
        /// What is wrong with it.
        #[source]
        defect: RecordDefect,
    },
    /// A record longer than that of any message.
    #[error("record {index} of the run has {bytes} bytes, and {RECORD_BYTES_MAX} is the most")]
    LongRecord {
        /// Which one, from 0.
        index: u32,
        /// Its length.
        bytes: usize,
    },
    /// A record that is not a message: what a node writes down for itself never travels.
    #[error("record {index} of the run is no message but {kind:?}")]
    NotAMessage {
        /// Which one, from 0.
        index: u32,
        /// What it is.
        kind: RecordKind,
    },
    /// Flags or part numbers of which this version does not know the meaning.
    #[error("record {index} of the run has unknown flags or parts")]
    Header {
        /// Which one, from 0.
        index: u32,
    },
    /// The message in it is not well formed.
    #[error("the message in record {index} of the run is bad")]
    Message {
        /// Which one, from 0.
        index: u32,
        /// What is wrong with it.
        #[source]
        defect: BodyDefect,
    },
}

/// Verifies all `records` of the run that begins with that header.
pub fn verify_run(run: &RunHeader, records: &[u8]) -> Result<RunFacts, RunDefect> {
    let said = run.count.get();
    let first = run.first_position.get();
    let last = first.saturating_add(u64::from(said).saturating_sub(1));
    if run.stream.get() == StreamId::LOCAL.0 || first == 0 || last > POSITION_MAX {
        return Err(RunDefect::Place);
    }
    if records.len() > RUN_BYTES_MAX {
        return Err(RunDefect::LongRun(records.len()));
    }
    let (mut found, mut last_lsn) = (0, Lsn(0));
    for record in Records::new(records) {
        let index = found;
        let record = record.map_err(|defect| RunDefect::Record { index, defect })?;
        found += 1;
        // Told before its body is read: a sender cannot make us verify more than it announced.
        if found > said {
            return Err(RunDefect::Count { said, found });
        }
        verify_record(index, &record)?;
        last_lsn = record.lsn();
    }
    if found != said || found == 0 {
        return Err(RunDefect::Count { said, found });
    }
    Ok(RunFacts { count: found, bytes: records.len() as u32, last_lsn })
}

fn verify_record(index: u32, record: &RecordView<'_>) -> Result<(), RunDefect> {
    if record.bytes() > RECORD_BYTES_MAX {
        return Err(RunDefect::LongRecord { index, bytes: record.bytes() });
    }
    if record.kind != RecordKind::Message {
        return Err(RunDefect::NotAMessage { index, kind: record.kind });
    }
    let header = record.header;
    if header.flags & !(FLAG_ATOMIC_MORE | FLAG_COMMAND) != 0 || header.part >= header.parts {
        return Err(RunDefect::Header { index });
    }
    record.verify_body().map_err(|defect| RunDefect::Record { index, defect })?;
    MessageView::parse(record.body).map_err(|defect| RunDefect::Message { index, defect })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::checksum::checksum;
    use crate::format::message::{MessageHead, MessageParts};
    use crate::format::record::{self, RECORD_HEADER_BYTES};
    use crate::ids::Lsn;
    use crate::time::Wall;
    use zerocopy::little_endian::{U32, U64};

    fn run(count: u32) -> RunHeader {
        RunHeader {
            stream: U64::new(1),
            first_position: U64::new(1),
            count: U32::new(count),
            reserved: U32::ZERO,
        }
    }

    fn message(payload: &[u8]) -> Vec<u8> {
        let head = MessageHead::with_topics(Wall(1), ["t"]).unwrap();
        MessageParts::new(&head, payload).unwrap().pieces().concat()
    }

    fn records(payloads: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            record::append(
                &mut out,
                Lsn(index as u64 + 1),
                RecordKind::Message,
                FLAG_COMMAND,
                &message(payload),
            );
        }
        out
    }

    /// One record whose header's checksum fits after `change`.
    fn altered(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut bytes = records(&[b"x"]);
        change(&mut bytes);
        let crc = checksum(&bytes[4..RECORD_HEADER_BYTES]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn a_good_run_is_as_many_records_and_bytes_as_it_is() {
        let bytes = records(&[b"a", b"", b"ccc"]);
        assert_eq!(
            verify_run(&run(3), &bytes),
            Ok(RunFacts { count: 3, bytes: bytes.len() as u32, last_lsn: Lsn(3) })
        );
    }

    #[test]
    fn every_single_bit_flip_is_detected() {
        let good = records(&[b"first", b"second"]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(verify_run(&run(2), &bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_cut_is_detected() {
        let good = records(&[b"first", b"second"]);
        for length in 0..good.len() {
            assert!(verify_run(&run(2), &good[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn the_count_must_be_exact() {
        let bytes = records(&[b"a", b"b", b"c"]);
        assert_eq!(
            verify_run(&run(1), &bytes),
            Err(RunDefect::Count { said: 1, found: 2 }),
            "told at the second"
        );
        assert_eq!(verify_run(&run(4), &bytes), Err(RunDefect::Count { said: 4, found: 3 }));
        assert_eq!(verify_run(&run(0), &[]), Err(RunDefect::Count { said: 0, found: 0 }));
    }

    #[test]
    fn what_a_node_writes_for_itself_is_refused() {
        let mut bytes = Vec::new();
        record::append(&mut bytes, Lsn(1), RecordKind::Handled, 0, &message(b""));
        let kind = RecordKind::Handled;
        assert_eq!(verify_run(&run(1), &bytes), Err(RunDefect::NotAMessage { index: 0, kind }));
    }

    #[test]
    fn unknown_flags_and_parts_are_refused() {
        for (place, value) in [(21, 4), (22, 1), (23, 0)] {
            let bytes = altered(|bytes| bytes[place] = value);
            assert_eq!(verify_run(&run(1), &bytes), Err(RunDefect::Header { index: 0 }), "byte {place}");
        }
        let atomic = altered(|bytes| bytes[21] = FLAG_ATOMIC_MORE | FLAG_COMMAND);
        assert!(verify_run(&run(1), &atomic).is_ok());
    }

    #[test]
    fn a_message_that_is_not_well_formed_is_refused_under_good_checksums() {
        let mut bytes = Vec::new();
        record::append(&mut bytes, Lsn(1), RecordKind::Message, 0, b"too short");
        let defect = BodyDefect::Truncated;
        assert_eq!(verify_run(&run(1), &bytes), Err(RunDefect::Message { index: 0, defect }));
    }

    #[test]
    fn a_run_is_at_most_as_long_as_the_largest_record() {
        let largest = RECORD_BYTES_MAX - RECORD_HEADER_BYTES - message(b"").len();
        let mut body = message(b"");
        body.resize(body.len() + largest, 7);
        let mut bytes = Vec::new();
        record::append(&mut bytes, Lsn(1), RecordKind::Message, 0, &body);
        assert_eq!(
            verify_run(&run(1), &bytes),
            Ok(RunFacts { count: 1, bytes: RUN_BYTES_MAX as u32, last_lsn: Lsn(1) })
        );
        bytes.extend(records(&[b""]));
        assert_eq!(verify_run(&run(2), &bytes), Err(RunDefect::LongRun(bytes.len())));
    }

    #[test]
    fn the_local_stream_and_positions_that_cannot_be_are_refused() {
        let bytes = records(&[b"a"]);
        let local = RunHeader { stream: U64::ZERO, ..run(1) };
        assert_eq!(verify_run(&local, &bytes), Err(RunDefect::Place));
        for first in [0, POSITION_MAX + 1, u64::MAX] {
            let bad = RunHeader { first_position: U64::new(first), ..run(1) };
            assert_eq!(verify_run(&bad, &bytes), Err(RunDefect::Place), "{first}");
            // Without records there is no last position to count back to.
            let empty = RunHeader { count: U32::ZERO, ..bad };
            assert_eq!(verify_run(&empty, &[]), Err(RunDefect::Place), "{first}, and no records");
        }
        let last = RunHeader { first_position: U64::new(POSITION_MAX), ..run(1) };
        assert!(verify_run(&last, &bytes).is_ok());
    }
}
