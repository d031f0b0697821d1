//! Runs of records that peers send.

use super::protocol;
use crate::engine::Engine;
use crate::engine::effect::SessionId;
use crate::engine::handshake::Refused;
use crate::engine::reason::describe;
use crate::engine::session::Phase;
use crate::engine::state::Seen;
use crate::engine::transmit::RUN_OVERHEAD;
use crate::format::control::Accepted;
use crate::format::frame::RunHeader;
use crate::format::record::RecordHeader;
use crate::ids::{PeerSlot, Position, StreamId};
use crate::time::Now;
use crate::wire::goodbye::GoodbyeCode;
use crate::wire::records::{RunFacts, verify_run};

/// What is to be done with the records of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunVerdict {
    /// They are to be logged under this header, the first `skip` bytes left out; [`Engine::run_staged`] says so.
    Accept {
        /// The header.
        accepted: Accepted,
        /// Bytes of records that were accepted before.
        skip: usize,
    },
    /// They were accepted before, or their session is over.
    Drop,
}

impl Engine {
    /// A run has come: its records are verified, and what is to be done with them is said.
    pub fn handle_run(&mut self, now: Now, id: SessionId, run: &RunHeader, records: &[u8]) -> RunVerdict {
        self.now = now;
        match self.check_run(id, run, records) {
            Ok(verdict) => verdict,
            Err((code, reason)) => {
                self.end_session(id, code, &reason);
                RunVerdict::Drop
            }
        }
    }

    fn check_run(&mut self, id: SessionId, run: &RunHeader, records: &[u8]) -> Result<RunVerdict, Refused> {
        let now = self.now.monotonic;
        let Some(session) = self.sessions.get_mut(id).filter(|session| session.phase != Phase::Over) else {
            return Ok(RunVerdict::Drop);
        };
        (session.heard_at, session.framed_at) = (now, now);
        let Some(slot) = session.peer.filter(|_| session.is_known()) else {
            return protocol("nothing may be said before both sides know each other");
        };
        // An honest peer counts the same bytes in the same order, and what it was told is never taken back: this holds
        // for it wherever the session broke off before and whatever it sends twice.
        let (sent, granted) = (session.received + frame_bytes(records.len()), session.granted);
        if sent > granted {
            return protocol(format!("{sent} bytes of runs were sent, and {granted} were granted"));
        }
        let RunFacts { count, last_lsn, .. } =
            verify_run(run, records).map_err(|defect| (GoodbyeCode::BadFrame, describe(&defect)))?;
        let (stream, first) = (StreamId(run.stream.get()), Position(run.first_position.get()));
        self.check_not_ended(slot, stream)?;
        let expected = self.expected(slot, stream);
        if first > expected {
            return protocol(format!("stream {stream} goes on at {first}, and {expected} was expected"));
        }
        self.check_stream_count(slot, stream)?;
        let known = expected.since(first).min(u64::from(count));
        let skip = if known == u64::from(count) { records.len() } else { bytes_of(records, known) };
        if skip == records.len() {
            self.took_run(slot, frame_bytes(skip), frame_bytes(skip));
            return Ok(RunVerdict::Drop);
        }
        let accepted = Accepted {
            slot,
            incarnation: self.incarnation_of(slot),
            stream,
            first_position: expected,
            count: count - known as u32,
            bytes: (records.len() - skip) as u32,
            last_lsn,
        };
        Ok(RunVerdict::Accept { accepted, skip })
    }

    /// The records of a run, but for the first `skip` bytes, are in the batch that is being filled. What is not logged of
    /// it gives its credit back at once; the records do when they are durable.
    pub fn run_staged(&mut self, accepted: &Accepted, skip: usize) {
        let last = accepted.first_position.plus(u64::from(accepted.count) - 1);
        self.staged.insert((accepted.slot, accepted.stream), last);
        let seen = Seen { incarnation: accepted.incarnation, lsn: accepted.last_lsn };
        self.staged_seen.entry(accepted.slot).or_insert(seen).take_in(seen);
        self.staged_of.push_back(self.sessions.of_peer(accepted.slot).map(|session| session.id));
        self.traffic.accepted(accepted);
        self.took_run(accepted.slot, frame_bytes(skip + accepted.bytes as usize), frame_bytes(skip));
    }

    /// A run is done with: so many bytes of it count against what was granted, and so many need no room.
    fn took_run(&mut self, slot: PeerSlot, received: u64, without_room: u64) {
        if let Some(session) = self.sessions.of_peer_mut(slot) {
            session.received += received;
            session.accepted_bytes += without_room;
        }
    }
}

/// Bytes that a run with so many bytes of records takes on the wire.
const fn frame_bytes(records_bytes: usize) -> u64 {
    (RUN_OVERHEAD + records_bytes) as u64
}

/// Bytes of the first `count` records, which were verified.
fn bytes_of(records: &[u8], count: u64) -> usize {
    let mut at = 0;
    for _ in 0..count {
        at += RecordHeader::parse(&records[at..]).map_or(0, RecordHeader::record_bytes);
    }
    at
}
