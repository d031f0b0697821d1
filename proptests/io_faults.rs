//! Faults at the k-th request: EIO, ENOSPC, EINTR, EAGAIN and short writes, once and for ever.
//!
//! Nodes run as they are shipped on the file system of `power_cut`, which answers a request with something else than was asked
//! for: see `power_cut/trouble.rs`. Each scenario is gone through once undisturbed, and what it asks of the disk is counted.
//! Then it is gone through again and again, and each time another request gets another answer. What must come of it is told
//! in `io_faults/met.rs`, and in any case:
//!
//! * an error is typed, says what the disk said, and comes only if something went wrong;
//! * once the log has failed, all who wait hear it, status says it, and nothing is accepted any more, also when the disk is well
//!   again;
//! * whatever went wrong elsewhere, a node that is open goes on once the disk is well;
//! * the log can be opened again, after a power cut too: all that was acknowledged or seen is there, whole batches, nothing
//!   twice, nothing else, and in order; subscriptions that were confirmed are kept; and everything arrives.
//!
//! `RESOLUTE_IO_FAULTS=n` makes n new trials, `RESOLUTE_IO_FAULTS=all` tries every request with every answer, and
//! `RESOLUTE_IO_FAULTS=3/8` the third of eight parts of that.
//! `RESOLUTE_SEED` makes the choices of one run again, and `RESOLUTE_IO_FAULT` one trial; a failure prints it.
// All of this is test code, though none of it stands in a test function.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "io_faults/acts.rs"]
mod acts;
#[path = "power_cut/addresses.rs"]
mod addresses;
#[path = "io_faults/case.rs"]
mod case;
#[path = "power_cut/causes.rs"]
mod causes;
#[path = "io_faults/in_vain.rs"]
mod in_vain;
#[path = "power_cut/kind.rs"]
mod kind;
#[path = "io_faults/lane.rs"]
mod lane;
#[path = "power_cut/latency.rs"]
mod latency;
#[path = "io_faults/met.rs"]
mod met;
#[path = "io_faults/node.rs"]
mod node;
#[path = "power_cut/number.rs"]
mod number;
#[path = "own_main.rs"]
mod own_main;
#[path = "power_cut/patience.rs"]
mod patience;
#[path = "io_faults/plan.rs"]
mod plan;
#[path = "sim/rng.rs"]
mod rng;
#[path = "io_faults/scenario.rs"]
mod scenario;
#[path = "power_cut/server.rs"]
mod server;
#[path = "power_cut/snapshot.rs"]
mod snapshot;
#[path = "io_faults/stage.rs"]
mod stage;
#[path = "io_faults/template.rs"]
mod template;
#[path = "io_faults/trial.rs"]
mod trial;
#[path = "power_cut/trouble.rs"]
mod trouble;
#[path = "power_cut/volume.rs"]
mod volume;

// These do more for `power_cut` than is needed here.
#[allow(dead_code)]
#[path = "power_cut/disk.rs"]
mod disk;
#[allow(dead_code)]
#[path = "power_cut/fault.rs"]
mod fault;
#[allow(dead_code)]
#[path = "power_cut/image.rs"]
mod image;
#[allow(dead_code)]
#[path = "power_cut/ledger.rs"]
mod ledger;
#[allow(dead_code)]
#[path = "power_cut/loss.rs"]
mod loss;
#[allow(dead_code)]
#[path = "power_cut/names.rs"]
mod names;
#[allow(dead_code)]
#[path = "power_cut/power.rs"]
mod power;
#[allow(dead_code)]
#[path = "power_cut/tally.rs"]
mod tally;

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use case::Case;
use lane::Lane;

use plan::Traces;
use power::Stop;
use scenario::Scenario;
use tally::Tally;
use trial::Told;

/// So many trials go on at once: most of the time is spent in waiting.
const LANES: usize = 3;

/// Trials in each run beside those that are aimed at something: always the same ones, and new ones.
const TRIALS: usize = 14;
const NEW_TRIALS: usize = 30;

/// So often a trial is made until it meets something, and it is tried to see what must be seen. What the machine does
/// meanwhile moves the k-th request now and then.
const ROUNDS: usize = 4;

/// Of a hundred trials so many may meet nothing in all of these rounds.
const IN_VAIN_PERCENT_MAX: usize = 10;

fn main() -> ExitCode {
    if let Some(at) = server::mount_point() {
        return server::run(&at);
    }
    if !own_main::is_wanted("io_faults", std::env::args().skip(1)) {
        return own_main::pass_over();
    }
    watch_for_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match runtime.block_on(run()) {
        Ok(()) => own_main::report(Ok(())),
        Err(Stop::Unavailable(why)) => {
            println!("io_faults: skipped: {why} (the Debian package is fuse3)");
            println!("0 passed, 0 failed, 1 skipped");
            ExitCode::SUCCESS
        }
        Err(Stop::Failed(why)) => own_main::report(Err(why)),
    }
}

/// A node that panics is not excused by a disk that fails.
static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

fn watch_for_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        HAS_PANICKED.store(true, Ordering::Relaxed);
        tell(panic);
    }));
}

