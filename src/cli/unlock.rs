//! `unlock`: there is nothing to unlock, and why.

use serde_json::json;

use super::arguments::Inspect;
use super::exit::{Exit, Failure};
use super::output::Output;
use crate::bus::inspect::{Holder, holder};

pub fn run(arguments: &Inspect) -> Result<(), Failure> {
    let path = arguments.dir.display();
    let held = holder(&arguments.dir)?;
    let (locked, pid) = match held {
        Holder::Nobody => (false, None),
        Holder::Process(pid) => (true, pid),
    };
    let mut out = Output::new();
    if arguments.json {
        out.json(&json!({ "locked": locked, "pid": pid }))?;
    } else if !locked {
        out.line(&format!(
            "{path} is not locked, and there is nothing to do: the lock is one that the kernel releases with the \
             process that holds it, so a crash never leaves one"
        ))?;
    }
    out.finish()?;
    if !locked {
        return Ok(());
    }
    let who =
        pid.map_or_else(|| "a process that did not say its pid".to_owned(), |pid| format!("process {pid}"));
    Err(Failure::new(
        Exit::Locked,
        format!(
            "{path} is locked by {who}, which is alive: end it, and the kernel releases the lock with it"
        ),
    ))
}
