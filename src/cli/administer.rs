//! `retry` and `remove`: what a node has is changed by hand.

use serde_json::json;

use super::administer_arguments::{Changed, Remove, Retry};
use super::exit::{Exit, Failure};
use super::list_arguments::ListArguments;
use super::lists;
use super::output::Output;
use crate::bus::inspect::{Filter, View};
use crate::bus::{AdministerError, Administrator, Place};

pub fn retry(arguments: &Retry) -> Result<(), Failure> {
    let changed = &arguments.changed;
    let (filter, limit) = (changed.list.filter(), changed.list.limit);
    let count = Administrator::open(&changed.list.of.dir)?.retry(arguments.place.into(), &filter, limit)?;
    report(changed, count, "retried", "to be handled again")
}

pub fn remove(arguments: &Remove) -> Result<(), Failure> {
    let (changed, place) = (&arguments.changed, Place::from(arguments.place));
    let (list, mut filter) = (&changed.list, changed.list.filter());
    filter.destinations.clone_from(&arguments.destinations);
    if place != Place::Outgoing && !filter.destinations.is_empty() {
        return Err(Failure::new(Exit::Usage, "--to goes with outgoing messages only"));
    }
    if !arguments.yes {
        match place {
            Place::Incoming => lists::incoming(list)?,
            Place::Parked => lists::parked(list)?,
            Place::DeadLetters => lists::dead_letters(list)?,
            Place::Outgoing => lists::outgoing(list, &filter.destinations)?,
        }
        let count = count(list, &filter, place)?;
        if count == 0 {
            return Err(nothing());
        }
        let text = format!("{}, for good: repeat it with --yes to do so", sentence(count, "removed"));
        return Err(Failure::new(Exit::Usage, text));
    }
    let count = Administrator::open(&list.of.dir)?.remove(place, &filter, list.limit)?;
    report(changed, count, "removed", "removed")
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
