//! What a store writes down: the bodies of [`RecordKind::Entry`](super::record::RecordKind::Entry).

use super::body::{BodyDefect, BodyReader, BodyWriter};

/// What a log of entries is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StoreKind {
    /// Keys with their values.
    Map = 1,
    /// Items in an order.
    Queue = 2,
}

impl StoreKind {
    /// How people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            StoreKind::Map => "a map",
            StoreKind::Queue => "a queue",
        }
    }
}

/// Where an item stands in its queue: before all those of a higher place. It keeps its place as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u128);

/// One change of a store, or what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// What the store is; the first record of each segment.
    Store(StoreKind),
    /// A key has that value from now on.
    Set {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// A key is there no longer.
    Cleared(&'a [u8]),
    /// No key is there any longer.
    ClearedAll,
    /// An item stands at that place.
    Item {
        /// The place.
        place: Place,
        /// The item.
        value: &'a [u8],
    },
    /// All items from one place up to and including another are gone.
    Taken {
        /// The first place.
        first: Place,
        /// The last place.
        last: Place,
    },
}

/// Bytes that most bodies of a key and its value fit into.
const SET_BYTES_USUAL: usize = 256;

const STORE: u8 = 0;
const SET: u8 = 1;
const CLEARED: u8 = 2;
const CLEARED_ALL: u8 = 3;
const ITEM: u8 = 4;
const TAKEN: u8 = 5;

impl<'a> Entry<'a> {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = BodyWriter::new();
        match *self {
            Entry::Store(kind) => out.u8(STORE).u8(kind as u8),
            Entry::Set { key, value } => out.u8(SET).u32(key.len() as u32).bytes(key).bytes(value),
            Entry::Cleared(key) => out.u8(CLEARED).bytes(key),
            Entry::ClearedAll => out.u8(CLEARED_ALL),
            Entry::Item { place, value } => out.u8(ITEM).bytes(&place.0.to_le_bytes()).bytes(value),
            Entry::Taken { first, last } => {
                out.u8(TAKEN).bytes(&first.0.to_le_bytes()).bytes(&last.0.to_le_bytes())
            }
        };
        out.finish()
    }

    /// The body of a [`Entry::Set`], of what writes the key and then the value behind what is there: without a copy of either.
    ///
    /// # Errors
    /// Those of the writers.
    pub fn encode_set<E>(
        key: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        value: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        let mut body = Vec::with_capacity(SET_BYTES_USUAL);
        body.extend([SET, 0, 0, 0, 0]);
        let key_at = body.len();
        key(&mut body)?;
        let key_bytes = (body.len() - key_at) as u32;
        body[1..key_at].copy_from_slice(&key_bytes.to_le_bytes());
        value(&mut body)?;
        Ok(body)
    }

    /// In what kind of store it has its place.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        match self {
            Entry::Store(kind) => *kind,
            Entry::Set { .. } | Entry::Cleared(_) | Entry::ClearedAll => StoreKind::Map,
            Entry::Item { .. } | Entry::Taken { .. } => StoreKind::Queue,
        }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// See [`BodyDefect`].
    pub fn decode(body: &'a [u8]) -> Result<Entry<'a>, BodyDefect> {
        let mut reader = BodyReader::new(body);
        let entry = match reader.u8()? {
            STORE => {
                let kind = match reader.u8()? {
                    1 => StoreKind::Map,
                    2 => StoreKind::Queue,
                    _ => return Err(BodyDefect::Value("kind")),
                };
                reader.end()?;
                Entry::Store(kind)
            }
            SET => {
                let key_bytes = reader.u32()? as usize;
                Entry::Set { key: reader.bytes(key_bytes)?, value: reader.rest() }
            }
            CLEARED => Entry::Cleared(reader.rest()),
            CLEARED_ALL => {
                reader.end()?;
                Entry::ClearedAll
            }
            ITEM => Entry::Item { place: place(&mut reader)?, value: reader.rest() },
            TAKEN => {
                let (first, last) = (place(&mut reader)?, place(&mut reader)?);
                reader.end()?;
                if first > last {
                    return Err(BodyDefect::Value("last"));
                }
                Entry::Taken { first, last }
            }
            _ => return Err(BodyDefect::Value("entry")),
        };
        Ok(entry)
    }
}

fn place(reader: &mut BodyReader<'_>) -> Result<Place, BodyDefect> {
    Ok(Place(u128::from_le_bytes(reader.key()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: [Entry<'static>; 8] = [
        Entry::Store(StoreKind::Map),
        Entry::Store(StoreKind::Queue),
        Entry::Set { key: b"key", value: b"value" },
        Entry::Set { key: b"", value: b"" },
        Entry::Cleared(b"key"),
        Entry::ClearedAll,
        Entry::Item { place: Place(1 << 127), value: b"item" },
        Entry::Taken { first: Place(3), last: Place(u128::MAX) },
    ];

    #[test]
    fn what_is_written_is_read() {
        for entry in SAMPLES {
            assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused_where_that_can_be_seen() {
        assert_eq!(Entry::decode(b""), Err(BodyDefect::Truncated));
        for entry in [SAMPLES[0], SAMPLES[5], SAMPLES[7]] {
            let mut body = entry.encode();
            body.push(0);
            assert_eq!(Entry::decode(&body), Err(BodyDefect::TrailingBytes(1)), "{entry:?}");
            body.truncate(body.len() - 2);
            assert!(Entry::decode(&body).is_err(), "{entry:?}");
        }
        assert_eq!(Entry::decode(&[SET, 9, 0, 0, 0, 1]), Err(BodyDefect::Truncated));
    }

    #[test]
    fn a_set_that_is_written_piece_by_piece_is_the_same() {
        let put = |bytes: &'static [u8]| {
            move |out: &mut Vec<u8>| {
                out.extend_from_slice(bytes);
                Ok::<(), ()>(())
            }
        };
        for (key, value) in [(&b"key"[..], &b"value"[..]), (b"", b"x"), (&[7; 1000], b"")] {
            assert_eq!(Entry::encode_set(put(key), put(value)), Ok(Entry::Set { key, value }.encode()));
        }
        assert_eq!(Entry::encode_set(put(b"key"), |_| Err(())), Err(()));
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        assert_eq!(Entry::decode(&[STORE, 3]), Err(BodyDefect::Value("kind")));
        assert_eq!(Entry::decode(&[6]), Err(BodyDefect::Value("entry")));
        let backwards = Entry::Taken { first: Place(2), last: Place(1) }.encode();
        assert_eq!(Entry::decode(&backwards), Err(BodyDefect::Value("last")));
    }
}
