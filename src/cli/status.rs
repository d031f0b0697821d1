//! `status`: a node that is not running, at one look.

use serde_json::{Value, json};

use super::arguments::Inspect;
use super::exit::Failure;
use super::output::Output;
use super::table::{Rows, facts};
use crate::bus::inspect::Snapshot;
use crate::bus::{DestinationStatus, Status};

pub fn run(arguments: &Inspect) -> Result<(), Failure> {
    let snapshot = Snapshot::read(&arguments.dir)?;
    let mut out = Output::new();
    if arguments.json {
        out.json(&object(&snapshot))?;
    } else {
        tables(&snapshot, &mut out)?;
    }
    out.finish().map(drop)
}

fn object(snapshot: &Snapshot) -> Value {
    let status = snapshot.status();
    let torn = snapshot
        .torn()
        .map(|torn| json!({ "segment": torn.segment, "offset": torn.offset, "bytes": torn.bytes }));
    json!({
        "running": false,
        "node": status.node,
        "name": status.name,
        "address": status.address,
        "epoch": status.epoch,
        "closed": snapshot.is_closed(),
        "recovery": status.recovery,
        "torn": torn,
        "outgoing": status.outgoing,
        "incoming": status.incoming,
        "parked": status.parked,
        "dead_letters": status.dead_letters,
        "dropped": status.dropped,
        "inbox_bytes": status.inbox_bytes,
        "segments": status.segments,
        "log_bytes": status.log_bytes,
        "file_system": status.file_system,
        "direct": status.direct,
        "durability_warning": status.durability_warning,
        "local_topics": status.local_topics,
        "destinations": status.destinations.iter().map(destination).collect::<Vec<_>>(),
    })
}

fn destination(of: &DestinationStatus) -> Value {
    let wanted =
        of.wanted.iter().map(|wanted| json!({ "topic": wanted.topic, "confirmed": wanted.confirmed }));
    json!({
        "node": of.node,
        "name": of.name,
        "address": of.address,
        "owed": of.owed,
        "owed_bytes": of.owed_bytes,
        "topics": of.topics,
        "wanted": wanted.collect::<Vec<_>>(),
        "lost": of.lost,
    })
}

fn tables(snapshot: &Snapshot, out: &mut Output) -> Result<(), Failure> {
    let status = snapshot.status();
    out.line(&facts(&rows(status)))?;
    if status.destinations.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let mut table = Rows::new(&["node", "name", "address", "owed", "lost", "subscribes to", "wanted of it"]);
    for of in &status.destinations {
        let wanted = of.wanted.iter().map(|wanted| {
            let unconfirmed = if wanted.confirmed { "" } else { " (not confirmed)" };
            format!("{}{unconfirmed}", wanted.topic)
        });
        let row = vec![
            of.node.clone().unwrap_or_else(|| "nobody yet".to_owned()),
            of.name.clone(),
            of.address.clone(),
            of.owed.to_string(),
            of.lost.to_string(),
            of.topics.join(", "),
            wanted.collect::<Vec<_>>().join(", "),
        ];
        table.push(out, row)?;
    }
    table.finish(out, "").map(drop)
}

fn rows(status: &Status) -> Vec<(&'static str, String)> {
    let how = if status.direct {
        "written directly"
    } else {
        "no O_DIRECT: buffered writes, each flushed (O_DSYNC)"
    };
    let mut rows = vec![
        ("node", status.node.clone()),
        ("name", status.name.clone()),
        (
            "address",
            if status.address.is_empty() { "not advertised".to_owned() } else { status.address.clone() },
        ),
        ("log", status.recovery.clone()),
        ("openings", status.epoch.to_string()),
        ("outgoing", status.outgoing.to_string()),
        ("incoming", status.incoming.to_string()),
        ("parked", status.parked.to_string()),
        ("dead letters", status.dead_letters.to_string()),
        ("dropped", status.dropped.to_string()),
        ("segments", format!("{} with {} bytes", status.segments, status.log_bytes)),
        ("file system", format!("{}, {how}", status.file_system)),
    ];
    if !status.local_topics.is_empty() {
        rows.push(("its own topics", status.local_topics.join(", ")));
    }
    rows.extend(status.durability_warning.iter().map(|warning| ("warning", warning.clone())));
    rows
}
