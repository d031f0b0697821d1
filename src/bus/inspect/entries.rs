//! What a log holds, entry by entry.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, SystemTime};

use super::records::RecordReader;
use super::{InspectError, Snapshot};
use crate::bus::Envelope;
use crate::engine::inbox::{HandlerState, Origin, Progress, is_dead};
use crate::engine::stream::Stream;
use crate::format::control::StreamOwner;
use crate::ids::{Lsn, MessageId, PeerSlot, StreamId};
use crate::time::Wall;

/// A subscription that this node serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// The id of the node that subscribed.
    pub node: String,
    /// What it calls itself.
    pub name: String,
    /// Where it can be reached; empty if it cannot.
    pub address: String,
    /// The topic.
    pub topic: String,
}

/// How far a handler has come with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It succeeded, and another has not yet.
    Done,
    /// It failed, and is called again then.
    Failing(SystemTime),
    /// It failed for the last time, then.
    Dead(SystemTime),
}

/// What one handler has done with a message so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// The handler's name.
    pub handler: String,
    /// How far it has come.
    pub standing: Standing,
    /// How often it has failed.
    pub failed: u32,
    /// What it said last.
    pub reason: String,
}

/// A message of the inbox.
#[derive(Clone, Debug)]
pub struct WaitingMessage {
    /// The message.
    pub message: Envelope,
    /// What its handlers have done so far.
    pub handlers: Vec<Attempts>,
}

/// A message that one handler gave up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The message.
    pub message: Envelope,
    /// The handler's name.
    pub handler: String,
    /// How often it was called.
    pub attempts: u32,
    /// What it said last.
    pub reason: String,
    /// When it was given up.
    pub at: SystemTime,
}

/// A message that is owed to one destination.
#[derive(Clone, Debug)]
pub struct OwedMessage {
    /// The message.
    pub message: Envelope,
    /// Where the destination is dialled, or says that it can be reached.
    pub address: String,
    /// Its node id; `None` if nobody has answered at the address yet.
    pub node: Option<String>,
    /// The stream that it is owed on.
    pub stream: u64,
    /// Its place in that stream.
    pub position: u64,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whereabouts {
    /// It waits for a handler.
    Incoming,
    /// It is owed to a peer.
    Outgoing,
    /// It has no handler.
    Parked,
    /// A handler gave it up.
    Dead,
}

/// A message that the node still has.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its id.
    pub id: MessageId,
    /// Where it is: more than one place if this node published it and subscribes to it too.
    pub places: Vec<Whereabouts>,
}

