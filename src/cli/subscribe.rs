//! `subscribe`: messages to standard output.

use std::io::{self, Write};
use std::time::Duration;

use futures_util::FutureExt;

use super::arguments::Subscribe;
use super::exit::{Exit, Failure};
use super::json::MessageLine;
use super::output::{Wrote, say, wrote};
use super::publish::{check_topics, open};
use super::runtime::{Stop, block_on};
use crate::bus::{Bus, Delivery};

/// Lines that are flushed together when many messages are ready: at most so many, and about so many bytes.
const LINES_PER_FLUSH: usize = 1024;
const BYTES_PER_FLUSH: usize = 256 << 10;

/// Why reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// As many came as were wanted.
    Counted,
    /// The user wants no more.
    Stopped,
    /// Nobody reads standard output any more.
    NobodyReads,
    /// The node is closed, which nobody here has done.
    Closed,
}

pub fn run(arguments: &Subscribe) -> Result<(), Failure> {
    check_topics(&arguments.topics)?;
    block_on(async {
        let stop = Stop::listen()?;
        let bus = open(&arguments.node, &arguments.bind).await?;
        let outcome = session(&bus, arguments, &stop).await;
        let closed = bus.close().await;
        outcome?;
        Ok(closed?)
    })
}

async fn session(bus: &Bus, arguments: &Subscribe, stop: &Stop) -> Result<(), Failure> {
    let (from, topics) = (&arguments.from, &arguments.topics);
    let names = topics.join(", ");
    if arguments.count.is_some() || !arguments.unsubscribe {
        match stop.or(bus.subscribe(from, &topics[..])).await {
            Some(subscribed) => drop(subscribed?),
            None => return Ok(()),
        }
        let (ended, count) = read(bus, arguments, stop).await?;
        match ended {
            Ended::Closed => return Err(Failure::new(Exit::Failure, "the node was closed")),
            Ended::NobodyReads => say("standard output was closed: what was not read comes again"),
            Ended::Counted | Ended::Stopped => {}
        }
        if !arguments.unsubscribe || ended != Ended::Counted {
            say(&format!(
                "{count} messages read; the subscription to {names} of {from} stays, and messages are kept until the \
                 next time: --unsubscribe ends it"
            ));
            return Ok(());
        }
    }
    let ending = bus.unsubscribe(from, &topics[..]).await?;
    let confirmed = tokio::time::timeout(Duration::from_secs(arguments.deadline), ending.confirmed());
    match stop.or(confirmed).await {
        Some(Ok(confirmed)) => {
            confirmed?;
            say(&format!(
                "the subscription to {names} of {from} is ended, and the publisher has confirmed it"
            ));
            Ok(())
        }
        Some(Err(_)) | None => Err(Failure::new(
            Exit::Unreachable,
            format!(
                "{from} has not confirmed the end of the subscription to {names}: it is noted here, and passed on the \
                 next time that a node is opened on this directory"
            ),
        )),
    }
}

/// Writes messages until something ends it, and says what and after how many.
async fn read(bus: &Bus, arguments: &Subscribe, stop: &Stop) -> Result<(Ended, u64), Failure> {
    let mut deliveries = bus.deliveries(&arguments.topics[..])?;
    let wanted = arguments.count.unwrap_or(u64::MAX);
    let mut count = 0;
    while count < wanted {
        let first = match stop.or(deliveries.next()).await {
            None => return Ok((Ended::Stopped, count)),
            Some(None) => return Ok((Ended::Closed, count)),
            Some(Some(delivery)) => delivery,
        };
        let mut lines = Vec::new();
        let mut batch = vec![first];
        line(&batch[0], &mut lines)?;
        while batch.len() < LINES_PER_FLUSH
            && lines.len() < BYTES_PER_FLUSH
            && count + (batch.len() as u64) < wanted
        {
            let Some(Some(delivery)) = deliveries.next().now_or_never() else { break };
            line(&delivery, &mut lines)?;
            batch.push(delivery);
        }
        // Apart, for whoever reads may take its time, and signals are to be heard meanwhile.
        let writing = tokio::task::spawn_blocking(move || write(&lines));
        let Some(written) = stop.or(writing).await else { return Ok((Ended::Stopped, count)) };
        let written = written.map_err(|error| Failure::io("write to standard output", &error.into()))?;
        if wrote(written)? == Wrote::NobodyReads {
            return Ok((Ended::NobodyReads, count));
        }
        count += batch.len() as u64;
        batch.into_iter().for_each(Delivery::done);
    }
    Ok((Ended::Counted, count))
}

fn line(delivery: &Delivery, lines: &mut Vec<u8>) -> Result<(), Failure> {
    let written = serde_json::to_writer(&mut *lines, &MessageLine::new(delivery.envelope()));
    written.map_err(|error| Failure::io("write JSON", &error.into()))?;
    lines.push(b'\n');
    Ok(())
}

fn write(lines: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(lines)?;
    out.flush()
}
