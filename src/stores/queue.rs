//! Items in an order, on disk.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::open::{Handle, Inner, Nothing, OpenStore, check_bytes, decode, encode};
use crate::bus::Error;
use crate::format::entry::{Entry, Place};
use crate::ids::Lsn;
use crate::store::queue::QueueContents;

/// Bytes of an item's record beside the item: which entry it is, and its place.
const BESIDE: usize = 17;

/// A queue on disk. All of it is held in memory, as JSON: some 100 bytes beside each item.
///
/// ```no_run
/// # async fn example() -> Result<(), resolute::Error> {
/// let jobs: resolute::Queue<String> = resolute::Queue::open("jobs").await?;
/// jobs.enqueue("sweep").await?; // on stable storage when this returns
/// // Removed only when the work is done: whatever dies meanwhile, the item is still there.
/// if let Some(job) = jobs.peek().await? {
///     println!("{}", job.value);
///     jobs.remove(&job).await?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Queue<T> {
    inner: Arc<Inner<QueueContents>>,
    types: PhantomData<fn(T) -> T>,
}

/// An item of a [`Queue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<T> {
    /// The item.
    pub value: T,
    place: Place,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue { inner: Arc::clone(&self.inner), types: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T> Handle for Queue<T> {
    type Contents = QueueContents;

    fn of(inner: Arc<Inner<QueueContents>>) -> Queue<T> {
        Queue { inner, types: PhantomData }
    }
}

impl<T> Queue<T> {
    /// Opens the queue in a directory, which is made if it is not there. See [`OpenStore`] for options.
    ///
    /// Resolves once the log is read back. Fails with [`Error::OpenStore`] if the directory is in use, damaged, or that of
    /// something else.
    pub fn open(directory: impl Into<PathBuf>) -> OpenStore<Queue<T>> {
        OpenStore::new(directory.into())
    }

    /// How many items there are, with changes that are still on their way to the disk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.glance(QueueContents::len)
    }

    /// Whether there are none, as for [`Queue::len`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes the items of a range, counted from 0 at the front: `..` removes all. Resolves when that is on stable storage, and
    /// says how many they were.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn remove_range(&self, range: impl RangeBounds<usize>) -> Result<usize, Error> {
        let first = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => usize::MAX,
        };
        let places = |queue: &QueueContents| {
            let last = end.min(queue.len()).checked_sub(1)?;
            Some((queue.nth(first)?, queue.nth(last)?)).filter(|(first, last)| first <= last)
        };
        let take = |queue: &QueueContents| {
            let (first, last) = places(queue).ok_or(Nothing)?;
            let body = Entry::Taken { first, last }.encode();
            Ok::<_, Nothing>((Cow::Owned(body), queue.count(first..=last)))
        };
        Ok(self.inner.change(false, 2 * BESIDE, take).await?.unwrap_or(0))
    }

    /// Removes an item wherever it stands. Resolves when that is on stable storage, and says whether it was still there.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn remove(&self, item: &Item<T>) -> Result<bool, Error> {
        let body = Entry::Taken { first: item.place, last: item.place }.encode();
        let take =
            |queue: &QueueContents| queue.get(item.place).map(|_| (Cow::Borrowed(&*body), ())).ok_or(Nothing);
        Ok(self.inner.change(false, body.len(), take).await?.is_ok())
    }

    /// Makes the log as small as it can be at once. It is kept small by itself; this is for backups and for the curious.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn compact(&self) -> Result<(), Error> {
        self.inner.compact().await
    }

    /// Closes the queue for all its handles. Resolves when another process may open it.
    ///
    /// # Errors
    /// [`Error::Storage`] if the log failed before or during that.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.close().await
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts an item at the back. Resolves when it is on stable storage. If the future is dropped before, the item may be there
    /// or not.
    ///
    /// # Errors
    /// [`Error::Encoding`], [`Error::EntryTooLarge`], [`Error::DiskFull`], [`Error::Storage`], [`Error::Closed`].
    pub async fn enqueue<Q: Serialize + ?Sized>(&self, item: &Q) -> Result<(), Error>
    where
        T: std::borrow::Borrow<Q>,
    {
        self.put(&encode(item)?, QueueContents::place_behind).await
    }

    /// Puts an item before which there are then `index` others, or at the back if there are fewer. Takes time for each of those
    /// before it.
    ///
    /// # Errors
    /// As [`Queue::enqueue`], and [`Error::NoRoomBetween`] if too many were put between the same two before: 64, if each was put
    /// right behind or right before the last.
    pub async fn insert<Q: Serialize + ?Sized>(&self, index: usize, item: &Q) -> Result<(), Error>
    where
        T: std::borrow::Borrow<Q>,
    {
        self.put(&encode(item)?, |queue| queue.place_at(index)).await
    }

    /// Puts items at the back, one behind the other, and waits once for all. Resolves when all are on stable storage. Whatever ends
    /// that before leaves the first of them, up to any.
    ///
    /// # Errors
    /// As [`Queue::enqueue`].
    pub async fn enqueue_all<Q: Serialize>(&self, items: impl IntoIterator<Item = Q>) -> Result<(), Error>
    where
        T: std::borrow::Borrow<Q>,
    {
        let mut last = Lsn(0);
        for item in items {
            last = self.stage(&encode(&item)?, QueueContents::place_behind).await?;
        }
        self.inner.durable(last).await
    }

    async fn put(&self, value: &[u8], place: impl Fn(&QueueContents) -> Option<Place>) -> Result<(), Error> {
        let lsn = self.stage(value, place).await?;
        self.inner.durable(lsn).await
    }

    async fn stage(
        &self,
        value: &[u8],
        place: impl Fn(&QueueContents) -> Option<Place>,
    ) -> Result<Lsn, Error> {
        check_bytes(value.len())?;
        let put = |queue: &QueueContents| {
            let place = place(queue).ok_or(Error::NoRoomBetween)?;
            Ok((Cow::Owned(Entry::Item { place, value }.encode()), ()))
        };
        self.inner.stage(true, BESIDE + value.len(), put).await?.map(|(lsn, ())| lsn)
    }

    /// Takes the first item, if there is one. Resolves when it is removed on stable storage: whoever dies after that and before it
    /// is done with the item has lost it. [`Queue::peek`] and [`Queue::remove`] lose none. If the future is dropped, the item may be
    /// removed or not.
    ///
    /// # Errors
    /// [`Error::Encoding`] if what is there is of another type, and then it stays; [`Error::Storage`], [`Error::Closed`].
    pub async fn dequeue(&self) -> Result<Option<T>, Error> {
        let take = |queue: &QueueContents| {
            let (place, kept) = queue.first().ok_or(None)?;
            let value = decode::<T>(&kept.value).map_err(Some)?;
            Ok::<_, Option<Error>>((Cow::Owned(Entry::Taken { first: place, last: place }.encode()), value))
        };
        match self.inner.change(false, 2 * BESIDE, take).await? {
            Ok(value) => Ok(Some(value)),
            Err(refused) => refused.map_or(Ok(None), Err),
        }
    }

    /// The first item, once it is on stable storage. It stays.
    ///
    /// # Errors
    /// [`Error::Encoding`] if what is there is of another type; [`Error::Storage`], [`Error::Closed`].
    pub async fn peek(&self) -> Result<Option<Item<T>>, Error> {
        self.items().next().await
    }

    /// All items from the front on. What is changed meanwhile is seen if it lies ahead.
    #[must_use]
    pub fn items(&self) -> Items<T> {
        Items { queue: self.clone(), last: None }
    }
}

/// The items of a [`Queue`], one after the other.
#[derive(Debug)]
pub struct Items<T> {
    queue: Queue<T>,
    last: Option<Place>,
}

impl<T: DeserializeOwned> Items<T> {
    /// The next item, once it is on stable storage; `None` behind the last.
    ///
    /// # Errors
    /// As [`Queue::peek`].
    pub async fn next(&mut self) -> Result<Option<Item<T>>, Error> {
        let last = self.last;
        let look = |queue: &QueueContents| match queue.next(last) {
            Some((place, kept)) => (Some((place, kept.value.to_vec())), Some(kept.lsn)),
            None => (None, None),
        };
        let Some((place, value)) = self.queue.inner.look(look).await? else { return Ok(None) };
        let value = decode(&value)?;
        self.last = Some(place);
        Ok(Some(Item { value, place }))
    }
}
