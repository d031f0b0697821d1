//! Putting into the next batch what the engine wants to log. It happens under the lock that publishers take, so it
//! is short: all is decided before.

use super::effect::{Event, RequestId};
use super::rewriting::Rewritten;
use super::routing::Routing;
use super::session::{Phase, Said};
use super::state::Seen;
use super::{Engine, Pending, Unspoken};
use crate::format::control::{Control, LIST_ENTRIES_MAX};
use crate::format::record::{RECORD_HEADER_BYTES, RecordKind};
use crate::ids::{Lsn, LsnRange, Position, StreamId};
use crate::limits::INBOUND_STREAMS_PER_PEER_MAX;
use crate::log::batch_builder::BatchBuilder;
use crate::wire::bodies::Body;

/// At most so many records are staged for one thing that waits, with those that the routing needs beside it.
pub(super) const RECORDS_AT_ONCE: usize = 4;

/// The batch that is being filled, and the routing that changes with it.
#[derive(Debug)]
pub struct Stager<'a> {
    /// The batch.
    pub builder: &'a mut BatchBuilder,
    /// Its buffer.
    pub buffer: &'a mut [u8],
    /// The routing. Of what changed in it publishers must know before the lock is given back.
    pub routing: &'a mut Routing,
}

impl Stager<'_> {
    /// Puts one record in, if it fits.
    pub(super) fn push(&mut self, kind: RecordKind, body: &[u8]) -> bool {
        let fits = self.builder.has_room(RECORD_HEADER_BYTES + body.len());
        if fits {
            self.builder.push_record(self.buffer, kind, body);
        }
        fits
    }

    fn last_lsn(&self) -> Lsn {
        Lsn(self.builder.next_lsn().0 - 1)
    }
}

impl Engine {
    /// Puts into the batch what is to be logged, as far as it fits.
    pub fn stage(&mut self, stager: &mut Stager<'_>) {
        if !self.stage_checkpoint(stager) {
            return;
        }
        // Who wants a record is read from what is applied. So copies come before all that this batch may change of it,
        // or a message that it says is handled would be in the inbox again.
        if !self.has_unapplied {
            self.stage_carried(stager);
        }
        self.stage_decided(stager);
        if self.marks_rest() && stager.builder.is_empty() {
            return;
        }
        let before = stager.builder.next_lsn();
        self.stage_acks(stager);
        self.stage_handled(stager);
        self.has_unapplied |= stager.builder.next_lsn() > before;
    }

    /// As [`Engine::stage`], but leaves out what only rides along: marks and cursors grow until a batch is sealed.
    pub fn stage_decisions(&mut self, stager: &mut Stager<'_>) {
        if self.stage_checkpoint(stager) {
            self.stage_decided(stager);
        }
    }

    fn stage_decided(&mut self, stager: &mut Stager<'_>) {
        self.stage_backlogs(stager);
        let before = stager.builder.next_lsn();
        self.stage_pending(stager);
        self.has_unapplied |= stager.builder.next_lsn() > before;
        // Where there was nothing to log, nothing is waited for.
        self.release_done();
        self.check_drains();
    }

    /// Whether all of the checkpoint, if there is one, is put in.
    fn stage_checkpoint(&mut self, stager: &mut Stager<'_>) -> bool {
        while let Some(control) = self.checkpoint.front() {
            let body = control.encode();
            if !stager.push(control.kind(), &body) {
                return false;
            }
            if matches!(control, Control::CheckpointBegin { .. }) {
                stager.routing.forget_sets();
                self.checkpoint_bytes = 0;
            }
            self.checkpoint_bytes += (RECORD_HEADER_BYTES + body.len()) as u64;
            // Streams to addresses come without being counted.
            self.small_bytes = self.small_bytes.max(self.checkpoint_bytes);
            self.checkpoint.pop_front();
            self.checkpoint_end = stager.last_lsn();
        }
        true
    }

    /// Whether a checkpoint is being written, and nothing else may come between.
    #[must_use]
    pub fn is_in_checkpoint(&self) -> bool {
        !self.checkpoint.is_empty()
    }

    /// Whether [`Engine::stage_decisions`] has something to put in.
    #[must_use]
    pub fn has_decided(&self) -> bool {
        !self.checkpoint.is_empty() || !self.pending.is_empty() || self.quotas.has_news()
    }

    /// Whether [`Engine::stage`] has something to put in.
    #[must_use]
    pub fn wants_to_stage(&self) -> bool {
        let marks = !self.acks.is_empty()
            || !self.heard.is_empty()
            || self.handled.count() > 0
            || self.parked.count() > 0;
        self.has_decided() || self.can_carry() || marks && !self.marks_rest()
    }

