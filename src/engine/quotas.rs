//! How much a subscriber may have waiting for it, what happens then, and who is unseen for too long.
//!
//! A stream that has as much as it may have is full: publishers are told so instead of having more owed to it, or what they
//! publish takes positions of the stream and is not owed to it, which it is told as a gap. It is full no longer when an eighth of
//! its quota is free again. What lies in batches that are being filled and written is not seen yet, so a stream may have a
//! little more than its quota says.
//!
//! To look at all streams for each batch would cost too much: until as much was logged as the fullest of them may still take,
//! none can be full.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::{Event, Note};
use super::staging::Stager;
use super::{Engine, Pending};
use crate::format::control::{
    AtLimit, Change, Control, Decided, Decision, OwnQuota, Place, Quota, Standing, StreamOwner, Verb,
};
use crate::ids::{Lsn, LsnRange, PeerSlot, StreamId};
use crate::limits::{LEASE_GRACE_MS, LEASE_LOOK_MS, QUOTA_SLACK_BYTES};
use crate::time::{Monotonic, Wall};

/// Who evicts a subscriber, as it is written down.
const THE_LEASE: &str = "the node: its lease is over";

/// More records than are in batches that are being filled and written.
const RECORDS_UNDERWAY_MAX: u64 = 1 << 20;

/// Since when a subscriber is unseen: so long before this opening, and from then on.
#[derive(Clone, Copy, Debug)]
struct Absence {
    before_ms: u64,
    since: Monotonic,
}

impl Absence {
    fn ends(&self, lease_ms: u64) -> Monotonic {
        let left_ms = lease_ms.saturating_sub(self.before_ms);
        self.since.plus_millis(left_ms.max(lease_ms.min(LEASE_GRACE_MS)))
    }
}

/// What is known of the backlogs beside what the log says.
#[derive(Debug, Default)]
pub struct Quotas {
    /// No stream that is not full can be before so many bytes more are logged.
    slack: u64,
    /// Streams that nothing more is owed to, with the names of those it would be owed to.
    full: BTreeMap<StreamId, String>,
    /// Whether publishers do not know yet that these changed.
    is_news: bool,
    /// How peers stand, where that is written down and not applied yet.
    written: BTreeMap<PeerSlot, Standing>,
    /// The same of their own quotas.
    written_quotas: BTreeMap<PeerSlot, OwnQuota>,
    /// Subscribers with a lease that are not connected.
    absent: BTreeMap<PeerSlot, Absence>,
    /// Whether sessions, subscribers or leases changed since it was looked at who is not.
    is_anyone_gone: bool,
    /// Whether it was looked once in this opening.
    has_looked: bool,
    /// Whether the disk was too full to write down who is.
    is_unwritten: bool,
    /// When a lease may be over next.
    lease_due: Option<Monotonic>,
}

impl Quotas {
    /// Of a log that was just opened. Publishers do not know yet who is parked.
    pub(super) fn new() -> Quotas {
        Quotas { is_anyone_gone: true, is_news: true, ..Quotas::default() }
    }

    /// Everything that was written down is applied.
    pub(super) fn all_applied(&mut self) {
        self.written.clear();
        self.written_quotas.clear();
    }

    /// Sessions, subscribers or quotas changed.
    pub(super) fn look_again(&mut self) {
        self.is_anyone_gone = true;
        self.slack = 0;
    }

    /// What was written down last of a peer's own quota and is not applied yet.
    pub(super) fn written_quota(&self, slot: PeerSlot) -> Option<&OwnQuota> {
        self.written_quotas.get(&slot)
    }

    pub(super) fn writes_quota(&mut self, slot: PeerSlot, quota: OwnQuota) {
        self.written_quotas.insert(slot, quota);
    }

    /// Whether publishers are to be told something.
    pub(super) fn has_news(&self) -> bool {
        self.is_news
    }
}

impl Engine {
    /// The quota of a peer.
    pub(super) fn quota_of(&self, slot: PeerSlot) -> Quota {
        self.state.quotas.get(&slot).copied().unwrap_or_default().over(self.config.quota)
    }

    fn quota_of_owner(&self, owner: &StreamOwner) -> Quota {
        match owner {
            StreamOwner::Peer(slot) => self.quota_of(*slot),
            // Where nobody has answered yet nobody can be told what it missed, and nobody was ever seen.
            StreamOwner::Address(_) => Quota { at_limit: AtLimit::Refuse, lease_ms: 0, ..self.config.quota },
        }
    }

    fn standing_of(&self, slot: PeerSlot) -> Standing {
        let applied = || self.state.standings.get(&slot);
        self.quotas.written.get(&slot).or_else(applied).copied().unwrap_or_default()
    }

