//! `pause`, `resume`, `forget` and `subscriptions`: how a node treats others.

use serde_json::json;

use super::arguments::Inspect;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::peer_arguments::{Forget, Limit, Peer, Subscriptions, Wish};
use super::table::Rows;
use crate::bus::inspect::View;
use crate::bus::{Administrator, DestinationStatus};

pub fn pause(arguments: &Peer) -> Result<(), Failure> {
    Administrator::open(&arguments.of.dir)?.pause(&arguments.peer)?;
    report(&arguments.of, "paused", &arguments.peer)
}

pub fn resume(arguments: &Peer) -> Result<(), Failure> {
    Administrator::open(&arguments.of.dir)?.resume(&arguments.peer)?;
    report(&arguments.of, "resumed", &arguments.peer)
}

pub fn limit(arguments: &Limit) -> Result<(), Failure> {
    let Peer { peer, of } = &arguments.peer;
    Administrator::open(&of.dir)?.limit(peer, &arguments.change())?;
    report(of, "limited", peer)
}

pub fn forget(arguments: &Forget) -> Result<(), Failure> {
    let Peer { peer, of } = &arguments.peer;
    if arguments.yes {
        Administrator::open(&of.dir)?.forget(peer)?;
        return report(of, "forgotten", peer);
    }
    let destinations = View::open(&of.dir)?.status()?.destinations;
    let Some(found) = destinations.iter().rev().find(|destination| is_named(destination, peer)) else {
        return Err(Failure::new(Exit::NotFound, format!("nothing is known of {peer}")));
    };
    let (owed, topics) = (found.owed, found.topics.len() + found.wanted.len());
    let text = format!(
        "{peer} is forgotten for good, with {} that it is owed and {} of it and to it: repeat it with --yes to do so",
        many(owed, "message"),
        many(topics as u64, "subscription")
    );
    Err(Failure::new(Exit::Usage, text))
}

fn many(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn is_named(destination: &DestinationStatus, peer: &str) -> bool {
    destination.node.as_deref() == Some(peer) || destination.address.split(' ').any(|address| address == peer)
}

pub fn subscriptions(command: &Subscriptions) -> Result<(), Failure> {
    match command {
        Subscriptions::Add(Wish { address, topics, of }) => {
            Administrator::open(&of.dir)?.subscribe(address, topics.as_slice())?;
            report(of, "subscribed", address)
        }
        Subscriptions::Remove(Wish { address, topics, of }) => {
            Administrator::open(&of.dir)?.unsubscribe(address, topics.as_slice())?;
            report(of, "unsubscribed", address)
        }
        Subscriptions::List(of) => list(of),
    }
}

fn list(of: &Inspect) -> Result<(), Failure> {
    let status = View::open(&of.dir)?.status()?;
    let mut out = Output::new();
    let mut table = Rows::new(&["address", "topic", "confirmed", "node"]);
    for destination in &status.destinations {
        for wanted in &destination.wanted {
            let (address, node) = (&destination.address, destination.node.as_deref());
            if of.json {
                out.json(&json!({
                    "address": address, "topic": wanted.topic, "confirmed": wanted.confirmed, "node": node,
                }))?;
                continue;
            }
            let confirmed = if wanted.confirmed { "yes" } else { "no" };
            let node = node.unwrap_or("nobody yet");
            table.push(&mut out, [address, &wanted.topic, confirmed, node].map(str::to_owned).into())?;
        }
    }
    if !of.json {
        table.finish(&mut out, "no subscriptions")?;
    }
    out.finish().map(drop)
}

fn report(of: &Inspect, done: &str, peer: &str) -> Result<(), Failure> {
    let mut out = Output::new();
    if of.json {
        out.json(&json!({ done: peer }))?;
    } else {
        out.line(&match done {
            "subscribed" | "unsubscribed" => format!("{done}: {peer}"),
            _ => format!("{peer} is {done}"),
        })?;
    }
    out.finish().map(drop)
}
