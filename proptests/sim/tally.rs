//! How often what may go wrong did go wrong, and how often what matters was come to.

use std::collections::{BTreeMap, BTreeSet};

use resolute::engine::effect::Note;
use resolute::engine::request::Request;
use resolute::format::batch::BatchView;
use resolute::format::control::{Carried, Control};
use resolute::format::record::{RecordKind, Records};
use resolute::ids::{Lsn, NodeId};

use super::faults::Fault;

/// What histories must come to: states and answers that are rare, and for which much of the engine is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    SegmentFreed,
    Carried,
    CarriedAgain,
    Checkpoint,
    Parked,
    DeadLetter,
    StreamEnded,
    Confirmed,
    Drained,
    GapInOurs,
    GapInTheirs,
    TakenOutTold,
    Ahead,
    NewLife,
    Mismatch,
    Redundant,
    Refused,
    Withheld,
    Evicted,
    LeftBehind,
}

impl Reached {
    pub const ALL: [Reached; 20] = [
        Reached::SegmentFreed,
        Reached::Carried,
        Reached::CarriedAgain,
        Reached::Checkpoint,
        Reached::Parked,
        Reached::DeadLetter,
        Reached::StreamEnded,
        Reached::Confirmed,
        Reached::Drained,
        Reached::GapInOurs,
        Reached::GapInTheirs,
        Reached::TakenOutTold,
        Reached::Ahead,
        Reached::NewLife,
        Reached::Mismatch,
        Reached::Redundant,
        Reached::Refused,
        Reached::Withheld,
        Reached::Evicted,
        Reached::LeftBehind,
    ];

    /// What a node reports.
    pub fn by_note(note: &Note) -> Option<Reached> {
        match note {
            Note::Gap { is_ours: true, .. } => Some(Reached::GapInOurs),
            Note::Gap { is_ours: false, .. } => Some(Reached::GapInTheirs),
            Note::TakenOut { .. } => Some(Reached::TakenOutTold),
            Note::Ahead { .. } => Some(Reached::Ahead),
            Note::NewLife { .. } => Some(Reached::NewLife),
            Note::Mismatch { .. } => Some(Reached::Mismatch),
            Note::BacklogFull { parks: true, .. } => Some(Reached::Withheld),
            Note::Evicted { .. } => Some(Reached::Evicted),
            Note::Redundant { .. } => Some(Reached::Redundant),
            _ => None,
        }
    }

    /// What somebody asked for and is told to be done.
    pub fn by_request(request: &Request) -> Option<Reached> {
        match request {
            Request::Confirmed { .. } => Some(Reached::Confirmed),
            Request::Drain { .. } => Some(Reached::Drained),
            _ => None,
        }
    }

    /// What a node writes down.
    fn by_control(control: &Control) -> Option<Reached> {
        match control {
            Control::CheckpointEnd => Some(Reached::Checkpoint),
            Control::Parked(_) => Some(Reached::Parked),
            Control::DeadLetter { .. } => Some(Reached::DeadLetter),
            Control::StreamEnded { .. } => Some(Reached::StreamEnded),
            _ => None,
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Fault(Fault),
    Reached(Reached),
}

impl From<Fault> for Kind {
    fn from(fault: Fault) -> Kind {
        Kind::Fault(fault)
    }
}

impl From<Reached> for Kind {
    fn from(reached: Reached) -> Kind {
        Kind::Reached(reached)
    }
}

/// How often each happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<Kind, u64>,
    /// The records of each log that were written again.
    carried: BTreeSet<(NodeId, Lsn)>,
}

impl Tally {
    pub fn count(&mut self, kind: impl Into<Kind>) {
        *self.counts.entry(kind.into()).or_default() += 1;
    }

    /// What a batch writes down.
    pub fn sealed(&mut self, own: NodeId, view: &BatchView<'_>) {
        for record in Records::new(view.records).map(Result::unwrap) {
            let reached = match record.kind {
                RecordKind::Message | RecordKind::Accepted => None,
                RecordKind::Carried => {
                    let lsn = Carried::decode(record.body).unwrap().lsn;
                    let is_first = self.carried.insert((own, lsn));
                    Some(if is_first { Reached::Carried } else { Reached::CarriedAgain })
                }
                kind => Reached::by_control(&Control::decode(kind, record.body).unwrap()),
            };
            reached.into_iter().for_each(|kind| self.count(kind));
        }
    }

    pub fn add(&mut self, other: &Tally) {
        other.counts.iter().for_each(|(kind, count)| *self.counts.entry(*kind).or_default() += count);
    }

    pub fn of(&self, kind: impl Into<Kind>) -> u64 {
        self.counts.get(&kind.into()).copied().unwrap_or_default()
    }

    fn all() -> impl Iterator<Item = Kind> {
        let faults = Fault::ALL.into_iter().map(Kind::from);
        faults.chain(Reached::ALL.into_iter().map(Kind::from))
    }

    /// Kinds that never happened.
    pub fn never(&self) -> Vec<Kind> {
        Tally::all().filter(|kind| !self.counts.contains_key(kind)).collect()
    }

    pub fn line(&self) -> String {
        let name = |kind: Kind| match kind {
            Kind::Fault(fault) => format!("{fault:?}"),
            Kind::Reached(reached) => format!("{reached:?}"),
        };
        Tally::all().map(|kind| format!("{} {}", name(kind), self.of(kind))).collect::<Vec<_>>().join(", ")
    }
}
