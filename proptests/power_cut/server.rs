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
use super::latency::Latency;
use super::volume::{Volume, lock};

/// The name of the environment by which this process knows what it is, and where the file system is to be.
pub const MOUNT_POINT: &str = "RESOLUTE_POWER_CUT_MOUNT";

/// So many requests are served at once: while one is flushed, others go on.
const THREADS: usize = 4;

/// How often it is tried to take the file system off its place while someone still has a file open. Files of a thread
/// that ended are given back a little later.
const UNMOUNT_ATTEMPTS: u32 = 1_000;

/// Where the file system is to be, if this process is the one that has it.
pub fn mount_point() -> Option<PathBuf> {
    std::env::var_os(MOUNT_POINT).map(PathBuf::from)
}

/// Serves until the other process is gone or closes the way here.
pub fn run(at: &Path) -> ExitCode {
    let mut server = Server { disk: Arc::default(), latency: Arc::default(), mounted: None, at };
    if let Err(why) = server.mount() {
        println!("unavailable {why}");
        return ExitCode::SUCCESS;
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match server.obey(&line) {
            Ok(answer) => println!("{answer}"),
            Err(why) => println!("failed {why}"),
        }
    }
    // Whoever still waits for an answer is told that none comes.
    if umount2(at, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH) == Err(Errno::EPERM) {
        unmount_as_user(at);
    }
    ExitCode::SUCCESS
}

struct Server<'a> {
    disk: Arc<Mutex<Disk>>,
    latency: Arc<Mutex<Latency>>,
    mounted: Option<BackgroundSession>,
    at: &'a Path,
}

impl Server<'_> {
    fn mount(&mut self) -> Result<(), String> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("power_cut".to_owned())];
        config.n_threads = Some(THREADS);
        let volume = Volume { disk: Arc::clone(&self.disk), latency: Arc::clone(&self.latency) };
        let session = fuser::spawn_mount(volume, self.at, &config).map_err(|error| error.to_string())?;
        self.mounted = Some(session);
        Ok(())
    }

    /// Does what a line says, and answers with another.
    fn obey(&mut self, line: &str) -> Result<String, String> {
        let nonsense = || line.to_owned();
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["arm", ..] => lock(&self.disk).arm(line["arm".len()..].parse().map_err(|()| nonsense())?),
            ["cut", ..] => lock(&self.disk).cut(line["cut".len()..].parse().map_err(|()| nonsense())?),
            ["latency", ..] => {
                *lock(&self.latency) = line["latency".len()..].parse().map_err(|()| nonsense())?;
            }
            ["remount"] => self.remount()?,
            ["trouble", ..] => {
                lock(&self.disk).troubles.arm(line["trouble".len()..].parse().map_err(|()| nonsense())?);
            }
            ["well"] => lock(&self.disk).troubles.disarm(),
            ["met"] => return Ok(lock(&self.disk).troubles.to_string()),
            ["trace"] => return Ok(lock(&self.disk).troubles.trace()),
            ["names"] => return Ok(lock(&self.disk).all_names()),
            ["save", name] => lock(&self.disk).save(name),
            ["load", name] => lock(&self.disk).load(name),
            ["tally"] => return Ok(format!("tally {}", lock(&self.disk).tally())),
            _ => return Err(nonsense()),
        }
        Ok("done".to_owned())
    }

    /// Mounts the disk anew, so that nothing is left of what the kernel had in memory, and gives it power.
    fn remount(&mut self) -> Result<(), String> {
        unmount(self.at)?;
        if let Some(session) = self.mounted.take() {
            end(session)?;
        }
        lock(&self.disk).power_on();
        self.mount()
    }
}

/// Waits for the threads of a file system that was unmounted. A thread that asks for the next request just then may hear that
/// the connection is aborted, where the others hear that there is none.
fn end(session: BackgroundSession) -> Result<(), String> {
    match session.join() {
        Err(error) if error.raw_os_error() != Some(Errno::ECONNABORTED as i32) => Err(error.to_string()),
        _ => Ok(()),
    }
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
