//! The only code that changes the durable state, live and at replay.

mod peers;

use std::collections::BTreeSet;

use super::inbox::{HandlerState, Origin};
use super::state::{Identity, InCheckpoint, Opening, Seen, State};
use crate::format::body::BodyDefect;
use crate::format::control::{Accepted, Carried, Control, StreamOwner};
use crate::format::entry::Entry;
use crate::format::record::{RECORD_HEADER_BYTES, RecordDefect, RecordKind, RecordView, Records};
use crate::ids::{Lsn, LsnRange, PeerSlot, Position, SetId, StreamId};
use crate::log::chunk::Chunk;
use crate::log::extent::{Extent, ExtentKind};
use crate::log::place::BatchPlace;

/// Bytes of topics in one record.
const TOPICS_BYTES_PER_RECORD: usize = 64 << 10;

/// Whether what is published is not owed to that owner of a stream.
fn is_parked(parked: &BTreeSet<PeerSlot>, owner: &StreamOwner) -> bool {
    !parked.is_empty() && matches!(owner, StreamOwner::Peer(slot) if parked.contains(slot))
}

/// Cuts a list of topics into parts that fit a record each.
pub fn topic_parts(topics: &[String]) -> impl Iterator<Item = &[String]> {
    let mut rest = topics;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let fits = rest.iter().take_while(|topic| {
            bytes += topic.len() + 2;
            bytes <= TOPICS_BYTES_PER_RECORD
        });
        let (part, after) = rest.split_at(fits.count().max(1));
        rest = after;
        Some(part)
    })
}

/// Why the records of a sound log make no sense: they were written by something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyDefect {
    /// The body of a record cannot be read.
    #[error("record {lsn}: {defect}")]
    Body {
        /// The record.
        lsn: Lsn,
        /// What is wrong with it.
        defect: BodyDefect,
    },
    /// A record is not what was written.
    #[error("record {lsn}: {defect}")]
    Record {
        /// The record.
        lsn: Lsn,
        /// What is wrong with it.
        defect: RecordDefect,
    },
    /// Messages owed to a set, or a stream, that no record explains.
    #[error("record {0} is owed to a set of streams that was never written down")]
    UnknownSet(Lsn),
    /// A run that does not follow the one before it.
    #[error("record {0} accepts a run out of its order")]
    OutOfOrder(Lsn),
    /// The log is that of a map or a queue.
    #[error("this is {0}, not a node")]
    IsAStore(&'static str),
    /// The oldest segment does not begin with a checkpoint.
    #[error("record {0} comes before any checkpoint")]
    NoCheckpoint(Lsn),
}

/// What happened that those outside of the state want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// A run was accepted; it may be acknowledged once `lsn` is durable.
    Run {
        /// From whom.
        slot: PeerSlot,
        /// On which stream.
        stream: StreamId,
        /// Its last position.
        last: Position,
        /// Its last record.
        lsn: Lsn,
        /// Its bytes.
        bytes: u64,
    },
    /// Streams came, went or changed their owner.
    Streams,
    /// What is known of addresses and intents changed.
    Addresses,
    /// Messages that were published before are in the inbox now.
    Inbox(LsnRange),
    /// It is written down which messages of a stream never come; that may be acknowledged once `lsn` is durable.
    Lost {
        /// From whom.
        slot: PeerSlot,
        /// Of which stream.
        stream: StreamId,
        /// The last position that is settled.
        last: Position,
        /// The record that says so.
        lsn: Lsn,
    },
    /// Messages that were parked or given up are to be handled again.
    Retried(LsnRange),
    /// Handlers that failed with this message are due at once.
    Hurried(Lsn),
    /// A change by hand met so many messages.
    Administered(u64),
    /// Receivers have more of what was owed.
    Acked,
    /// A peer has another quota.
    Quotas,
    /// A peer stands otherwise.
    Standing,
}

