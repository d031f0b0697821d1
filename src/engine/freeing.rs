//! Giving back what the log no longer needs. Only its oldest segment is ever freed, and only when nothing in it is
//! wanted: what still is, is carried forward first.

use super::Engine;
use super::effect::Event;
use super::inbox::HandlerState;
use super::staging::Stager;
use crate::format::control::{Carried, Control};
use crate::format::record::{RECORD_HEADER_BYTES, RecordKind};
use crate::ids::{Incarnation, Lsn, LsnRange, PeerSlot, Position, StreamId};
use crate::limits::{
    CARRY_BYTES_PER_BATCH, CARRY_SEGMENTS_MIN, DISK_FULL_RETRY_MS, RESERVE_PAUSE_DOUBLINGS, RESERVE_PAUSE_MS,
};
use crate::time::Monotonic;

/// A segment whose records are being carried forward.
#[derive(Clone, Copy, Debug)]
struct Carry {
    /// The first record after the segment.
    end: Lsn,
    /// Where the search for records still wanted goes on.
    next: Lsn,
    /// The last copy made.
    last_copy: Lsn,
}

/// What is known about the oldest segment.
#[derive(Debug, Default)]
pub struct Freeing {
    carry: Option<Carry>,
    /// The oldest segment is wanted no longer once everything up to there is durable: marks and cursors that a crash
    /// takes back would want it again.
    until: Option<Lsn>,
    retry_at: Option<Monotonic>,
    /// On a full disk: marks and cursors alone are not worth a batch before then.
    rest_until: Option<Monotonic>,
}

impl Freeing {
    pub(super) fn next_at(&self) -> Option<Monotonic> {
        self.retry_at.into_iter().chain(self.rest_until).min()
    }

    pub(super) fn disk_is_full(&mut self, now: Monotonic) {
        self.retry_at = Some(now.plus_millis(DISK_FULL_RETRY_MS));
    }
}

impl Engine {
    /// Frees the oldest segment if nothing in it is wanted, or begins to carry forward what is.
    pub(super) fn consider_freeing(&mut self) {
        if self.freeing.retry_at.is_some_and(|at| at <= self.now.monotonic) {
            self.freeing.retry_at = None;
            self.segments.retry_prepare();
        }
        self.freeing.rest_until = self.freeing.rest_until.filter(|at| *at > self.now.monotonic);
        while let Some(end) = self.segments.head_end() {
            // The checkpoint of the segment after it must be complete and durable, for it replaces this one's.
            let complete = !self.is_in_checkpoint() && self.commit.durable() >= self.checkpoint_end.max(end);
            if self.segments.count() == 2 && !complete {
                return;
            }
            let carried = self.freeing.carry.is_some_and(|carry| self.is_carried_over(&carry));
            if !carried && self.is_wanted_before(end) {
                self.freeing.until = None;
                self.consider_carrying(end);
                return;
            }
            let applied = Lsn(self.state.index.end().0 - 1);
            let until = *self.freeing.until.get_or_insert(applied.max(self.checkpoint_end));
            if self.commit.durable() < until {
                return;
            }
            (self.freeing.carry, self.freeing.until) = (None, None);
            let number = self.segments.free_head();
            self.state.index.free_through(number);
            self.resident.forget_before(end);
            self.events.push_back(Event::Free(number));
            self.segments.retry_prepare();
        }
    }

    /// A batch was sealed. On a full disk the reserve must last until segments are free: marks are gathered.
    pub(super) fn spare_reserve(&mut self) {
        if self.segments.is_in_reserve() {
            let doublings = self.segments.reserve_used(RESERVE_PAUSE_DOUBLINGS);
            let pause_ms = RESERVE_PAUSE_MS << doublings;
            self.freeing.rest_until = Some(self.now.monotonic.plus_millis(pause_ms));
        }
    }

    /// Whether marks and cursors wait for others to share a batch with.
    pub(super) fn marks_rest(&self) -> bool {
        self.freeing.rest_until.is_some() && self.segments.is_in_reserve() && !self.closing
    }

    fn is_carried_over(&self, carry: &Carry) -> bool {
        carry.next >= carry.end && carry.last_copy <= self.commit.durable()
    }

    /// Whether a record of the oldest segment, which ends before `end`, is still wanted.
    fn is_wanted_before(&self, end: Lsn) -> bool {
        let first = self.state.index.first();
        self.state.inbox.runs_in(first, end).next().is_some()
            || self.state.streams.values().any(|stream| stream.owed_in(first, end).next().is_some())
            || self.state.index.is_any_borne_before(end)
    }

