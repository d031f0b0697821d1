//! Real nodes in processes of their own, to which everything is done that a machine can do to them: killed, stopped,
//! cut off, half-cut off, reset, and run out of disk; the publishers, the subscribers, and who is both.
//!
//! Each node writes down what was acknowledged to it and what its handlers were called with. In the end everything
//! drains, and the journals must tell one story: the rules are in `torture/inbox.rs`. One seed decides what is done
//! when; the machine has its own mind about what is going on just then.
//!
//! `scripts/torture` runs the long form, a normal test run a short one.
// All of this is test code, though none of it stands in a test function.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "torture/assault.rs"]
mod assault;
#[path = "torture/cast.rs"]
mod cast;
#[path = "torture/door.rs"]
mod door;
#[path = "torture/driver.rs"]
mod driver;
#[path = "torture/entry.rs"]
mod entry;
#[path = "torture/fault.rs"]
mod fault;
#[path = "torture/inbox.rs"]
mod inbox;
#[path = "torture/interruption.rs"]
mod interruption;
#[path = "torture/journal.rs"]
mod journal;
#[path = "torture/namespaces.rs"]
mod namespaces;
#[path = "torture/network.rs"]
mod network;
#[path = "torture/node.rs"]
mod node;
#[path = "torture/options.rs"]
mod options;
#[path = "torture/orders.rs"]
mod orders;
#[path = "own_main.rs"]
mod own_main;
#[path = "torture/payload.rs"]
mod payload;
#[path = "torture/plan.rs"]
mod plan;
#[path = "torture/process.rs"]
mod process;
#[path = "torture/progress.rs"]
mod progress;
#[path = "torture/published.rs"]
mod published;
#[path = "torture/publisher.rs"]
mod publisher;
#[path = "torture/report.rs"]
mod report;
#[path = "sim/rng.rs"]
mod rng;
#[path = "torture/scene.rs"]
mod scene;
#[path = "torture/sequence.rs"]
mod sequence;
#[path = "torture/setup.rs"]
mod setup;
#[path = "torture/small_disk.rs"]
mod small_disk;
#[path = "torture/story.rs"]
mod story;
#[path = "torture/tool.rs"]
mod tool;
#[path = "torture/work.rs"]
mod work;

use std::process::ExitCode;

use interruption::Interruption;

fn main() -> ExitCode {
    if let Some(setup) = setup::given() {
        return node::run(setup);
    }
    match options::from(std::env::args().skip(1)) {
        Ok(Some(forms)) => own_main::report(run(forms)),
        Ok(None) => own_main::pass_over(),
        Err(why) => own_main::report(Err(why)),
    }
}

fn run(forms: Vec<driver::Form>) -> Result<(), String> {
    let interruption = Interruption::listen()?;
    work::remove_leftovers();
    for form in forms {
        println!("torture: RESOLUTE_SEED={}", form.seed);
        driver::run(form, &interruption)?;
    }
    Ok(())
}
