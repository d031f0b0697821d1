//! What the journals of all lives tell, and whether it is what was promised.

use std::collections::BTreeMap;
use std::path::Path;

use super::cast::{CAST, index};
use super::entry::{KEPT_EVERY, Kind};
use super::inbox::Inbox;
use super::journal;
use super::published::Published;

/// A story without a contradiction.
#[derive(Default)]
pub struct Story {
    pub acknowledged: u64,
    /// Messages that came, each counted at each subscriber.
    pub delivered: u64,
    /// Those of them that nobody handled before the end.
    pub kept: u64,
    /// Calls of handlers for messages that they had been called with before.
    pub again: u64,
}

impl Story {
    /// Journals that lack what the nodes said meanwhile, or that tell nothing, would be judged innocent.
    pub fn must_tell_all_of(&self, said: (u64, u64)) -> Result<(), String> {
        let handled = self.delivered + self.again;
        if self.acknowledged < said.0 || handled < said.1 {
            return Err(format!(
                "the journals have {} acknowledged and {handled} handled; the nodes said {said:?}",
                self.acknowledged
            ));
        }
        if self.delivered == 0 || self.kept == 0 {
            return Err(format!("nothing was shown: {} delivered, {} kept", self.delivered, self.kept));
        }
        Ok(())
    }
}

/// Reads the journals of so many lives of each node. In the last of them nothing was left to a node but what is kept.
pub fn read(directory: &Path, lives: &[u32]) -> Result<Story, String> {
    let mut story = Story::default();
    let mut published = Vec::new();
    for (part, lives) in CAST.iter().zip(lives) {
        let mut of = Published::default();
        for life in 1..=*lives {
            journal::read(directory, part.name, life, |entry| match entry.kind {
                Kind::Claimed | Kind::Acknowledged => of.note(&entry),
                Kind::Handled | Kind::Kept | Kind::Foreign => Ok(()),
            })?;
        }
        story.acknowledged += of.acknowledged();
        published.push(of);
    }
    let mut ends: BTreeMap<&str, BTreeMap<u32, u64>> = BTreeMap::new();
    for (part, lives) in CAST.iter().zip(lives) {
        for (source, came, again) in of_subscriber(directory, part.name, part.sources, *lives, &published)? {
            story.delivered += came.values().sum::<u64>();
            story.kept += came.values().map(|count| count / KEPT_EVERY).sum::<u64>();
            story.again += again;
            // One log, and every subscriber is owed the same of it.
            let before = ends.entry(source).or_insert_with(|| came.clone());
            if came.values().all(|count| *count == 0) {
                return Err(format!("{} was given nothing of {source}, so nothing was shown", part.name));
            }
            if *before != came {
                let name = part.name;
                return Err(format!("{name} has {came:?} of {source}, and another subscriber {before:?}"));
            }
        }
    }
    Ok(story)
}

type Came = (&'static str, BTreeMap<u32, u64>, u64);

fn of_subscriber(
    directory: &Path,
    name: &str,
    sources: &'static [&'static str],
    lives: u32,
    published: &[Published],
) -> Result<Vec<Came>, String> {
    let mut inboxes: BTreeMap<usize, Inbox<'_>> =
        sources.iter().map(|source| (index(source), Inbox::new(&published[index(source)]))).collect();
    for life in 1..=lives {
        inboxes.values_mut().for_each(|inbox| inbox.begin(life == lives));
        journal::read(directory, name, life, |entry| match entry.kind {
            Kind::Claimed | Kind::Acknowledged => Ok(()),
            Kind::Handled | Kind::Kept | Kind::Foreign => {
                let inbox = inboxes.get_mut(&usize::from(entry.publisher));
                let inbox = inbox.ok_or_else(|| format!("unexpected: it never asked for {entry:?}"))?;
                inbox.take(&entry).map_err(|why| format!("of {}: {why}", CAST[entry.publisher as usize].name))
            }
        })?;
    }
    let told = inboxes.into_iter().map(|(source, inbox)| {
        let source = CAST[source].name;
        let came = inbox.end().map_err(|why| format!("{name}, of {source}: {why}"))?;
        Ok((source, came, inbox.again()))
    });
    told.collect()
}
