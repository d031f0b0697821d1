//! One simulated node: what performs the effects of an engine.

use std::collections::{BTreeMap, BTreeSet};

use resolute::engine::Engine;
use resolute::engine::config::{Config, Limits, Retry};
use resolute::engine::effect::{RequestId, SessionId};
use resolute::engine::inbox::Origin;
use resolute::engine::request::Request;
use resolute::engine::routing::Routing;
use resolute::engine::state::State;
use resolute::format::batch::OwedRun;
use resolute::format::control::Quota;
use resolute::ids::{BatchNumber, Epoch, Incarnation, Lsn, LsnRange, NodeId, SegmentNumber};
use resolute::limits::BATCH_BYTES_MAX;
use resolute::log::batch_builder::BatchBuilder;
use resolute::log::group_commit::{GroupCommit, LogPosition};
use resolute::time::{Monotonic, Now, Wall};

use super::conservation::Called;
use super::disk::{Disk, Recovered};
use super::faults::{Fault, Faults};
use super::model::{Log, Model};
use super::rng::Rng;
use super::rot;
use super::tally::Tally;
use super::told::Book;

pub const RETRY: Retry = Retry { initial_ms: 50, factor: 2.0, max_ms: 1000, attempts_max: 4 };

/// The wall clock when the monotonic one is at 0.
const WALL_AT_0: u64 = 1_700_000_000_000_000_000;

/// What a handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Fine,
    Failing,
    /// Fails, or gives messages back, so often in a hundred times.
    Moody(u64),
}

/// A node whose process runs.
pub struct Up {
    pub engine: Engine,
    pub routing: Routing,
    pub builder: BatchBuilder,
    pub buffer: Vec<u8>,
    pub owed: Vec<OwedRun>,
    /// The state after each batch that is not yet durable, and the last that is.
    pub snapshots: BTreeMap<BatchNumber, State>,
    pub wake_at: u64,
    /// Durable, submitted and appended, when that was last looked at.
    pub marks: [Lsn; 3],
    pub done: BTreeSet<RequestId>,
    pub refused: BTreeSet<RequestId>,
    /// What was asked for in this opening.
    pub asked: BTreeMap<RequestId, Request>,
    /// Its first record.
    pub first: Lsn,
    pub serving: u32,
    /// Whether handlers run now.
    pub is_served: bool,
    /// What the inbox may hold in this opening.
    pub inbox_bytes_max: u64,
    /// What of that the messages of one peer may take in this opening.
    pub sender_bytes_max: u64,
    /// What each session was granted when that was last looked at.
    pub granted: BTreeMap<SessionId, u64>,
    /// Its disk has failed, and it only waits for its end.
    pub failed: bool,
    /// Messages that handlers saw since serving began.
    pub called: Called,
}

/// A data directory and the machine around it.
pub struct Node {
    pub index: usize,
    pub life: u32,
    pub disk: Disk,
    /// An older copy of the directory, whose it is, and what was known of it then.
    pub copy: Option<(Disk, Option<NodeId>, (Log, Book))>,
    pub up: Option<Up>,
    /// Handlers of each topic.
    pub handlers: BTreeMap<String, BTreeMap<String, Mood>>,
    /// So many messages its handlers take at once.
    pub takes: u64,
    /// Whether others can dial it.
    pub reachable: bool,
    /// Whether a segment was freed: from then on a replay begins later than the state did.
    pub was_freed: bool,
    /// The states that a crash may leave behind, and the last batch that was durable.
    pub before: Option<(BTreeMap<BatchNumber, State>, BatchNumber)>,
    pub identity: Option<NodeId>,
    /// What its log calls itself.
    pub log_id: u64,
    /// How far its log was durable when that was last looked at.
    pub durable: Lsn,
    /// It runs on a copy of another's directory, and the model knows nothing of it.
    pub is_clone: bool,
    /// It comes and goes and wants nothing, and is not waited for in the end.
    pub is_stranger: bool,
    /// It dies in a moment, once so many of its writes are on their way.
    pub dies_writing: Option<usize>,
    /// By how much its wall clock is wrong, in nanoseconds.
    pub wall_offset: i64,
    /// What its inbox may hold before peers get no more credit; counts from its next opening.
    pub inbox_bytes_max: u64,
    /// What of that the messages of one peer may take; counts from its next opening.
    pub sender_bytes_max: u64,
    /// What its subscribers may have waiting for them; counts from its next opening.
    pub quota: Quota,
    /// Bytes that its log may take of the disk.
    pub disk_bytes_max: u64,
    /// Its directory was restored: the next opening begins a new life of its log.
    pub begins_life: bool,
    /// An older copy of the log is in its place, and goes on under its old name.
    pub is_astray: bool,
    /// What others may make it keep; counts from its next opening.
    pub limits: Limits,
}

