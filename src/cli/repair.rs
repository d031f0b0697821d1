//! `repair`: a damaged log is cut before its first damage, and goes on.

use serde_json::json;

use super::care_arguments::Repair as Arguments;
use super::exit::{Exit, Failure, chain};
use super::output::Output;
use super::table::facts;
use super::verify::damage_json;
use crate::bus::{Repair, RepairError};

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let dir = &arguments.of.dir;
    let found = if arguments.yes { Repair::perform(dir)? } else { Repair::of(dir)? };
    let mut out = Output::new();
    let Some(found) = found else {
        if arguments.of.json {
            out.json(&json!({ "repaired": false }))?;
        } else {
            out.line("there is nothing to repair")?;
        }
        return out.finish().map(drop);
    };
    if arguments.of.json {
        out.json(&json!({
            "repaired": arguments.yes,
            "segment": found.segment,
            "offset": found.offset,
            "first_record": found.first_record,
            "readable_messages": found.readable_messages,
            "damage": found.damage.iter().map(damage_json).collect::<Vec<_>>(),
            "kept_in": found.kept_in,
        }))?;
    } else {
        out.line(&facts(&rows(&found)))?;
    }
    out.finish()?;
    if arguments.yes {
        return Ok(());
    }
    let text =
        format!("the log would be cut before record {}: repeat it with --yes to do so", found.first_record);
    Err(Failure::new(Exit::Usage, text))
}

fn rows(found: &Repair) -> Vec<(&'static str, String)> {
    let place = format!("segment {}, offset {}", found.segment, found.offset);
    let readable = match found.readable_messages {
        0 => "none".to_owned(),
        count => format!("{count}: resolute salvage --dir {}", found.kept_in.display()),
    };
    let mut rows = vec![
        ("cut at", place),
        ("first record behind it", found.first_record.to_string()),
        ("messages readable there", readable),
        ("kept in", found.kept_in.display().to_string()),
    ];
    rows.extend(found.damage.iter().map(|place| ("damage", place.to_string())));
    rows
}

impl From<RepairError> for Failure {
    fn from(error: RepairError) -> Failure {
        Failure::new(error.class().into(), chain(&error))
    }
}
