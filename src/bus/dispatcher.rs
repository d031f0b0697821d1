//! From messages to calls of handlers, and from their outcomes to what the engine is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;

use super::Envelope;
use super::envelope::id_of;
use super::handler::{Begun, Call, Outcome as Ended};
use super::registry::{Kind, Registry};
use crate::engine::effect::{Dispatch, DispatchProgress, Outcome, Outcomes};
use crate::format::message::MessageView;
use crate::format::record::{RECORD_HEADER_BYTES, RecordHeader};
use crate::ids::{Incarnation, Lsn, LsnRange, MessageId, NodeId};
use crate::io::mailbox::Mail;
use crate::io::shared::Shared;

/// Reports that are gathered before the engine is told.
const REPORTS_MAX: usize = 1024;

/// A call of one handler, for one message or, for `all`, several.
pub(super) struct Started {
    pub(super) handler: usize,
    pub(super) lsns: Vec<Lsn>,
    pub(super) call: Call,
}

/// A message at more than one handler, or held for an `all` handler.
#[derive(Debug)]
struct AtSeveral {
    waiting: usize,
    done: Vec<String>,
    failed: Vec<(String, String)>,
    envelope: Envelope,
}

/// The messages of one handed-over range that were not looked at yet.
struct Rest {
    lsn: Lsn,
    pieces: VecDeque<Bytes>,
    node: NodeId,
    incarnation: Incarnation,
    progress: Option<DispatchProgress>,
}

/// One message, taken out of what was handed over.
pub(super) struct Taken {
    pub(super) lsn: Lsn,
    record: Bytes,
    node: NodeId,
    incarnation: Incarnation,
    progress: DispatchProgress,
}

impl Taken {
    /// The topics of the message.
    fn topics(&self) -> impl Iterator<Item = &str> {
        // Invariant: the record was verified before it was logged, and again if it was read back.
        let view =
            MessageView::again(&self.record[RECORD_HEADER_BYTES..]).expect("a message is damaged in memory");
        view.topics()
    }

    pub(super) fn envelope(&self, handler: &str) -> Envelope {
        let (id, attempt) = self.id_and_attempt(handler);
        Envelope::new(self.record.clone(), id, attempt)
    }

    fn into_envelope(self, handler: &str) -> Envelope {
        let (id, attempt) = self.id_and_attempt(handler);
        Envelope::new(self.record, id, attempt)
    }

    fn id_and_attempt(&self, handler: &str) -> (MessageId, u32) {
        let attempts = self.progress.attempts.get(handler).copied().unwrap_or(0);
        (id_of(self.node, self.incarnation, &self.record), 1 + attempts)
    }
}

/// See the module.
pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    registry: Registry,
    rest: Option<Rest>,
    tracked: BTreeMap<Lsn, AtSeveral>,
    outcomes: Outcomes,
    reports: usize,
    matching: Vec<usize>,
}

impl Dispatcher {
    pub(super) fn new(shared: Arc<Shared>, registry: Registry) -> Dispatcher {
        let (rest, tracked, outcomes) = (None, BTreeMap::new(), Outcomes::default());
        Dispatcher { shared, registry, rest, tracked, outcomes, reports: 0, matching: Vec::new() }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Ends, and gives the handlers back.
    pub(super) fn into_registry(mut self) -> Registry {
        self.flush();
        self.registry.reset();
        self.registry
    }

    /// Messages that were handed over.
    pub(super) fn add(&mut self, dispatch: Dispatch) {
        assert!(self.rest.is_none(), "one range is worked off before the next");
        let Dispatch { range, pieces, node, incarnation, progress } = dispatch;
        self.rest = Some(Rest { lsn: range.first, pieces: pieces.into(), node, incarnation, progress });
    }

    /// The next message of what was handed over.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let rest = self.rest.as_mut()?;
        while rest.pieces.front().is_some_and(Bytes::is_empty) {
            rest.pieces.pop_front();
        }
        let Some(piece) = rest.pieces.front_mut() else {
            self.rest = None;
            return None;
        };
        // Invariant: pieces are whole records that were verified.
        let bytes = RecordHeader::again(piece).expect("a record is damaged in memory").record_bytes();
        let record = piece.split_to(bytes);
        let lsn = rest.lsn;
        rest.lsn = lsn.plus(1);
        let progress = rest.progress.take().unwrap_or_default();
        Some(Taken { lsn, record, node: rest.node, incarnation: rest.incarnation, progress })
    }

