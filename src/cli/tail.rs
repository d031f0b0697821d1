//! `tail`: messages as they pass through a node, for those who watch.

use super::arguments::Tail;
use super::exit::Failure;
use super::json::{MessageLine, time};
use super::output::{Output, Wrote, say};
use super::table::{plain, preview};
use crate::bus::Envelope;
use crate::bus::inspect::{Passing, View};

pub fn run(arguments: &Tail) -> Result<(), Failure> {
    let view = View::open(&arguments.of.dir)?;
    let mut count = 0;
    for passing in view.tail(&arguments.topics, arguments.from_start)? {
        let message = match passing? {
            Passing::Message(message) => message,
            Passing::Missed(count) => {
                say(&format!("{count} records were gone before they could be shown: the node is faster"));
                continue;
            }
        };
        let mut out = Output::new();
        if arguments.of.json {
            out.json(&MessageLine::new(&message))?;
        } else {
            out.line(&line(&message))?;
        }
        // Whoever watches sees it now.
        if out.finish()? == Wrote::NobodyReads {
            return Ok(());
        }
        count += 1;
        if arguments.count.is_some_and(|wanted| count >= wanted) {
            return Ok(());
        }
    }
    say("the node was closed");
    Ok(())
}

fn line(message: &Envelope) -> String {
    let topics: Vec<String> = message.topics().map(plain).collect();
    let (id, at) = (message.id(), time(message.published_at()));
    format!("{at}  {id}  {}  {}", topics.join(","), preview(message.payload()))
}
