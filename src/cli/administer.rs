//! `retry`, `remove`, `requeue` and `edit`: what a node has is changed by hand.

use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::administer_arguments::{Changed, Edit, Remove, Requeue, Retry, Which};
use super::exit::{Exit, Failure};
use super::list_arguments::ListArguments;
use super::lists;
use super::output::Output;
use crate::bus::inspect::{Filter, View};
use crate::bus::{AdministerError, Administrator, Place};
use crate::limits::PAYLOAD_BYTES_MAX;

pub fn retry(arguments: &Retry) -> Result<(), Failure> {
    let changed = &arguments.changed;
    let (filter, limit) = (changed.list.filter(), changed.list.limit);
    let count = Administrator::open(&changed.list.of.dir)?.retry(arguments.place.into(), &filter, limit)?;
    report(changed, count, "retried", "to be handled again")
}

pub fn remove(arguments: &Remove) -> Result<(), Failure> {
    let (place, filter) = place_and_filter(&arguments.which)?;
    let (changed, list) = (&arguments.which.changed, &arguments.which.changed.list);
    if !arguments.yes {
        return Err(only_shown(list, &filter, place, "removed, for good")?);
    }
    let count = Administrator::open(&list.of.dir)?.remove(place, &filter, list.limit)?;
    report(changed, count, "removed", "removed")
}

pub fn requeue(arguments: &Requeue) -> Result<(), Failure> {
    let (place, filter) = place_and_filter(&arguments.which)?;
    let (changed, list) = (&arguments.which.changed, &arguments.which.changed.list);
    let count = Administrator::open(&list.of.dir)?.requeue(place, &filter, list.limit)?;
    report(changed, count, "requeued", "at the end")
}

pub fn edit(arguments: &Edit) -> Result<(), Failure> {
    let (place, filter) = place_and_filter(&arguments.which)?;
    let (changed, list) = (&arguments.which.changed, &arguments.which.changed.list);
    let payload = new_payload(arguments)?;
    if !arguments.yes {
        return Err(only_shown(list, &filter, place, "given another payload")?);
    }
    let count = Administrator::open(&list.of.dir)?.edit(place, &filter, list.limit, &payload)?;
    report(changed, count, "edited", "changed, and at the end")
}

fn new_payload(arguments: &Edit) -> Result<Vec<u8>, Failure> {
    let file: &Path = match (&arguments.payload, &arguments.payload_file) {
        (Some(text), _) => return Ok(text.clone().into_bytes()),
        (None, Some(file)) => file,
        // Invariant: the arguments ask for one of the two.
        (None, None) => unreachable!("a payload or a file is required"),
    };
    // Of more than a payload may have, only that it is more is of interest.
    let (mut payload, most) = (Vec::new(), PAYLOAD_BYTES_MAX as u64 + 1);
    let read = if file == Path::new("-") {
        std::io::stdin().take(most).read_to_end(&mut payload)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut payload))
    };
    read.map_err(|error| Failure::new(Exit::Failure, format!("cannot read {}: {error}", file.display())))?;
    Ok(payload)
}

fn place_and_filter(which: &Which) -> Result<(Place, Filter), Failure> {
    let (place, mut filter) = (Place::from(which.place), which.changed.list.filter());
    filter.destinations.clone_from(&which.destinations);
    if place != Place::Outgoing && !filter.destinations.is_empty() {
        return Err(Failure::new(Exit::Usage, "--to goes with outgoing messages only"));
    }
    Ok((place, filter))
}

/// Shows what would be changed, and says how it is done.
fn only_shown(list: &ListArguments, filter: &Filter, place: Place, done: &str) -> Result<Failure, Failure> {
    match place {
        Place::Incoming => lists::incoming(list)?,
        Place::Parked => lists::parked(list)?,
        Place::DeadLetters => lists::dead_letters(list)?,
        Place::Outgoing => lists::outgoing(list, &filter.destinations)?,
    }
    let count = count(list, filter, place)?;
    if count == 0 {
        return Err(nothing());
    }
    let text = format!("{}: repeat it with --yes to do so", sentence(count, done));
    Ok(Failure::new(Exit::Usage, text))
}

fn count(list: &ListArguments, filter: &Filter, place: Place) -> Result<u64, Failure> {
    let (view, limit) = (View::open(&list.of.dir)?, list.limit);
    let mut count = 0;
    match place {
        Place::Incoming => view.incoming(filter, limit)?.try_for_each(|one| one.map(|_| count += 1))?,
        Place::Parked => view.parked(filter, limit)?.try_for_each(|one| one.map(|_| count += 1))?,
        Place::Outgoing => view.outgoing(filter, limit)?.try_for_each(|one| one.map(|_| count += 1))?,
        Place::DeadLetters => {
            let mut last = None;
            for letter in view.dead_letters(filter, limit)? {
                let id = Some(letter?.message.id());
                count += u64::from(id != last);
                last = id;
            }
        }
    }
    Ok(count)
}

fn report(changed: &Changed, count: u64, key: &str, done: &str) -> Result<(), Failure> {
    let mut out = Output::new();
    if changed.list.of.json {
        out.json(&json!({ key: count }))?;
    } else if count > 0 {
        out.line(&sentence(count, done))?;
    }
    out.finish()?;
    if count == 0 { Err(nothing()) } else { Ok(()) }
}

fn sentence(count: u64, done: &str) -> String {
    if count == 1 { format!("1 message is {done}") } else { format!("{count} messages are {done}") }
}

fn nothing() -> Failure {
    Failure::new(Exit::NotFound, "there are no such messages")
}

impl From<AdministerError> for Failure {
    fn from(error: AdministerError) -> Failure {
        match error {
            AdministerError::Inspect(error) => error.into(),
            AdministerError::Open(error) => error.into(),
            AdministerError::UnknownPeer(_) => Failure::new(Exit::NotFound, error.to_string()),
            other => Failure::new(Exit::Failure, super::exit::chain(&other)),
        }
    }
}