    /// Carrying is worth it when most of the log is dead and only its head keeps it.
    fn consider_carrying(&mut self, end: Lsn) {
        if self.freeing.carry.is_some() || self.segments.count() < CARRY_SEGMENTS_MIN {
            return;
        }
        let live =
            self.state.inbox.bytes() + self.state.streams.values().map(|s| s.owed_bytes()).sum::<u64>();
        let log = self.segments.count() as u64 * self.segments.segment_bytes();
        if live < log / 2 {
            self.freeing.carry = Some(Carry { end, next: Lsn(0), last_copy: Lsn(0) });
        }
    }

    pub(super) fn can_carry(&self) -> bool {
        self.freeing.carry.is_some_and(|carry| carry.next < carry.end && !self.is_reading())
    }

    /// Copies records that are still wanted, some with each batch so that publishers hardly notice.
    pub(super) fn stage_carried(&mut self, stager: &mut Stager<'_>) {
        let Some(mut carry) = self.freeing.carry else { return };
        let mut bytes = 0;
        while carry.next < carry.end && bytes < CARRY_BYTES_PER_BATCH {
            let Some(lsn) = self.next_wanted(carry.next, carry.end) else {
                carry.next = carry.end;
                break;
            };
            let Some(slices) = self.fetch(lsn, 1, usize::MAX) else { break };
            let (slot, incarnation, in_inbox, owed) = self.claims_on(lsn);
            let record = &slices.pieces[0][..];
            let body = Carried { lsn, slot, incarnation, in_inbox, owed, record }.encode();
            let known = self.known_of(lsn);
            let sizes = known.iter().map(|control| RECORD_HEADER_BYTES + control.encode().len());
            let size = RECORD_HEADER_BYTES + body.len() + sizes.sum::<usize>();
            if !stager.builder.has_room(size) {
                break;
            }
            stager.push(RecordKind::Carried, &body);
            for control in known {
                stager.push(control.kind(), &control.encode());
            }
            carry.last_copy = Lsn(stager.builder.next_lsn().0 - 1);
            carry.next = lsn.plus(1);
            bytes += size;
        }
        self.freeing.carry = Some(carry);
    }

    /// The first record from `from` on that is wanted and lies, or is borne, before `end`.
    fn next_wanted(&self, from: Lsn, end: Lsn) -> Option<Lsn> {
        let first = self.state.index.first();
        let borne = self.state.index.next_carried_in(from, end).filter(|lsn| *lsn < first);
        let start = from.max(first);
        let inbox = self.state.inbox.runs_in(start, end).next().map(|run| run.range.first);
        let owed = self
            .state
            .streams
            .values()
            .filter_map(|stream| stream.owed_in(start, end).next())
            .map(|run| run.lsn);
        borne.into_iter().chain(inbox).chain(owed).min()
    }

    /// Who wants a record.
    fn claims_on(&self, lsn: Lsn) -> (PeerSlot, Incarnation, bool, Vec<(StreamId, Position)>) {
        let end = lsn.plus(1);
        let inbox = self.state.inbox.runs_in(lsn, end).next();
        let claims = self.state.streams.iter().filter_map(|(id, stream)| {
            let run = stream.owed_in(lsn, end).next()?;
            Some((*id, run.position))
        });
        let own = (PeerSlot::SELF, self.state.identity.incarnation);
        let (slot, incarnation) = inbox.map_or(own, |run| (run.origin.slot, run.origin.incarnation));
        (slot, incarnation, inbox.is_some(), claims.collect())
    }

    /// What is known of a carried message is said again right behind its copy: where it was said first may be freed
    /// with it. What was decided since and is not applied yet comes behind that.
    fn known_of(&self, lsn: Lsn) -> Vec<Control> {
        let inbox = &self.state.inbox;
        let mut known = Vec::new();
        if inbox.parked().contains(lsn) {
            known.push(Control::Parked(vec![LsnRange { first: lsn, count: 1 }]));
        }
        for (handler, state) in inbox.progress().get(&lsn).into_iter().flatten() {
            let handler = handler.clone();
            known.push(match state.clone() {
                HandlerState::Done => Control::HandlerDone { lsn, handler },
                HandlerState::Failing { attempts, next_at, reason } => {
                    Control::Attempt { lsn, attempts, next_at, handler, reason }
                }
                HandlerState::Dead { attempts, at, reason } => {
                    Control::DeadLetter { lsn, attempts, at, handler, reason }
                }
            });
        }
        known
    }
}
