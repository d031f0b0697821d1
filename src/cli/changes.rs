//! `changes`: who changed what by hand.

use std::ops::ControlFlow;

use serde_json::json;

use super::arguments::Changes;
use super::exit::Failure;
use super::json::time;
use super::output::{Output, Wrote};
use super::table::{Rows, plain};
use crate::bus::Place;
use crate::bus::inspect::{ChangeByHand, Deed, View};

pub fn run(arguments: &Changes) -> Result<(), Failure> {
    let view = View::open(&arguments.of.dir)?;
    let (mut out, mut left) = (Output::new(), arguments.limit.unwrap_or(u64::MAX));
    let mut table = Rows::new(&["at", "who", "what", "where", "records"]);
    let mut failed = None;
    view.changes(|change| {
        if left == 0 {
            return ControlFlow::Break(());
        }
        left -= 1;
        let wrote =
            if arguments.of.json { out.json(&as_json(&change)) } else { table.push(&mut out, row(&change)) };
        match wrote {
            Ok(Wrote::Taken) => ControlFlow::Continue(()),
            other => {
                failed = Some(other.map(drop));
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(ended) = failed {
        return ended;
    }
    if !arguments.of.json {
        table.finish(&mut out, "no changes by hand")?;
    }
    out.finish().map(drop)
}

fn deed(change: &ChangeByHand) -> &'static str {
    match change.deed {
        Deed::Retried => "retried",
        Deed::Removed => "removed",
    }
}

fn place(change: &ChangeByHand) -> &'static str {
    match change.place {
        Place::Incoming => "incoming",
        Place::Parked => "parked",
        Place::DeadLetters => "dead-letters",
        Place::Outgoing => "outgoing",
    }
}

fn row(change: &ChangeByHand) -> Vec<String> {
    let stretch = |(first, last): &(u64, u64)| {
        if first == last { first.to_string() } else { format!("{first} to {last}") }
    };
    let records: Vec<String> = change.records.iter().map(stretch).collect();
    let at = match change.stream {
        Some(stream) => format!("{}, stream {stream}", place(change)),
        None => place(change).to_owned(),
    };
    vec![time(change.at), plain(&change.who), deed(change).to_owned(), at, records.join(", ")]
}

fn as_json(change: &ChangeByHand) -> serde_json::Value {
    let stretch = |(first, last): &(u64, u64)| json!({ "first": first, "last": last });
    json!({
        "at": time(change.at),
        "who": change.who,
        "what": deed(change),
        "where": place(change),
        "stream": change.stream,
        "records": change.records.iter().map(stretch).collect::<Vec<_>>(),
    })
}
