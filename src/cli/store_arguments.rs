//! The arguments of `map` and `queue`, with their help.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::exit::CODES;

/// What is done with a map. Keys and values are JSON; what is not JSON is taken as text.
#[derive(Debug, Subcommand)]
pub enum MapCommand {
    /// Writes each key with its value as one line of JSON, in the order of the keys.
    #[command(after_help = CODES)]
    Cat(StoreDirectory),
    /// Shows all keys with their values as a table.
    #[command(after_help = CODES)]
    Print(StoreDirectory),
    /// Writes the value of a key; code 3 if there is no such key.
    #[command(after_help = CODES)]
    Get(MapKey),
    /// Gives a key a value. The map is made if it is not there.
    #[command(after_help = CODES)]
    Set(MapEntry),
    /// Takes a key away; code 3 if there is no such key.
    #[command(after_help = CODES)]
    Clear(MapKey),
    /// Takes all keys away.
    #[command(after_help = CODES)]
    Purge(Destroy),
    /// Makes the log as small as it can be; it is kept small by itself while a service has the map open.
    #[command(after_help = CODES)]
    Compact(StoreDirectory),
}

/// What is done with a queue. Items are JSON; what is not JSON is taken as text.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Writes each item as one line of JSON, from the front on.
    #[command(after_help = CODES)]
    Cat(StoreDirectory),
    /// Writes some items as lines of JSON; they stay.
    #[command(after_help = CODES)]
    Peek(QueuePeek),
    /// Removes some items.
    #[command(after_help = CODES)]
    Rm(QueueRemove),
    /// Puts an item in the middle.
    #[command(after_help = CODES)]
    Insert(QueueInsert),
    /// Puts an item, or each line of standard input, at the back. The queue is made if it is not there.
    #[command(after_help = CODES)]
    Enqueue(QueueItem),
    /// Takes the first item and writes it as a line of JSON; code 3 if there is none.
    #[command(after_help = CODES)]
    Dequeue(StoreDirectory),
    /// Removes all items.
    #[command(after_help = CODES)]
    Purge(Destroy),
    /// Makes the log as small as it can be; it is kept small by itself while a service has the queue open.
    #[command(after_help = CODES)]
    Compact(StoreDirectory),
}

#[derive(Debug, Args)]
pub struct StoreDirectory {
    /// The directory of the map or queue. No other process may have it open.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct MapKey {
    #[command(flatten)]
    pub store: StoreDirectory,
    /// The key: JSON, or else a text.
    pub key: String,
}

#[derive(Debug, Args)]
pub struct MapEntry {
    #[command(flatten)]
    pub at: MapKey,
    /// The value: JSON, or else a text.
    pub value: String,
}

/// Something that cannot be undone.
#[derive(Debug, Args)]
pub struct Destroy {
    #[command(flatten)]
    pub store: StoreDirectory,
    /// Does it. Without this, it is only said what would be done.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct QueuePeek {
    #[command(flatten)]
    pub store: StoreDirectory,
    /// Which, counted from 0: N..M without M, N.. to the end, ..M from the front, or N alone.
    #[arg(value_name = "N..M", default_value = "0")]
    pub range: ItemRange,
}

#[derive(Debug, Args)]
pub struct QueueRemove {
    #[command(flatten)]
    pub store: StoreDirectory,
    /// Which, counted from 0: N..M without M, N.. to the end, ..M from the front, or N alone.
    #[arg(value_name = "N..M")]
    pub range: ItemRange,
    /// Does it. Without this, it is only said what would be done.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct QueueInsert {
    #[command(flatten)]
    pub store: StoreDirectory,
    /// How many items are then before it.
    pub index: usize,
    /// The item: JSON, or else a text.
    pub item: String,
}

#[derive(Debug, Args)]
pub struct QueueItem {
    #[command(flatten)]
    pub store: StoreDirectory,
    /// The item: JSON, or else a text. If not given, each line of standard input is one.
    pub item: Option<String>,
}

/// Some items, counted from the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRange(pub Range<usize>);

impl FromStr for ItemRange {
    type Err = String;

    fn from_str(text: &str) -> Result<ItemRange, String> {
        let number = |text: &str, default| match text {
            "" => Ok(default),
            text => text.parse::<usize>().map_err(|_| format!("{text:?} is no number of an item")),
        };
        let range = match text.split_once("..") {
            Some((first, end)) => number(first, 0)?..number(end, usize::MAX)?,
            None if text.is_empty() => return Err("a range is written N..M".to_owned()),
            None => number(text, 0).map(|first| first..first.saturating_add(1))?,
        };
        if range.start < range.end { Ok(ItemRange(range)) } else { Err(format!("{text} is empty")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_in_four_ways() {
        let range = |text: &str| text.parse::<ItemRange>().map(|range| range.0);
        assert_eq!(range("2..5"), Ok(2..5));
        assert_eq!(range("2.."), Ok(2..usize::MAX));
        assert_eq!(range("..5"), Ok(0..5));
        assert_eq!((range(".."), range("7")), (Ok(0..usize::MAX), Ok(7..8)));
        for odd in ["", "a", "5..5", "5..2", "1..b", "-1"] {
            assert!(range(odd).is_err(), "{odd}");
        }
    }
}
