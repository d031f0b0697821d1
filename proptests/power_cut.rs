//! Power cuts on a real file system.
//!
//! A FUSE file system keeps what was not flushed in memory only, and at a cut drops it, whole or in part: its fault model is
//! told in `power_cut/disk.rs`. On it runs the io layer as it is shipped, with real nodes, through the public API. Whenever the
//! power was cut, the nodes are closed, what is left is mounted anew, and the disks and the handlers must tell one story:
//!
//! * every message whose publishing resolved is owed by the publisher, in the inbox of the subscriber, or was handled; so is
//!   every message that was ever seen in one of these places;
//! * of an atomic batch all is there, or nothing;
//! * nothing is there that was never published, nothing twice, nothing again that was handled and gone from the disks, and
//!   everything in the order of its publisher;
//! * what a cut left can be read, and a node can be opened on it, also after cuts in the middle of that;
//! * nothing resolves after the power was cut, or after a flush of the log was refused;
//! * in the end everything is handled.
//!
//! `RESOLUTE_SEED=n` makes the choices of one history again; the machine still has its own mind about what is going on when
//! the power goes. `RESOLUTE_POWER_CUTS=n` runs so many histories.
// All of this is test code, though none of it stands in a test function.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "power_cut/addresses.rs"]
mod addresses;
#[path = "power_cut/causes.rs"]
mod causes;
#[path = "power_cut/disk.rs"]
mod disk;
#[path = "power_cut/fault.rs"]
mod fault;
#[path = "power_cut/history.rs"]
mod history;
#[path = "power_cut/image.rs"]
mod image;
#[path = "power_cut/kind.rs"]
mod kind;
#[path = "power_cut/latency.rs"]
mod latency;
#[path = "power_cut/law.rs"]
mod law;
#[path = "power_cut/ledger.rs"]
mod ledger;
#[path = "power_cut/loss.rs"]
mod loss;
#[path = "power_cut/names.rs"]
mod names;
#[path = "power_cut/nodes.rs"]
mod nodes;
#[path = "power_cut/number.rs"]
mod number;
#[path = "own_main.rs"]
mod own_main;
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
#[path = "power_cut/trouble.rs"]
mod trouble;
#[path = "power_cut/volume.rs"]
mod volume;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use power::Stop;
use tally::Tally;

/// Histories in each run, at least: half of them always the same, and half of them new.
const HISTORIES: u64 = 12;

/// So many times as many are lived through if something has not happened yet.
const HISTORIES_AT_MOST: u64 = 4;

fn main() -> ExitCode {
    if let Some(at) = server::mount_point() {
        return server::run(&at);
    }
    if !own_main::is_wanted("power_cut", std::env::args().skip(1)) {
        return own_main::pass_over();
    }
    watch_for_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match runtime.block_on(run()) {
        Ok(()) => own_main::report(Ok(())),
        Err(Stop::Unavailable(why)) => {
            println!("power_cut: skipped: {why} (the Debian package is fuse3)");
            println!("0 passed, 0 failed, 1 skipped");
            ExitCode::SUCCESS
        }
        Err(Stop::Failed(why)) => own_main::report(Err(why)),
    }
}

/// A node that panics is not excused by a disk without power.
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
    let place = tempfile::tempdir().unwrap();
    law::check(place.path()).await?;
    let number = |name: &str| own_main::number(name).map_err(Stop::Failed);
    let mut tally = Tally::default();
    if let Some(seed) = number("RESOLUTE_SEED")? {
        println!("power_cut: the history of RESOLUTE_SEED={seed}");
        one_history(seed, place.path(), &mut tally).await?;
    } else {
        let histories = number("RESOLUTE_POWER_CUTS")?.unwrap_or(HISTORIES);
        let fresh = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64 >> 10);
        println!("power_cut: {histories} histories; those of RESOLUTE_SEED={fresh} and more are new");
        let seeds = (1..=histories / 2).chain(fresh..);
        for (lived, seed) in (0..).zip(seeds) {
            // When the power goes is decided by chance and by the machine: more are tried before something counts as never
            // happening.
            if lived >= histories && (tally.missing().is_empty() || lived >= HISTORIES_AT_MOST * histories) {
                break;
            }
            one_history(seed, place.path(), &mut tally).await?;
        }
        let missing = tally.missing();
        if !missing.is_empty() {
            return Err(Stop::Failed(format!("never happened: {missing:?}; {tally}")));
        }
    }
    println!("power_cut: {:.1} s; {tally}", began.elapsed().as_secs_f64());
    Ok(())
}

/// Lives through one history, and says how to repeat it if it goes wrong.
async fn one_history(seed: u64, place: &Path, tally: &mut Tally) -> Result<(), Stop> {
    let directory = tempfile::tempdir_in(place).unwrap();
    let mut told = history::run(seed, directory.path()).await;
    if HAS_PANICKED.load(Ordering::Relaxed) {
        told.outcome = Err(Stop::Failed("something panicked".to_owned()));
    }
    tally.merge(&told.tally);
    tally.add("histories", 1);
    if let Err(Stop::Failed(_)) = &told.outcome {
        println!("{}", told.story.join("\n"));
        println!("to repeat it: RESOLUTE_SEED={seed} cargo test --test power_cut");
    }
    told.outcome
}
