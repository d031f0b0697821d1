//! What maps and queues have in common: being opened, changed, looked at and closed.

use std::borrow::Cow;
use std::future::{IntoFuture, poll_fn};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::bus::{Ending, Error, OptionOutOfRange};
use crate::ids::Lsn;
use crate::io::store::open::{Store, StoreOptions, open};
use crate::io::store::shared::{NotTaken, StoreMail, StoreShared};
use crate::limits::{
    BLOCK_BYTES, ENTRY_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, STORE_SEGMENT_BYTES_DEFAULT,
};
use crate::store::contents::Contents;

/// A store that is about to be opened, with its options: `await` opens it.
#[must_use = "nothing happens before it is awaited"]
#[derive(Debug)]
pub struct OpenStore<S> {
    options: StoreOptions,
    store: PhantomData<fn() -> S>,
}

impl<S> OpenStore<S> {
    pub(super) fn new(directory: PathBuf) -> OpenStore<S> {
        let options = StoreOptions { directory, segment_bytes: STORE_SEGMENT_BYTES_DEFAULT };
        OpenStore { options, store: PhantomData }
    }

    /// Bytes of a new segment of the log: 8 MiB to 1 GiB, a multiple of 4 KiB. Default: 8 MiB. The log may be so much larger for
    /// each of the segments that are kept ready.
    pub fn segment_bytes(mut self, bytes: u64) -> OpenStore<S> {
        self.options.segment_bytes = bytes;
        self
    }

    fn check(&self) -> Result<(), OptionOutOfRange> {
        let bytes = self.options.segment_bytes;
        let odd = |range: String| {
            Err(OptionOutOfRange { option: "segment_bytes", value: bytes.to_string(), range })
        };
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
            return odd(format!("{SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}"));
        }
        if !bytes.is_multiple_of(BLOCK_BYTES as u64) {
            return odd("a multiple of 4096".to_owned());
        }
        Ok(())
    }
}

/// What can be opened as a store.
pub(super) trait Handle: Sized {
    type Contents: Contents;

    fn of(inner: Arc<Inner<Self::Contents>>) -> Self;
}

impl<S: Handle + 'static> IntoFuture for OpenStore<S> {
    type Output = Result<S, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<S, Error>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.check()?;
            let store = open(self.options).await.map_err(|error| Error::OpenStore(Arc::new(error)))?;
            Ok(S::of(Arc::new(Inner::new(store))))
        })
    }
}

/// An open store, which its handles share. It closes with the last of them.
#[derive(Debug)]
pub(super) struct Inner<C: Contents> {
    shared: Arc<StoreShared<C>>,
    store: Mutex<Store<C>>,
    ending: Ending,
}

impl<C: Contents> Drop for Inner<C> {
    fn drop(&mut self) {
        self.shared.post(StoreMail::Close);
    }
}

impl<C: Contents> Inner<C> {
    fn new(store: Store<C>) -> Inner<C> {
        Inner { shared: Arc::clone(&store.shared), store: Mutex::new(store), ending: Ending::new() }
    }

    /// Makes the change that `decide` says, once there is room for it, and waits until it is on stable storage. Nothing is
    /// changed if it refuses, or if the future is dropped before there was room.
    pub(super) async fn change<'a, T, N>(
        &self,
        grows: bool,
        room: usize,
        decide: impl FnMut(&C) -> Result<(Cow<'a, [u8]>, T), N>,
    ) -> Result<Result<T, N>, Error> {
        match self.stage(grows, room, decide).await? {
            Ok((lsn, answer)) => self.durable(lsn).await.map(|()| Ok(answer)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// As [`Inner::change`], but only until the change is on its way.
    pub(super) async fn stage<'a, T, N>(
        &self,
        grows: bool,
        room: usize,
        mut decide: impl FnMut(&C) -> Result<(Cow<'a, [u8]>, T), N>,
    ) -> Result<Result<(Lsn, T), N>, Error> {
        // Mostly there is room at once, and nobody is to be told when there is.
        if let Ok(decided) = self.shared.change(grows, room, &mut decide) {
            return Ok(decided);
        }
        loop {
            let mut has_room = pin!(self.shared.room());
            has_room.as_mut().enable();
            match self.shared.change(grows, room, &mut decide) {
                Ok(decided) => return Ok(decided),
                Err(NotTaken::Full) => has_room.await,
                Err(NotTaken::DiskFull) => return Err(Error::DiskFull),
                Err(NotTaken::Ended) => return Err(self.ended()),
            }
        }
    }

    /// Looks at what there is. Whoever gets the answer knows that it is on stable storage: `look` says by which record it is so,
    /// or that it is so by whatever was written last.
    pub(super) async fn look<T>(&self, look: impl FnOnce(&C) -> (T, Option<Lsn>)) -> Result<T, Error> {
        let ((answer, by), last) = self.shared.look(look);
        self.durable(by.unwrap_or(last)).await?;
        Ok(answer)
    }

    /// Looks at what there is, on stable storage or on its way there.
    pub(super) fn glance<T>(&self, look: impl FnOnce(&C) -> T) -> T {
        self.shared.look(look).0
    }

    /// Waits until all up to a record is on stable storage.
    pub(super) async fn durable(&self, lsn: Lsn) -> Result<(), Error> {
        let mut asked = None;
        let durable = poll_fn(|cx| self.shared.durable.poll(lsn, &mut asked, cx)).await;
        durable.map_err(|_| self.ended())
    }

    /// The store ended: closed, or failed.
    fn ended(&self) -> Error {
        self.shared.failure().map_or(Error::Closed, |cause| Error::Storage { cause })
    }

    /// Resolves once all of the log is looked through but the segment that is written.
    pub(super) async fn compact(&self) -> Result<(), Error> {
        let (done, compacted) = oneshot::channel();
        self.shared.post(StoreMail::Compact(done));
        compacted.await.map_err(|_| self.ended())
    }

    pub(super) async fn close(&self) -> Result<(), Error> {
        let thread = self.store.lock().unwrap_or_else(PoisonError::into_inner).close();
        self.ending.wait(thread).await;
        match self.shared.failure() {
            Some(cause) => Err(Error::Storage { cause }),
            None => Ok(()),
        }
    }
}

/// There is nothing to change.
pub(super) struct Nothing;

/// How something is written in a store.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(128);
    append(&mut out, value)?;
    Ok(out)
}

/// Writes something behind what is there already.
pub(super) fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), Error> {
    serde_json::to_writer(out, value).map_err(|error| Error::Encoding(Arc::new(error)))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Encoding(Arc::new(error)))
}

/// An entry has its bounds.
pub(super) fn check_bytes(bytes: usize) -> Result<(), Error> {
    if bytes > ENTRY_BYTES_MAX {
        return Err(Error::EntryTooLarge { bytes, max: ENTRY_BYTES_MAX });
    }
    Ok(())
}
