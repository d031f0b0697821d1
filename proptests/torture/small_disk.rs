//! A small ext4 on a loop device, which can be filled up and freed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::tool;

/// A few times what a node needs for its log when its peers keep up.
const BYTES: u64 = 192 << 20;

/// See the module. Gone when this is dropped.
pub struct SmallDisk {
    image: PathBuf,
    directory: PathBuf,
}

impl SmallDisk {
    pub fn new(work: &Path) -> Result<SmallDisk, String> {
        tool::must_be_root()?;
        let (image, directory) = (work.join("small.img"), work.join("small"));
        let made = File::create(&image).and_then(|file| file.set_len(BYTES));
        made.and_then(|()| std::fs::create_dir(&directory)).map_err(|error| error.to_string())?;
        tool::run(&format!("mkfs.ext4 -q -F -m 0 {}", image.display()))?;
        // The loop device is the mount's own and goes with it.
        tool::run(&format!("mount -o loop {} {}", image.display(), directory.display()))?;
        Ok(SmallDisk { image, directory })
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    fn filler(&self) -> PathBuf {
        self.directory.join("filler")
    }

    /// Takes all room that is left.
    pub fn fill(&self) -> Result<(), String> {
        let filler = File::create(self.filler()).map_err(|error| error.to_string())?;
        let (mut taken, mut piece) = (0, 16 << 20);
        while piece >= 4096 {
            match fallocate(&filler, FallocateFlags::empty(), taken, piece) {
                Ok(()) => taken += piece,
                Err(Errno::ENOSPC) => piece /= 2,
                Err(error) => return Err(format!("the disk cannot be filled: {error}")),
            }
        }
        Ok(())
    }

    pub fn free(&self) -> Result<(), String> {
        std::fs::remove_file(self.filler()).map_err(|error| error.to_string())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.directory);
        // The kernel may still end requests of a process that was killed; then the device goes a little later.
        for _ in 0..200 {
            match tool::run(&format!("losetup -j {}", self.image.display())) {
                Ok(told) if !told.is_empty() => std::thread::sleep(Duration::from_millis(50)),
                _ => return,
            }
        }
        println!("the loop device of {} stays", self.image.display());
    }
}

/// Unmounts what is mounted there, at once or as soon as nobody uses it any more.
pub fn unmount(directory: &Path) {
    let directory = directory.display();
    let mounted = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if !mounted.lines().any(|line| line.split(' ').nth(1) == Some(&directory.to_string())) {
        return;
    }
    let unmounted = tool::run(&format!("umount {directory}"));
    if let Err(why) = unmounted.or_else(|_| tool::run(&format!("umount -l {directory}"))) {
        println!("{directory} stays mounted: {why}");
    }
}
