//! The lists of what a node has: `keys`, `subscribers`, `incoming`, `outgoing`, `parked` and `dead-letters`. Each entry is read,
//! written and forgotten.

use serde::Serialize;
use serde_json::{Value, json};

use super::exit::Failure;
use super::json::{MessageLine, time};
use super::list_arguments::{ListArguments, SubscriberArguments};
use super::output::{Output, Wrote};
use super::table::{Rows, plain, preview};
use crate::bus::Envelope;
use crate::bus::inspect::{
    Attempts, DeadLetter, InspectError, Key, OwedMessage, Standing, Subscriber, View, WaitingMessage,
    Whereabouts,
};

/// How one kind of entry is shown.
struct Shown<T> {
    header: &'static [&'static str],
    row: fn(&T) -> Vec<String>,
    json: fn(&T, &mut Output) -> Result<Wrote, Failure>,
    empty: &'static str,
}

pub fn keys(arguments: &ListArguments) -> Result<(), Failure> {
    let view = View::open(&arguments.of.dir)?;
    let shown = Shown {
        header: &["id", "where"],
        row: |key: &Key| vec![key.id.to_string(), places(key).join(", ")],
        json: |key, out| out.json(&json!({ "id": key.id.to_string(), "places": places(key) })),
        empty: "no messages",
    };
    list(arguments.of.json, view.keys(&arguments.filter(), arguments.limit)?, &shown)
}

pub fn subscribers(arguments: &SubscriberArguments) -> Result<(), Failure> {
    let view = View::open(&arguments.of.dir)?;
    let shown = Shown {
        header: &["topic", "name", "address", "node"],
        row: |s: &Subscriber| vec![s.topic.clone(), s.name.clone(), s.address.clone(), s.node.clone()],
        json: |s, out| {
            out.json(&json!({ "topic": s.topic, "name": s.name, "address": s.address, "node": s.node }))
        },
        empty: "no subscribers",
    };
    let wanted = |s: &Subscriber| arguments.topics.is_empty() || arguments.topics.contains(&s.topic);
    let subscribers = view.subscribers()?.into_iter().filter(wanted);
    list(arguments.of.json, subscribers.take(arguments.limit.unwrap_or(usize::MAX)).map(Ok), &shown)
}

pub fn incoming(arguments: &ListArguments) -> Result<(), Failure> {
    let view = View::open(&arguments.of.dir)?;
    let shown = Shown {
        header: &["id", "topics", "published at", "handlers", "data"],
        row: |waiting: &WaitingMessage| {
            let handlers: Vec<String> = waiting.handlers.iter().map(in_words).collect();
            message_row(&waiting.message, [handlers.join("\n")])
        },
        json: waiting_json,
        empty: "nothing is incoming",
    };
    list(arguments.of.json, view.incoming(&arguments.filter(), arguments.limit)?, &shown)
}

pub fn parked(arguments: &ListArguments) -> Result<(), Failure> {
    let view = View::open(&arguments.of.dir)?;
    let shown = Shown {
        header: &["id", "topics", "published at", "data"],
        row: |waiting: &WaitingMessage| message_row(&waiting.message, []),
        json: waiting_json,
        empty: "nothing is parked",
    };
    list(arguments.of.json, view.parked(&arguments.filter(), arguments.limit)?, &shown)
}

pub fn outgoing(arguments: &ListArguments, destinations: &[String]) -> Result<(), Failure> {
    let mut filter = arguments.filter();
    filter.destinations = destinations.to_vec();
    let view = View::open(&arguments.of.dir)?;
    let shown = Shown {
        header: &["id", "topics", "published at", "owed to", "stream", "position", "data"],
        row: |owed: &OwedMessage| {
            let to = [owed.address.clone(), owed.stream.to_string(), owed.position.to_string()];
            message_row(&owed.message, to)
        },
        json: |owed, out| {
            #[derive(Serialize)]
            struct Line<'a> {
                #[serde(flatten)]
                message: MessageLine,
                destination: &'a str,
                node: Option<&'a str>,
                stream: u64,
                position: u64,
            }
            out.json(&Line {
                destination: &owed.address,
                node: owed.node.as_deref(),
                stream: owed.stream,
                position: owed.position,
                message: MessageLine::new(&owed.message),
            })
        },
        empty: "nothing is outgoing",
    };
    list(arguments.of.json, view.outgoing(&filter, arguments.limit)?, &shown)
}