impl Node {
    pub fn new(index: usize, reachable: bool) -> Node {
        Node {
            index,
            life: 0,
            disk: Disk::default(),
            copy: None,
            up: None,
            handlers: BTreeMap::new(),
            takes: u64::MAX,
            reachable,
            was_freed: false,
            before: None,
            identity: None,
            log_id: index as u64,
            durable: Lsn(0),
            is_clone: false,
            is_stranger: false,
            dies_writing: None,
            wall_offset: 0,
            disk_bytes_max: u64::MAX,
            begins_life: false,
            is_astray: false,
            inbox_bytes_max: 64 << 20,
            sender_bytes_max: u64::MAX,
            quota: Quota::UNLIMITED,
            limits: Limits::default(),
        }
    }

    pub fn address(&self) -> String {
        format!("n{}", self.index)
    }

    /// Whether something is asked of it in the end: not of one that runs on a copy of another's directory, and not of strangers.
    pub fn is_original(&self) -> bool {
        !self.is_clone && !self.is_stranger
    }

    /// What its clocks say.
    pub fn clock(&self, nanos: u64) -> Now {
        Now {
            monotonic: Monotonic(nanos),
            wall: Wall((nanos + WALL_AT_0).saturating_add_signed(self.wall_offset)),
        }
    }

    fn config(&self, state: &State, rng: &mut Rng) -> Config {
        let mut seed = [0; 32];
        seed.chunks_mut(8).for_each(|part| part.copy_from_slice(&rng.number().to_le_bytes()));
        Config {
            fresh_id: NodeId(u128::from(rng.number()) << 8 | self.index as u128),
            fresh_incarnation: Incarnation(rng.number()),
            begins_life: self.begins_life,
            epoch: Epoch(state.opening.epoch.0 + 1),
            nonce: rng.number(),
            name: format!("node {}", self.index),
            dials: true,
            advertised: if self.reachable { self.address() } else { String::new() },
            own_addresses: vec![self.address()],
            retry: RETRY,
            inbox_bytes_max: self.inbox_bytes_max,
            sender_bytes_max: self.sender_bytes_max,
            quota: self.quota,
            limits: self.limits,
            seed,
        }
    }

