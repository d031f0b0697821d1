//! Whatever can still be read of a log that is damaged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zerocopy::IntoBytes;

use super::{InspectError, refuse_running};
use crate::bus::Envelope;
use crate::format::control::{Carried, Control};
use crate::format::message::MessageView;
use crate::format::record::{RecordKind, RecordView};
use crate::ids::{Incarnation, Lsn, LsnRange, MessageId, NodeId};
use crate::io::directory::Directory;
use crate::io::recover::{RecoverError, RecoverMode, recover};
use crate::io::salvage::{SalvageReader, Unreadable};
use crate::log::damaged_batch::{Salvaged, Source};
use crate::log::salvage::{self, DamageKind, Found, NewerFormat};

/// Who published a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// The node that the log is of.
    ThisNode,
    /// The node with this id.
    Peer(String),
    /// What said so is damaged.
    Unknown,
}

/// A message as it was written.
#[derive(Clone, Debug)]
pub struct SalvagedMessage {
    /// The number of its record in this log.
    pub record: u64,
    /// Who published it.
    pub publisher: Publisher,
    /// What names it everywhere; none if it is not known who published it.
    pub id: Option<MessageId>,
    message: Envelope,
}

impl SalvagedMessage {
    /// The topics, in the order in which the publisher named them.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.message.topics()
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.message.payload()
    }

    /// The message, if it is known what names it.
    #[must_use]
    pub fn envelope(&self) -> Option<&Envelope> {
        self.id.map(|_| &self.message)
    }

    /// All of it but its name.
    #[cfg(feature = "cli")]
    pub(crate) fn nameless(&self) -> &Envelope {
        &self.message
    }
}

/// A place of a log that is damaged, and what was lost with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The number of the segment.
    pub segment: u64,
    /// Where in its file.
    pub offset: u64,
    /// What is damaged, in words.
    pub what: String,
    /// The records that are not to be had: the first, and the one behind the last. None where nothing that a record
    /// needs was hit, or where nobody knows what was there.
    pub lost: Vec<(u64, u64)>,
}

impl Damage {
    /// Damage of which no more is known.
    pub(in crate::bus) fn at((segment, offset): (u64, u64), what: String) -> Damage {
        Damage { segment, offset, what, lost: Vec::new() }
    }

    /// What recovery says of a log on which it opens no node.
    fn refused(error: &RecoverError<NewerFormat>) -> Damage {
        let (segment, offset) = match error {
            RecoverError::Corrupt { corrupt, .. } => (corrupt.segment.0, corrupt.offset),
            _ => (0, 0),
        };
        Damage { segment, offset, what: error.to_string(), lost: Vec::new() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {}, offset {}: {}", self.segment, self.offset, self.what)?;
        for (first, end) in &self.lost {
            match end - first {
                1 => write!(f, "; record {first} is lost")?,
                _ => write!(f, "; records {first} to {} are lost", end - 1)?,
            }
        }
        Ok(())
    }
}

/// What a salvage comes upon.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A message, whole.
    Message(SalvagedMessage),
    /// Damage.
    Damage(Damage),
}

/// All messages of a log that can still be read, and all damage, in the order of the log. See [`Salvage::read`].
#[derive(Debug)]
pub struct Salvage {
    reader: Option<SalvageReader>,
    names: Names,
    found: VecDeque<Piece>,
    seen: Seen,
    /// Why a node would not be opened on the log, until some damage was told.
    refusal: Option<Damage>,
}

/// Which records were handed out, so that a copy that was carried forward is not handed out beside its original.
#[derive(Debug, Default)]
struct Seen {
    /// The first record that the log still has.
    head: Option<Lsn>,
    lost: Vec<LsnRange>,
    carried: BTreeSet<Lsn>,
}

/// Who is who, as far as the log says it. Nodes go by the lives of their logs, which are random numbers: the short names by
/// which records speak of peers are given to others in time, and what says so may be damaged.
#[derive(Clone, Debug, Default)]
struct Names {
    own: Option<(NodeId, Incarnation)>,
    nodes: BTreeMap<Incarnation, NodeId>,
}

impl Salvage {
    /// Reads what is left of the log in `directory`, twice: who is who may stand behind what they said.
    ///
    /// It gives every message that the log still holds, also those that were delivered and handled long ago. Each is
    /// as it was written; what cannot be told to be is not given, and named. Nothing is changed. Messages of an atomic batch
    /// are given all or none.
    ///
    /// # Errors
    /// [`InspectError::Running`] while a node has the log open, [`InspectError::NewerFormat`] if a later version wrote it,
    /// and files that cannot be opened.
    pub fn read(directory: &Path) -> Result<Salvage, InspectError> {
        refuse_running(directory)?;
        Salvage::of(directory)
    }

