//! On what a measurement was made.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

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
}

impl Facts {
    pub fn of(directory: &Path, file_system: String) -> Facts {
        let text =
            |path: &str| fs::read_to_string(path).map_or_else(|_| unknown(), |text| text.trim().to_owned());
        let device = fs::metadata(directory).map(|metadata| metadata.dev()).unwrap_or(0);
        let block = format!("/sys/dev/block/{}:{}", major(device), minor(device));
        Facts {
            kernel: text("/proc/sys/kernel/osrelease"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            file_system,
            device: fs::canonicalize(&block)
                .ok()
                .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
                .unwrap_or_else(unknown),
            write_cache: [format!("{block}/queue/write_cache"), format!("{block}/../queue/write_cache")]
                .iter()
                .find_map(|path| fs::read_to_string(path).ok())
                .map_or_else(unknown, |text| text.trim().to_owned()),
        }
    }

    /// All of it, in one line for people.
    pub fn line(&self) -> String {
        let Facts { kernel, cores, file_system, device, write_cache } = self;
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
        }
    }
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
    fn device_numbers_are_taken_apart() {
        assert_eq!((major(0x0801), minor(0x0801)), (8, 1));
        assert_eq!((major(0xfe00), minor(0xfe03)), (254, 3));
    }
}
