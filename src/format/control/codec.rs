//! The bodies of control records: field by field, in the order in which the variants name them.

use super::change::{change, put_change};
use super::decision::{decision, put_decision};
use super::intent_state::intent_state;
use super::list::{cursors, list, put_cursors, put_list, put_ranges, ranges};
use super::peer::{peer, put_peer};
use super::quota::{put_quota, quota};
use super::stream_owner::{owner, put_owner};
use super::{Control, Standing};
use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::format::record::RecordKind;
use crate::ids::{Epoch, Incarnation, Lsn, PeerSlot, Position, SetId, StreamId};
use crate::time::Wall;

impl Control {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = BodyWriter::new();
        match self {
            Control::Handled(ranges) | Control::Parked(ranges) => put_ranges(&mut out, ranges),
            Control::Administered(change) => put_change(&mut out, change),
            Control::Acked(cursors) => put_cursors(&mut out, cursors),
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
            Control::Openings(openings) => put_list(&mut out, openings, |out, (epoch, nonce, lsn)| {
                out.u64(epoch.0).u64(*nonce).u64(lsn.0);
            }),
            Control::Peer(peer) => put_peer(&mut out, peer),
            Control::PeerLives { slot, lives } => {
                out.u32(slot.0);
                put_list(&mut out, lives, |out, life| {
                    out.u64(life.0);
                });
            }
            Control::Decided(decision) => put_decision(&mut out, decision),
            Control::PeerPaused { slot, paused } => {
                out.u32(slot.0).flag(*paused);
            }
            Control::PeerQuota { slot, quota } => put_quota(out.u32(slot.0), *quota),
            Control::PeerStanding { slot, standing } => {
                out.u32(slot.0).u64(standing.unseen_since.0).flag(standing.parked);
            }
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
            Control::Seen { slot, incarnation, lsn } => {
                out.u32(slot.0).u64(incarnation.0).u64(lsn.0);
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
            Control::AddressRemoved { address, dropped } => {
                out.text(address).u64(*dropped);
            }
            Control::DestinationSet { id, streams } => {
                out.u32(id.0);
                put_list(&mut out, streams, |out, stream| {
                    out.u64(stream.0);
                });
            }
            Control::CheckpointBegin { slots, streams, dropped } => {
                out.u32(slots.0).u64(streams.0).u64(*dropped);
            }
            Control::CheckpointEnd => {}
        }
        out.finish()
    }

    /// Reads the body of a record of that kind. Messages, accepted runs and carried records are no control
    /// records and are read elsewhere.
    pub fn decode(kind: RecordKind, body: &[u8]) -> Result<Control, BodyDefect> {
        let mut reader = BodyReader::new(body);
        let control = inbox_control(kind, &mut reader)?;
        reader.end()?;
        Ok(control)
    }
}

/// What became of inbox records; other kinds are tried further down.
fn inbox_control(kind: RecordKind, r: &mut BodyReader<'_>) -> Result<Control, BodyDefect> {
    Ok(match kind {
        RecordKind::Handled => Control::Handled(ranges(r)?),
        RecordKind::Parked => Control::Parked(ranges(r)?),
        RecordKind::Administered => Control::Administered(change(r)?),
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
        RecordKind::HandlerDone => Control::HandlerDone { lsn: Lsn(r.u64()?), handler: r.text()?.to_owned() },
        _ => return stream_control(kind, r),
    })
}

/// What is owed and what was accepted.
fn stream_control(kind: RecordKind, r: &mut BodyReader<'_>) -> Result<Control, BodyDefect> {
    Ok(match kind {
        RecordKind::Stream => {
            let (id, owner) = (StreamId(r.u64()?), owner(r)?);
            let (next, acked, ended) = (Position(r.u64()?), Position(r.u64()?), r.flag("ended")?);
            // What lies between the two is owed.
            if acked >= next {
                return Err(BodyDefect::Value("acked"));
            }
            Control::Stream { id, owner, next, acked, ended }
        }
        RecordKind::StreamClosed => Control::StreamClosed { id: StreamId(r.u64()?), dropped: r.u64()? },
        RecordKind::StreamEnded => Control::StreamEnded { id: StreamId(r.u64()?) },
        RecordKind::DestinationSet => {
            Control::DestinationSet { id: SetId(r.u32()?), streams: list(r, |r| Ok(StreamId(r.u64()?)))? }
        }
        RecordKind::Acked => Control::Acked(cursors(r)?),
        RecordKind::Seen => {
            Control::Seen { slot: PeerSlot(r.u32()?), incarnation: Incarnation(r.u64()?), lsn: Lsn(r.u64()?) }
        }
        RecordKind::Inbound => Control::Inbound {
            slot: PeerSlot(r.u32()?),
            stream: StreamId(r.u64()?),
            accepted: Position(r.u64()?),
            lost: r.u64()?,
            ended: r.flag("ended")?,
        },
        _ => return peer_control(kind, r),
    })
}

/// Who the others are and who wants what.
fn peer_control(kind: RecordKind, r: &mut BodyReader<'_>) -> Result<Control, BodyDefect> {
    Ok(match kind {
        RecordKind::Peer => Control::Peer(peer(r)?),
        RecordKind::PeerLives => {
            Control::PeerLives { slot: PeerSlot(r.u32()?), lives: list(r, |r| Ok(Incarnation(r.u64()?)))? }
        }
        RecordKind::Decided => Control::Decided(decision(r)?),
        RecordKind::PeerPaused => Control::PeerPaused { slot: PeerSlot(r.u32()?), paused: r.flag("paused")? },
        RecordKind::PeerQuota => Control::PeerQuota { slot: PeerSlot(r.u32()?), quota: quota(r)? },
        RecordKind::PeerStanding => {
            let (slot, unseen_since) = (PeerSlot(r.u32()?), Wall(r.u64()?));
            Control::PeerStanding { slot, standing: Standing { unseen_since, parked: r.flag("parked")? } }
        }
        RecordKind::PeerRemoved => Control::PeerRemoved { slot: PeerSlot(r.u32()?), dropped: r.u64()? },
        RecordKind::Subscriber => Control::Subscriber {
            slot: PeerSlot(r.u32()?),
            added: r.flag("added")?,
            topics: list(r, |r| Ok(r.text()?.to_owned()))?,
        },
        RecordKind::Intent => Control::Intent {
            address: r.text()?.to_owned(),
            topic: r.text()?.to_owned(),
            state: intent_state(r)?,
        },
        RecordKind::AddressBound => {
            Control::AddressBound { address: r.text()?.to_owned(), slot: PeerSlot(r.u32()?) }
        }
        RecordKind::AddressRemoved => {
            Control::AddressRemoved { address: r.text()?.to_owned(), dropped: r.u64()? }
        }
        _ => return node_control(kind, r),
    })
}

/// What a node says of itself and its log. The last to be asked: what is unknown here is no control record.
fn node_control(kind: RecordKind, r: &mut BodyReader<'_>) -> Result<Control, BodyDefect> {
    Ok(match kind {
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
        RecordKind::Openings => {
            Control::Openings(list(r, |r| Ok((Epoch(r.u64()?), r.u64()?, Lsn(r.u64()?))))?)
        }
        RecordKind::CheckpointBegin => Control::CheckpointBegin {
            slots: PeerSlot(r.u32()?),
            streams: StreamId(r.u64()?),
            dropped: r.u64()?,
        },
        RecordKind::CheckpointEnd => Control::CheckpointEnd,
        _ => return Err(BodyDefect::Value("kind")),
    })
}
