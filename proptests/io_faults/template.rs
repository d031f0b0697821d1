//! What lies on the disk when a trial begins.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use resolute::format::segment::segment_name;
use resolute::ids::SegmentNumber;
use resolute::limits::{BLOCK_BYTES, SEGMENT_BYTES_MIN};

use super::addresses::ABSENT;
use super::causes::chain;
use super::ledger::Ledger;
use super::node::{Node, Place, TOPIC};
use super::number::FILLING_TASK;
use super::patience::within;
use super::power::Power;
use super::stage::{ABSENT_TASK, OWED_TASK, SELF_TASK};

/// So many bytes of a segment are written before a scenario in which it becomes full.
const FILLED: u64 = SEGMENT_BYTES_MIN / 8 * 6;

/// So many topics are wanted where there is to be much state.
const TOPICS: usize = 400;

/// Of a write that was cut off, so many bytes are missing.
const MISSING: usize = 2 * BLOCK_BYTES;

/// A prepared disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Template {
    Empty,
    /// A node was opened, sent something to itself and to somebody who is absent, and was closed.
    Used,
    /// The same, and the file of the next segment is not there yet.
    WithoutNext,
    /// The segment is almost full.
    Full,
    /// And many topics are wanted.
    FullOfState,
    /// Something is owed to the peer, which it has never met.
    Owing,
    /// The last write was cut off.
    Torn,
}

impl Template {
    /// What the disk calls it.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Makes it and has it saved. Says what is known of its messages.
    pub async fn make(self, power: &mut Power, node_at: &Place, peer_at: &Place) -> Result<Ledger, String> {
        power.order("load Empty").await?;
        let ledger = Arc::new(Ledger::default());
        if self == Template::Empty {
            return Ok(Ledger::clone(&ledger));
        }
        let mut node = Node::open(node_at, &ledger).await?.map_err(|error| chain(&error))?;
        node.serve(&ledger);
        fill(&node, &ledger, ABSENT, ABSENT_TASK, 3).await?;
        fill(&node, &ledger, &node_at.address(), SELF_TASK, 2).await?;
        match self {
            Template::Owing => {
                fill(&node, &ledger, &peer_at.address(), OWED_TASK, 60).await?;
                fill(&node, &ledger, &peer_at.address(), FILLING_TASK, 8).await?;
            }
            Template::FullOfState => {
                let topics: Vec<String> = (0..TOPICS).map(|n| format!("{n:050}")).collect();
                let own = node_at.address();
                let wish = node.bus.subscribe(&own, topics);
                within("subscribing", wish).await?.map_err(|error| chain(&error))?;
            }
            _ => {}
        }
        if matches!(self, Template::Full | Template::FullOfState) {
            while node.status().await?.written_bytes < FILLED {
                fill(&node, &ledger, &node_at.address(), FILLING_TASK, 2).await?;
            }
        }
        while node.status().await?.incoming > 0 {
            tokio::task::yield_now().await;
        }
        if self != Template::WithoutNext {
            let next = segment_name(SegmentNumber(2));
            while !power.ask("names").await?.contains(&next) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        if self == Template::Torn {
            for number in ledger.begin(FILLING_TASK, 1, false) {
                let sent = node.bus.send(ABSENT, TOPIC, number.payload());
                within("sending", sent).await?.map_err(|error| chain(&error))?;
            }
            power.order("save Torn").await?;
        }
        node.close().await?.map_err(|error| chain(&error))?;
        if self == Template::Torn {
            power.restore().await?;
            power.order("load Torn").await?;
            tear(&node_at.directory).map_err(|error| error.to_string())?;
        }
        if self == Template::WithoutNext {
            remove_spares(&node_at.directory).map_err(|error| error.to_string())?;
        }
        power.order(&format!("save {}", self.name())).await?;
        Ok(Ledger::clone(&ledger))
    }
}

async fn fill(node: &Node, ledger: &Ledger, address: &str, task: u64, count: u64) -> Result<(), String> {
    for number in ledger.begin(task, count, false) {
        let sent = within("sending", node.bus.send(address, TOPIC, number.payload())).await?;
        let id = sent.map_err(|error| chain(&error))?.id.ok_or("a message to nobody")?;
        ledger.acknowledge(number, id);
    }
    Ok(())
}

/// Takes the end off the last batch.
fn tear(directory: &Path) -> std::io::Result<()> {
    let path = directory.join(segment_name(SegmentNumber(1)));
    let bytes = std::fs::read(&path)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let file = OpenOptions::new().write(true).open(&path)?;
    file.write_all_at(&[0; MISSING], (end - MISSING) as u64)?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

/// Removes all files of segments but the first.
fn remove_spares(directory: &Path) -> std::io::Result<()> {
    let first = directory.join(segment_name(SegmentNumber(1)));
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path != first && path.extension().is_some() {
            std::fs::remove_file(path)?;
        }
    }
    File::open(directory)?.sync_all()
}