pub fn dead_letters(arguments: &ListArguments) -> Result<(), Failure> {
    let view = View::open(&arguments.of.dir)?;
    let shown = Shown {
        header: &["id", "topics", "published at", "handler", "attempts", "reason", "given up at", "data"],
        row: |dead: &DeadLetter| {
            let why = [dead.handler.clone(), dead.attempts.to_string(), dead.reason.clone(), time(dead.at)];
            message_row(&dead.message, why)
        },
        json: |dead, out| {
            #[derive(Serialize)]
            struct Line<'a> {
                #[serde(flatten)]
                message: MessageLine,
                handler: &'a str,
                attempts: u32,
                reason: &'a str,
                dead_at: String,
            }
            out.json(&Line {
                handler: &dead.handler,
                attempts: dead.attempts,
                reason: &dead.reason,
                dead_at: time(dead.at),
                message: MessageLine::new(&dead.message),
            })
        },
        empty: "no dead letters",
    };
    list(arguments.of.json, view.dead_letters(&arguments.filter(), arguments.limit)?, &shown)
}

fn list<T>(
    as_json: bool,
    entries: impl Iterator<Item = Result<T, InspectError>>,
    shown: &Shown<T>,
) -> Result<(), Failure> {
    let mut out = Output::new();
    let mut table = Rows::new(shown.header);
    for entry in entries {
        let entry = entry?;
        let wrote = if as_json {
            (shown.json)(&entry, &mut out)?
        } else {
            table.push(&mut out, (shown.row)(&entry))?
        };
        if wrote == Wrote::NobodyReads {
            return Ok(());
        }
    }
    if !as_json {
        table.finish(&mut out, shown.empty)?;
    }
    out.finish().map(drop)
}

fn waiting_json(waiting: &WaitingMessage, out: &mut Output) -> Result<Wrote, Failure> {
    #[derive(Serialize)]
    struct Line {
        #[serde(flatten)]
        message: MessageLine,
        handlers: Vec<Value>,
    }
    let handlers = waiting.handlers.iter().map(attempts_json).collect();
    out.json(&Line { message: MessageLine::new(&waiting.message), handlers })
}

pub fn attempts_json(of: &Attempts) -> Value {
    let (standing, at) = match of.standing {
        Standing::Done => ("done", None),
        Standing::Failing(at) => ("failing", Some(time(at))),
        Standing::Dead(at) => ("dead", Some(time(at))),
    };
    json!({ "handler": of.handler, "standing": standing, "failed": of.failed, "at": at, "reason": of.reason })
}

fn in_words(of: &Attempts) -> String {
    let reason = plain(&of.reason);
    match of.standing {
        Standing::Done => format!("{}: done", of.handler),
        Standing::Failing(at) => {
            format!("{}: failed {} times, next at {}: {reason}", of.handler, of.failed, time(at))
        }
        Standing::Dead(at) => {
            format!("{}: gave up after {} at {}: {reason}", of.handler, of.failed, time(at))
        }
    }
}

fn message_row<const N: usize>(message: &Envelope, between: [String; N]) -> Vec<String> {
    let topics: Vec<String> = message.topics().map(plain).collect();
    let mut row = vec![message.id().to_string(), topics.join(", "), time(message.published_at())];
    row.extend(between);
    row.push(preview(message.payload()));
    row
}

fn places(key: &Key) -> Vec<&'static str> {
    let name = |place: &Whereabouts| match place {
        Whereabouts::Incoming => "incoming",
        Whereabouts::Outgoing => "outgoing",
        Whereabouts::Parked => "parked",
        Whereabouts::Dead => "dead",
    };
    key.places.iter().map(name).collect()
}
