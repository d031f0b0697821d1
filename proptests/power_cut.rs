//! Power cuts on a real file system.
//!
//! A FUSE file system keeps what was not flushed in memory only, and at a cut drops it, whole or in part: its fault model is
//! told in `power_cut/disk.rs`. On it runs the io layer as it is shipped, with real nodes, through the public API. Whenever the
//! power was cut, the nodes are closed, what is left is mounted anew, and the disks and the handlers must tell one story:
//!
//! * every message whose publishing resolved is owed by the publisher, in the inbox of the subscriber, or was handled; so is
//!   every message that was ever seen in one of these places;
//! * of an atomic batch all is there, or nothing;
//! * nothing is there that was never published, nothing twice, and everything in the order of its publisher;
//! * what a cut left can be read, and a node can be opened on it, also after cuts in the middle of that;
//! * nothing resolves after the power was cut, or after a flush of the log was refused;
//! * in the end everything is handled.
//!
//! `RESOLUTE_SEED=n` makes the choices of one history again; the machine still has its own mind about what is going on when
//! the power goes. `RESOLUTE_POWER_CUTS=n` runs so many histories.
// All of this is test code, though none of it stands in a test function.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "power_cut/disk.rs"]
mod disk;
#[path = "power_cut/fault.rs"]
mod fault;
#[path = "power_cut/history.rs"]
mod history;
#[path = "power_cut/image.rs"]
mod image;
#[path = "power_cut/law.rs"]
mod law;
#[path = "power_cut/ledger.rs"]
mod ledger;
#[path = "power_cut/names.rs"]
mod names;
#[path = "power_cut/nodes.rs"]
mod nodes;
#[path = "power_cut/number.rs"]
mod number;
#[path = "power_cut/patience.rs"]
mod patience;
#[path = "power_cut/plan.rs"]
mod plan;
#[path = "power_cut/power.rs"]
mod power;
#[path = "power_cut/publishing.rs"]
mod publishing;
#[path = "sim/rng.rs"]
mod rng;
#[path = "power_cut/scene.rs"]
mod scene;
#[path = "power_cut/server.rs"]
mod server;
#[path = "power_cut/snapshot.rs"]
mod snapshot;
#[path = "power_cut/tally.rs"]
mod tally;
#[path = "power_cut/volume.rs"]
mod volume;

use std::process::ExitCode;
use std::time::Instant;

use power::Stop;
use tally::Tally;

/// Histories in each run: half of them always the same, and half of them new.
const HISTORIES: u64 = 12;

fn main() -> ExitCode {
    if let Some(at) = server::mount_point() {
        return server::run(&at);
    }
    // The test runner gives names of tests to all targets.
    let names: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if !names.is_empty() && !names.iter().any(|name| "power_cut".contains(name.as_str())) {
        println!("0 passed, 0 failed");
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match runtime.block_on(run()) {
        Ok(()) => {
            println!("1 passed, 0 failed");
            ExitCode::SUCCESS
        }
        Err(Stop::Unavailable(why)) => {
            println!("power_cut: skipped: {why} (the Debian package is fuse3)");
            println!("0 passed, 0 failed, 1 skipped");
            ExitCode::SUCCESS
        }
        Err(Stop::Failed(why)) => {
            println!("FAILED: {why}");
            println!("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Stop> {
    let began = Instant::now();
    let place = tempfile::tempdir().unwrap();
    law::check(place.path()).await?;
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (given, histories) = (number("RESOLUTE_SEED"), number("RESOLUTE_POWER_CUTS").unwrap_or(HISTORIES));
    let fresh = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64 >> 10);
    let seeds: Vec<u64> = match given {
        Some(seed) => vec![seed],
        None => (1..=histories / 2).chain(fresh..fresh + histories.div_ceil(2)).collect(),
    };
    println!(
        "power_cut: {} histories; RESOLUTE_SEED={} is the first that is new",
        seeds.len(),
        given.unwrap_or(fresh)
    );
    let mut tally = Tally::default();
    for seed in seeds {
        let directory = tempfile::tempdir_in(place.path()).unwrap();
        let told = history::run(seed, directory.path()).await;
        tally.merge(&told.tally);
        if let Err(Stop::Failed(why)) = &told.outcome {
            println!("{}", told.story.join("\n"));
            println!("to repeat it: RESOLUTE_SEED={seed} cargo test --test power_cut");
            return Err(Stop::Failed(why.clone()));
        }
        told.outcome?;
    }
    println!("power_cut: {:.1} s; {tally}", began.elapsed().as_secs_f64());
    match &tally.missing()[..] {
        missing @ [_, ..] if given.is_none() => Err(Stop::Failed(format!("never happened: {missing:?}"))),
        _ => Ok(()),
    }
}