async fn run() -> Result<(), Stop> {
    let began = Instant::now();
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        lanes.push(Lane::start().await?);
    }
    let one = std::env::var("RESOLUTE_IO_FAULT").ok();
    if let Some(case) = one {
        let case: Case = case.parse().map_err(|()| Stop::Failed(format!("{case:?} is no trial")))?;
        let told = trial::run(&mut lanes[0], case).await.map_err(Stop::Failed)?;
        println!("io_faults: {:?}, final: {}, {} errors", told.met, told.is_final, told.errors);
        return Ok(());
    }
    let undisturbed = Scenario::ALL.into_iter().map(trial::undisturbed).collect();
    let told = all_of(&mut lanes, undisturbed).await.map_err(Stop::Failed)?;
    let traces: Traces = told.into_iter().map(|(case, told)| (case.scenario, told.trace)).collect();
    for (scenario, trace) in &traces {
        println!("io_faults: {} asks {} times", scenario.name(), trace.len());
    }
    let mut tally = Tally::default();
    let mut cases = planned(&traces).map_err(Stop::Failed)?;
    let planned = cases.len();
    for _ in 0..ROUNDS {
        let told = all_of(&mut lanes, cases).await.map_err(Stop::Failed)?;
        told.iter().for_each(|told| count(&mut tally, told));
        let in_vain = told.into_iter().filter(|(_, told)| told.met.first.is_none());
        cases = in_vain.map(|(case, _)| case).collect();
    }
    let in_vain = cases.len();
    for case in cases {
        println!("io_faults: nothing was met by {case}, {ROUNDS} times");
    }
    // The machine has its own mind about which requests there are, but not about most of them.
    if in_vain * 100 > planned * IN_VAIN_PERCENT_MAX {
        return Err(Stop::Failed(format!("{in_vain} of {planned} trials met nothing")));
    }
    let aims = plan::aims();
    for _ in 0..ROUNDS {
        let unseen = aims.iter().filter(|aim| tally.count(&aim.counted_as()) == 0);
        let cases: Vec<Case> = unseen.map(plan::Aim::case).collect();
        for told in all_of(&mut lanes, cases).await.map_err(Stop::Failed)? {
            count(&mut tally, &told);
        }
    }
    println!("io_faults: {:.1} s; {tally}", began.elapsed().as_secs_f64());
    let missing: Vec<String> =
        aims.iter().map(plan::Aim::counted_as).filter(|name| tally.count(name) == 0).collect();
    if missing.is_empty() { Ok(()) } else { Err(Stop::Failed(format!("never happened: {missing:?}"))) }
}

/// The trials of this run that are aimed at nothing.
fn planned(traces: &Traces) -> Result<Vec<Case>, String> {
    let by_time = || std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64);
    let fresh = own_main::number("RESOLUTE_SEED")?.unwrap_or_else(by_time);
    let asked = std::env::var("RESOLUTE_IO_FAULTS").unwrap_or_default();
    let share = if asked == "all" { Some((1, 1)) } else { share(&asked)? };
    let cases = if let Some((which, of)) = share {
        plan::all(traces).into_iter().skip(which - 1).step_by(of).collect()
    } else {
        println!("io_faults: new trials are those of RESOLUTE_SEED={fresh}");
        let new = own_main::number("RESOLUTE_IO_FAULTS")?.map_or(NEW_TRIALS, |new| new as usize);
        let mut cases = plan::some(traces, TRIALS, 1);
        cases.extend(plan::some(traces, new, fresh));
        cases
    };
    println!("io_faults: {} trials, and those that are aimed at something", cases.len());
    Ok(cases)
}

/// `3/8` is the third of eight parts, of which each has trials of all kinds.
fn share(asked: &str) -> Result<Option<(usize, usize)>, String> {
    let Some((which, of)) = asked.split_once('/') else { return Ok(None) };
    match (which.parse(), of.parse()) {
        (Ok(which), Ok(of)) if 0 < which && which <= of => Ok(Some((which, of))),
        _ => Err(format!("RESOLUTE_IO_FAULTS={asked} is no part such as 3/8")),
    }
}

fn count(tally: &mut Tally, (case, told): &(Case, Told)) {
    let first = told.met.first.as_ref().map(|(kind, _)| kind);
    tally.add("trials", 1);
    tally.add("trials in which nothing was met", u64::from(first.is_none()));
    let Some(kind) = first else { return };
    let what = match (told.is_final, told.errors) {
        (true, _) => "final",
        (false, 0) => "borne",
        (false, _) => "refused",
    };
    tally.add(&format!("{} {what} for {kind}", case.trouble.instead), 1);
}

/// Says now and then how many are left.
fn said(queue: &Mutex<VecDeque<Case>>) {
    let left = queue.lock().unwrap_or_else(PoisonError::into_inner).len();
    if left > 0 && left.is_multiple_of(100) {
        println!("io_faults: {left} trials are left");
    }
}

/// Makes all these trials, several at once.
async fn all_of(lanes: &mut Vec<Lane>, cases: Vec<Case>) -> Result<Vec<(Case, Told)>, String> {
    let queue = Arc::new(Mutex::new(VecDeque::from(cases)));
    let mut tasks = tokio::task::JoinSet::new();
    for mut lane in lanes.drain(..) {
        let queue = Arc::clone(&queue);
        tasks.spawn(async move {
            let (mut told, mut failed) = (Vec::new(), None);
            loop {
                let case = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(case) = case else { break };
                let mut outcome = trial::run(&mut lane, case).await;
                if HAS_PANICKED.load(Ordering::Relaxed) {
                    outcome = Err("something panicked".to_owned());
                }
                match outcome {
                    Ok(one) => {
                        told.push((case, one));
                        said(&queue);
                    }
                    Err(why) => {
                        println!("to repeat it: RESOLUTE_IO_FAULT='{case}' cargo test --test io_faults");
                        failed = Some(format!("{case}: {why}"));
                        queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    }
                }
            }
            (lane, told, failed)
        });
    }
    let (mut told, mut failed) = (Vec::new(), None);
    while let Some(ended) = tasks.join_next().await {
        let (lane, some, why) = ended.map_err(|error| error.to_string())?;
        lanes.push(lane);
        told.extend(some);
        failed = failed.or(why);
    }
    failed.map_or(Ok(told), Err)
}
