//! The bus as one deterministic state machine: delivery, acknowledgement, retry, dead letters.
//!
//! It is told what happened (`handle_*`) and asked what is to be done (`poll_*`); it knows no clock, no socket and no
//! file. What it decides goes into the log before it is spoken of, and comes back to it through
//! [`state::State::apply_batch`], live as at replay.
//!
//! One turn of whoever performs for it:
//!
//! 1. `handle_*` for all that happened, with the time, read once.
//! 2. [`Engine::may_seal`]? [`Engine::stage`] what it wants to log, [`Engine::seal`] the batch,
//!    [`Engine::handle_sealed`], begin the write.
//! 3. [`Engine::poll_transmit`], [`Engine::poll_close`], [`Engine::poll_dispatch`], [`Engine::poll_read`] and
//!    [`Engine::poll_event`] until each has nothing more.
//! 4. Sleep until something happens, at most until [`Engine::next_wake`].
#![forbid(unsafe_code)]

mod administering;
mod allowance;
pub mod apply;
pub mod backoff;
mod binding;
pub mod bounds;
pub mod config;
pub mod deciding;
pub mod dialing;
pub mod dispatch;
pub mod effect;
pub mod entropy;
pub mod finished;
mod freeing;
pub mod giving_way;
pub mod handshake;
pub mod inbox;
pub mod listing;
mod lives;
pub mod meeting;
pub mod openings;
pub mod quotas;
pub mod ranges;
pub mod reads;
pub mod reason;
pub mod receive;
mod remembering;
pub mod request;
mod requests;
pub mod rewriting;
pub mod routing;
pub mod sealing;
pub mod session;
pub mod sessions;
pub mod sets;
pub mod staging;
pub mod state;
pub mod status;
pub mod stream;
pub mod traffic;
pub mod transmit;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::format::control::Control;
use crate::ids::{BatchNumber, Epoch, Lsn, PeerSlot, Position, StreamId};
use crate::log::group_commit::GroupCommit;
use crate::log::resident::Resident;
use crate::log::segments::Segments;
use crate::time::{Monotonic, Now};
use apply::Applied;
use config::Config;
use effect::{Event, RequestId, SessionId};
use entropy::Entropy;
use ranges::LsnSet;
use session::Phase;
use state::{Identity, Opening, Seen, State};

/// Something that waits to be logged, in its order with the rest.
#[derive(Clone, Debug)]
enum Pending {
    /// A record.
    Control(Control),
    /// A message that is written anew by hand.
    Rewrite(Box<rewriting::Rewrite>),
    /// Someone waits for the records before it.
    Done(RequestId),
    /// Someone waits until nothing is left of the records before it.
    Drain(RequestId),
    /// A frame that may be said once the records before it are durable.
    Frame {
        /// To whom.
        session: SessionId,
        /// The frame.
        frame: Vec<u8>,
    },
    /// How far streams of a peer are accepted, to be said once the records before it are durable. Nothing else is said before.
    Resume {
        /// To whom.
        session: SessionId,
        /// The last position of each stream that was accepted.
        cursors: Vec<(StreamId, Position)>,
    },
}

/// A run that was accepted and not yet acknowledged, because it is not durable yet.
#[derive(Clone, Copy, Debug)]
struct Unspoken {
    lsn: Lsn,
    slot: PeerSlot,
    stream: StreamId,
    last: Position,
    bytes: u64,
    /// The session that had the peer's bytes, if it goes on: it is that one which gets the room back.
    session: Option<SessionId>,
}

/// The engine of one node. See the module for how it is driven.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    state: State,
    commit: GroupCommit,
    segments: Segments,
    resident: Resident,
    reads: reads::Reads,
    entropy: Entropy,
    now: Now,
    failed: bool,
    closing: bool,

    pending: VecDeque<Pending>,
    /// What is left of a checkpoint that did not fit one batch. Nothing else is logged until it is complete.
    checkpoint: VecDeque<Control>,
    /// What the small state may come to, in bytes.
    small_bytes: u64,
    /// When that may be measured anew.
    measure_again_at: Option<Monotonic>,
    /// Bytes of the newest checkpoint, as far as it is put in.
    checkpoint_bytes: u64,
    /// The last record of the newest checkpoint.
    checkpoint_end: Lsn,
    /// Acks heard and not yet logged.
    acks: BTreeMap<StreamId, Position>,
    /// How far the logs of those reach who said so, where that is not logged yet.
    heard: BTreeMap<PeerSlot, Seen>,
    /// Messages handled and not yet logged.
    handled: LsnSet,
    /// Messages parked and not yet logged.
    parked: LsnSet,
    /// Whether the batch that is being filled holds something of the engine's that is not applied yet.
    has_unapplied: bool,
    done: VecDeque<(Lsn, RequestId)>,
    /// The last record behind which wishes at addresses, or who answers there, were others than before.
    wishes_at: Lsn,
    unspoken: VecDeque<Unspoken>,
    /// How far runs were staged, where that is not applied yet.
    staged: BTreeMap<(PeerSlot, StreamId), Position>,
    /// Whose runs were staged and are not applied yet, in their order.
    staged_of: VecDeque<Option<SessionId>>,
    /// How far the log of each peer reaches by what was staged, where that is not applied yet.
    staged_seen: BTreeMap<PeerSlot, Seen>,
    /// Peers' streams whose end is written down and not applied yet.
    ended: BTreeSet<(PeerSlot, StreamId)>,
    /// What each peer wants, once what is pending is applied.
    wanted: BTreeMap<PeerSlot, BTreeSet<String>>,

    meeting: meeting::Meeting,
    giving_way: giving_way::GivingWay,
    sessions: sessions::Sessions,
    /// The sessions that have yet to be asked in this round.
    sending: VecDeque<SessionId>,
    dials: dialing::Dials,
    dispatch: dispatch::Dispatching,
    freeing: freeing::Freeing,
    quotas: quotas::Quotas,
    requests: requests::Requests,
    events: VecDeque<Event>,
    applied: Vec<Applied>,
    traffic: traffic::Traffic,
}

