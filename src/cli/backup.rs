//! `backup`: a copy of a data directory as it is at one moment.

use serde_json::json;

use super::care_arguments::MakeBackup;
use super::exit::{Failure, chain};
use super::output::{Output, say};
use super::table::facts;
use crate::bus::{Backup, BackupError};

pub fn run(arguments: &MakeBackup) -> Result<(), Failure> {
    let made = Backup::take(&arguments.of.dir, &arguments.to)?;
    let mut out = Output::new();
    if arguments.of.json {
        out.json(&json!({
            "directory": made.directory,
            "live": made.is_live,
            "linked": made.linked,
            "copied": made.copied,
            "copied_bytes": made.copied_bytes,
            "last_record": made.last_record,
        }))?;
    } else {
        let Backup { linked, copied, copied_bytes, last_record, .. } = &made;
        out.line(&facts(&[
            ("backup", made.directory.display().to_string()),
            ("up to record", last_record.to_string()),
            ("segments linked", linked.to_string()),
            ("segments copied", format!("{copied}, {copied_bytes} bytes")),
        ]))?;
    }
    // The last one always is.
    if made.copied > 1 {
        say("there can be no second names of files there: all segments were copied");
    }
    out.finish().map(drop)
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Failure {
        Failure::new(error.class().into(), chain(&error))
    }
}