    /// The same of a directory that this process has locked, or that nobody opens.
    pub(in crate::bus) fn of(directory: &Path) -> Result<Salvage, InspectError> {
        let opened = Directory::open_read_only(directory)?;
        let mut names = Names::default();
        if let Some(mut reader) = SalvageReader::new(opened.path())? {
            let mut on_found = |found: Found<'_>| {
                if let Found::Record(record) = found {
                    names.learn(&record.record);
                }
            };
            while reader.step(&mut |_| {}, &mut on_found)? {}
            reader.finish(&mut on_found)?;
        }
        let reader = SalvageReader::new(opened.path())?;
        if reader.is_none() {
            return Err(InspectError::NoLog(directory.to_owned()));
        }
        let refusal = match recover::<NewerFormat>(opened.path(), RecoverMode::ReadOnly, &mut |_, _| Ok(())) {
            Err(error @ (RecoverError::Corrupt { .. } | RecoverError::ForeignSegment { .. })) => {
                Some(Damage::refused(&error))
            }
            _ => None,
        };
        Ok(Salvage { reader, names, found: VecDeque::new(), seen: Seen::default(), refusal })
    }

    /// Takes in what there is up to the next piece; none at the end.
    fn advance(&mut self) -> Result<(), InspectError> {
        let Salvage { reader, names, found, seen, refusal } = self;
        let Some(open) = reader else { return Ok(()) };
        let (mut blocks, mut pieces) = (Vec::new(), Vec::new());
        let mut on_found = |piece: Found<'_>| match piece {
            Found::Damage(damage) => {
                seen.lost.extend(&damage.lost);
                pieces.push(Piece::Damage(damage.into()));
            }
            Found::Record(record) => {
                names.learn(&record.record);
                pieces.extend(seen.message(&record, names).map(Piece::Message));
            }
        };
        let is_more = open.step(&mut |block| blocks.push(Piece::Damage(block.into())), &mut on_found)?;
        if !is_more && let Some(open) = reader.take() {
            open.finish(&mut on_found)?;
        }
        found.extend(blocks);
        found.extend(pieces);
        if found.iter().any(|piece| matches!(piece, Piece::Damage(_))) {
            *refusal = None;
        } else if reader.is_none() {
            found.extend(refusal.take().map(Piece::Damage));
        }
        Ok(())
    }
}

impl Iterator for Salvage {
    type Item = Result<Piece, InspectError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.found.is_empty() && self.reader.is_some() {
            if let Err(error) = self.advance() {
                self.reader = None;
                return Some(Err(error));
            }
        }
        self.found.pop_front().map(Ok)
    }
}

impl Names {
    /// Takes in what a record says.
    fn learn(&mut self, record: &RecordView<'_>) {
        if !matches!(record.kind, RecordKind::Node | RecordKind::Peer) {
            return;
        }
        let (node, incarnation) = match Control::decode(record.kind, record.body) {
            Ok(Control::Node { id, incarnation, .. }) => {
                self.own = Some((id, incarnation));
                (id, incarnation)
            }
            Ok(Control::Peer(peer)) => (peer.node, peer.incarnation),
            _ => return,
        };
        self.nodes.insert(incarnation, node);
    }

    fn publisher(&self, incarnation: Option<Incarnation>) -> (Publisher, Option<NodeId>) {
        let node = incarnation.and_then(|incarnation| self.nodes.get(&incarnation)).copied();
        let own = self.own.map(|(id, _)| id);
        match node {
            Some(node) if Some(node) == own => (Publisher::ThisNode, Some(node)),
            Some(node) => (Publisher::Peer(node.to_string()), Some(node)),
            None => (Publisher::Unknown, None),
        }
    }
}

impl Seen {
    /// The message in a record, if there is one that was not given out before.
    fn message(&mut self, found: &Salvaged<'_>, names: &Names) -> Option<SalvagedMessage> {
        let head = *self.head.get_or_insert(found.lsn);
        let incarnation = match found.source {
            Source::Own => names.own.map(|(_, incarnation)| incarnation),
            Source::Run(run) => Some(run.incarnation),
            Source::Unknown => None,
        };
        match found.record.kind {
            RecordKind::Message => {
                let record = [found.record.header.as_bytes(), found.record.body].concat();
                salvaged(found.lsn, record.into(), incarnation, names)
            }
            RecordKind::Carried => {
                let carried = Carried::decode(found.record.body).ok()?;
                let is_lost = |lost: &LsnRange| lost.first <= carried.lsn && carried.lsn < lost.end();
                let is_gone = carried.lsn < head || self.lost.iter().any(is_lost);
                let record = Bytes::copy_from_slice(carried.record);
                let is_new = is_gone && self.carried.insert(carried.lsn);
                is_new.then(|| salvaged(carried.lsn, record, Some(carried.incarnation), names))?
            }
            _ => None,
        }
    }
}

fn salvaged(
    record: Lsn,
    bytes: Bytes,
    incarnation: Option<Incarnation>,
    names: &Names,
) -> Option<SalvagedMessage> {
    let view = RecordView::parse_verified(&bytes).ok()?;
    MessageView::parse(view.body).ok()?;
    let (publisher, node) = names.publisher(incarnation);
    let lsn = view.lsn();
    let id = node.zip(incarnation).map(|(node, incarnation)| MessageId { node, incarnation, lsn });
    let nameless = MessageId { node: NodeId::default(), incarnation: Incarnation::default(), lsn };
    let message = Envelope::new(bytes, id.unwrap_or(nameless), 1);
    Some(SalvagedMessage { record: record.0, publisher, id, message })
}

impl From<salvage::Damage> for Damage {
    fn from(damage: salvage::Damage) -> Damage {
        let what = match damage.kind {
            DamageKind::Batch => "a batch is damaged",
            DamageKind::Gone => "batches are gone",
            DamageKind::Missing => "the segment's file is missing",
            DamageKind::Misfit => "a batch does not follow the one before it",
            DamageKind::Misnamed => "the file begins with a batch of another segment than its name says",
            DamageKind::Foreign => "the file belongs to another log",
        };
        Damage {
            segment: damage.segment.0,
            offset: damage.offset,
            what: what.to_owned(),
            lost: damage.lost.iter().map(|range| (range.first.0, range.end().0)).collect(),
        }
    }
}

impl From<Unreadable> for Damage {
    fn from(block: Unreadable) -> Damage {
        let what = format!("the disk does not give back a block: {}", block.source);
        Damage { segment: block.segment.0, offset: block.offset, what, lost: Vec::new() }
    }
}