impl State {
    /// Takes in one batch: the records of `chunk`, which lie at `place`.
    pub fn apply_batch(
        &mut self,
        place: BatchPlace,
        chunk: &Chunk,
        applied: &mut Vec<Applied>,
    ) -> Result<(), ApplyDefect> {
        self.index.push(chunk.first(), chunk.end().since(chunk.first()), place);
        for extent in chunk.extents() {
            match extent.kind {
                ExtentKind::Messages(set) => self.apply_messages(extent, set)?,
                // Their header, the control record before them, said all there is to say.
                ExtentKind::Foreign => {}
                ExtentKind::Control => {
                    for (index, record) in Records::new(chunk.extent_bytes(extent)).enumerate() {
                        let lsn = extent.first.plus(index as u64);
                        let record = record.map_err(|defect| ApplyDefect::Record { lsn, defect })?;
                        self.apply_record(lsn, &record, applied)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn apply_messages(&mut self, extent: &Extent, set: SetId) -> Result<(), ApplyDefect> {
        if set == SetId::NONE {
            return Ok(());
        }
        let streams = self.sets.get(&set).ok_or(ApplyDefect::UnknownSet(extent.first))?;
        let (count, bytes) = (u64::from(extent.count), u64::from(extent.bytes));
        for id in streams {
            if *id == StreamId::LOCAL {
                let origin = Origin { slot: PeerSlot::SELF, incarnation: self.identity.incarnation };
                self.inbox.add(LsnRange { first: extent.first, count }, bytes, origin);
            } else {
                let stream = self.streams.get_mut(id).ok_or(ApplyDefect::UnknownSet(extent.first))?;
                if is_parked(&self.parked_peers, &stream.owner) {
                    stream.pass_over(extent.first, count);
                    self.dropped += count;
                } else {
                    stream.extend(extent.first, count, bytes);
                }
            }
        }
        Ok(())
    }

    fn apply_record(
        &mut self,
        lsn: Lsn,
        record: &RecordView<'_>,
        applied: &mut Vec<Applied>,
    ) -> Result<(), ApplyDefect> {
        let body = |defect| ApplyDefect::Body { lsn, defect };
        match record.kind {
            RecordKind::Accepted => {
                self.apply_accepted(lsn, &Accepted::decode(record.body).map_err(body)?, applied)
            }
            RecordKind::Carried => self.apply_carried(lsn, &Carried::decode(record.body).map_err(body)?),
            RecordKind::Entry => {
                let kind = Entry::decode(record.body).map_err(body)?.kind();
                Err(ApplyDefect::IsAStore(kind.name()))
            }
            kind => {
                let control = Control::decode(kind, record.body).map_err(body)?;
                self.apply_control(lsn, control, applied)
            }
        }
    }

    fn apply_accepted(
        &mut self,
        lsn: Lsn,
        run: &Accepted,
        applied: &mut Vec<Applied>,
    ) -> Result<(), ApplyDefect> {
        let inbound = self.resume_finished(run.slot, run.stream);
        if run.first_position != inbound.accepted.plus(1) {
            return Err(ApplyDefect::OutOfOrder(lsn));
        }
        let count = u64::from(run.count);
        inbound.accepted = inbound.accepted.plus(count);
        let last = inbound.accepted;
        self.seen(run.slot, Seen { incarnation: run.incarnation, lsn: run.last_lsn });
        let (range, bytes) = (LsnRange { first: lsn.plus(1), count }, u64::from(run.bytes));
        self.inbox.add(range, bytes, Origin { slot: run.slot, incarnation: run.incarnation });
        applied.push(Applied::Run { slot: run.slot, stream: run.stream, last, lsn: range.last(), bytes });
        Ok(())
    }

    /// The log of a peer has that record, and those before it.
    fn seen(&mut self, slot: PeerSlot, new: Seen) {
        if self.peers.get(&slot).is_some_and(|peer| !peer.removed) {
            self.seen.entry(slot).or_insert(new).take_in(new);
        }
    }

    fn apply_carried(&mut self, lsn: Lsn, carried: &Carried<'_>) -> Result<(), ApplyDefect> {
        let bytes = carried.record.len() as u64;
        if carried.record.len() < RECORD_HEADER_BYTES {
            return Err(ApplyDefect::Record { lsn, defect: RecordDefect::Truncated });
        }
        let one = LsnRange { first: carried.lsn, count: 1 };
        if carried.in_inbox && !self.inbox.contains(carried.lsn) {
            self.inbox.add(one, bytes, Origin { slot: carried.slot, incarnation: carried.incarnation });
        }
        for (id, position) in &carried.owed {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.carried(*position, carried.lsn, bytes);
            }
        }
        self.index.carried(carried.lsn, lsn);
        Ok(())
    }

    /// Takes in one control record.
    fn apply_control(
        &mut self,
        lsn: Lsn,
        control: Control,
        applied: &mut Vec<Applied>,
    ) -> Result<(), ApplyDefect> {
        match (self.in_checkpoint, &control) {
            (
                InCheckpoint::Before | InCheckpoint::Loading,
                Control::CheckpointBegin { slots, streams, dropped },
            ) => {
                // One that was begun before and never ended counts for nothing.
                let index = std::mem::take(&mut self.index);
                *self = State {
                    index,
                    last_slot: *slots,
                    last_stream: *streams,
                    dropped: *dropped,
                    ..State::default()
                };
                self.in_checkpoint = InCheckpoint::Loading;
                return Ok(());
            }
            (InCheckpoint::Outside, Control::CheckpointBegin { .. }) => {
                // It was left out of the checkpoint, so a replay that begins here does not know it either.
                self.prune();
                self.sets.clear();
                self.in_checkpoint = InCheckpoint::Repeating;
            }
            (_, Control::CheckpointEnd) => self.in_checkpoint = InCheckpoint::Outside,
            (InCheckpoint::Before, _) => return Err(ApplyDefect::NoCheckpoint(lsn)),
            _ => {}
        }
        if let (InCheckpoint::Repeating, Control::Peer(peer)) = (self.in_checkpoint, &control) {
            // Of somebody who was removed there is a message that comes further behind, as a copy.
            if !self.peers.contains_key(&peer.slot) {
                self.put_peer(peer.clone());
            }
            return Ok(());
        }
        // Earlier versions wrote down sets in checkpoints.
        if self.in_checkpoint == InCheckpoint::Repeating && !matches!(control, Control::DestinationSet { .. })
        {
            return Ok(());
        }
        match control {
            Control::Handled(ranges) => ranges.into_iter().for_each(|range| self.handled(range)),
            Control::Parked(ranges) => ranges.into_iter().for_each(|range| self.inbox.park(range)),
            Control::Administered(change) => self.administered(lsn, &change, applied),
            Control::Acked(cursors) => {
                cursors.into_iter().for_each(|(id, position)| self.acked(id, position));
                applied.push(Applied::Acked);
            }
            Control::Attempt { lsn, attempts, next_at, handler, reason } => {
                self.inbox.set_progress(lsn, &handler, HandlerState::Failing { attempts, next_at, reason });
            }
            Control::HandlerDone { lsn, handler } => {
                self.inbox.set_progress(lsn, &handler, HandlerState::Done)
            }
            Control::DeadLetter { lsn, attempts, at, handler, reason } => {
                self.inbox.set_progress(lsn, &handler, HandlerState::Dead { attempts, at, reason });
            }
            Control::Node { id, incarnation, created } => {
                let before = std::mem::replace(&mut self.identity, Identity { id, incarnation, created });
                if self.in_checkpoint == InCheckpoint::Outside && before.incarnation != incarnation {
                    self.begin_life();
                    applied.push(Applied::Streams);
                }
            }
            Control::Opened { epoch, nonce, at, name, address } => {
                self.opening = Opening { epoch, nonce, at, name, address };
                self.openings.add(epoch, nonce, lsn);
            }
            Control::Openings(openings) => {
                // In a checkpoint, behind the newest of them, which does not stand there where it was first said.
                openings.into_iter().for_each(|(epoch, nonce, lsn)| self.openings.add(epoch, nonce, lsn));
            }
            Control::CheckpointBegin { .. } | Control::CheckpointEnd => {}
            other => self.apply_peer_control(lsn, other, applied),
        }
        Ok(())
    }

    pub(super) fn handled(&mut self, range: LsnRange) {
        self.inbox.remove(range);
        self.forget_carried(range.first, range.count);
    }

    fn acked(&mut self, id: StreamId, position: Position) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let mut gone = Vec::new();
        stream.ack(position, |lsn, count| gone.push((lsn, count)));
        gone.into_iter().for_each(|(lsn, count)| self.forget_carried(lsn, count));
        self.close_if_done(id);
    }

    /// Of a range that one destination no longer needs, forgets the places of what no other needs either.
    pub(super) fn forget_carried(&mut self, first: Lsn, count: u64) {
        let (end, mut next) = (first.plus(count), first);
        while let Some(lsn) = self.index.next_carried(next).filter(|lsn| *lsn < end) {
            let wanted = self.inbox.contains(lsn)
                || self.streams.values().any(|stream| stream.owed_in(lsn, lsn.plus(1)).next().is_some());
            if !wanted {
                self.index.forget_carried(lsn);
            }
            next = lsn.plus(1);
        }
    }
}
