//! What a node would find on this machine and under a directory, without opening one.

use std::path::Path;

use super::error::chain;
use crate::io::buffer_pool::RegistrationState;
use crate::io::directory::Directory;
use crate::io::segment_file::SegmentFile;
use crate::io::{clock, descriptors, uring_probe};
use crate::limits::{DESCRIPTORS_KEPT, SEGMENT_BYTES_DEFAULT};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// As it should be.
    Good,
    /// A node works, but less well, or less safely, than it could.
    Fair,
    /// No node works, or none that is durable.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) health: Health,
    /// What was found.
    pub(crate) found: String,
    /// What would help.
    pub(crate) fix: Option<String>,
}

impl Check {
    pub(crate) fn good(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, health: Health::Good, found: found.into(), fix: None }
    }

    pub(crate) fn of(
        name: &'static str,
        health: Health,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Check {
        Check { name, health, found: found.into(), fix: Some(fix.into()) }
    }
}

/// What the process needs of the kernel.
pub(crate) fn of_process() -> Vec<Check> {
    let mut checks = Vec::new();
    match uring_probe::probe() {
        Ok(()) => {
            checks.push(Check::good("io_uring", "allowed, and can do what the log needs"));
            checks.push(locked_memory());
        }
        Err(error) => {
            checks.push(Check::of("io_uring", Health::Bad, "no ring is to be had", chain(&error)));
        }
    }
    checks.push(descriptors());
    checks.push(clock());
    checks
}

/// What it needs under a directory that is there.
pub(crate) fn of_directory(directory: &Path) -> Vec<Check> {
    let opened = match Directory::open_read_only(directory) {
        Ok(opened) => opened,
        Err(error) => {
            let fix = "give the user of the node a directory of its own";
            return vec![Check::of("directory", Health::Bad, chain(&error), fix)];
        }
    };
    let name = opened.file_system().to_string();
    let file_system = match opened.durability_warning() {
        None => Check::good("file system", name),
        Some(warning) => {
            let fix = "put the data directory on a local disk: ext4, xfs or btrfs";
            Check::of("file system", Health::Bad, warning, fix)
        }
    };
    vec![file_system, direct(&opened), space(&opened)]
}

fn locked_memory() -> Check {
    match uring_probe::registers_buffers() {
        Ok(RegistrationState::Unregistered { reason }) => {
            let found = format!("buffers cannot be registered, which costs each write a little: {reason}");
            Check::of("locked memory", Health::Fair, found, "raise `ulimit -l`, or LimitMEMLOCK= of the unit")
        }
        Ok(_) => Check::good("locked memory", "enough for all buffers"),
        Err(error) => Check::of(
            "locked memory",
            Health::Bad,
            chain(&error),
            "raise `ulimit -l`, or LimitMEMLOCK= of the unit",
        ),
    }
}

fn descriptors() -> Check {
    let Some(limit) = descriptors::limit() else {
        return Check::of("open files", Health::Fair, "the limit is unknown", "see `ulimit -n`");
    };
    let found =
        format!("{limit} may be open at once, of which the log keeps {}", DESCRIPTORS_KEPT.min(limit / 2));
    if limit >= 2 * DESCRIPTORS_KEPT {
        Check::good("open files", found)
    } else {
        Check::of(
            "open files",
            Health::Fair,
            found,
            "raise `ulimit -n`, or LimitNOFILE= of the unit: each peer takes one",
        )
    }
}

/// 2026-01-01, before which nobody had this program.
const NOBODY_HAD_IT: u64 = 1_767_225_600_000_000_000;

fn clock() -> Check {
    let source = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let source = source.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned());
    if clock::wall().0 < NOBODY_HAD_IT {
        let fix = "set the clock, and keep it right with NTP: retries and ages go by it";
        return Check::of("clock", Health::Fair, "the date is before this program was written", fix);
    }
    if ["hpet", "acpi_pm", "jiffies"].contains(&source.as_str()) {
        let found = format!("source {source}, which is slow to read");
        return Check::of(
            "clock",
            Health::Fair,
            found,
            "boot with a source that is quick: tsc, or kvm-clock",
        );
    }
    Check::good("clock", format!("source {source}"))
}

/// Opens a file as a segment is opened, and removes it.
fn direct(directory: &Directory) -> Check {
    let named = tempfile::Builder::new().prefix(".resolute-doctor-").tempfile_in(directory.path());
    let opened = named.and_then(|file| Ok(SegmentFile::open(file.path())?.is_direct()));
    match opened {
        Ok(true) => Check::good("O_DIRECT", "writes go around the page cache"),
        Ok(false) => Check::of(
            "O_DIRECT",
            Health::Fair,
            "refused by the file system: writes go through the page cache, each flushed (O_DSYNC)",
            "durable all the same; for speed use ext4, xfs or btrfs",
        ),
        Err(error) => Check::of(
            "writing",
            Health::Bad,
            chain(&error),
            format!("let the user of the node write to {}", directory.path().display()),
        ),
    }
}

fn space(directory: &Directory) -> Check {
    let needed = 4 * SEGMENT_BYTES_DEFAULT;
    let fix = "free some, or give the node smaller segments (Builder::segment_bytes)";
    match directory.free_bytes() {
        Ok(free) if free >= needed => Check::good("free space", format!("{} MiB", free >> 20)),
        Ok(free) => {
            let found = format!("{} MiB; a node begins with some {} MiB", free >> 20, needed >> 20);
            Check::of("free space", Health::Bad, found, fix)
        }
        Err(error) => Check::of("free space", Health::Fair, chain(&error), fix),
    }
}
