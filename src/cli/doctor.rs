//! `doctor`: whether this machine and this disk are fit for a node, and what would help.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::arguments::Inspect;
use super::bench::facts::Facts;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::table::Rows;
use crate::bus::checkup::{Check, Health, of_directory, of_process};

pub fn run(arguments: &Inspect) -> Result<(), Failure> {
    let directory = nearest(&arguments.dir);
    let mut checks = of_process();
    checks.extend(of_directory(&directory));
    checks.extend(of_disk(&directory));
    let mut out = Output::new();
    if arguments.json {
        for Check { name, health, found, fix } in &checks {
            out.json(&json!({ "check": name, "health": word(*health), "found": found, "fix": fix }))?;
        }
    } else {
        let mut table = Rows::new(&["", "what", "found"]);
        for Check { name, health, found, fix } in &checks {
            let fix = fix.iter().map(|fix| format!("\n→ {fix}")).collect::<String>();
            table.push(
                &mut out,
                vec![word(*health).to_owned(), (*name).to_owned(), format!("{found}{fix}")],
            )?;
        }
        table.finish(&mut out, "nothing was looked at")?;
    }
    out.finish()?;
    match checks.iter().filter(|check| check.health == Health::Bad).count() {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Failure, "one thing must be mended before a node can be trusted here")),
        count => Err(Failure::new(
            Exit::Failure,
            format!("{count} things must be mended before a node can be trusted here"),
        )),
    }
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Good => "good",
        Health::Fair => "fair",
        Health::Bad => "bad",
    }
}

/// The directory, or the nearest above it that is there: a node makes the others.
fn nearest(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn of_disk(directory: &Path) -> Vec<Check> {
    let Facts { kernel, device, write_cache, .. } = Facts::of(directory);
    let cache = match write_cache.as_str() {
        "write back" => Check::good(
            "write cache",
            format!("{device} has one, and is asked to empty it with each write of the log"),
        ),
        "write through" => Check::good("write cache", format!("{device} has none that loses anything")),
        _ => Check::of(
            "write cache",
            Health::Fair,
            format!("the kernel does not tell whether {device} has one"),
            "make sure that whoever serves the disk passes on flushes",
        ),
    };
    vec![Check::good("kernel", format!("Linux {kernel}")), cache]
}
