//! The bodies of all records that are not messages: what a node writes down for itself.
//!
//! They are rare beside messages, so they are plain values, written and read field by field in the order in which
//! the variants name them. Numbers are little-endian; a text has its length, two bytes, before it; a list has its
//! length, four bytes, before it.

use super::body::{BodyDefect, BodyReader, BodyWriter};
use super::record::RecordKind;
use crate::ids::{Epoch, Incarnation, Lsn, LsnRange, NodeId, PeerSlot, Position, SetId, StreamId};
use crate::time::Wall;

/// Entries of one record that is a list; longer lists become several records.
pub const LIST_ENTRIES_MAX: usize = 4096;

/// Whom a stream is owed to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamOwner {
    /// A node that is known.
    Peer(PeerSlot),
    /// Whoever answers at an address where nobody has answered yet.
    Address(String),
}

/// How far a wish to subscribe has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentState {
    /// Written down here; the publisher may not know.
    Wanted = 0,
    /// The publisher has it on stable storage.
    Confirmed = 1,
    /// To be ended; the publisher may not know.
    Removing = 2,
    /// Ended at both sides.
    Removed = 3,
}

/// A peer as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// The short name by which other records speak of the peer.
    pub slot: PeerSlot,
    /// Its identity.
    pub node: NodeId,
    /// The life of its log when it was last met.
    pub incarnation: Incarnation,
    /// The opening of its log when it was last met.
    pub epoch: Epoch,
    /// That opening's nonce.
    pub nonce: u64,
    /// The secret that proves, from the second meeting on, that it is the same node.
    pub secret: [u8; 16],
    /// Whether both sides are known to have the secret.
    pub secret_confirmed: bool,
    /// Where it says that it can be reached; empty if it does not say.
    pub address: String,
    /// The name it gave itself.
    pub name: String,
    /// It was forgotten, and is kept only because messages of it wait in the inbox.
    pub removed: bool,
}

