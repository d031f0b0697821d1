//! The disk under a directory, and how often it was flushed.
//!
//! Documentation says "fsync"; a device that was told to flush has counted it. The kernel keeps that count for each whole
//! disk, as the 16th number of its `stat` (Documentation/block/stat.rst; the same numbers follow the name in
//! /proc/diskstats). Partitions have none, and disks that are made of others (LVM, LUKS, RAID) pass flushes on without
//! counting them: hence the way up to the whole disk, and down to what it is made of.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Where the count of flushes is among the numbers of `stat`.
const FLUSHES: usize = 15;

/// The whole disks that hold a directory.
#[derive(Clone, Debug)]
pub struct Device {
    /// Their directories in /sys; none if the file system does not say which they are.
    disks: Vec<PathBuf>,
    /// Flushes a second that the machine makes anyway, as last measured.
    idle: f64,
}

impl Device {
    pub fn under(directory: &Path) -> Result<Device> {
        let number = fs::metadata(directory).context("look at the directory to measure in")?.dev();
        let link = format!("/sys/dev/block/{}:{}", major(number), minor(number));
        let disks = fs::canonicalize(link).map(|path| whole_disks(&path)).unwrap_or_default();
        Ok(Device { disks, idle: 0.0 })
    }

    /// The names of the disks.
    pub fn name(&self) -> String {
        let names: Vec<_> =
            self.disks.iter().filter_map(|disk| disk.file_name()?.to_str().map(str::to_owned)).collect();
        if names.is_empty() { "an unknown disk".to_owned() } else { names.join(" + ") }
    }

    pub fn model(&self) -> Option<String> {
        self.disks.first().and_then(|disk| read(&disk.join("device/model")))
    }

    /// "write back" is a volatile cache, which must be flushed; "write through" is none, and the kernel sends no flushes.
    pub fn write_cache(&self) -> Option<String> {
        self.disks.first().and_then(|disk| read(&disk.join("queue/write_cache")))
    }

    /// Whether a count of flushes proves anything here.
    pub fn counts(&self) -> bool {
        self.write_cache().is_some_and(|cache| cache == "write back") && self.flushes().is_some()
    }

    /// Measures how often the device is flushed while nothing is measured: the file system's own commits, and whatever
    /// else runs. It is taken off all that is counted until it is measured again.
    pub fn measure_idle(&mut self, time: Duration) -> f64 {
        self.idle = 0.0;
        let meter = self.meter();
        std::thread::sleep(time);
        let (elapsed, flushes) = meter.stop();
        self.idle = flushes.unwrap_or(0.0) / elapsed.as_secs_f64();
        self.idle
    }

    pub fn meter(&self) -> Meter<'_> {
        Meter { device: self, started: Instant::now(), before: self.flushes() }
    }

    fn flushes(&self) -> Option<u64> {
        if self.disks.is_empty() {
            return None;
        }
        self.disks.iter().map(|disk| flushes_in(&fs::read_to_string(disk.join("stat")).ok()?)).sum()
    }
}

/// Time and flushes of one measurement.
pub struct Meter<'a> {
    device: &'a Device,
    started: Instant,
    before: Option<u64>,
}

impl Meter<'_> {
    /// What went by, without the flushes that there are anyway.
    pub fn stop(self) -> (Duration, Option<f64>) {
        let elapsed = self.started.elapsed();
        let flushes = self.before.zip(self.device.flushes()).map(|(before, after)| {
            (after.saturating_sub(before) as f64 - self.device.idle * elapsed.as_secs_f64()).max(0.0)
        });
        (elapsed, flushes)
    }
}

fn flushes_in(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(FLUSHES)?.parse().ok()
}

fn whole_disks(block: &Path) -> Vec<PathBuf> {
    if block.join("partition").exists() {
        return block.parent().map(whole_disks).unwrap_or_default();
    }
    let below: Vec<_> = fs::read_dir(block.join("slaves"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok())
        .collect();
    if below.is_empty() {
        return vec![block.to_owned()];
    }
    let mut disks: Vec<_> = below.iter().flat_map(|block| whole_disks(block)).collect();
    disks.sort();
    disks.dedup();
    disks
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// As in the kernel's encoding of device numbers for user space.
fn major(number: u64) -> u64 {
    ((number >> 8) & 0xfff) | ((number >> 32) & !0xfff)
}

fn minor(number: u64) -> u64 {
    (number & 0xff) | ((number >> 12) & !0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_the_sixteenth_number() {
        let stat = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 1600 17\n";
        assert_eq!(flushes_in(stat), Some(1600));
        assert_eq!(flushes_in("1 2 3"), None, "a kernel before 5.5 counts none");
    }

    #[test]
    fn device_numbers_are_taken_apart() {
        assert_eq!((major(0x0801), minor(0x0801)), (8, 1));
        assert_eq!((major(0xfe00), minor(0xfe03)), (254, 3));
    }
}
