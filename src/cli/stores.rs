//! `map` and `queue`: stores on disk, read without opening them, and opened to be changed.

use std::io::BufRead;
use std::path::Path;

use serde_json::Value;

use super::exit::{Exit, Failure};
use super::output::{Output, Wrote, say};
use super::runtime::block_on;
use super::store_arguments::{Destroy, ItemRange, MapCommand, MapEntry, MapKey, QueueCommand};
use super::table::Rows;
use crate::stores::{Map, MapSnapshot, Queue, QueueSnapshot};

/// Items that share a flush.
const AT_ONCE: usize = 256;

type AnyMap = Map<Value, Value>;
type AnyQueue = Queue<Value>;

pub fn map(command: MapCommand) -> Result<(), Failure> {
    match command {
        MapCommand::Cat(store) => cat_map(&store.dir),
        MapCommand::Print(store) => print_map(&store.dir),
        MapCommand::Get(MapKey { store, key }) => {
            let map = MapSnapshot::read(&store.dir)?;
            let key = value_of(&key).to_string();
            let value = map.get(key.as_bytes()).ok_or_else(|| nothing("there is no such key"))?;
            lines([value])
        }
        MapCommand::Set(MapEntry { at: MapKey { store, key }, value }) => {
            with_map(&store.dir, async |map| Ok(map.set(&value_of(&key), &value_of(&value)).await?))
        }
        MapCommand::Clear(MapKey { store, key }) => {
            must_be_there(&store.dir)?;
            with_map(&store.dir, async |map| {
                let was_there = map.clear(&value_of(&key)).await?;
                if was_there { Ok(()) } else { Err(nothing("there is no such key")) }
            })
        }
        MapCommand::Purge(Destroy { store, yes }) => {
            let count = MapSnapshot::read(&store.dir)?.entries().count();
            sure(yes, &format!("{count} keys are taken away"))?;
            with_map(&store.dir, async |map| Ok(map.purge().await?))
        }
        MapCommand::Compact(store) => {
            must_be_there(&store.dir)?;
            with_map(&store.dir, async |map| Ok(map.compact().await?))
        }
    }
}

pub fn queue(command: QueueCommand) -> Result<(), Failure> {
    match command {
        QueueCommand::Cat(store) => lines(QueueSnapshot::read(&store.dir)?.items()),
        QueueCommand::Peek(peek) => {
            let (queue, ItemRange(range)) = (QueueSnapshot::read(&peek.store.dir)?, peek.range);
            lines(queue.items().skip(range.start).take(range.len()))
        }
        QueueCommand::Rm(remove) => {
            let (dir, ItemRange(range)) = (&remove.store.dir, remove.range);
            let count = QueueSnapshot::read(dir)?.items().skip(range.start).take(range.len()).count();
            if count == 0 {
                return Err(nothing("there are no such items"));
            }
            sure(remove.yes, &format!("{count} items are removed"))?;
            with_queue(dir, async |queue| Ok(queue.remove_range(range).await.map(drop)?))
        }
        QueueCommand::Insert(insert) => with_queue(&insert.store.dir, async |queue| {
            Ok(queue.insert(insert.index, &value_of(&insert.item)).await?)
        }),
        QueueCommand::Enqueue(enqueue) => with_queue(&enqueue.store.dir, async |queue| match &enqueue.item {
            Some(item) => Ok(queue.enqueue(&value_of(item)).await?),
            None => enqueue_lines(queue).await,
        }),
        QueueCommand::Dequeue(store) => {
            must_be_there(&store.dir)?;
            with_queue(&store.dir, async |queue| dequeue(queue).await)
        }
        QueueCommand::Purge(Destroy { store, yes }) => {
            let count = QueueSnapshot::read(&store.dir)?.items().count();
            sure(yes, &format!("{count} items are removed"))?;
            with_queue(&store.dir, async |queue| Ok(queue.remove_range(..).await.map(drop)?))
        }
        QueueCommand::Compact(store) => {
            must_be_there(&store.dir)?;
            with_queue(&store.dir, async |queue| Ok(queue.compact().await?))
        }
    }
}

/// JSON, or else a text.
fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn nothing(text: &str) -> Failure {
    Failure::new(Exit::NotFound, text)
}

/// Whether the user wants it, and not only to hear what it would be.
fn sure(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, format!("{what}, for good: repeat it with --yes to do so")))
}

/// What takes away makes no new store.
fn must_be_there(dir: &Path) -> Result<(), Failure> {
    if dir.is_dir() { Ok(()) } else { Err(nothing(&format!("there is no directory {}", dir.display()))) }
}

fn lines<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Failure> {
    let mut out = Output::new();
    for value in values {
        if out.line(&String::from_utf8_lossy(value))? == Wrote::NobodyReads {
            break;
        }
    }
    out.finish().map(drop)
}

fn cat_map(dir: &Path) -> Result<(), Failure> {
    let (map, mut out) = (MapSnapshot::read(dir)?, Output::new());
    for (key, value) in map.entries() {
        let [key, value] = [key, value].map(String::from_utf8_lossy);
        if out.line(&format!("{{\"key\":{key},\"value\":{value}}}"))? == Wrote::NobodyReads {
            break;
        }
    }
    out.finish().map(drop)
}

fn print_map(dir: &Path) -> Result<(), Failure> {
    let (map, mut out) = (MapSnapshot::read(dir)?, Output::new());
    let mut table = Rows::new(&["key", "value"]);
    for (key, value) in map.entries() {
        let row = [key, value].map(|text| String::from_utf8_lossy(text).into_owned()).to_vec();
        if table.push(&mut out, row)? == Wrote::NobodyReads {
            break;
        }
    }
    table.finish(&mut out, "no keys")?;
    out.finish().map(drop)
}

async fn enqueue_lines(queue: &AnyQueue) -> Result<(), Failure> {
    let mut count = 0;
    let mut lines = std::io::stdin().lock().lines();
    loop {
        let some: Result<Vec<Value>, _> =
            lines.by_ref().take(AT_ONCE).map(|line| line.map(|line| value_of(&line))).collect();
        let some = some.map_err(|error| Failure::io("read standard input", &error))?;
        if some.is_empty() {
            break;
        }
        count += some.len();
        queue.enqueue_all(some).await?;
    }
    say(&format!("{count} items"));
    Ok(())
}

/// The item is written before it is removed: what nobody got to see stays.
async fn dequeue(queue: &AnyQueue) -> Result<(), Failure> {
    let Some(item) = queue.peek().await? else { return Err(nothing("there is no item")) };
    let mut out = Output::new();
    out.json(&item.value)?;
    if out.finish()? == Wrote::Taken {
        queue.remove(&item).await?;
    }
    Ok(())
}

fn with_map(dir: &Path, change: impl AsyncFnOnce(&AnyMap) -> Result<(), Failure>) -> Result<(), Failure> {
    block_on(async {
        let map: AnyMap = Map::open(dir).await?;
        let outcome = change(&map).await;
        map.close().await?;
        outcome
    })
}

fn with_queue(dir: &Path, change: impl AsyncFnOnce(&AnyQueue) -> Result<(), Failure>) -> Result<(), Failure> {
    block_on(async {
        let queue: AnyQueue = Queue::open(dir).await?;
        let outcome = change(&queue).await;
        queue.close().await?;
        outcome
    })
}
