//! On what was measured.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::device::Device;

/// The machine, as the heading of the table tells it.
pub struct Machine {
    pub date: String,
    pub text: String,
    /// Whether the disk counts its flushes.
    pub counts: bool,
}

impl Machine {
    pub fn of(directory: &Path, device: &Device) -> Result<Machine> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("read the kernel's release")?;
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let model = device.model().map(|model| format!(" ({model})")).unwrap_or_default();
        let cache = device.write_cache().unwrap_or_else(|| "unknown".to_owned());
        let text = format!(
            "Linux {}, {}, {cores} cores, {} GiB, {} on {}{model}, write cache: {cache}",
            kernel.trim(),
            field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned()),
            memory_gib(),
            file_system(directory).unwrap_or_else(|| "unknown file system".to_owned()),
            device.name(),
        );
        Ok(Machine { date: Timestamp::now().strftime("%Y-%m-%d").to_string(), text, counts: device.counts() })
    }
}

/// The first value of a name in a file of `name : value` lines.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_gib() -> u64 {
    let kib = field("/proc/meminfo", "MemTotal").and_then(|value| value.split(' ').next()?.parse().ok());
    kib.unwrap_or(0_u64).div_ceil(1 << 20)
}

/// The type of the file system, found by the number of its device in the table of mounts.
fn file_system(directory: &Path) -> Option<String> {
    let number = fs::metadata(directory).ok()?.dev();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        let same = fs::metadata(point).is_ok_and(|metadata| metadata.dev() == number);
        same.then(|| rest.split(' ').next().map(str::to_owned))?
    })
}