    fn put_standing(&mut self, slot: PeerSlot, standing: Standing) {
        self.quotas.is_news |= standing.parked != self.standing_of(slot).parked;
        self.quotas.written.insert(slot, standing);
        self.pending.push_back(Pending::Control(Control::PeerStanding { slot, standing }));
    }

    /// Whether publishers are refused because of what a peer has waiting for it.
    pub(super) fn is_refused(&self, owner: &StreamOwner) -> bool {
        let is_theirs =
            |id: &StreamId| self.state.streams.get(id).is_some_and(|stream| stream.owner == *owner);
        self.quotas.full.keys().any(is_theirs)
    }

    /// So many bytes were logged: looks who has as much waiting for it as it may.
    pub(super) fn check_backlogs(&mut self, logged: u64) {
        self.quotas.slack = self.quotas.slack.saturating_sub(logged);
        // One that speaks to nobody is open for a moment, and not as its user would open it.
        if self.quotas.slack == 0 && self.config.dials {
            self.release_backlogs();
            self.review_backlogs();
        }
    }

    /// Bytes that these owners of streams have waiting for them.
    fn backlogs(&self, mut of: impl FnMut(&StreamOwner) -> bool) -> BTreeMap<StreamOwner, u64> {
        let mut backlogs = BTreeMap::new();
        for stream in self.state.streams.values().filter(|stream| of(&stream.owner)) {
            *backlogs.entry(stream.owner.clone()).or_default() += stream.owed_bytes();
        }
        backlogs
    }

    /// Something was acknowledged or taken out, or a quota changed: looks who may have more waiting for it again.
    pub(super) fn release_backlogs(&mut self) {
        let is_any_full = !self.quotas.full.is_empty() || !self.state.parked_peers.is_empty();
        if !is_any_full || !self.config.dials {
            return;
        }
        let mut owners: BTreeSet<StreamOwner> =
            self.state.parked_peers.iter().map(|slot| StreamOwner::Peer(*slot)).collect();
        let owner_of = |id: &StreamId| self.state.streams.get(id).map(|stream| stream.owner.clone());
        owners.extend(self.quotas.full.keys().filter_map(owner_of));
        let backlogs = self.backlogs(|owner| owners.contains(owner));
        let has_room = |owner: &StreamOwner| {
            let most = self.quota_of_owner(owner).backlog_bytes;
            backlogs.get(owner).is_none_or(|backlog| *backlog <= most - most / 8)
        };
        let is_over = |id: &StreamId| {
            let stream = self.state.streams.get(id).filter(|stream| !stream.ended);
            stream.is_none_or(|stream| has_room(&stream.owner) || !self.refuses(&stream.owner))
        };
        let released: Vec<StreamId> = self.quotas.full.keys().copied().filter(is_over).collect();
        let is_back = |slot: &PeerSlot| {
            let owner = StreamOwner::Peer(*slot);
            self.standing_of(*slot).parked && (has_room(&owner) || self.refuses(&owner))
        };
        let back: Vec<PeerSlot> = self.state.parked_peers.iter().copied().filter(is_back).collect();
        for id in released {
            if let Some(name) = self.quotas.full.remove(&id) {
                self.events.push_back(Event::Note(Note::BacklogHasRoom { name }));
            }
            (self.quotas.is_news, self.quotas.slack) = (true, 0);
        }
        for slot in back {
            self.put_standing(slot, Standing { parked: false, ..self.standing_of(slot) });
            self.events.push_back(Event::Note(Note::BacklogHasRoom { name: self.name_of(slot) }));
            self.quotas.slack = 0;
        }
    }

    fn refuses(&self, owner: &StreamOwner) -> bool {
        self.quota_of_owner(owner).at_limit != AtLimit::Park
    }

    fn review_backlogs(&mut self) {
        let backlogs = self.backlogs(|_| true);
        let (mut slack, mut full, mut to_park) = (u64::MAX, Vec::new(), BTreeSet::new());
        for (id, stream) in self.state.streams.iter().filter(|(_, stream)| !stream.ended) {
            let left =
                self.quota_of_owner(&stream.owner).backlog_bytes.saturating_sub(backlogs[&stream.owner]);
            match &stream.owner {
                _ if left > 0 => slack = slack.min(left),
                owner if self.refuses(owner) => full.push((*id, self.name_of_owner(owner))),
                StreamOwner::Peer(slot) if !self.standing_of(*slot).parked => drop(to_park.insert(*slot)),
                _ => {}
            }
        }
        self.quotas.slack = slack.max(QUOTA_SLACK_BYTES);
        for (id, name) in full {
            if !self.quotas.full.contains_key(&id) {
                self.events.push_back(Event::Note(Note::BacklogFull { name: name.clone(), parks: false }));
                self.quotas.full.insert(id, name);
                self.quotas.is_news = true;
                // It may be one whose lease counts from here on.
                self.quotas.lease_due = Some(self.now.monotonic);
            }
        }
        for slot in to_park {
            self.put_standing(slot, Standing { parked: true, ..self.standing_of(slot) });
            self.events.push_back(Event::Note(Note::BacklogFull { name: self.name_of(slot), parks: true }));
        }
    }

