//! `demo`: sign-ups on their way from a web node to an email node, both of which are killed.
//!
//! Each side writes down what it did in a file in the demo's directory, one line at a time, straight to the kernel: what
//! was written survives a SIGKILL, and nothing is counted that no line says. The report is counted from these files, not
//! from what a process remembers.
//!
//! ```text
//! BASE/sent          web: a number, before its sign-up is handed to the bus
//! BASE/acknowledged  web: a number, after its receipt
//! BASE/welcomes      email: a line of JSON for each call of the handler
//! BASE/web/ email/   the data directories
//! BASE/web.log …     what the processes said on standard error
//! ```

pub mod email;
pub mod web;

pub mod arguments;
mod child;
mod evidence;
mod lines;
mod orders;
mod scenario;
mod signups;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::{Output, say};
use super::runtime::{Stop, block_on};
use super::table::facts;
use crate::bus::Stopwatch;
use arguments::Demo;
use evidence::Evidence;
use scenario::Scenario;
use signups::SignUps;

/// The topic of the demo.
const TOPIC: &str = "signup";

/// The report. Its keys are part of the interface.
#[derive(Debug, Serialize)]
struct Report {
    /// Distinct sign-ups that were acknowledged to web.
    published: u64,
    /// Distinct sign-ups that email handled.
    handled: u64,
    /// Those that were acknowledged and not handled.
    lost: u64,
    /// Sent again by web, because it died before their receipts.
    republished: u64,
    /// Calls of the handler for a message beyond its first.
    redelivered: u64,
    /// Processes that were killed.
    kills: u64,
    seconds: f64,
    messages_per_second: f64,
}

pub fn run(arguments: &Demo) -> Result<(), Failure> {
    // Read here too, so that what is wrong with it is said at once.
    let signups = SignUps::load(arguments.input.as_deref())?;
    let messages = arguments.messages.unwrap_or(signups.lines());
    let deadline = Duration::from_secs(arguments.deadline.unwrap_or(120 + messages / 1000));
    let base = tempfile::Builder::new().prefix("resolute-demo-").tempdir();
    let base = base.map_err(|error| Failure::io("make a directory for the demo", &error))?;
    let cancelled = Arc::new(AtomicBool::new(false));
    let scenario =
        Scenario::new(base.path(), arguments.input.as_deref(), messages, deadline, Arc::clone(&cancelled))?;
    let watched = block_on(watched(scenario, cancelled));
    let outcome = watched.and_then(|ran| conclude(base.path(), arguments, messages, &ran));
    if outcome.is_err() {
        say(&format!("everything about it is kept in {}", base.keep().display()));
    }
    outcome
}

/// What is known after a run, beside the files.
#[derive(Debug)]
struct Ran {
    kills: u64,
    took: Duration,
    /// Why it did not come to its end.
    gave_up: Option<String>,
}

/// Runs the scenario on a thread of its own, and ends it when the user wants that.
async fn watched(scenario: Scenario, cancelled: Arc<AtomicBool>) -> Result<Ran, Failure> {
    let stop = Stop::listen()?;
    let mut running = tokio::task::spawn_blocking(move || scenario.run());
    let ended = match stop.or(&mut running).await {
        Some(ended) => ended,
        None => {
            cancelled.store(true, Ordering::Relaxed);
            running.await
        }
    };
    ended.map_err(|error| Failure::io("run the demo", &error.into()))?
}

fn conclude(base: &Path, arguments: &Demo, messages: u64, ran: &Ran) -> Result<(), Failure> {
    let evidence = Evidence::read(base, messages)?;
    let seconds = ran.took.as_secs_f64();
    let report = Report {
        published: evidence.published,
        handled: evidence.handled,
        lost: evidence.lost,
        republished: evidence.republished,
        redelivered: evidence.redelivered,
        kills: ran.kills,
        seconds: (seconds * 1000.0).round() / 1000.0,
        messages_per_second: (evidence.handled as f64 / seconds.max(0.001)).round(),
    };
    write(&report, arguments.json)?;
    match (&ran.gave_up, report.lost) {
        (None, 0) if report.published == messages => Ok(()),
        (None, lost) => {
            let text = format!("{lost} sign-ups were lost, and {} of {messages} published", report.published);
            Err(Failure::new(Exit::Failure, text))
        }
        (Some(why), 0) => Err(Failure::new(Exit::Unreachable, why.clone())),
        (Some(why), lost) => {
            Err(Failure::new(Exit::Failure, format!("{why}: {lost} sign-ups were not handled by then")))
        }
    }
}

fn write(report: &Report, as_json: bool) -> Result<(), Failure> {
    let mut out = Output::new();
    if as_json {
        out.json(report)?;
    } else {
        out.line(&facts(&[
            ("sign-ups published", report.published.to_string()),
            ("sign-ups handled", report.handled.to_string()),
            ("lost", report.lost.to_string()),
            ("processes killed", report.kills.to_string()),
            ("sent again by web, which died before the receipt", report.republished.to_string()),
            ("delivered again to email, which died before its mark", report.redelivered.to_string()),
            ("seconds", format!("{:.3}", report.seconds)),
            ("sign-ups a second", report.messages_per_second.to_string()),
        ]))?;
    }
    out.finish().map(drop)
}

/// The time that is left of a limit.
fn left(watch: &Stopwatch, limit: Duration) -> Duration {
    limit.saturating_sub(watch.elapsed())
}
