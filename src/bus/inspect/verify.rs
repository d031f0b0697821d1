//! A look at every byte of a log: each checksum, each link of its chain, and what each record says.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Damage, InspectError, Piece, Salvage, TornTail, refuse_running};
use crate::engine::apply::ApplyDefect;
use crate::engine::state::State;
use crate::format::batch::BatchView;
use crate::format::control::{Accepted, Carried, Control};
use crate::format::entry::Entry;
use crate::format::message::MessageView;
use crate::format::record::{RecordKind, RecordView, Records};
use crate::ids::Lsn;
use crate::io::directory::Directory;
use crate::io::node::{ReplayDefect, chunk_of};
use crate::io::recover::{RecoverError, RecoverMode, Recovered, recover, segment_files};
use crate::log::place::BatchPlace;
use crate::log::verdict::Verdict;

/// What a look at every byte of a log came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Batches that are whole.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// How many of these are messages, also those that were delivered and handled long ago.
    pub messages: u64,
    /// Bytes of these batches.
    pub bytes: u64,
    /// How the log is.
    pub soundness: Soundness,
}

/// How a log is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Soundness {
    /// Everything is whole, up to the record with which the node closed it, or up to the last that was written.
    Clean,
    /// What was written last did not arrive whole, and was never acknowledged to anyone. The next opening keeps it aside and cuts
    /// it off.
    TornTail(TornTail),
    /// Something that was durable is damaged or gone, in these places.
    Damaged(Vec<Damage>),
}

/// Counts what is whole, and sees that each record says something.
#[derive(Debug, Default)]
pub(in crate::bus) struct Counter {
    batches: u64,
    records: u64,
    messages: u64,
    bytes: u64,
    /// A map or a queue, and no node.
    is_store: bool,
}

impl Counter {
    /// The next batch, whose checksums are right.
    pub(in crate::bus) fn take(&mut self, view: &BatchView<'_>) -> Result<(), ApplyDefect> {
        self.batches += 1;
        self.bytes += u64::from(view.header.batch_bytes.get());
        for (index, record) in Records::new(view.records).enumerate() {
            let lsn = view.header.first_lsn().plus(index as u64);
            let record = record.map_err(|defect| ApplyDefect::Record { lsn, defect })?;
            self.records += 1;
            self.messages += u64::from(record.kind == RecordKind::Message);
            self.is_store |= record.kind == RecordKind::Entry;
            says_something(lsn, &record)?;
        }
        Ok(())
    }

    pub(in crate::bus) fn finish(&self, soundness: Soundness) -> Verification {
        let Counter { batches, records, messages, bytes, .. } = *self;
        Verification { batches, records, messages, bytes, soundness }
    }
}

fn says_something(lsn: Lsn, record: &RecordView<'_>) -> Result<(), ApplyDefect> {
    let said = match record.kind {
        RecordKind::Message => MessageView::parse(record.body).map(drop),
        RecordKind::Accepted => Accepted::decode(record.body).map(drop),
        RecordKind::Entry => Entry::decode(record.body).map(drop),
        RecordKind::Carried => {
            let carried = Carried::decode(record.body).map_err(|defect| ApplyDefect::Body { lsn, defect })?;
            let inner = RecordView::parse_verified(carried.record);
            return inner.map(drop).map_err(|defect| ApplyDefect::Record { lsn, defect });
        }
        kind => Control::decode(kind, record.body).map(drop),
    };
    said.map_err(|defect| ApplyDefect::Body { lsn, defect })
}

impl Verification {
    /// Reads the whole log in `directory`, of a node, a map or a queue that no process has open, and tells `progress` how many
    /// bytes of how many it has seen. Nothing is changed.
    ///
    /// # Errors
    /// [`InspectError::Running`] while a process has it open, [`InspectError::NoLog`], [`InspectError::NewerFormat`], and files
    /// that cannot be read. Damage is no error: it is what this looks for.
    pub fn of(directory: &Path, mut progress: impl FnMut(u64, u64)) -> Result<Verification, InspectError> {
        refuse_running(directory)?;
        let opened = Directory::open_read_only(directory)?;
        let read = |source| InspectError::Read { path: opened.path().to_owned(), source };
        let files = segment_files(opened.path()).map_err(read)?;
        let before = |place: BatchPlace| -> u64 {
            files.iter().take_while(|file| file.number < place.segment).map(|file| file.file_bytes).sum()
        };
        let total = files.iter().map(|file| file.file_bytes).sum();
        let (mut counter, mut state, mut applied) = (Counter::default(), State::default(), Vec::new());
        let mut at = (0, 0);
        let recovered = recover(opened.path(), RecoverMode::ReadOnly, &mut |place, view| {
            at = (place.segment.0, place.offset);
            progress(before(place) + place.end(), total);
            counter.take(view)?;
            // What the records of a node say must fit together.
            if !counter.is_store {
                applied.clear();
                state.apply_batch(place, &chunk_of(view)?, &mut applied)?;
            }
            Ok::<(), ReplayDefect>(())
        });
        // A process that opened it meanwhile changes what is being read: that is then the error, whatever else it led to.
        refuse_running(directory)?;
        match recovered {
            Ok(recovered) if recovered.tail.verdict == Verdict::Fresh => {
                Err(InspectError::NoLog(directory.to_owned()))
            }
            Ok(recovered) => Ok(counter.finish(soundness(&recovered))),
            Err(RecoverError::Apply(defect)) => {
                Ok(counter.finish(Soundness::Damaged(vec![Damage::at(at, defect.to_string())])))
            }
            Err(RecoverError::Corrupt { .. } | RecoverError::ForeignSegment { .. }) => {
                Ok(counter.finish(Soundness::Damaged(all_damage(directory)?)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether nothing that was durable is damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !matches!(self.soundness, Soundness::Damaged(_))
    }
}

fn soundness(recovered: &Recovered) -> Soundness {
    recovered.torn.as_ref().map_or(Soundness::Clean, |torn| Soundness::TornTail(TornTail::of(torn)))
}

/// Recovery stops at the first place; a salvage goes on behind it.
fn all_damage(directory: &Path) -> Result<Vec<Damage>, InspectError> {
    let mut all = Vec::new();
    for piece in Salvage::read(directory)? {
        if let Piece::Damage(damage) = piece? {
            all.push(damage);
        }
    }
    Ok(all)
}

/// Sees that batches follow each other: each names the header of the one before it.
#[derive(Debug, Default)]
pub(in crate::bus) struct Chain(Option<u32>);

impl Chain {
    /// The batches in these bytes; counts them.
    pub(in crate::bus) fn follow(&mut self, mut bytes: &[u8], counter: &mut Counter) -> Result<(), String> {
        while !bytes.is_empty() {
            let view = BatchView::parse_verified(bytes).map_err(|defect| defect.to_string())?;
            let (lsn, named): (Lsn, _) = (view.header.first_lsn(), view.header.previous_header_crc.get());
            if self.0.is_some_and(|before| before != named) {
                return Err(format!("the batch of record {lsn} does not follow the one before it"));
            }
            self.0 = Some(view.header.header_crc.get());
            counter.take(&view).map_err(|defect| defect.to_string())?;
            bytes = &bytes[view.header.batch_bytes.get() as usize..];
        }
        Ok(())
    }
}