    /// Begins the calls that a message is for. That of a single handler is polled once, and comes back if it goes on;
    /// several are put into `waiting`.
    pub(super) fn start(
        &mut self,
        taken: Taken,
        waiting: &mut VecDeque<Started>,
        cx: &mut Context<'_>,
    ) -> Option<Started> {
        let mut goes_on = None;
        let mut matching = std::mem::take(&mut self.matching);
        self.registry.matching(taken.lsn, taken.topics(), &taken.progress.skip, &mut matching);
        match matching[..] {
            [] => self.nobody(&taken),
            // What other handlers did with it before is part of its outcome: then it is looked at as a whole.
            [index] if self.registry.handler(index).kind != Kind::All && taken.progress.skip.is_empty() => {
                let (lsn, handler) = (taken.lsn, self.registry.handler_mut(index));
                let envelope = taken.into_envelope(&handler.name);
                match handler.handler.begin(envelope, cx) {
                    Begun::Ended(outcome) => self.finish(index, &[lsn], outcome),
                    Begun::Running(call) => {
                        goes_on = Some(Started { handler: index, lsns: vec![lsn], call });
                    }
                }
            }
            _ => self.start_several(&taken, taken.envelope(""), &matching, waiting),
        }
        self.matching = matching;
        goes_on
    }

    fn start_several(
        &mut self,
        taken: &Taken,
        probe: Envelope,
        matching: &[usize],
        waiting: &mut VecDeque<Started>,
    ) {
        let tracked = AtSeveral { waiting: matching.len(), done: vec![], failed: vec![], envelope: probe };
        self.tracked.insert(taken.lsn, tracked);
        for index in matching {
            let handler = self.registry.handler(*index);
            let (lsns, envelopes) = if handler.kind == Kind::All {
                let Some(lsns) = self.registry.complete(*index) else { continue };
                let envelopes =
                    lsns.iter().filter_map(|lsn| self.tracked.get(lsn)).map(|t| t.envelope.clone());
                (lsns.clone(), envelopes.collect())
            } else {
                (vec![taken.lsn], vec![taken.envelope(&handler.name)])
            };
            let call = self.registry.handler_mut(*index).handler.call(envelopes);
            waiting.push_back(Started { handler: *index, lsns, call });
        }
    }

    /// No handler takes the message: it is parked, or, if it had handlers before and each of them is through with it, as
    /// far as it will come.
    pub(super) fn nobody(&mut self, taken: &Taken) {
        // Those that are due are no longer there: nobody will ever finish it, unless they come back.
        if taken.progress.skip.is_empty() || !taken.progress.attempts.is_empty() {
            push(&mut self.outcomes.parked, taken.lsn);
        } else {
            self.outcomes.mixed.push(Outcome { lsn: taken.lsn, done: Vec::new(), failed: Vec::new() });
        }
        self.count();
    }

    /// A call has ended.
    pub(super) fn finish(&mut self, handler: usize, lsns: &[Lsn], outcome: Ended) {
        self.registry.called(handler, outcome.is_ok());
        if let ([lsn], Ok(()), true) = (lsns, &outcome, self.tracked.is_empty()) {
            // As it mostly is: one message, one handler, and done.
            push(&mut self.outcomes.handled, *lsn);
            self.count();
            return;
        }
        let mut unique: Vec<Lsn> = lsns.to_vec();
        unique.sort_unstable();
        unique.dedup();
        for lsn in unique {
            let name = &self.registry.handler(handler).name;
            let Some(tracked) = self.tracked.get_mut(&lsn) else {
                match &outcome {
                    Ok(()) => push(&mut self.outcomes.handled, lsn),
                    Err(reason) => {
                        let failed = vec![(name.clone(), reason.clone())];
                        self.outcomes.mixed.push(Outcome { lsn, done: Vec::new(), failed });
                    }
                }
                self.count();
                continue;
            };
            match &outcome {
                Ok(()) => tracked.done.push(name.clone()),
                Err(reason) => tracked.failed.push((name.clone(), reason.clone())),
            }
            tracked.waiting -= 1;
            if tracked.waiting == 0
                && let Some(AtSeveral { done, failed, .. }) = self.tracked.remove(&lsn)
            {
                self.outcomes.mixed.push(Outcome { lsn, done, failed });
                self.count();
            }
        }
    }

    fn count(&mut self) {
        self.reports += 1;
        if self.reports >= REPORTS_MAX {
            self.flush();
        }
    }

    /// Tells the engine what was gathered.
    pub(super) fn flush(&mut self) {
        if self.reports == 0 {
            return;
        }
        self.reports = 0;
        let Outcomes { handled, parked, returned, mixed } = std::mem::take(&mut self.outcomes);
        self.shared.handoff.report(|outcomes| {
            outcomes.handled.extend(handled);
            outcomes.parked.extend(parked);
            outcomes.returned.extend(returned);
            outcomes.mixed.extend(mixed);
        });
        self.shared.wake.mail_left();
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Someone polls from now on.
    pub(super) fn begin(&self) {
        let number = self.shared.handoff.begin();
        self.shared.post(Mail::Serving(Some(number)));
    }
}

/// Adds a message to the last range, or opens a new one.
pub(super) fn push(ranges: &mut Vec<LsnRange>, lsn: Lsn) {
    match ranges.last_mut() {
        Some(last) if last.end() == lsn => last.count += 1,
        _ => ranges.push(LsnRange { first: lsn, count: 1 }),
    }
}
