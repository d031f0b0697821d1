//! On what a measurement was made.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use crate::bus::inspect;

/// The machine and the disk under a directory, as far as the kernel tells.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// The kernel's release.
    pub kernel: String,
    /// Processors.
    pub cores: usize,
    /// The file system.
    pub file_system: String,
    /// The disk.
    pub device: String,
    /// Whether the disk has a volatile cache that must be flushed ("write back") or none ("write through").
    pub write_cache: String,
    /// Why nothing is durable there, whatever is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability_warning: Option<String>,
}

impl Facts {
    pub fn of(directory: &Path) -> Facts {
        let text =
            |path: &str| fs::read_to_string(path).map_or_else(|_| unknown(), |text| text.trim().to_owned());
        let block = block_device(directory);
        let (file_system, durability_warning) = inspect::file_system(directory);
        Facts {
            kernel: text("/proc/sys/kernel/osrelease"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            file_system,
            device: fs::canonicalize(&block)
                .ok()
                .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
                .unwrap_or_else(unknown),
            write_cache: of_whole_disk(&block, "queue/write_cache").unwrap_or_else(unknown),
            durability_warning,
        }
    }

    /// How durable something is of which `claim` says how it was written: not at all, where a flush reaches no disk.
    pub fn durable(&self, claim: &str) -> String {
        self.durability_warning.clone().unwrap_or_else(|| claim.to_owned())
    }

    /// The machine and the disk, in one line for people.
    pub fn line(&self) -> String {
        let Facts { kernel, cores, file_system, device, write_cache, .. } = self;
        format!("Linux {kernel}, {cores} cores, {file_system} on {device}, write cache: {write_cache}")
    }
}

#[cfg(test)]
impl Facts {
    /// Those of no machine.
    pub fn example() -> Facts {
        Facts {
            kernel: "6.99".to_owned(),
            cores: 3,
            file_system: "minixfs".to_owned(),
            device: "sdz".to_owned(),
            write_cache: "write sideways".to_owned(),
            durability_warning: None,
        }
    }
}

/// Where the kernel tells of the device under a directory.
fn block_device(directory: &Path) -> String {
    let device = fs::metadata(directory).map(|metadata| metadata.dev()).unwrap_or(0);
    format!("/sys/dev/block/{}:{}", major(device), minor(device))
}

/// How many flushes the disk under a directory was asked for since the machine started, by anybody, if the kernel counts
/// them: the 16th number of a whole disk's `stat` (Documentation/block/stat.rst). A disk without a volatile cache is asked
/// for none, and one that takes single writes past its cache (FUA) for hardly any.
pub fn device_flushes(directory: &Path) -> Option<u64> {
    let text = |name: &str| of_whole_disk(&block_device(directory), name);
    if text("queue/write_cache")? != "write back" || text("queue/fua").is_some_and(|fua| fua == "1") {
        return None;
    }
    text("stat")?.split_whitespace().nth(15)?.parse().ok()
}

/// What the kernel tells of the disk that a device is, or is a partition of.
fn of_whole_disk(block: &str, name: &str) -> Option<String> {
    let whole = if Path::new(&format!("{block}/partition")).exists() { "/.." } else { "" };
    fs::read_to_string(format!("{block}{whole}/{name}")).ok().map(|text| text.trim().to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// As in the kernel's encoding of device numbers for user space.
fn major(device: u64) -> u64 {
    ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff)
}

fn minor(device: u64) -> u64 {
    (device & 0xff) | ((device >> 12) & !0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_all_of_it() {
        let said = "Linux 6.99, 3 cores, minixfs on sdz, write cache: write sideways";
        assert_eq!(Facts::example().line(), said);
    }

    #[test]
    fn nothing_is_durable_where_a_flush_reaches_no_disk() {
        let disk = Facts::example();
        assert_eq!(disk.durable("on the moon"), "on the moon");
        let memory = Facts { durability_warning: Some("it is memory".to_owned()), ..disk };
        assert_eq!(memory.durable("on the moon"), "it is memory");
    }

    #[test]
    fn device_numbers_are_taken_apart() {
        assert_eq!((major(0x0801), minor(0x0801)), (8, 1));
        assert_eq!((major(0xfe00), minor(0xfe03)), (254, 3));
    }
}
