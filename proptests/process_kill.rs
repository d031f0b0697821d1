//! Real nodes in processes of their own, killed at random moments.
//!
//! One publisher and two subscribers. Whenever one was killed it is started again on its directory. The publisher writes
//! into a journal what was acknowledged to it; each subscriber's handler writes down every message it is called
//! with. In the end the journals must tell one story:
//!
//! * every message that was acknowledged to the publisher was handled by both subscribers;
//! * no message is in an inbox twice: a number has one id, and an id comes again only in a later life of the process;
//! * in each life of a subscriber, numbers rise: the order of the publisher is kept;
//! * what nobody handles, and what is owed to somebody who never comes, is all still there.
//!
//! `RESOLUTE_SEED=n` chooses the same victims and pauses again; the machine still has its own mind about what is
//! going on when they strike.
// All of this is test code, though none of it stands in a test function.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "process_kill/child.rs"]
mod child;
#[path = "process_kill/journal.rs"]
mod journal;
#[path = "own_main.rs"]
mod own_main;
#[path = "process_kill/story.rs"]
mod story;
#[path = "process_kill/victims.rs"]
mod victims;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use victims::{Chance, Victim};

/// So many processes are killed with each seed, and one at a time or two.
const KILLS_MIN: u64 = 30;

/// So many messages are acknowledged to the publisher.
const MESSAGES_MIN: u64 = 50_000;

/// After that long something hangs.
const LIMIT: Duration = Duration::from_secs(150);

fn main() -> ExitCode {
    if let Some(role) = child::role() {
        return child::run(&role);
    }
    if !own_main::is_wanted("process_kill", std::env::args().skip(1)) {
        return own_main::pass_over();
    }
    own_main::report(run())
}

fn run() -> Result<(), String> {
    Chance::from_environment()?.into_iter().try_for_each(run_one)
}

fn run_one(mut chance: Chance) -> Result<(), String> {
    println!("process_kill: RESOLUTE_SEED={}", chance.seed());
    let directory = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let outcome = kill_at_random(&mut chance, directory.path(), began);
    if outcome.is_err() {
        println!("the directory is kept: {}", directory.keep().display());
    }
    outcome
}

fn kill_at_random(chance: &mut Chance, directory: &std::path::Path, began: Instant) -> Result<(), String> {
    let mut processes = Victim::all(directory);
    for process in &mut processes {
        process.start()?;
    }
    let (journal, mut kills) = (journal::path(directory, "publisher"), 0);
    while kills < KILLS_MIN || journal::count(&journal) < MESSAGES_MIN {
        if began.elapsed() > LIMIT {
            return Err(format!(
                "after {kills} kills only {} messages were published",
                journal::count(&journal)
            ));
        }
        std::thread::sleep(chance.pause());
        for process in &mut processes {
            process.must_be_alive()?;
        }
        let chosen = chance.victims(processes.len());
        for index in &chosen {
            processes[*index].kill()?;
            kills += 1;
        }
        std::thread::sleep(chance.short_pause());
        for index in &chosen {
            processes[*index].start()?;
        }
    }
    // The publisher first: it ends when nothing is owed, and the subscribers when nothing is unhandled.
    for process in &mut processes {
        process.finish(LIMIT)?;
    }
    let story = story::read(directory)?;
    println!(
        "process_kill: {kills} kills, {} messages acknowledged, {} handled, {} of them redelivered, {:.1} s",
        story.acknowledged,
        story.handled,
        story.redelivered,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}