impl Snapshot {
    /// The subscriptions that this node serves, its own to itself among them.
    pub fn subscribers(&self) -> impl Iterator<Item = Subscriber> + '_ {
        self.state.subscribers.iter().flat_map(|(slot, topics)| {
            let (node, name, address) = self.who(*slot);
            topics.iter().map(move |topic| Subscriber {
                node: node.clone(),
                name: name.clone(),
                address: address.clone(),
                topic: topic.clone(),
            })
        })
    }

    /// The messages that wait for a handler, in the order in which they were accepted: without those that are parked or
    /// dead.
    pub fn incoming(&self) -> impl Iterator<Item = Result<WaitingMessage, InspectError>> + '_ {
        self.waiting(|whereabouts| whereabouts == Whereabouts::Incoming)
    }

    /// The messages without a handler.
    pub fn parked(&self) -> impl Iterator<Item = Result<WaitingMessage, InspectError>> + '_ {
        self.waiting(|whereabouts| whereabouts == Whereabouts::Parked)
    }

    fn waiting(
        &self,
        wanted: impl Fn(Whereabouts) -> bool + 'static,
    ) -> impl Iterator<Item = Result<WaitingMessage, InspectError>> + '_ {
        let mut reader = RecordReader::new(self);
        let found = self.inbox().filter(move |(lsn, _)| wanted(self.whereabouts(*lsn)));
        found.map(move |(lsn, origin)| {
            let handlers: Vec<Attempts> =
                self.state.inbox.progress().get(&lsn).map_or_else(Vec::new, attempts);
            let failed = handlers.iter().map(|handler| handler.failed).max().unwrap_or(0);
            Ok(WaitingMessage { message: reader.message(lsn, origin, failed + 1)?, handlers })
        })
    }

    /// The dead letters: one entry for each handler that gave a message up.
    pub fn dead_letters(&self) -> impl Iterator<Item = Result<DeadLetter, InspectError>> + '_ {
        let mut reader = RecordReader::new(self);
        let dead = self.state.inbox.progress().iter().filter(|(_, progress)| is_dead(progress));
        let handlers = dead.flat_map(|(lsn, progress)| progress.iter().map(move |entry| (*lsn, entry)));
        handlers.filter_map(move |(lsn, (handler, state))| {
            let HandlerState::Dead { attempts, at, reason } = state else { return None };
            let origin = self.state.inbox.next_run(lsn)?.origin;
            Some(reader.message(lsn, origin, *attempts).map(|message| DeadLetter {
                message,
                handler: handler.clone(),
                attempts: *attempts,
                reason: reason.clone(),
                at: time_of(*at),
            }))
        })
    }

    /// The messages that are owed, destination by destination, in the order in which they go out.
    pub fn outgoing(&self) -> impl Iterator<Item = Result<OwedMessage, InspectError>> + '_ {
        let mut reader = RecordReader::new(self);
        let runs = self.state.streams.iter().flat_map(|(id, stream)| {
            stream.runs().iter().flat_map(move |run| (0..run.count).map(move |n| (*id, stream, *run, n)))
        });
        runs.map(move |(id, stream, run, n): (StreamId, &Stream, _, u64)| {
            let (node, address) = match &stream.owner {
                StreamOwner::Peer(slot) => {
                    let (node, _, address) = self.who(*slot);
                    (Some(node), address)
                }
                StreamOwner::Address(address) => (None, address.clone()),
            };
            let message = reader.message(run.lsn.plus(n), self.own(), 1)?;
            Ok(OwedMessage { message, address, node, stream: id.0, position: run.position.plus(n).0 })
        })
    }

    /// Every message that the node still has, once, in the order of its log.
    pub fn keys(&self) -> impl Iterator<Item = Result<Key, InspectError>> + '_ {
        let mut reader = RecordReader::new(self);
        let inbox = self.inbox().map(|(lsn, origin)| (lsn, Some(origin)));
        let mut sources: Vec<Box<dyn Iterator<Item = (Lsn, Option<Origin>)> + '_>> = vec![Box::new(inbox)];
        for stream in self.state.streams.values() {
            let lsns = stream.runs().iter().flat_map(|run| (0..run.count).map(|n| run.lsn.plus(n)));
            sources.push(Box::new(lsns.map(|lsn| (lsn, None))));
        }
        // Each source is in the order of the log, so the least of their heads is the next of all.
        let mut heads: BinaryHeap<Reverse<(Lsn, usize)>> = BinaryHeap::new();
        let mut origins = vec![None; sources.len()];
        let mut advance = move |heads: &mut BinaryHeap<_>, source: usize| {
            let before = origins[source];
            if let Some((lsn, origin)) = sources[source].next() {
                origins[source] = origin;
                heads.push(Reverse((lsn, source)));
            }
            before
        };
        for source in 0..=self.state.streams.len() {
            advance(&mut heads, source);
        }
        std::iter::from_fn(move || {
            let Reverse((lsn, _)) = *heads.peek()?;
            let (mut places, mut origin) = (Vec::new(), self.own());
            while let Some(Reverse((same, source))) =
                heads.peek().copied().filter(|Reverse((next, _))| *next == lsn)
            {
                heads.pop();
                let found = advance(&mut heads, source);
                origin = found.unwrap_or(origin);
                places.push(found.map_or(Whereabouts::Outgoing, |_| self.whereabouts(same)));
            }
            places.sort_unstable();
            places.dedup();
            Some(reader.message(lsn, origin, 1).map(|message| Key { id: message.id(), places }))
        })
    }

    /// Every message of the inbox, in the order of the log.
    fn inbox(&self) -> impl Iterator<Item = (Lsn, Origin)> + '_ {
        let runs = self.state.inbox.runs_in(Lsn(0), Lsn(u64::MAX));
        runs.flat_map(|run| (0..run.range.count).map(move |n| (run.range.first.plus(n), run.origin)))
    }

    fn whereabouts(&self, lsn: Lsn) -> Whereabouts {
        let inbox = &self.state.inbox;
        if inbox.parked().contains(lsn) {
            Whereabouts::Parked
        } else if inbox.progress().get(&lsn).is_some_and(is_dead) {
            Whereabouts::Dead
        } else {
            Whereabouts::Incoming
        }
    }

    /// What this node publishes is its own.
    fn own(&self) -> Origin {
        Origin { slot: PeerSlot::SELF, incarnation: self.state.identity.incarnation }
    }

    /// The id, the name and the address of a node.
    fn who(&self, slot: PeerSlot) -> (String, String, String) {
        let node = self.state.node_of(slot).to_string();
        if slot == PeerSlot::SELF {
            return (node, self.state.opening.name.clone(), self.state.opening.address.clone());
        }
        let peer = self.state.peers.get(&slot);
        let named = peer.map(|peer| peer.address.clone()).filter(|address| !address.is_empty());
        let dialled = self.state.addresses_of(slot).map(|(address, _)| address.clone()).next();
        let name = peer.map_or_else(String::new, |peer| peer.name.clone());
        (node, name, dialled.or(named).unwrap_or_default())
    }
}

fn attempts(progress: &Progress) -> Vec<Attempts> {
    let of = |(handler, state): (&String, &HandlerState)| {
        let (standing, failed, reason) = match state.clone() {
            HandlerState::Done => (Standing::Done, 0, String::new()),
            HandlerState::Failing { attempts, next_at, reason } => {
                (Standing::Failing(time_of(next_at)), attempts, reason)
            }
            HandlerState::Dead { attempts, at, reason } => (Standing::Dead(time_of(at)), attempts, reason),
        };
        Attempts { handler: handler.clone(), standing, failed, reason }
    };
    progress.iter().map(of).collect()
}

fn time_of(wall: Wall) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(wall.0)
}
