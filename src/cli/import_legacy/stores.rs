//! A map or a queue of the ancestor's, in a file of its own.

use std::collections::HashMap;
use std::path::Path;

use futures_util::future::join_all;
use serde_json::json;
use serde_json::value::RawValue;

use super::source::{Complaints, Source};
use super::standing::{Found, Standing};
use crate::bus::Error;
use crate::cli::exit::{Failure, chain};
use crate::cli::import::intake::Counts;
use crate::cli::import::ledger::{Key, Ledger};
use crate::cli::import::{as_json, sentence, warn_of_doubles};
use crate::cli::output::{Output, say};
use crate::cli::runtime::block_on;
use crate::cli::transfer_arguments::ImportLegacy;
use crate::limits::ENTRY_BYTES_MAX;
use crate::stores::legacy;
use crate::stores::{Map, Queue};

/// What becomes durable together.
const AT_ONCE: usize = 256;

type AnyMap = Map<String, Box<RawValue>>;
type AnyQueue = Queue<Box<RawValue>>;

/// An item, and by what it is known.
pub type Named<'a> = (Key, legacy::Item<'a>);

pub fn queue(arguments: &ImportLegacy, source: &Source) -> Result<(), Failure> {
    let read = legacy::Queue::read(&source.bytes);
    let mut complaints = Complaints::default();
    complaints.damaged(source, &read.damage);
    if read.perhaps_gone > 0 {
        say(&format!(
            "for what is damaged, up to {} of the items may have been dequeued before",
            read.perhaps_gone
        ));
    }
    let items = named(&read, source, &mut complaints);
    let dir = &arguments.dir;
    let counts = if arguments.how.check {
        let ledger = Ledger::read(dir)?;
        let there = items.iter().filter(|(key, _)| !arguments.how.again && ledger.has(*key)).count();
        counts_of(items.len() - there, there)
    } else {
        block_on(async {
            let queue: AnyQueue = Queue::open(dir).await?;
            let outcome = enqueue(&queue, dir, &items, arguments.how.again).await;
            queue.close().await?;
            outcome
        })?
    };
    report(arguments, counts, "item", 0, complaints)
}

/// Items by what they are and, of those that are the same, which of them it is.
fn named<'a>(read: &legacy::Queue<'a>, source: &Source, complaints: &mut Complaints) -> Vec<Named<'a>> {
    let (mut same, mut items) = (HashMap::new(), Vec::new());
    for item in &read.items {
        let bytes = item.value.len();
        if bytes > ENTRY_BYTES_MAX {
            complaints.refused(
                source,
                item.offset,
                &chain(&Error::EntryTooLarge { bytes, max: ENTRY_BYTES_MAX }),
            );
            continue;
        }
        let nth = same.entry(item.value).or_insert(0_u64);
        *nth += 1;
        items.push((Key::of(&[b"item", item.value.as_bytes(), &nth.to_le_bytes()]), *item));
    }
    items
}

