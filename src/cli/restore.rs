//! `restore`: a data directory made of a backup.

use serde_json::json;

use super::care_arguments::Restore;
use super::exit::Failure;
use super::output::Output;
use super::table::facts;
use crate::bus::{Backup, Restored};

pub fn run(arguments: &Restore) -> Result<(), Failure> {
    let Restored { directory, segments, bytes, last_record, incarnation } =
        Backup::restore(&arguments.from, &arguments.of.dir)?;
    let mut out = Output::new();
    if arguments.of.json {
        out.json(&json!({
            "directory": directory,
            "segments": segments,
            "bytes": bytes,
            "last_record": last_record,
            "incarnation": incarnation,
        }))?;
    } else {
        out.line(&facts(&[
            ("restored", directory.display().to_string()),
            ("up to record", last_record.to_string()),
            ("segments", format!("{segments}, {bytes} bytes")),
            ("life of its log", incarnation.unwrap_or_else(|| "a map or a queue has none".to_owned())),
        ]))?;
    }
    out.finish().map(drop)
}