    fn stage_pending(&mut self, stager: &mut Stager<'_>) {
        let mut records = Vec::new();
        // What is written anew is looked for in the state: as long as nothing is staged that changes it.
        let (mut is_known, mut rewritten) = (!self.has_unapplied, Rewritten::new());
        while let Some(pending) = self.pending.front() {
            match pending {
                Pending::Rewrite(rewrite) => {
                    if !is_known || !self.stage_rewrite(stager, rewrite, &mut rewritten) {
                        return;
                    }
                }
                Pending::Control(control) => {
                    let generous = control.encode().len() + 1024;
                    if !stager.builder.has_room(generous)
                        || !stager.builder.has_room_for_extents(RECORDS_AT_ONCE)
                    {
                        return;
                    }
                    is_known = false;
                    records.clear();
                    stager.routing.stage(control.clone(), &mut records);
                    for record in &records {
                        assert!(stager.push(record.kind(), &record.encode()), "room was asked for");
                    }
                }
                Pending::Done(request) => self.done.push_back((stager.last_lsn(), *request)),
                Pending::Drain(request) => {
                    let (request, after) = (*request, stager.last_lsn());
                    self.drain_sees(request, after);
                }
                Pending::Frame { session, frame } => {
                    let said = Said { after: stager.last_lsn(), frame: frame.clone(), opens: false };
                    self.sessions.say(*session, said);
                }
                Pending::Resume { session, cursors } => {
                    let (after, mut frame) = (stager.last_lsn(), Vec::new());
                    Body::Resume { durable: after, cursors: cursors.clone() }.append_to(&mut frame);
                    let session = self.sessions.get_mut(*session);
                    if let Some(session) = session.filter(|session| session.phase != Phase::Over) {
                        session.say_resume(after, frame);
                    }
                }
            }
            self.pending.pop_front();
        }
    }

    fn stage_acks(&mut self, stager: &mut Stager<'_>) {
        // No later than the acks themselves, which let the messages go.
        while let Some((slot, seen)) = self.heard.first_key_value().map(|(slot, seen)| (*slot, *seen)) {
            let Seen { incarnation, lsn } = seen;
            let control = Control::Seen { slot, incarnation, lsn };
            if !stager.push(control.kind(), &control.encode()) {
                return;
            }
            self.heard.remove(&slot);
            self.staged_seen.entry(slot).or_insert(seen).take_in(seen);
        }
        while !self.acks.is_empty() {
            let cursors: Vec<(StreamId, Position)> =
                self.acks.iter().take(LIST_ENTRIES_MAX).map(|(id, position)| (*id, *position)).collect();
            let control = Control::Acked(cursors);
            if !stager.push(control.kind(), &control.encode()) {
                return;
            }
            let Control::Acked(cursors) = control else { return };
            for (id, _) in &cursors {
                self.acks.remove(id);
            }
        }
    }

    fn stage_handled(&mut self, stager: &mut Stager<'_>) {
        for make in [Control::Handled as fn(Vec<LsnRange>) -> Control, Control::Parked] {
            let is_handled = make(Vec::new()) == Control::Handled(Vec::new());
            loop {
                let set = if is_handled { &mut self.handled } else { &mut self.parked };
                let ranges: Vec<LsnRange> = set.iter().take(LIST_ENTRIES_MAX).collect();
                if ranges.is_empty() {
                    break;
                }
                let control = make(ranges.clone());
                if !stager.push(control.kind(), &control.encode()) {
                    return;
                }
                ranges.into_iter().for_each(|range| set.remove(range));
            }
        }
    }

    /// The durable mark rose: what depended on it is released.
    pub(super) fn release(&mut self, durable: Lsn) {
        while let Some(unspoken) = self.unspoken.front().filter(|unspoken| unspoken.lsn <= durable).copied() {
            self.unspoken.pop_front();
            let Unspoken { slot, stream, last, bytes, session: holder, .. } = unspoken;
            if let Some(session) = self.sessions.of_peer_mut(slot) {
                if holder == Some(session.id) {
                    session.accepted_bytes += bytes;
                }
                session.acks.insert(stream, last);
                // One that takes none of its acks, and ends one stream after the other, would have them pile up.
                if session.acks.len() > INBOUND_STREAMS_PER_PEER_MAX {
                    session.acks.retain(|stream, _| self.state.inbound.contains_key(&(slot, *stream)));
                }
            }
        }
        self.release_done();
        self.events.push_back(Event::Durable(durable));
    }

    /// What was asked for is so, as far as the records go that were applied: it is said once they are durable.
    pub(super) fn done_once_durable(&mut self, requests: Vec<RequestId>) {
        let applied = self.commit.submitted_up_to();
        let at = self.done.partition_point(|(lsn, _)| *lsn <= applied);
        for (index, request) in (at..).zip(requests) {
            self.done.insert(index, (applied, request));
        }
        self.release_done();
    }

    fn release_done(&mut self) {
        let durable = self.commit.durable();
        while let Some((_, request)) = self.done.front().copied().filter(|(lsn, _)| *lsn <= durable) {
            self.done.pop_front();
            let messages = self.requests.messages_of(request);
            self.events.push_back(Event::Done(request, messages));
        }
    }
}
