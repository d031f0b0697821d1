//! What a measurement has on the machine while it goes on: a directory, and processes. However it ends, by a result, by a
//! failure or by a signal, they go with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::io;
use crate::cli::exit::Failure;
use crate::cli::output::say;

/// What is there now. A signal comes to the process, and so there is one for the process.
static PRESENT: Mutex<Present> = Mutex::new(Present { directories: Vec::new(), children: Vec::new() });

/// How often it is tried to remove a directory in which somebody may still make files.
const REMOVALS_MAX: u32 = 1_000;

struct Present {
    directories: Vec<PathBuf>,
    children: Vec<Arc<Mutex<Child>>>,
}

fn present() -> MutexGuard<'static, Present> {
    PRESENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory for one measurement, removed with all that is in it when this is dropped, or the process interrupted.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(parent: &Path) -> Result<Scratch, Failure> {
        // Under the lock: whoever removes what is there misses none that was just made.
        let mut present = present();
        let path = super::directory_in(parent)?.keep();
        present.directories.push(path.clone());
        Ok(Scratch(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Removed first and forgotten afterwards: a signal that comes meanwhile removes what is left.
        remove(&self.0);
        present().directories.retain(|other| *other != self.0);
    }
}

/// A process that is killed when this is dropped, or this process is interrupted.
pub struct Process(Arc<Mutex<Child>>);

impl Process {
    pub fn start(command: &mut Command) -> std::io::Result<Process> {
        let mut present = present();
        let process = Process(Arc::new(Mutex::new(command.spawn()?)));
        present.children.push(Arc::clone(&process.0));
        Ok(process)
    }

    /// For its pipes, and how it ended.
    pub fn child(&self) -> MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill(&mut self.child());
        present().children.retain(|child| !Arc::ptr_eq(child, &self.0));
    }
}

/// It may have ended already.
fn kill(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

/// From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT leave nothing behind; the process then ends as one that the signal ended: with 128 and its
/// number.
pub fn remove_when_interrupted() -> Result<(), Failure> {
    let failed = io("listen for signals");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(&failed)?;
    let listen = |kind: SignalKind| {
        let _within = runtime.enter();
        signal(kind).map_err(&failed)
    };
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()] {
        let signal = listen(kind)?;
        runtime.spawn(end_at(signal, 128 + kind.as_raw_value()));
    }
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    Ok(())
}

async fn end_at(mut signal: Signal, code: i32) {
    if signal.recv().await.is_some() {
        say("interrupted: removing what was measured with");
        // Held to the end: nobody makes anything any more.
        let mut present = present();
        present
            .children
            .iter()
            .for_each(|child| kill(&mut child.lock().unwrap_or_else(PoisonError::into_inner)));
        present.directories.drain(..).for_each(|path| remove(&path));
        std::process::exit(code);
    }
}

/// A node in this process may make files in it until it is gone.
fn remove(directory: &Path) {
    let mut tries = 0..REMOVALS_MAX;
    while tries.next().is_some() && fs::remove_dir_all(directory).is_err() && directory.exists() {}
    if directory.exists() {
        say(&format!("cannot remove {}", directory.display()));
    }
}
