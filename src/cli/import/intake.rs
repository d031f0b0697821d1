//! Messages on their way into a node, each once.

use std::collections::HashSet;
use std::path::Path;
use std::time::SystemTime;

use super::ledger::{Key, Ledger};
use crate::bus::inspect::{Filter, InspectError, View};
use crate::bus::{Envelope, Error, ErrorClass, Import, Importer, Message};
use crate::cli::exit::Failure;

/// The header that names what a message was where it comes from: its id there.
pub const ORIGIN: &str = "resolute-imported-from";

/// Messages that become durable together: at most so many, and about so many bytes.
const MESSAGES_PER_SECTION: usize = 512;
const BYTES_PER_SECTION: usize = 256 << 10;

/// A message from elsewhere.
#[derive(Debug)]
pub struct Incoming {
    /// What it is called there.
    pub origin: Option<String>,
    /// The address that it is owed to; none if it is for this node itself.
    pub to: Option<String>,
    pub topics: Vec<String>,
    pub message: Message,
    /// Now, if it is not known.
    pub published_at: Option<SystemTime>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub imported: u64,
    pub already_there: u64,
    /// Imported, though an interrupted import may have done so, and the node had time to deliver it.
    pub perhaps_twice: u64,
}

/// See the module.
pub struct Intake {
    ledger: Ledger,
    /// None if nothing is to be changed.
    importer: Option<Importer>,
    epoch: u64,
    /// What the node has.
    present: HashSet<Key>,
    /// The same, whoever it is owed to: a destination may go by another of its names there.
    anywhere: HashSet<Key>,
    /// What was begun once, when the node was opened by others since, and is not there.
    doubtful: HashSet<Key>,
    /// What was taken in this time, or is about to be.
    taken: HashSet<Key>,
    section: Vec<(Key, Import)>,
    bytes: usize,
    /// Whether it does not matter what was imported before.
    again: bool,
    counts: Counts,
}

impl Intake {
    /// Opens the node in a directory for it; only looks at it if that is all that is wanted. Blocks, and not where async code runs.
    pub fn open(directory: &Path, only_looks: bool, again: bool) -> Result<Intake, Failure> {
        let (mut present, mut anywhere) = (HashSet::new(), HashSet::new());
        let mut see = |message: &Envelope, to: Option<&str>| {
            let origin = origin_of(message);
            present.insert(key_of(&origin, to));
            anywhere.insert(key_of(&origin, None));
        };
        let importer = if only_looks {
            look(directory, &mut see)?;
            None
        } else {
            let importer = Importer::open(directory)?;
            importer.each(&mut see)?;
            Some(importer)
        };
        let ledger = Ledger::read(directory)?;
        Ok(Intake {
            ledger,
            importer,
            epoch: 0,
            present,
            anywhere,
            doubtful: HashSet::new(),
            taken: HashSet::new(),
            section: Vec::new(),
            bytes: 0,
            again,
            counts: Counts::default(),
        })
    }

    /// Looks what became of what an earlier import had begun.
    pub async fn settle(&mut self) -> Result<(), Failure> {
        let Some(importer) = &self.importer else { return Ok(()) };
        self.epoch = importer.bus().status().await?.epoch;
        let open = self.ledger.open();
        let there: Vec<Key> =
            open.iter().map(|(key, _)| *key).filter(|key| self.present.contains(key)).collect();
        // If the next who opened it does so now, nobody took anything out of it meanwhile.
        let doubtful =
            open.iter().filter(|(key, epoch)| epoch + 1 < self.epoch && !self.present.contains(key));
        self.doubtful = doubtful.map(|(key, _)| *key).collect();
        if !there.is_empty() {
            self.ledger.begin(self.epoch, &there)?;
            self.ledger.end(&there)?;
        }
        Ok(())
    }