    fn name_of_owner(&self, owner: &StreamOwner) -> String {
        match owner {
            StreamOwner::Address(address) => address.clone(),
            StreamOwner::Peer(slot) => self.name_of(*slot),
        }
    }

    /// What people call a peer.
    fn name_of(&self, slot: PeerSlot) -> String {
        let dialled = self.state.addresses_of(slot).map(|(address, _)| address.clone()).next();
        let says = || self.state.peers.get(&slot).map(|peer| peer.address.clone()).filter(|a| !a.is_empty());
        dialled.or_else(says).unwrap_or_else(|| self.state.node_of(slot).to_string())
    }

    /// Tells publishers to whom nothing more may be owed. A command to who is parked would be lost, and its sender can be told.
    pub(super) fn stage_backlogs(&mut self, stager: &mut Stager<'_>) {
        if std::mem::take(&mut self.quotas.is_news) {
            let slots = self.state.parked_peers.iter().chain(self.quotas.written.keys()).copied();
            let parked = slots.filter(|slot| self.standing_of(*slot).parked);
            let parked = parked.map(|slot| (slot, self.name_of(slot))).collect();
            stager.routing.hold(self.quotas.full.clone(), parked);
        }
    }

    /// Who is not connected is so from now on, and who was unseen for its lease is evicted.
    pub(super) fn check_leases(&mut self) {
        // One that speaks to nobody sees nobody.
        if self.failed || self.closing || !self.config.dials {
            return;
        }
        if self.quotas.is_unwritten && !self.is_disk_full() {
            (self.quotas.is_unwritten, self.quotas.is_anyone_gone) = (false, true);
        }
        let came = std::mem::take(&mut self.sessions.came);
        let has_gone = std::mem::take(&mut self.sessions.has_gone);
        if std::mem::take(&mut self.quotas.is_anyone_gone) || has_gone || !came.is_empty() {
            self.see_who_is_gone(&came);
        }
        let now = self.now.monotonic;
        if self.quotas.lease_due.is_none_or(|due| due > now) {
            return;
        }
        let lease_of = |slot: &PeerSlot| self.quota_of(*slot).lease_ms;
        let is_over = |(slot, absence): &(&PeerSlot, &Absence)| absence.ends(lease_of(slot)) <= now;
        let over: Vec<PeerSlot> = self.quotas.absent.iter().filter(is_over).map(|(slot, _)| *slot).collect();
        for slot in &over {
            if self.may_be_evicted(*slot) {
                self.evict(*slot);
            }
        }
        self.see_what_is_due();
    }

    /// Whether there is something that a subscriber whose lease is over would go without.
    fn may_be_evicted(&self, slot: PeerSlot) -> bool {
        let quota = self.quota_of(slot);
        let owner = StreamOwner::Peer(slot);
        let backlog = self.backlogs(|of| *of == owner).get(&owner).copied().unwrap_or(0);
        let wants = self.wanted.get(&slot).is_some_and(|topics| !topics.is_empty());
        let is_at_limit = quota.at_limit != AtLimit::Evict || backlog >= quota.backlog_bytes;
        quota.lease_ms > 0 && is_at_limit && (wants || backlog > 0)
    }

    /// When a lease may be over next. Of those that are over and went without nothing, it is looked at them again in a while.
    fn see_what_is_due(&mut self) {
        let now = self.now.monotonic;
        let ends =
            self.quotas.absent.iter().map(|(slot, absence)| absence.ends(self.quota_of(*slot).lease_ms));
        self.quotas.lease_due =
            ends.map(|end| if end > now { end } else { now.plus_millis(LEASE_LOOK_MS) }).min();
    }

    /// When [`Engine::check_leases`] is wanted.
    pub(super) fn next_lease(&self) -> Option<Monotonic> {
        self.quotas.lease_due.filter(|_| self.config.dials && !self.failed && !self.closing)
    }

