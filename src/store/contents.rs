//! What a store holds, as far as its log is concerned.

use crate::format::body::BodyDefect;
use crate::format::entry::{Entry, StoreKind};
use crate::format::record::{RECORD_HEADER_BYTES, RecordDefect, RecordKind, RecordView};
use crate::ids::Lsn;

/// What a store holds. It is changed by its records alone, by those just written as by those read back.
pub trait Contents: Default + Send + 'static {
    /// What it is.
    const KIND: StoreKind;

    /// A record takes effect.
    ///
    /// # Errors
    /// The record is one of another kind of store.
    fn apply(&mut self, lsn: Lsn, entry: &Entry<'_>) -> Result<(), EntryDefect>;

    /// Whether the store still has what that record said, by that record.
    fn is_live(&self, lsn: Lsn, entry: &Entry<'_>) -> bool;

    /// Bytes of the records by which it has what it has.
    fn live_bytes(&self) -> u64;
}

/// Why a record makes no sense in a store's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryDefect {
    /// The record itself is damaged.
    #[error("record {lsn}: {defect}")]
    Record {
        /// Its number.
        lsn: Lsn,
        /// What is wrong.
        defect: RecordDefect,
    },
    /// The log is that of a node.
    #[error("this is the directory of a node, not {wanted}", wanted = .0.name())]
    NotAStore(StoreKind),
    /// The log is that of another kind of store.
    #[error("this is {found}, not {wanted}", found = .found.name(), wanted = .wanted.name())]
    OtherStore {
        /// What was to be opened.
        wanted: StoreKind,
        /// What is there.
        found: StoreKind,
    },
    /// A record of one kind of store in another.
    #[error("record {0} has no place in this kind of store")]
    Misplaced(Lsn),
    /// The body makes no sense.
    #[error("record {lsn}: {defect}")]
    Body {
        /// The record.
        lsn: Lsn,
        /// What is wrong.
        defect: BodyDefect,
    },
}

/// A record that was read back takes effect.
///
/// # Errors
/// See [`EntryDefect`].
pub fn apply_record<C: Contents>(
    contents: &mut C,
    lsn: Lsn,
    record: &RecordView<'_>,
) -> Result<(), EntryDefect> {
    if record.kind != RecordKind::Entry {
        return Err(EntryDefect::NotAStore(C::KIND));
    }
    let entry = Entry::decode(record.body).map_err(|defect| EntryDefect::Body { lsn, defect })?;
    match entry {
        Entry::Store(found) if found == C::KIND => Ok(()),
        Entry::Store(found) => Err(EntryDefect::OtherStore { wanted: C::KIND, found }),
        entry => contents.apply(lsn, &entry),
    }
}

/// Bytes of the record of an entry whose body has so many.
pub(super) fn record_bytes(body_bytes: usize) -> u64 {
    (RECORD_HEADER_BYTES + body_bytes) as u64
}