    /// Has the node want topics of the node at an address, or want them no longer, unless that was done before. Says whether it was
    /// done now; a wish that cannot be is an error of the first kind.
    pub async fn wish(
        &mut self,
        origin: &str,
        address: &str,
        topics: &[String],
        is_wanted: bool,
    ) -> Result<Result<bool, Error>, Failure> {
        let key = Key::of(&[b"wish", origin.as_bytes(), address.as_bytes()]);
        if !self.again && self.ledger.has(key) || !self.taken.insert(key) {
            return Ok(Ok(false));
        }
        let Some(importer) = &self.importer else { return Ok(Ok(true)) };
        let bus = importer.bus();
        // It is the same however often it is said, so that it may be said again if this is interrupted.
        let said = if is_wanted {
            bus.subscribe(address, topics).await
        } else {
            bus.unsubscribe(address, topics).await
        };
        match said {
            Ok(_) => {
                self.ledger.begin(self.epoch, &[key])?;
                self.ledger.end(&[key])?;
                Ok(Ok(true))
            }
            Err(error) if error.class() == ErrorClass::Invalid => Ok(Err(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the node can be reached, if that is known.
    pub async fn address(&self) -> Result<Option<String>, Failure> {
        let Some(importer) = &self.importer else { return Ok(None) };
        Ok(Some(importer.bus().status().await?.address).filter(|address| !address.is_empty()))
    }

    /// Takes a message in, unless it was taken in before. It is on the disk once the next call of [`Intake::flush`] returns. What
    /// cannot be a message is an error of the first kind, and changes nothing.
    pub async fn take(
        &mut self,
        from: Incoming,
        nameless: &dyn Fn() -> Key,
    ) -> Result<Result<(), Error>, Failure> {
        let Incoming { origin, to, topics, message, published_at } = from;
        // What has no name gets one, by which it is known if this is interrupted before it is written down as done.
        let origin = origin.unwrap_or_else(|| format!("line:{}", nameless()));
        let key = key_of(&origin, to.as_deref());
        let message = message.header(ORIGIN, origin.as_bytes());
        let import = match Import::new(&topics, message, to.as_deref(), published_at) {
            Ok(import) => import,
            Err(error) => return Ok(Err(error)),
        };
        let was_there = !self.again && (self.present.contains(&key) || self.ledger.has(key));
        if was_there || !self.taken.insert(key) {
            self.counts.already_there += 1;
            return Ok(Ok(()));
        }
        let was_begun = self.ledger.open().iter().any(|(begun, _)| *begun == key);
        if was_begun && self.anywhere.contains(&key_of(&origin, None)) {
            self.doubtful.insert(key);
        }
        let bytes = import.bytes();
        if self.section.len() >= MESSAGES_PER_SECTION || self.bytes + bytes > BYTES_PER_SECTION {
            self.flush().await?;
        }
        self.bytes += bytes;
        self.section.push((key, import));
        Ok(Ok(()))
    }

    /// Brings what was taken to the disk.
    pub async fn flush(&mut self) -> Result<(), Failure> {
        let (keys, imports): (Vec<Key>, Vec<Import>) = std::mem::take(&mut self.section).into_iter().unzip();
        self.bytes = 0;
        if let Some(importer) = self.importer.as_ref().filter(|_| !keys.is_empty()) {
            self.ledger.begin(self.epoch, &keys)?;
            importer.commit(imports).await?;
            self.ledger.end(&keys)?;
        }
        self.counts.imported += keys.len() as u64;
        self.counts.perhaps_twice += keys.iter().filter(|key| self.doubtful.contains(key)).count() as u64;
        Ok(())
    }

    /// What is on the disk of it, or would be.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Gives the node back.
    pub async fn close(self) -> Result<(), Failure> {
        match self.importer {
            Some(importer) => Ok(importer.bus().close().await?),
            None => Ok(()),
        }
    }
}

/// What names a message wherever it is taken to.
fn origin_of(message: &Envelope) -> String {
    let origin = message.value_of(ORIGIN).and_then(|origin| std::str::from_utf8(origin).ok());
    origin.map_or_else(|| message.id().to_string(), str::to_owned)
}

fn key_of(origin: &str, to: Option<&str>) -> Key {
    Key::of(&[b"message", origin.as_bytes(), to.unwrap_or_default().as_bytes()])
}

/// Shows what the node of a directory has, whether or not it is open. There may be none yet.
fn look(directory: &Path, see: &mut impl FnMut(&Envelope, Option<&str>)) -> Result<(), Failure> {
    let view = match View::open(directory) {
        Err(InspectError::NoDirectory(_) | InspectError::NoLog(_)) => return Ok(()),
        view => view?,
    };
    let all = Filter::default();
    for waiting in view.incoming(&all, None)?.chain(view.parked(&all, None)?) {
        see(&waiting?.message, None);
    }
    for dead in view.dead_letters(&all, None)? {
        see(&dead?.message, None);
    }
    for owed in view.outgoing(&all, None)? {
        let owed = owed?;
        see(&owed.message, Some(&owed.address));
    }
    Ok(())
}
