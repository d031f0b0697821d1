//! Keys with their values, on disk.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::open::{Handle, Inner, Nothing, OpenStore, append, check_bytes, decode, encode};
use crate::bus::Error;
use crate::format::entry::Entry;
use crate::store::map::{BESIDE, MapContents};

/// A map on disk. All of it is held in memory, as JSON: some 100 bytes beside each key and value.
///
/// ```no_run
/// # async fn example() -> Result<(), resolute::Error> {
/// let visits: resolute::Map<String, u64> = resolute::Map::open("visits").await?;
/// visits.set("/index.html", &1).await?; // on stable storage when this returns
/// assert_eq!(visits.get("/index.html").await?, Some(1));
/// visits.close().await?;
/// # Ok(())
/// # }
/// ```
pub struct Map<K, V> {
    inner: Arc<Inner<MapContents>>,
    types: PhantomData<Types<K, V>>,
}

/// It has neither, and takes and gives both.
type Types<K, V> = fn(K, V) -> (K, V);

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Map<K, V> {
        Map { inner: Arc::clone(&self.inner), types: PhantomData }
    }
}

impl<K, V> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<K, V> Handle for Map<K, V> {
    type Contents = MapContents;

    fn of(inner: Arc<Inner<MapContents>>) -> Map<K, V> {
        Map { inner, types: PhantomData }
    }
}

impl<K, V> Map<K, V> {
    /// Opens the map in a directory, which is made if it is not there. See [`OpenStore`] for options.
    ///
    /// Resolves once the log is read back. Fails with [`Error::OpenStore`] if the directory is in use, damaged, or that of
    /// something else.
    pub fn open(directory: impl Into<PathBuf>) -> OpenStore<Map<K, V>> {
        OpenStore::new(directory.into())
    }

    /// How many keys there are, with changes that are still on their way to the disk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.glance(MapContents::len)
    }

    /// Whether there are none, as for [`Map::len`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all keys away. Resolves when that is on stable storage.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn purge(&self) -> Result<(), Error> {
        let body = Entry::ClearedAll.encode();
        let purge = |map: &MapContents| {
            if map.is_empty() { Err(Nothing) } else { Ok((Cow::Borrowed(&*body), ())) }
        };
        self.inner.change(false, body.len(), purge).await.map(|_| ())
    }

    /// Makes the log as small as it can be at once. It is kept small by itself; this is for backups and for the curious.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn compact(&self) -> Result<(), Error> {
        self.inner.compact().await
    }

    /// Closes the map for all its handles. Resolves when another process may open it.
    ///
    /// # Errors
    /// [`Error::Storage`] if the log failed before or during that.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.close().await
    }
}

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned> Map<K, V> {
    /// Gives a key a value. Resolves when that is on stable storage. If the future is dropped before, the key may have the value
    /// or not.
    ///
    /// # Errors
    /// [`Error::Encoding`], [`Error::EntryTooLarge`], [`Error::DiskFull`], [`Error::Storage`], [`Error::Closed`].
    pub async fn set<Q: Serialize + ?Sized>(&self, key: &Q, value: &V) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        let body = Entry::encode_set(|out| append(out, key), |out| append(out, value))?;
        check_bytes(body.len() - BESIDE)?;
        let set = |_: &MapContents| Ok::<_, Nothing>((Cow::Borrowed(&*body), ()));
        self.inner.change(true, body.len(), set).await.map(|_| ())
    }

    /// The value of a key, once it is on stable storage.
    ///
    /// # Errors
    /// [`Error::Encoding`] if what is there is of another type; [`Error::Storage`], [`Error::Closed`].
    pub async fn get<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
    {
        let key = encode(key)?;
        let look = |map: &MapContents| match map.get(&key) {
            Some(kept) => (Some(kept.value.to_vec()), Some(kept.lsn)),
            None => (None, None),
        };
        self.inner.look(look).await?.map(|value| decode(&value)).transpose()
    }

    /// Takes a key away. Resolves when that is on stable storage, and says whether there was such a key.
    ///
    /// # Errors
    /// [`Error::Encoding`], [`Error::Storage`], [`Error::Closed`].
    pub async fn clear<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<bool, Error>
    where
        K: Borrow<Q>,
    {
        let key = encode(key)?;
        let body = Entry::Cleared(&key).encode();
        let clear = |map: &MapContents| map.get(&key).map(|_| (Cow::Borrowed(&*body), ())).ok_or(Nothing);
        Ok(self.inner.change(false, body.len(), clear).await?.is_ok())
    }

    /// All keys with their values, in the order of the keys' JSON. What is changed meanwhile is seen if it lies ahead.
    #[must_use]
    pub fn entries(&self) -> Entries<K, V> {
        Entries { map: self.clone(), last: None }
    }
}

/// The entries of a [`Map`], one after the other.
#[derive(Debug)]
pub struct Entries<K, V> {
    map: Map<K, V>,
    last: Option<Vec<u8>>,
}

impl<K: DeserializeOwned, V: DeserializeOwned> Entries<K, V> {
    /// The next entry, once it is on stable storage; `None` behind the last.
    ///
    /// # Errors
    /// As [`Map::get`].
    pub async fn next(&mut self) -> Result<Option<(K, V)>, Error> {
        let last = self.last.as_deref();
        let look = |map: &MapContents| match map.next(last) {
            Some((key, kept)) => (Some((key.to_vec(), kept.value.to_vec())), Some(kept.lsn)),
            None => (None, None),
        };
        let Some((key, value)) = self.map.inner.look(look).await? else { return Ok(None) };
        let entry = (decode(&key)?, decode(&value)?);
        self.last = Some(key);
        Ok(Some(entry))
    }
}