impl Engine {
    /// An engine that goes on where `state` ends. `now` is the time of the opening.
    #[must_use]
    pub fn new(
        config: Config,
        mut state: State,
        commit: GroupCommit,
        segments: Segments,
        now: Now,
    ) -> Engine {
        let is_fresh = state.identity == Identity::default();
        let mut pending = VecDeque::new();
        let opening = Opening {
            epoch: config.epoch,
            nonce: config.nonce,
            at: now.wall,
            name: config.name.clone(),
            address: config.advertised.clone(),
        };
        if is_fresh {
            let Config { fresh_id: id, fresh_incarnation: incarnation, .. } = config;
            state.identity = Identity { id, incarnation, created: now.wall };
            state.openings.add(opening.epoch, opening.nonce, Lsn(1));
            state.opening = opening;
        } else {
            pending.extend(lives::begins(&config, &state).map(Pending::Control));
            let Opening { epoch, nonce, at, name, address } = opening;
            pending.push_back(Pending::Control(Control::Opened { epoch, nonce, at, name, address }));
        }
        let entropy = Entropy::new(config.seed);
        let meeting = meeting::Meeting::new(state.last_slot);
        let mut engine = Engine {
            config,
            state,
            commit,
            segments,
            resident: Resident::default(),
            reads: reads::Reads::default(),
            entropy,
            now,
            failed: false,
            closing: false,
            pending,
            checkpoint: VecDeque::new(),
            small_bytes: 0,
            measure_again_at: None,
            checkpoint_bytes: 0,
            checkpoint_end: Lsn(0),
            acks: BTreeMap::new(),
            heard: BTreeMap::new(),
            handled: LsnSet::default(),
            parked: LsnSet::default(),
            has_unapplied: false,
            done: VecDeque::new(),
            wishes_at: Lsn(0),
            unspoken: VecDeque::new(),
            staged: BTreeMap::new(),
            staged_of: VecDeque::new(),
            staged_seen: BTreeMap::new(),
            ended: BTreeSet::new(),
            wanted: BTreeMap::new(),
            meeting,
            giving_way: giving_way::GivingWay::default(),
            sessions: sessions::Sessions::default(),
            sending: VecDeque::new(),
            dials: dialing::Dials::default(),
            dispatch: dispatch::Dispatching::default(),
            freeing: freeing::Freeing::default(),
            quotas: quotas::Quotas::new(),
            requests: requests::Requests::default(),
            events: VecDeque::new(),
            applied: Vec::new(),
            traffic: traffic::Traffic::default(),
        };
        // A segment that an opening begins has its checkpoint as any other: some day it is the oldest one.
        if is_fresh || engine.state.needs_checkpoint() || engine.segments.is_blank() {
            engine.state.prune();
            engine.checkpoint = engine.state.checkpoint().into();
        }
        engine.small_bytes = engine.measured_bytes();
        engine.wanted = engine.state.subscribers.clone();
        engine.dispatch.restore(&engine.state, now, &engine.config.retry);
        engine.bind_own_addresses();
        engine.dials.refresh(&engine.state, &engine.config, now.monotonic);
        engine
    }

    /// The durable state, as far as it is applied.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// This opening's number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.config.epoch
    }

    /// The durable mark.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.commit.durable()
    }

    /// The highest record whose write has begun.
    #[must_use]
    pub fn submitted(&self) -> Lsn {
        self.commit.submitted_up_to()
    }

    /// The highest batch that is durable with all before it.
    #[must_use]
    pub fn durable_batch(&self) -> BatchNumber {
        self.commit.durable_batch()
    }

    /// Whether a write failed: nothing more is logged in this opening.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// What is to be reported or begun next.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(number) = self.segments.poll_prepare() {
            return Some(Event::Prepare(number));
        }
        self.events.pop_front()
    }

    /// Time has passed: what was due is done.
    pub fn handle_time(&mut self, now: Now) {
        self.now = now;
        self.check_sessions();
        self.poll_dials();
        self.check_drains();
        self.check_leases();
        self.consider_freeing();
    }

    /// When [`Engine::handle_time`] is wanted at the latest.
    #[must_use]
    pub fn next_wake(&self) -> Option<Monotonic> {
        let sessions =
            self.sessions.iter().filter(|session| session.phase != Phase::Over).map(|s| self.session_wake(s));
        let others = [
            self.dials.next_at().filter(|_| self.may_dial()),
            self.dispatch.next_at(self.now.monotonic),
            self.requests.next_at(),
            self.freeing.next_at(),
            self.next_lease(),
        ];
        sessions.chain(others.into_iter().flatten()).min()
    }
}
