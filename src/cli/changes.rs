//! `changes`: who changed what by hand.

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::arguments::Changes;
use super::exit::Failure;
use super::json::time;
use super::output::{Output, Wrote};
use super::table::{Rows, plain};
use crate::bus::Place;
use crate::bus::inspect::{ChangeByHand, Deed, Object, View};

pub fn run(arguments: &Changes) -> Result<(), Failure> {
    let view = View::open(&arguments.of.dir)?;
    let (mut out, mut left) = (Output::new(), arguments.limit.unwrap_or(u64::MAX));
    let mut table = Rows::new(&["at", "who", "what", "where", "with"]);
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
        Deed::Edited => "edited",
        Deed::Requeued => "requeued",
        Deed::Paused => "paused",
        Deed::Resumed => "resumed",
        Deed::Forgotten => "forgotten",
        Deed::Subscribed => "subscribed",
        Deed::Unsubscribed => "unsubscribed",
        Deed::Limited => "limited",
        Deed::Evicted => "evicted",
    }
}

fn place(place: Place) -> &'static str {
    match place {
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
    let (at, with) = match &change.object {
        Object::Messages { place: at, stream, records } => {
            let records: Vec<String> = records.iter().map(stretch).collect();
            let stream = stream.map(|stream| format!(", stream {stream}")).unwrap_or_default();
            (format!("{}{stream}", place(*at)), format!("records {}", records.join(", ")))
        }
        Object::Peer { name, topics } => (plain(name), topics.join(", ")),
    };
    vec![time(change.at), plain(&change.who), deed(change).to_owned(), at, with]
}

/// The keys are the same of all, and what does not concern one is null.
fn as_json(change: &ChangeByHand) -> Value {
    let stretch = |(first, last): &(u64, u64)| json!({ "first": first, "last": last });
    let (at, stream, records, peer, topics) = match &change.object {
        Object::Messages { place: at, stream, records } => {
            let records = records.iter().map(stretch).collect::<Vec<_>>();
            (json!(place(*at)), json!(stream), json!(records), Value::Null, Value::Null)
        }
        Object::Peer { name, topics } => (Value::Null, Value::Null, Value::Null, json!(name), json!(topics)),
    };
    json!({
        "at": time(change.at),
        "who": change.who,
        "what": deed(change),
        "where": at,
        "stream": stream,
        "records": records,
        "peer": peer,
        "topics": topics,
    })
}
