//! Which trials are made.

use std::collections::BTreeMap;

use super::case::Case;
use super::kind::Kind;
use super::rng::Rng;
use super::scenario::Scenario;
use super::trouble::{Instead, Trouble};

/// A request: what it was for, and how many bytes it wrote.
pub type Request = (Kind, usize);

/// What each scenario asks of the disk when nothing goes wrong.
pub type Traces = BTreeMap<Scenario, Vec<Request>>;

/// How many requests of each kind may be answered with `instead`.
fn counts(traces: &Traces, scenario: Scenario, instead: Instead) -> BTreeMap<Kind, u64> {
    let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
    let trace = traces.get(&scenario).into_iter().flatten();
    for (kind, _) in trace.filter(|(_, bytes)| instead.counts(*bytes)) {
        *counts.entry(*kind).or_default() += 1;
    }
    counts
}

fn combinations() -> impl Iterator<Item = (Scenario, Instead, bool)> {
    let troubles = || Instead::ALL.into_iter().flat_map(|(instead, _)| [(instead, false), (instead, true)]);
    Scenario::ALL.into_iter().flat_map(move |scenario| {
        troubles().map(move |(instead, is_for_ever)| (scenario, instead, is_for_ever))
    })
}

/// What is asked of a disk only while it has one write of the log at a time. A write that the ring makes to a file of FUSE, and
/// whose flush is answered with EAGAIN, the kernel makes again by itself (seen on Linux 6.18): where it ended, upon the next
/// batch if that is there already. Most likely because such files can be polled, which those of disks cannot. Nobody gets to
/// know of it who could do anything about it.
fn is_spoilt_by_the_kernel(scenario: Scenario, kind: Kind, instead: Instead, is_for_ever: bool) -> bool {
    let is_alone = scenario == Scenario::PublishOne;
    kind == Kind::LogFlush && instead == Instead::Eagain && !is_for_ever && !is_alone
}

/// Every request of every scenario, with every answer.
pub fn all(traces: &Traces) -> Vec<Case> {
    let mut cases = Vec::new();
    for (scenario, instead, is_for_ever) in combinations() {
        for (kind, count) in counts(traces, scenario, instead) {
            if is_spoilt_by_the_kernel(scenario, kind, instead, is_for_ever) {
                continue;
            }
            cases.extend((1..=count).map(|number| {
                let trouble = Trouble { number, kind, instead, is_for_ever };
                Case { scenario, trouble, is_cut: number % 2 == 0 }
            }));
        }
    }
    cases
}

/// So many, of any scenario and answer. Each kind of request has the same chance, however many there are.
pub fn some(traces: &Traces, count: usize, seed: u64) -> Vec<Case> {
    let mut rng = Rng::new(seed);
    let combinations: Vec<_> = combinations().collect();
    let mut cases = Vec::new();
    while cases.len() < count {
        let (scenario, instead, is_for_ever) = combinations[rng.below(combinations.len() as u64) as usize];
        let counts: Vec<(Kind, u64)> = counts(traces, scenario, instead).into_iter().collect();
        // Some writes are never longer than a block.
        if counts.is_empty() {
            continue;
        }
        let (kind, count) = counts[rng.below(counts.len() as u64) as usize];
        if is_spoilt_by_the_kernel(scenario, kind, instead, is_for_ever) {
            continue;
        }
        let trouble = Trouble { number: rng.between(1, count), kind, instead, is_for_ever };
        cases.push(Case { scenario, trouble, is_cut: rng.chance(50) });
    }
    cases
}

/// What must come of it when it is tried in a certain place.
pub struct Aim {
    scenario: Scenario,
    kind: Kind,
    instead: Instead,
    is_for_ever: bool,
    what: &'static str,
}

impl Aim {
    /// How it is counted.
    pub fn counted_as(&self) -> String {
        format!("{} {} for {}", self.instead, self.what, self.kind)
    }

    /// The first request of that kind.
    pub fn case(&self) -> Case {
        let Aim { scenario, kind, instead, is_for_ever, .. } = *self;
        Case { scenario, trouble: Trouble { number: 1, kind, instead, is_for_ever }, is_cut: true }
    }
}

/// What must be seen in each run: without it, the run has shown less than it claims.
pub fn aims() -> Vec<Aim> {
    let aim = |scenario, kind, instead, is_for_ever, what| Aim { scenario, kind, instead, is_for_ever, what };
    let mut aims = Vec::new();
    for (instead, _) in Instead::ALL {
        let is_hard = matches!(instead, Instead::Eio | Instead::Enospc);
        if instead == Instead::Half {
            aims.push(aim(Scenario::Batches, Kind::LogWrite, instead, false, "borne"));
            aims.push(aim(Scenario::Roll, Kind::LogWrite, instead, true, "borne"));
            continue;
        }
        aims.push(aim(Scenario::PublishOne, Kind::LogWrite, instead, true, "final"));
        if instead != Instead::Byte {
            aims.push(aim(Scenario::PublishOne, Kind::LogFlush, instead, true, "final"));
            let what = if is_hard { "final" } else { "borne" };
            aims.push(aim(Scenario::PublishOne, Kind::LogFlush, instead, false, what));
        }
        let what = if is_hard { "final" } else { "borne" };
        aims.push(aim(Scenario::PublishOne, Kind::LogWrite, instead, false, what));
        if is_hard {
            aims.push(aim(Scenario::Prewrite, Kind::Prewrite, instead, false, "borne"));
            aims.push(aim(Scenario::Prewrite, Kind::FlushNames, instead, false, "borne"));
            aims.push(aim(Scenario::Deliver, Kind::LogRead, instead, false, "final"));
            aims.push(aim(Scenario::OpenNew, Kind::Change, instead, true, "final"));
            aims.push(aim(Scenario::TornTail, Kind::LogFlush, instead, false, "final"));
        }
    }
    aims
}
