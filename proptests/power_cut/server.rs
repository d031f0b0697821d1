//! The process that has the disk. It is told by lines what to do, and answers each with a line; what goes wrong on the
//! disk it says when it happens.
//!
//! It is a process of its own because a process that is killed while it waits for an answer that only itself could give
//! would wait for ever.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use super::disk::Disk;
use super::volume::{Volume, lock};

/// The name of the environment by which this process knows what it is, and where the file system is to be.
pub const MOUNT_POINT: &str = "RESOLUTE_POWER_CUT_MOUNT";

/// How often it is tried to take the file system off its place while someone still has a file open. Files of a thread
/// that ended are given back a little later.
const UNMOUNT_ATTEMPTS: u32 = 1_000;

/// Where the file system is to be, if this process is the one that has it.
pub fn mount_point() -> Option<PathBuf> {
    std::env::var_os(MOUNT_POINT).map(PathBuf::from)
}

/// Serves until the other process is gone or closes the way here.
pub fn run(at: &Path) -> ExitCode {
    let disk = Arc::new(Mutex::new(Disk::new()));
    let mut mounted = match mount(&disk, at) {
        Ok(mounted) => Some(mounted),
        Err(error) => {
            println!("unavailable {error}");
            return ExitCode::SUCCESS;
        }
    };
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("arm", fault) => fault.parse().map(|fault| lock(&disk).arm(fault)).map_err(|()| line.clone()),
            ("cut", numbers) => cut(&disk, numbers).ok_or_else(|| line.clone()),
            ("remount", _) => remount(&disk, &mut mounted, at),
            ("tally", _) => {
                println!("tally {}", lock(&disk).tally());
                continue;
            }
            _ => Err(line.clone()),
        };
        match answer {
            Ok(()) => println!("done"),
            Err(why) => println!("failed {why}"),
        }
    }
    // Whoever still waits for an answer is told that none comes.
    if umount2(at, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH) == Err(Errno::EPERM) {
        unmount_as_user(at);
    }
    ExitCode::SUCCESS
}

fn mount(disk: &Arc<Mutex<Disk>>, at: &Path) -> std::io::Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("power_cut".to_owned())];
    fuser::spawn_mount(Volume(Arc::clone(disk)), at, &config)
}

fn cut(disk: &Mutex<Disk>, numbers: &str) -> Option<()> {
    let (keep, seed) = numbers.split_once(' ')?;
    lock(disk).cut(keep.parse().ok()?, seed.parse().ok()?);
    Some(())
}

/// Mounts the disk anew, so that nothing is left of what the kernel had in memory, and gives it power.
fn remount(
    disk: &Arc<Mutex<Disk>>,
    mounted: &mut Option<BackgroundSession>,
    at: &Path,
) -> Result<(), String> {
    unmount(at)?;
    if let Some(session) = mounted.take() {
        session.join().map_err(|error| error.to_string())?;
    }
    lock(disk).power_on();
    *mounted = Some(mount(disk, at).map_err(|error| error.to_string())?);
    Ok(())
}

fn unmount(at: &Path) -> Result<(), String> {
    for _ in 0..UNMOUNT_ATTEMPTS {
        match umount2(at, MntFlags::empty()) {
            Err(Errno::EBUSY) => std::thread::sleep(Duration::from_millis(10)),
            Err(Errno::EPERM) if unmount_as_user(at) => return Ok(()),
            Err(error) => return Err(format!("it cannot be unmounted: {error}")),
            Ok(()) => return Ok(()),
        }
    }
    Err("files of it are still open although the nodes were closed".to_owned())
}

/// Who is not root has a program for it.
fn unmount_as_user(at: &Path) -> bool {
    Command::new("fusermount3").args(["-u", "-z"]).arg(at).status().is_ok_and(|status| status.success())
}