    /// Opens the directory: replays what is there and checks it against what was there before.
    pub fn open(&mut self, now: u64, rng: &mut Rng, model: &mut Model, faults: &Faults, tally: &mut Tally) {
        if rng.chance(faults.rots) && rot::flip(&self.disk.segments, rng) {
            tally.count(Fault::BitFlipped);
        }
        let mut dies = |rng: &mut Rng| rng.chance(faults.die_recovering).then(|| faults.death(rng));
        let found = self.disk.recover(rng, tally, &mut dies);
        if let Some((snapshots, durable)) = self.before.take() {
            assert!(found.last_batch >= durable, "a durable batch is gone");
            let before = snapshots.get(&found.last_batch);
            let mut before = before.expect("the log ends behind a batch that was sealed").clone();
            // Segments that were freed since are no part of what is there.
            before.index.free_through(SegmentNumber(found.segments.head().number.0 - 1));
            assert_same(&before, &found.state, self.was_freed);
        }
        let Recovered { state, mut segments, last_batch, previous_header_crc, next_lsn } = found;
        segments.limit_to(self.disk_bytes_max);
        if let Some(own) = self.identity.filter(|_| !self.is_clone) {
            let lost = model.crashed(own, next_lsn);
            (0..lost).for_each(|_| tally.count(Fault::BatchLost));
        }
        let config = self.config(&state, rng);
        self.begins_life = false;
        let position = LogPosition {
            log_id: self.log_id,
            epoch: config.epoch,
            nonce: config.nonce,
            next_batch: last_batch.plus(1),
            previous_header_crc,
            next_lsn,
        };
        let routing = Routing::of(&state);
        let snapshots = BTreeMap::from([(last_batch, state.clone())]);
        let engine = Engine::new(config, state, GroupCommit::new(position), segments, self.clock(now));
        self.life += 1;
        self.identity = Some(engine.state().identity.id);
        self.durable = engine.durable();
        self.up = Some(Up {
            engine,
            routing,
            builder: BatchBuilder::new(next_lsn),
            buffer: vec![0; BATCH_BYTES_MAX],
            owed: Vec::new(),
            snapshots,
            wake_at: u64::MAX,
            marks: [Lsn::default(); 3],
            done: BTreeSet::new(),
            refused: BTreeSet::new(),
            asked: BTreeMap::new(),
            first: next_lsn,
            called: Called::default(),
            serving: 0,
            is_served: false,
            inbox_bytes_max: self.inbox_bytes_max,
            sender_bytes_max: self.sender_bytes_max,
            granted: BTreeMap::new(),
            failed: false,
        });
    }
}

/// State after replay is the state before. Sums of bytes are as near as is known, which depends on where the log
/// begins.
pub fn assert_same(before: &State, after: &State, was_freed: bool) {
    if !was_freed {
        assert!(before == after, "before the crash:\n{before:#?}\nafter it:\n{after:#?}");
    }
    let (before, after) = (flat(before), flat(after));
    if before != after {
        let differs = before.lines().zip(after.lines()).position(|(a, b)| a != b).unwrap_or(0);
        let part = |text: &str| {
            text.lines().skip(differs.saturating_sub(10)).take(20).collect::<Vec<_>>().join("\n")
        };
        panic!("before the crash:\n{}\nafter it:\n{}", part(&before), part(&after));
    }
}

/// All of a state that does not depend on where the log begins. What is added to the state must be named here, too.
fn flat(state: &State) -> String {
    let State {
        identity,
        opening,
        openings,
        peers,
        lives,
        addresses,
        streams,
        sets,
        inbound,
        finished,
        seen,
        subscribers,
        paused,
        quotas,
        standings,
        inbox,
        index,
        last_slot,
        last_stream,
        dropped,
        ..
    } = state;
    // What was carried forward came one by one, and stands beside its neighbours as runs of its own.
    let mut runs: Vec<(LsnRange, Origin)> = Vec::new();
    for run in inbox.runs_in(Lsn(0), Lsn(u64::MAX)) {
        match runs.last_mut() {
            Some((last, origin)) if last.end() == run.range.first && *origin == run.origin => {
                last.count += run.range.count;
            }
            _ => runs.push((run.range, run.origin)),
        }
    }
    let streams: Vec<_> = streams
        .iter()
        .map(|(id, s)| {
            let runs: Vec<_> = s.runs().iter().map(|run| (run.position, run.lsn, run.count)).collect();
            (*id, s.owner.clone(), s.next, s.acked, s.ended, runs)
        })
        .collect();
    let small = (identity, opening, openings, peers, lives, addresses, streams, sets, (inbound, finished));
    let inbox = (runs, inbox.parked(), inbox.progress(), inbox.messages());
    format!(
        "{:#?}",
        (
            small,
            (seen, subscribers, (paused, quotas, standings)),
            inbox,
            (index, last_slot, last_stream, dropped)
        )
    )
}
