//! `export`: the messages of a node as lines that say all that is to be said of each, for `import`.

use std::iter::Peekable;

use serde::Serialize;
use serde_json::{Value, json};

use super::exit::Failure;
use super::json::{MessageLine, time};
use super::lists::attempts_json;
use super::output::{Output, Wrote};
use super::transfer_arguments::{Export, ExportPlace};
use crate::bus::inspect::{DeadLetter, Entries, InspectError, View};

/// A message at one of its places.
#[derive(Serialize)]
struct Line {
    place: &'static str,
    /// Only of what is owed: where to. Empty if nobody knows where it can be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// The node that is there, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(flatten)]
    message: MessageLine,
    /// What its handlers have done here. It does not come with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    handlers: Vec<Value>,
}

/// One list after the other. Each entry is read, written and forgotten.
pub fn run(arguments: &Export) -> Result<(), Failure> {
    let list = &arguments.list;
    let view = View::open(&list.of.dir)?;
    let (filter, mut left, mut out) = (list.filter(), list.limit, Output::new());
    for place in places(arguments.place) {
        let lines: Entries<'_, Line> = match place {
            ExportPlace::Incoming => waiting("incoming", view.incoming(&filter, left)?),
            ExportPlace::Parked => waiting("parked", view.parked(&filter, left)?),
            ExportPlace::DeadLetters => {
                let letters = view.dead_letters(&filter, left)?.peekable();
                Box::new(DeadMessages(letters))
            }
            ExportPlace::Outgoing | ExportPlace::All => {
                let owed = view.outgoing(&filter, left)?;
                Box::new(owed.map(|owed| {
                    owed.map(|owed| Line {
                        place: "outgoing",
                        message: MessageLine::new(&owed.message),
                        destination: Some(owed.address),
                        node: owed.node,
                        handlers: Vec::new(),
                    })
                }))
            }
        };
        for line in lines {
            if out.json(&line?)? == Wrote::NobodyReads {
                return Ok(());
            }
            left.iter_mut().for_each(|left| *left -= 1);
        }
    }
    out.finish().map(drop)
}

fn places(place: ExportPlace) -> Vec<ExportPlace> {
    match place {
        ExportPlace::All => {
            vec![ExportPlace::Incoming, ExportPlace::Parked, ExportPlace::DeadLetters, ExportPlace::Outgoing]
        }
        one => vec![one],
    }
}

fn waiting<'a>(
    place: &'static str,
    entries: Entries<'a, crate::bus::inspect::WaitingMessage>,
) -> Entries<'a, Line> {
    Box::new(entries.map(move |waiting| {
        waiting.map(|waiting| Line {
            place,
            destination: None,
            node: None,
            message: MessageLine::new(&waiting.message),
            handlers: waiting.handlers.iter().map(attempts_json).collect(),
        })
    }))
}

/// Dead letters, those of one message in one line.
struct DeadMessages<'a>(Peekable<Entries<'a, DeadLetter>>);

impl Iterator for DeadMessages<'_> {
    type Item = Result<Line, InspectError>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = match self.0.next()? {
            Ok(first) => first,
            Err(error) => return Some(Err(error)),
        };
        let (id, mut handlers) = (first.message.id(), vec![gave_up(&first)]);
        let same = |next: &Result<DeadLetter, _>| next.as_ref().is_ok_and(|next| next.message.id() == id);
        while let Some(Ok(next)) = self.0.next_if(same) {
            handlers.push(gave_up(&next));
        }
        let message = MessageLine::new(&first.message);
        Some(Ok(Line { place: "dead", destination: None, node: None, message, handlers }))
    }
}

fn gave_up(letter: &DeadLetter) -> Value {
    let DeadLetter { handler, attempts, reason, at, .. } = letter;
    json!({ "handler": handler, "standing": "dead", "failed": attempts, "at": time(*at), "reason": reason })
}