async fn enqueue(queue: &AnyQueue, dir: &Path, items: &[Named<'_>], again: bool) -> Result<Counts, Failure> {
    let mut ledger = Ledger::read(dir)?;
    let mut standing = standing(queue).await?;
    let found = Found::of(&ledger, items, &standing);
    if !found.there.is_empty() {
        ledger.begin(0, &found.there)?;
        ledger.end(&found.there)?;
    }
    let is_new = |(key, _): &&Named<'_>| again || !ledger.has(*key);
    let new: Vec<&Named<'_>> = items.iter().filter(is_new).collect();
    let mut counts = counts_of(new.len(), items.len() - new.len());
    counts.perhaps_twice = new.iter().filter(|(key, _)| found.doubtful.contains(key)).count() as u64;
    for some in new.chunks(AT_ONCE) {
        let keys: Vec<Key> = some.iter().map(|(key, _)| *key).collect();
        let values: Vec<Box<RawValue>> =
            some.iter().map(|(_, item)| raw(item.value)).collect::<Result<_, _>>()?;
        ledger.begin(standing.mark(), &keys)?;
        queue.enqueue_all(values).await?;
        ledger.end(&keys)?;
        some.iter().for_each(|(_, item)| standing.push(item.value));
    }
    Ok(counts)
}

async fn standing(queue: &AnyQueue) -> Result<Standing, Failure> {
    let (mut standing, mut all) = (Standing::default(), queue.items());
    while let Some(item) = all.next().await? {
        standing.push(item.value.get());
    }
    Ok(standing)
}

pub fn map(arguments: &ImportLegacy, source: &Source) -> Result<(), Failure> {
    let read = legacy::Map::read(&source.bytes);
    let mut complaints = Complaints::default();
    complaints.damaged(source, &read.damage);
    let dir = &arguments.dir;
    let (counts, others) = if arguments.how.check {
        let ledger = Ledger::read(dir)?;
        let there = |entry: &&legacy::Entry<'_>| !arguments.how.again && ledger.has(key_of(entry));
        let there = read.entries.iter().filter(there).count();
        (counts_of(read.entries.len() - there, there), 0)
    } else {
        block_on(async {
            let map: AnyMap = Map::open(dir).await?;
            let outcome = set(&map, dir, &read.entries, arguments.how.again, source, &mut complaints).await;
            map.close().await?;
            outcome
        })?
    };
    report(arguments, counts, "key", others, complaints)
}

/// Gives keys their values, but for those that have one: a service may have gone on with it. Says of how many that is another.
async fn set(
    map: &AnyMap,
    dir: &Path,
    entries: &[legacy::Entry<'_>],
    again: bool,
    source: &Source,
    complaints: &mut Complaints,
) -> Result<(Counts, u64), Failure> {
    let mut ledger = Ledger::read(dir)?;
    let (mut counts, mut others) = (Counts::default(), 0);
    for some in entries.chunks(AT_ONCE) {
        let mut new = Vec::new();
        for entry in some {
            let there = if again { None } else { map.get(entry.key).await? };
            match there {
                Some(value) => {
                    counts.already_there += 1;
                    others += u64::from(value.get() != entry.value);
                }
                None if !again && ledger.has(key_of(entry)) => counts.already_there += 1,
                None => new.push((entry, raw(entry.value)?)),
            }
        }
        let keys: Vec<Key> = new.iter().map(|(entry, _)| key_of(entry)).collect();
        if keys.is_empty() {
            continue;
        }
        ledger.begin(0, &keys)?;
        // All of them share a flush.
        let set = join_all(new.iter().map(|(entry, value)| map.set(entry.key, value))).await;
        let mut done = Vec::new();
        for ((entry, _), set) in new.iter().zip(set) {
            match set {
                Ok(()) => done.push(key_of(entry)),
                Err(error @ Error::EntryTooLarge { .. }) => {
                    complaints.refused(source, entry.offset, &chain(&error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        counts.imported += done.len() as u64;
        // What was refused is not there, and is looked at again the next time.
        if done.len() < keys.len() && !done.is_empty() {
            ledger.begin(0, &done)?;
        }
        if !done.is_empty() {
            ledger.end(&done)?;
        }
    }
    Ok((counts, others))
}

fn key_of(entry: &legacy::Entry<'_>) -> Key {
    Key::of(&[b"entry", entry.key.as_bytes(), entry.value.as_bytes()])
}

fn raw(value: &str) -> Result<Box<RawValue>, Failure> {
    RawValue::from_string(value.to_owned()).map_err(|error| Failure::io("read JSON", &error.into()))
}

fn counts_of(imported: usize, already_there: usize) -> Counts {
    Counts { imported: imported as u64, already_there: already_there as u64, perhaps_twice: 0 }
}

fn report(
    arguments: &ImportLegacy,
    counts: Counts,
    noun: &str,
    others: u64,
    complaints: Complaints,
) -> Result<(), Failure> {
    let mut out = Output::new();
    if arguments.how.json {
        let more = json!({
            "other_values": others,
            "refused": complaints.refused,
            "damaged": complaints.damaged,
        });
        out.json(&as_json(counts, &arguments.how, more))?;
    } else {
        out.line(&sentence(counts, arguments.how.check, noun))?;
        if others > 0 {
            out.line(&format!("{others} keys have other values by now, and keep them: --again sets them to what the file says"))?;
        }
    }
    out.finish()?;
    warn_of_doubles(counts);
    complaints.verdict()
}