/// One control record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// All handlers of these inbox records are done.
    Handled(Vec<LsnRange>),
    /// These streams were accepted by their receivers up to and with these positions.
    Acked(Vec<(StreamId, Position)>),
    /// A handler failed.
    Attempt {
        /// The inbox record.
        lsn: Lsn,
        /// How often this handler has failed on it.
        attempts: u32,
        /// When it is called again.
        next_at: Wall,
        /// The handler's name.
        handler: String,
        /// What it said.
        reason: String,
    },
    /// One of several handlers of an inbox record is done and is not called again for it.
    HandlerDone {
        /// The inbox record.
        lsn: Lsn,
        /// The handler's name.
        handler: String,
    },
    /// A handler failed too often: the record is kept and no longer delivered.
    DeadLetter {
        /// The inbox record.
        lsn: Lsn,
        /// How often the handler had failed.
        attempts: u32,
        /// When it was given up.
        at: Wall,
        /// The handler's name.
        handler: String,
        /// What it said last.
        reason: String,
    },
    /// No handler wants these inbox records.
    Parked(Vec<LsnRange>),
    /// Who this node is. The log's first record, and that of each life.
    Node {
        /// Its identity.
        id: NodeId,
        /// The life of its log.
        incarnation: Incarnation,
        /// When the directory was made.
        created: Wall,
    },
    /// A new opening of the log.
    Opened {
        /// Its number.
        epoch: Epoch,
        /// Its nonce.
        nonce: u64,
        /// When.
        at: Wall,
        /// The name the node gives itself.
        name: String,
        /// Where peers can reach it.
        address: String,
    },
    /// A peer was met, or something about it changed.
    Peer(PeerRecord),
    /// A stream was minted or, in a checkpoint, is described.
    Stream {
        /// Its id.
        id: StreamId,
        /// Whom it is owed to.
        owner: StreamOwner,
        /// The position that the next message owed to it gets.
        next: Position,
        /// Everything up to and with this position is accepted by the receiver.
        acked: Position,
        /// Whether no more messages will be owed to it.
        ended: bool,
    },
    /// A stream is gone: drained after its end, or dropped.
    StreamClosed {
        /// Its id.
        id: StreamId,
        /// Messages that it still owed.
        dropped: u64,
    },
    /// No more messages will be owed to a stream; what it owes stays owed.
    StreamEnded {
        /// Its id.
        id: StreamId,
    },
    /// How far a stream of a peer was accepted here.
    Inbound {
        /// The peer.
        slot: PeerSlot,
        /// The stream, in the peer's numbering.
        stream: StreamId,
        /// The last position accepted.
        accepted: Position,
        /// Positions that will never come, because one side lost its data.
        lost: u64,
        /// Whether the peer said that nothing follows.
        ended: bool,
    },
    /// What a peer, or this node itself, wants from us.
    Subscriber {
        /// Who.
        slot: PeerSlot,
        /// Whether these are wanted from here on, or no longer.
        added: bool,
        /// The topics.
        topics: Vec<String>,
    },
    /// What this node wants from others.
    Intent {
        /// From whom.
        address: String,
        /// What.
        topic: String,
        /// How far the wish has come.
        state: IntentState,
    },
    /// The node that answered at an address.
    AddressBound {
        /// The address, as the user wrote it.
        address: String,
        /// Who answered.
        slot: PeerSlot,
    },
    /// A peer was forgotten, with all that was owed to it.
    PeerRemoved {
        /// Who.
        slot: PeerSlot,
        /// Messages that were owed.
        dropped: u64,
    },
    /// An address was forgotten, with the wishes and the queue kept for it.
    AddressRemoved {
        /// The address, as the user wrote it.
        address: String,
    },
    /// Which streams a set stands for, in rising order.
    DestinationSet {
        /// The set.
        id: SetId,
        /// Its streams.
        streams: Vec<StreamId>,
    },
    /// What follows, up to the end, is all of the small state.
    CheckpointBegin {
        /// The highest slot ever given to a peer.
        slots: PeerSlot,
        /// The highest stream ever minted: an id is never used twice, for peers remember it.
        streams: StreamId,
    },
    /// The checkpoint is complete.
    CheckpointEnd,
}

/// The record before a run of records of another node, which follow it as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Who sent them.
    pub slot: PeerSlot,
    /// The life of its log in which it numbered them: with its node and their LSNs, their message ids.
    pub incarnation: Incarnation,
    /// Its stream.
    pub stream: StreamId,
    /// The place in it of the first one.
    pub first_position: Position,
    /// How many follow.
    pub count: u32,
    /// Their bytes.
    pub bytes: u32,
}

/// A record of a segment about to be freed, and all places where it is still wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried<'a> {
    /// The number by which this log knows it.
    pub lsn: Lsn,
    /// Whose record it is; [`PeerSlot::SELF`] if it was published here.
    pub slot: PeerSlot,
    /// The life of the log that first held it.
    pub incarnation: Incarnation,
    /// Whether it is still in the inbox.
    pub in_inbox: bool,
    /// The streams to which it is still owed, and its places in them.
    pub owed: Vec<(StreamId, Position)>,
    /// The whole original record.
    pub record: &'a [u8],
}

impl Accepted {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = BodyWriter::new();
        out.u32(self.slot.0).u64(self.incarnation.0).u64(self.stream.0);
        out.u64(self.first_position.0).u32(self.count).u32(self.bytes);
        out.finish()
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Accepted, BodyDefect> {
        let mut reader = BodyReader::new(body);
        let accepted = Accepted {
            slot: PeerSlot(reader.u32()?),
            incarnation: Incarnation(reader.u64()?),
            stream: StreamId(reader.u64()?),
            first_position: Position(reader.u64()?),
            count: reader.u32()?,
            bytes: reader.u32()?,
        };
        reader.end()?;
        Ok(accepted)
    }
}

