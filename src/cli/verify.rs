//! `verify`: whether every byte of a log is as it was written.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::arguments::Inspect;
use super::exit::{Exit, Failure};
use super::output::{Output, stderr_is_terminal};
use super::table::facts;
use crate::bus::inspect::{Damage, Soundness, TornTail, Verification, View};

pub fn run(arguments: &Inspect) -> Result<(), Failure> {
    let bar = bar();
    let found = View::verify(&arguments.dir, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let mut out = Output::new();
    if arguments.json {
        out.json(&as_json(&found))?;
    } else {
        out.line(&facts(&rows(&found)))?;
    }
    out.finish()?;
    match &found.soundness {
        Soundness::Clean => Ok(()),
        Soundness::TornTail(_) => {
            let what = "the end of the log did not arrive whole; the next opening cuts it off";
            Err(Failure::new(Exit::TornTail, what))
        }
        Soundness::Damaged(places) => Err(Failure::damaged(places.len() as u64)),
    }
}

fn rows(found: &Verification) -> Vec<(&'static str, String)> {
    let how = match &found.soundness {
        Soundness::Clean => "whole".to_owned(),
        Soundness::TornTail(TornTail { segment, offset, bytes }) => {
            format!(
                "whole, but for {bytes} bytes at offset {offset} of segment {segment}, the last that were written"
            )
        }
        Soundness::Damaged(_) => "damaged".to_owned(),
    };
    let mut rows = vec![
        ("log", how),
        ("batches", found.batches.to_string()),
        ("records", found.records.to_string()),
        ("messages", found.messages.to_string()),
        ("bytes", found.bytes.to_string()),
    ];
    if let Soundness::Damaged(places) = &found.soundness {
        rows.extend(places.iter().map(|place| ("damage", place.to_string())));
    }
    rows
}

fn as_json(found: &Verification) -> serde_json::Value {
    let (how, torn, damage) = match &found.soundness {
        Soundness::Clean => ("clean", None, &[][..]),
        Soundness::TornTail(torn) => ("torn-tail", Some(torn), &[][..]),
        Soundness::Damaged(places) => ("damaged", None, &places[..]),
    };
    json!({
        "soundness": how,
        "batches": found.batches,
        "records": found.records,
        "messages": found.messages,
        "bytes": found.bytes,
        "torn_tail": torn,
        "damage": damage.iter().map(damage_json).collect::<Vec<_>>(),
    })
}

/// A place that is damaged, with the first and the last of each stretch of records that are lost.
pub fn damage_json(damage: &Damage) -> serde_json::Value {
    let lost: Vec<_> =
        damage.lost.iter().map(|(first, end)| json!({ "first": first, "last": end - 1 })).collect();
    json!({ "damage": damage.what, "segment": damage.segment, "offset": damage.offset, "lost": lost })
}

fn bar() -> ProgressBar {
    if !stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent} %, {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
