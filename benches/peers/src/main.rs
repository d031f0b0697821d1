//! Measures resolute beside other durable queues and logs: on one machine, in one run, in alternating rounds.
//!
//! Servers are not started here: `scripts/bench-peers` starts them and says where they are.

mod arguments;
mod course;
mod device;
mod driver;
mod machine;
mod measured;
mod peers;
mod plot;
mod results;
mod table;

use std::fs;

use anyhow::{Context, Result};
use clap::Parser;

use arguments::Arguments;
use device::Device;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    fs::create_dir_all(&arguments.dir).context("make the directory to measure in")?;
    fs::create_dir_all(&arguments.out).context("make the directory for the results")?;
    let device = Device::under(&arguments.dir)?;
    let machine = machine::Machine::of(&arguments.dir, &device)?;
    let results = course::run(&arguments, &device)?;
    let write = |name: &str, text: String| {
        let path = arguments.out.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    write("peers.json", results.json(&machine)?)?;
    let table = table::markdown(&results, &machine);
    print!("{table}");
    write("peers.md", table)?;
    write("peers.svg", plot::bars(&results, &machine)?)
}
