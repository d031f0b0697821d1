//! `salvage`: the messages that a damaged log still holds.

use serde::Serialize;

use super::arguments::Inspect;
use super::exit::Failure;
use super::json::{MessageLine, time};
use super::output::{Output, Wrote, say};
use super::table::{Rows, preview};
use super::verify::damage_json;
use crate::bus::inspect::{Piece, Publisher, Salvage, SalvagedMessage};

/// Messages go to standard output as they are found, and damage to standard error, or, as JSON, beside them.
pub fn run(arguments: &Inspect) -> Result<(), Failure> {
    let (mut out, mut damaged) = (Output::new(), 0_u64);
    let mut table = Rows::new(&["id", "topics", "published at", "publisher", "data"]);
    for piece in Salvage::read(&arguments.dir)? {
        let wrote = match piece? {
            Piece::Message(message) if arguments.json => message_json(&message, &mut out)?,
            Piece::Message(message) => table.push(&mut out, row(&message))?,
            Piece::Damage(damage) => {
                damaged += 1;
                if arguments.json {
                    out.json(&damage_json(&damage))?
                } else {
                    say(&damage.to_string());
                    Wrote::Taken
                }
            }
        };
        if wrote == Wrote::NobodyReads {
            break;
        }
    }
    if !arguments.json {
        table.finish(&mut out, "no messages")?;
    }
    out.finish()?;
    if damaged == 0 { Ok(()) } else { Err(Failure::damaged(damaged)) }
}

fn row(found: &SalvagedMessage) -> Vec<String> {
    let (message, topics) = (found.nameless(), found.topics().collect::<Vec<_>>());
    vec![
        found.id.map_or_else(|| "unknown".to_owned(), |id| id.to_string()),
        topics.join(", "),
        time(message.published_at()),
        publisher(&found.publisher).unwrap_or("unknown").to_owned(),
        preview(found.payload()),
    ]
}

fn message_json(found: &SalvagedMessage, out: &mut Output) -> Result<Wrote, Failure> {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        message: MessageLine,
        /// The number of its record in this log.
        record: u64,
        /// "this node", the id of a peer, or null.
        publisher: Option<&'a str>,
    }
    let message = found.envelope().map_or_else(|| MessageLine::nameless(found.nameless()), MessageLine::new);
    out.json(&Line { message, record: found.record, publisher: publisher(&found.publisher) })
}

fn publisher(publisher: &Publisher) -> Option<&str> {
    match publisher {
        Publisher::ThisNode => Some("this node"),
        Publisher::Peer(node) => Some(node),
        Publisher::Unknown => None,
    }
}
