//! `status`: a node at one look.

use serde_json::{Value, json};

use super::arguments::Inspect;
use super::exit::Failure;
use super::json::time;
use super::output::Output;
use super::table::{Rows, facts};
use crate::bus::inspect::{Snapshot, View};
use crate::bus::{DestinationStatus, Status};

pub fn run(arguments: &Inspect) -> Result<(), Failure> {
    let view = View::open(&arguments.dir)?;
    let (status, mut out) = (view.status()?, Output::new());
    if arguments.json {
        out.json(&object(&status, view.snapshot()))?;
    } else {
        tables(&status, view.snapshot().is_none(), &mut out)?;
    }
    out.finish().map(drop)
}

/// What only the log of a node that is not open says is null of one that is, and the other way round.
fn object(status: &Status, snapshot: Option<&Snapshot>) -> Value {
    let is_running = snapshot.is_none();
    let live = |value: Value| if is_running { value } else { Value::Null };
    let torn = snapshot
        .and_then(Snapshot::torn)
        .map(|torn| json!({ "segment": torn.segment, "offset": torn.offset, "bytes": torn.bytes }));
    json!({
        "running": is_running,
        "node": status.node,
        "name": status.name,
        "address": status.address,
        "epoch": status.epoch,
        "closed": snapshot.map(Snapshot::is_closed),
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
        "free_bytes": status.free_bytes,
        "traffic": live(json!(status.traffic)),
        "commits": live(json!(status.commits)),
        "durable_lag": live(json!(status.durable_lag)),
        "in_handlers": live(json!(status.in_handlers)),
        "flushes": live(json!(status.flushes)),
        "written_bytes": live(json!(status.written_bytes)),
        "registration": live(json!(status.registration)),
        "disk_full": live(json!(status.disk_full)),
        "disk_quota_reached": live(json!(status.disk_quota_reached)),
        "failure": status.failure,
        "local_topics": status.local_topics,
        "destinations": status.destinations.iter().map(|of| destination(of, is_running)).collect::<Vec<_>>(),
    })
}

fn destination(of: &DestinationStatus, is_running: bool) -> Value {
    let wanted =
        of.wanted.iter().map(|wanted| json!({ "topic": wanted.topic, "confirmed": wanted.confirmed }));
    json!({
        "node": of.node,
        "name": of.name,
        "address": of.address,
        "connected": is_running.then_some(of.connected),
        "paused": of.paused,
        "refused": is_running.then_some(of.refused),
        "parked": of.parked,
        "quota": json!({
            "backlog_bytes": of.quota.backlog_bytes,
            "at_limit": of.quota.at_limit,
            "lease_seconds": of.quota.lease.map(|lease| lease.as_secs_f64()),
        }),
        "unseen_since": of.unseen_since.map(time),
        "owed": of.owed,
        "owed_bytes": of.owed_bytes,
        "topics": of.topics,
        "wanted": wanted.collect::<Vec<_>>(),
        "lost": of.lost,
        "oldest_at": of.oldest_at.map(time),
    })
}

fn tables(status: &Status, is_running: bool, out: &mut Output) -> Result<(), Failure> {
    out.line(&facts(&rows(status, is_running)))?;
    if status.destinations.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let mut table =
        Rows::new(&["node", "name", "address", "connected", "owed", "lost", "subscribes to", "wanted of it"]);
    for of in &status.destinations {
        let wanted = of.wanted.iter().map(|wanted| {
            let unconfirmed = if wanted.confirmed { "" } else { " (not confirmed)" };
            format!("{}{unconfirmed}", wanted.topic)
        });
        let row = vec![
            of.node.clone().unwrap_or_else(|| "nobody yet".to_owned()),
            of.name.clone(),
            of.address.clone(),
            connected(of),
            of.owed.to_string(),
            of.lost.to_string(),
            of.topics.join(", "),
            wanted.collect::<Vec<_>>().join(", "),
        ];
        table.push(out, row)?;
    }
    table.finish(out, "").map(drop)
}

/// Whether a destination is connected, and what keeps it from what it would get.
fn connected(of: &DestinationStatus) -> String {
    let words = [(of.paused, "paused"), (of.refused, "refused more"), (of.parked, "parked")];
    let words = words.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word);
    let is_there = if of.connected { "yes" } else { "no" };
    std::iter::once(is_there).chain(words).collect::<Vec<_>>().join(", ")
}

fn rows(status: &Status, is_running: bool) -> Vec<(&'static str, String)> {
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
        (
            "log",
            if is_running {
                format!("open; it was found {}", status.recovery)
            } else {
                status.recovery.clone()
            },
        ),
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
    if is_running {
        rows.push(("at handlers", status.in_handlers.to_string()));
        rows.push(("flushes", format!("{} since the log was made", status.flushes)));
    }
    if status.disk_quota_reached {
        rows.push((
            "disk",
            "the log has as much of it as it may take: nothing is accepted before some of it is freed"
                .to_owned(),
        ));
    } else if status.disk_full {
        rows.push(("disk", "full: nothing is accepted before there is room again".to_owned()));
    }
    rows.extend(status.failure.iter().map(|failure| ("failed", failure.clone())));
    rows.extend(status.durability_warning.iter().map(|warning| ("warning", warning.clone())));
    rows
}
