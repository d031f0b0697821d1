//! What the journals tell, and whether it is what was promised.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::journal;

/// A story without a contradiction.
pub struct Story {
    pub acknowledged: usize,
    pub handled: usize,
    pub redelivered: usize,
}

/// Reads the journals.
pub fn read(directory: &Path) -> Result<Story, String> {
    let acknowledged = acknowledged(directory)?;
    let mut story = Story { acknowledged: acknowledged.len(), handled: 0, redelivered: 0 };
    for name in super::victims::SUBSCRIBERS {
        let told = of_subscriber(directory, name)?;
        let lost: Vec<_> = acknowledged.iter().filter(|(number, _)| !told.ids.contains_key(number)).collect();
        if !lost.is_empty() {
            return Err(format!("{name} lost {} messages, the first of them {:?}", lost.len(), lost[0]));
        }
        for (number, id) in &acknowledged {
            if told.ids[number] != *id {
                return Err(format!(
                    "{name} had {number} as {}, and its receipt says {id}",
                    told.ids[number]
                ));
            }
        }
        story.handled += told.calls;
        story.redelivered += told.calls - told.ids.len();
    }
    Ok(story)
}

/// Numbers, and the ids that receipts gave them.
fn acknowledged(directory: &Path) -> Result<BTreeMap<u64, String>, String> {
    let mut found = BTreeMap::new();
    for words in journal::read(&journal::path(directory, "publisher")) {
        let number = words[0].parse().map_err(|_| format!("the journal says {words:?}"))?;
        if found.insert(number, words[1].clone()).is_some() {
            return Err(format!("{number} was acknowledged twice"));
        }
    }
    Ok(found)
}

struct Told {
    calls: usize,
    ids: BTreeMap<u64, String>,
}

fn of_subscriber(directory: &Path, name: &str) -> Result<Told, String> {
    let mut told = Told { calls: 0, ids: BTreeMap::new() };
    let (mut life, mut last, mut ids) = (String::new(), 0, BTreeSet::new());
    for words in journal::read(&journal::path(directory, name)) {
        let [of, number, id] = &words[..] else { return Err(format!("{name}'s journal says {words:?}")) };
        let number: u64 = number.parse().map_err(|_| format!("{name}'s journal says {words:?}"))?;
        if *of != life {
            (life, last) = (of.clone(), 0);
        }
        if number <= last {
            return Err(format!("{name}, in life {life}, was given {number} after {last}"));
        }
        last = number;
        told.calls += 1;
        match told.ids.get(&number) {
            Some(known) if known == id => {}
            Some(known) => return Err(format!("{name} has {number} twice in its inbox: {known} and {id}")),
            None if !ids.insert(id.clone()) => return Err(format!("{name}: {id} is the id of two messages")),
            None => drop(told.ids.insert(number, id.clone())),
        }
    }
    // A later life begins again at what was not marked as handled; new messages are in order over all of them.
    Ok(told)
}