impl<'a> Carried<'a> {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = BodyWriter::new();
        out.u64(self.lsn.0).u32(self.slot.0).u64(self.incarnation.0).flag(self.in_inbox);
        put_list(&mut out, &self.owed, |out, (stream, position)| {
            out.u64(stream.0).u64(position.0);
        });
        out.bytes(self.record);
        out.finish()
    }

    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Carried<'a>, BodyDefect> {
        let mut reader = BodyReader::new(body);
        Ok(Carried {
            lsn: Lsn(reader.u64()?),
            slot: PeerSlot(reader.u32()?),
            incarnation: Incarnation(reader.u64()?),
            in_inbox: reader.flag("in inbox")?,
            owed: list(&mut reader, |r| Ok((StreamId(r.u64()?), Position(r.u64()?))))?,
            record: reader.rest(),
        })
    }
}

/// Reads a list; each entry takes at least a byte, so a false length ends at the end of the body.
fn list<'a, T>(
    reader: &mut BodyReader<'a>,
    mut entry: impl FnMut(&mut BodyReader<'a>) -> Result<T, BodyDefect>,
) -> Result<Vec<T>, BodyDefect> {
    let count = reader.u32()?;
    (0..count).map(|_| entry(reader)).collect()
}

fn put_list<T>(out: &mut BodyWriter, entries: &[T], mut entry: impl FnMut(&mut BodyWriter, &T)) {
    out.u32(entries.len() as u32);
    for value in entries {
        entry(out, value);
    }
}

fn ranges(reader: &mut BodyReader<'_>) -> Result<Vec<LsnRange>, BodyDefect> {
    list(reader, |r| {
        let range = LsnRange { first: Lsn(r.u64()?), count: u64::from(r.u32()?) };
        if range.count == 0 { Err(BodyDefect::Value("count")) } else { Ok(range) }
    })
}

fn put_ranges(out: &mut BodyWriter, ranges: &[LsnRange]) {
    put_list(out, ranges, |out, range| {
        assert!(range.count <= u64::from(u32::MAX));
        out.u64(range.first.0).u32(range.count as u32);
    });
}

fn owner(reader: &mut BodyReader<'_>) -> Result<StreamOwner, BodyDefect> {
    match reader.u8()? {
        0 => Ok(StreamOwner::Peer(PeerSlot(reader.u32()?))),
        1 => Ok(StreamOwner::Address(reader.text()?.to_owned())),
        _ => Err(BodyDefect::Value("owner")),
    }
}

fn put_owner(out: &mut BodyWriter, owner: &StreamOwner) {
    match owner {
        StreamOwner::Peer(slot) => out.u8(0).u32(slot.0),
        StreamOwner::Address(address) => out.u8(1).text(address),
    };
}

fn intent_state(reader: &mut BodyReader<'_>) -> Result<IntentState, BodyDefect> {
    match reader.u8()? {
        0 => Ok(IntentState::Wanted),
        1 => Ok(IntentState::Confirmed),
        2 => Ok(IntentState::Removing),
        3 => Ok(IntentState::Removed),
        _ => Err(BodyDefect::Value("intent state")),
    }
}

fn peer(reader: &mut BodyReader<'_>) -> Result<PeerRecord, BodyDefect> {
    Ok(PeerRecord {
        slot: PeerSlot(reader.u32()?),
        node: reader.node()?,
        incarnation: Incarnation(reader.u64()?),
        epoch: Epoch(reader.u64()?),
        nonce: reader.u64()?,
        secret: reader.key()?,
        secret_confirmed: reader.flag("secret confirmed")?,
        address: reader.text()?.to_owned(),
        name: reader.text()?.to_owned(),
        removed: reader.flag("removed")?,
    })
}

fn put_peer(out: &mut BodyWriter, peer: &PeerRecord) {
    out.u32(peer.slot.0).node(peer.node).u64(peer.incarnation.0).u64(peer.epoch.0).u64(peer.nonce);
    out.bytes(&peer.secret).flag(peer.secret_confirmed).text(&peer.address).text(&peer.name);
    out.flag(peer.removed);
}