    fn see_who_is_gone(&mut self, came: &BTreeSet<PeerSlot>) {
        let has_lease = |slot: &PeerSlot| *slot != PeerSlot::SELF && self.quota_of(*slot).lease_ms > 0;
        let owed = self.state.streams.values().filter_map(|stream| match &stream.owner {
            StreamOwner::Peer(slot) if !stream.ended || stream.owed() > 0 => Some(*slot),
            _ => None,
        });
        let subscribers = self.state.subscribers.keys().copied().chain(owed);
        let leased: BTreeSet<PeerSlot> = subscribers.filter(has_lease).collect();
        let counted = self.state.standings.iter().filter(|(_, standing)| standing.unseen_since != Wall(0));
        let all: BTreeSet<PeerSlot> = leased.iter().copied().chain(counted.map(|(slot, _)| *slot)).collect();
        for slot in all {
            let is_gone = leased.contains(&slot) && self.sessions.of_peer(slot).is_none();
            self.sees(slot, is_gone, came.contains(&slot));
        }
        self.quotas.has_looked = true;
        // Whoever was forgotten has no lease any more.
        self.quotas.absent.retain(|slot, _| leased.contains(slot));
        self.see_what_is_due();
    }

    /// A subscriber with a lease is gone, or it is there, or it has no lease. It may have come and gone.
    fn sees(&mut self, slot: PeerSlot, is_gone: bool, has_come: bool) {
        let (standing, now) = (self.standing_of(slot), self.now);
        let was_gone = standing.unseen_since != Wall(0) && !has_come;
        if has_come || !is_gone {
            self.quotas.absent.remove(&slot);
        }
        // A clock that says nothing would say that it is there.
        let since = if is_gone { now.wall.max(Wall(1)) } else { Wall(0) };
        let is_news = is_gone != was_gone || has_come && !is_gone && standing.unseen_since != Wall(0);
        if is_news && self.is_disk_full() {
            // What is left of the disk is for what frees it.
            self.quotas.is_unwritten = true;
        } else if is_news {
            self.put_standing(slot, Standing { unseen_since: since, ..standing });
        }
        if is_gone {
            // In an earlier opening, as far as the clock then and the clock now can be believed.
            let is_of_before = was_gone && !self.quotas.has_looked;
            let before_ms =
                if is_of_before { now.wall.0.saturating_sub(standing.unseen_since.0) / 1_000_000 } else { 0 };
            self.quotas.absent.entry(slot).or_insert(Absence { before_ms, since: now.monotonic });
        }
    }

    /// All that is owed on a stream, and is about to be.
    fn all_owed_on(&self, stream: StreamId) -> Vec<LsnRange> {
        let first = self.state.streams.get(&stream).and_then(|stream| stream.runs().front());
        let (mut first, mut ranges) = (first.map_or(Lsn(1), |run| run.lsn), Vec::new());
        let end = self.state.index.end().plus(RECORDS_UNDERWAY_MAX);
        while first < end {
            let count = end.since(first).min(u64::from(u32::MAX));
            ranges.push(LsnRange { first, count });
            first = first.plus(count);
        }
        ranges
    }

    /// A subscriber is owed nothing more and wants nothing, until it comes back: then it is told what it missed.
    fn evict(&mut self, slot: PeerSlot) {
        let owner = StreamOwner::Peer(slot);
        let streams = self.state.streams.iter().filter(|(_, stream)| stream.owner == owner);
        let streams: Vec<(StreamId, u64)> = streams.map(|(id, stream)| (*id, stream.owed())).collect();
        let (at, who, about) = (self.now.wall, THE_LEASE.to_owned(), self.name_of(slot));
        let topics: Vec<String> = self.wanted.remove(&slot).into_iter().flatten().collect();
        let what = Decided::Evicted;
        let decision = Decision { at, who: who.clone(), what, about, topics: Vec::new() };
        self.pending.push_back(Pending::Control(Control::Decided(decision)));
        for (stream, dropped) in &streams {
            let (who, ranges) = (who.clone(), self.all_owed_on(*stream));
            let (verb, place, stream, dropped) = (Verb::Remove, Place::Outgoing, Some(*stream), *dropped);
            let change = Change { at, who, verb, place, stream, dropped, ranges };
            self.requests.changes_by_itself();
            self.pending.push_back(Pending::Control(Control::Administered(change)));
        }
        for part in super::apply::topic_parts(&topics) {
            let control = Control::Subscriber { slot, added: false, topics: part.to_vec() };
            self.pending.push_back(Pending::Control(control));
        }
        self.put_standing(slot, Standing::default());
        self.quotas.absent.remove(&slot);
        let (node, owed) = (self.state.node_of(slot), streams.iter().map(|(_, owed)| owed).sum());
        self.events.push_back(Event::Note(Note::Evicted { node, owed }));
    }
}