impl Control {
    /// The kind of record that holds it.
    #[must_use]
    pub fn kind(&self) -> RecordKind {
        match self {
            Control::Handled(_) => RecordKind::Handled,
            Control::Acked(_) => RecordKind::Acked,
            Control::Attempt { .. } => RecordKind::Attempt,
            Control::HandlerDone { .. } => RecordKind::HandlerDone,
            Control::DeadLetter { .. } => RecordKind::DeadLetter,
            Control::Parked(_) => RecordKind::Parked,
            Control::Node { .. } => RecordKind::Node,
            Control::Opened { .. } => RecordKind::Opened,
            Control::Peer(_) => RecordKind::Peer,
            Control::Stream { .. } => RecordKind::Stream,
            Control::StreamClosed { .. } => RecordKind::StreamClosed,
            Control::StreamEnded { .. } => RecordKind::StreamEnded,
            Control::Inbound { .. } => RecordKind::Inbound,
            Control::Subscriber { .. } => RecordKind::Subscriber,
            Control::Intent { .. } => RecordKind::Intent,
            Control::AddressBound { .. } => RecordKind::AddressBound,
            Control::PeerRemoved { .. } => RecordKind::PeerRemoved,
            Control::AddressRemoved { .. } => RecordKind::AddressRemoved,
            Control::DestinationSet { .. } => RecordKind::DestinationSet,
            Control::CheckpointBegin { .. } => RecordKind::CheckpointBegin,
            Control::CheckpointEnd => RecordKind::CheckpointEnd,
        }
    }

    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = BodyWriter::new();
        match self {
            Control::Handled(ranges) | Control::Parked(ranges) => put_ranges(&mut out, ranges),
            Control::Acked(cursors) => put_list(&mut out, cursors, |out, (stream, position)| {
                out.u64(stream.0).u64(position.0);
            }),
            Control::Attempt { lsn, attempts, next_at: at, handler, reason }
            | Control::DeadLetter { lsn, attempts, at, handler, reason } => {
                out.u64(lsn.0).u32(*attempts).u64(at.0).text(handler).text(reason);
            }
            Control::HandlerDone { lsn, handler } => {
                out.u64(lsn.0).text(handler);
            }
            Control::Node { id, incarnation, created } => {
                out.node(*id).u64(incarnation.0).u64(created.0);
            }
            Control::Opened { epoch, nonce, at, name, address } => {
                out.u64(epoch.0).u64(*nonce).u64(at.0).text(name).text(address);
            }
            Control::Peer(peer) => put_peer(&mut out, peer),
            Control::Stream { id, owner, next, acked, ended } => {
                out.u64(id.0);
                put_owner(&mut out, owner);
                out.u64(next.0).u64(acked.0).flag(*ended);
            }
            Control::StreamClosed { id, dropped } => {
                out.u64(id.0).u64(*dropped);
            }
            Control::StreamEnded { id } => {
                out.u64(id.0);
            }
            Control::Inbound { slot, stream, accepted, lost, ended } => {
                out.u32(slot.0).u64(stream.0).u64(accepted.0).u64(*lost).flag(*ended);
            }
            Control::Subscriber { slot, added, topics } => {
                out.u32(slot.0).flag(*added);
                put_list(&mut out, topics, |out, topic| {
                    out.text(topic);
                });
            }
            Control::Intent { address, topic, state } => {
                out.text(address).text(topic).u8(*state as u8);
            }
            Control::AddressBound { address, slot } => {
                out.text(address).u32(slot.0);
            }
            Control::PeerRemoved { slot, dropped } => {
                out.u32(slot.0).u64(*dropped);
            }
            Control::AddressRemoved { address } => {
                out.text(address);
            }
            Control::DestinationSet { id, streams } => {
                out.u32(id.0);
                put_list(&mut out, streams, |out, stream| {
                    out.u64(stream.0);
                });
            }
            Control::CheckpointBegin { slots, streams } => {
                out.u32(slots.0).u64(streams.0);
            }
            Control::CheckpointEnd => {}
        }
        out.finish()
    }

    /// Reads the body of a record of that kind. Messages, accepted runs and carried records are no control
    /// records and are read elsewhere.
    pub fn decode(kind: RecordKind, body: &[u8]) -> Result<Control, BodyDefect> {
        let mut r = BodyReader::new(body);
        let control = match kind {
            RecordKind::Message | RecordKind::Accepted | RecordKind::Carried => {
                return Err(BodyDefect::Value("kind"));
            }
            RecordKind::Handled => Control::Handled(ranges(&mut r)?),
            RecordKind::Parked => Control::Parked(ranges(&mut r)?),
            RecordKind::Acked => {
                Control::Acked(list(&mut r, |r| Ok((StreamId(r.u64()?), Position(r.u64()?))))?)
            }
            RecordKind::Attempt => Control::Attempt {
                lsn: Lsn(r.u64()?),
                attempts: r.u32()?,
                next_at: Wall(r.u64()?),
                handler: r.text()?.to_owned(),
                reason: r.text()?.to_owned(),
            },
            RecordKind::DeadLetter => Control::DeadLetter {
                lsn: Lsn(r.u64()?),
                attempts: r.u32()?,
                at: Wall(r.u64()?),
                handler: r.text()?.to_owned(),
                reason: r.text()?.to_owned(),
            },
            RecordKind::HandlerDone => {
                Control::HandlerDone { lsn: Lsn(r.u64()?), handler: r.text()?.to_owned() }
            }
            RecordKind::Node => {
                Control::Node { id: r.node()?, incarnation: Incarnation(r.u64()?), created: Wall(r.u64()?) }
            }
            RecordKind::Opened => Control::Opened {
                epoch: Epoch(r.u64()?),
                nonce: r.u64()?,
                at: Wall(r.u64()?),
                name: r.text()?.to_owned(),
                address: r.text()?.to_owned(),
            },
            RecordKind::Peer => Control::Peer(peer(&mut r)?),
            RecordKind::Stream => Control::Stream {
                id: StreamId(r.u64()?),
                owner: owner(&mut r)?,
                next: Position(r.u64()?),
                acked: Position(r.u64()?),
                ended: r.flag("ended")?,
            },
            RecordKind::StreamClosed => Control::StreamClosed { id: StreamId(r.u64()?), dropped: r.u64()? },
            RecordKind::StreamEnded => Control::StreamEnded { id: StreamId(r.u64()?) },
            RecordKind::Inbound => Control::Inbound {
                slot: PeerSlot(r.u32()?),
                stream: StreamId(r.u64()?),
                accepted: Position(r.u64()?),
                lost: r.u64()?,
                ended: r.flag("ended")?,
            },
            RecordKind::Subscriber => Control::Subscriber {
                slot: PeerSlot(r.u32()?),
                added: r.flag("added")?,
                topics: list(&mut r, |r| Ok(r.text()?.to_owned()))?,
            },
            RecordKind::Intent => Control::Intent {
                address: r.text()?.to_owned(),
                topic: r.text()?.to_owned(),
                state: intent_state(&mut r)?,
            },
            RecordKind::AddressBound => {
                Control::AddressBound { address: r.text()?.to_owned(), slot: PeerSlot(r.u32()?) }
            }
            RecordKind::PeerRemoved => Control::PeerRemoved { slot: PeerSlot(r.u32()?), dropped: r.u64()? },
            RecordKind::AddressRemoved => Control::AddressRemoved { address: r.text()?.to_owned() },
            RecordKind::DestinationSet => Control::DestinationSet {
                id: SetId(r.u32()?),
                streams: list(&mut r, |r| Ok(StreamId(r.u64()?)))?,
            },
            RecordKind::CheckpointBegin => {
                Control::CheckpointBegin { slots: PeerSlot(r.u32()?), streams: StreamId(r.u64()?) }
            }
            RecordKind::CheckpointEnd => Control::CheckpointEnd,
        };
        r.end()?;
        Ok(control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Control> {
        let peer = PeerRecord {
            slot: PeerSlot(1),
            node: NodeId(2),
            incarnation: Incarnation(3),
            epoch: Epoch(4),
            nonce: 5,
            secret: [6; 16],
            secret_confirmed: true,
            address: "tcp://a:1".into(),
            name: "web".into(),
            removed: false,
        };
        let (handler, reason) = ("h".to_owned(), "because".to_owned());
        let range = LsnRange { first: Lsn(7), count: 3 };
        vec![
            Control::Handled(vec![range]),
            Control::Acked(vec![(StreamId(1), Position(9))]),
            Control::Attempt {
                lsn: Lsn(1),
                attempts: 2,
                next_at: Wall(3),
                handler: handler.clone(),
                reason: reason.clone(),
            },
            Control::HandlerDone { lsn: Lsn(1), handler: handler.clone() },
            Control::DeadLetter { lsn: Lsn(1), attempts: 2, at: Wall(3), handler, reason },
            Control::Parked(vec![range, range]),
            Control::Node { id: NodeId(1), incarnation: Incarnation(2), created: Wall(3) },
            Control::Opened { epoch: Epoch(1), nonce: 2, at: Wall(3), name: "n".into(), address: "a".into() },
            Control::Peer(peer),
            Control::Stream {
                id: StreamId(1),
                owner: StreamOwner::Peer(PeerSlot(2)),
                next: Position(3),
                acked: Position(1),
                ended: false,
            },
            Control::Stream {
                id: StreamId(1),
                owner: StreamOwner::Address("x".into()),
                next: Position(3),
                acked: Position(1),
                ended: true,
            },
            Control::StreamClosed { id: StreamId(1), dropped: 2 },
            Control::StreamEnded { id: StreamId(1) },
            Control::Inbound {
                slot: PeerSlot(1),
                stream: StreamId(2),
                accepted: Position(3),
                lost: 4,
                ended: false,
            },
            Control::Subscriber { slot: PeerSlot(1), added: true, topics: vec!["a".into(), "b".into()] },
            Control::Intent { address: "x".into(), topic: "t".into(), state: IntentState::Removing },
            Control::AddressBound { address: "x".into(), slot: PeerSlot(1) },
            Control::PeerRemoved { slot: PeerSlot(1), dropped: 2 },
            Control::AddressRemoved { address: "x".into() },
            Control::DestinationSet { id: SetId(1), streams: vec![StreamId(1), StreamId(2)] },
            Control::CheckpointBegin { slots: PeerSlot(3), streams: StreamId(9) },
            Control::CheckpointEnd,
        ]
    }

    #[test]
    fn every_control_record_reads_back() {
        for control in samples() {
            assert_eq!(Control::decode(control.kind(), &control.encode()), Ok(control));
        }
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        for control in samples() {
            let mut body = control.encode();
            for length in 0..body.len() {
                assert!(
                    Control::decode(control.kind(), &body[..length]).is_err(),
                    "{control:?} cut at {length}"
                );
            }
            body.push(0);
            assert_eq!(Control::decode(control.kind(), &body), Err(BodyDefect::TrailingBytes(1)));
        }
    }

    #[test]
    fn every_kind_of_record_has_a_sample_here() {
        for kind in RecordKind::ALL {
            let elsewhere = matches!(kind, RecordKind::Message | RecordKind::Accepted | RecordKind::Carried);
            assert!(elsewhere || samples().iter().any(|sample| sample.kind() == kind), "{kind:?}");
        }
    }

    #[test]
    fn accepted_and_carried_read_back() {
        let accepted = Accepted {
            slot: PeerSlot(1),
            incarnation: Incarnation(8),
            stream: StreamId(2),
            first_position: Position(3),
            count: 4,
            bytes: 5,
        };
        assert_eq!(Accepted::decode(&accepted.encode()), Ok(accepted));
        let carried = Carried {
            lsn: Lsn(9),
            slot: PeerSlot(1),
            incarnation: Incarnation(8),
            in_inbox: true,
            owed: vec![(StreamId(1), Position(2))],
            record: b"record",
        };
        assert_eq!(Carried::decode(&carried.encode()), Ok(carried));
    }
}
