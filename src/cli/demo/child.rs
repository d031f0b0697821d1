//! A process of the demo.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::orders::Orders;
use crate::bus::Stopwatch;
use crate::cli::exit::{Exit, Failure};

/// How often a process that is to end is looked at.
const POLL: Duration = Duration::from_millis(5);

/// How one of the two processes is started, the first time and every other.
#[derive(Debug)]
pub struct Program {
    /// `web` or `email`.
    pub name: &'static str,
    /// The arguments after `demo-NAME`.
    pub arguments: Vec<PathBuf>,
    /// The demo's directory.
    pub base: PathBuf,
}

/// One life of a process. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

impl Program {
    pub fn start(&self) -> Result<Running, Failure> {
        let failed = |error: std::io::Error| Failure::io(&format!("start {}", self.name), &error);
        let log = self.base.join(format!("{}.log", self.name));
        let errors = File::options().create(true).append(true).open(&log).map_err(failed)?;
        let child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg(format!("demo-{}", self.name))
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .map_err(failed)?;
        Ok(Running { child, name: self.name, log })
    }
}

impl Running {
    /// Tells the process something. One that has ended does not hear it, which [`Running::check`] finds out.
    pub fn order(&mut self, orders: &Orders) {
        if let Some(stdin) = &mut self.child.stdin {
            let _: std::io::Result<()> = stdin.write_all(orders.line().as_bytes());
        }
    }

    /// That the process still runs.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(status)),
            Err(error) => Err(Failure::io(&format!("look after {}", self.name), &error)),
        }
    }

    /// SIGKILL, and nothing else.
    pub fn kill(mut self) -> Result<(), Failure> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(drop).map_err(|error| Failure::io(&format!("kill {}", self.name), &error))
    }

    /// Lets the process end in good order; false if it did not within the limit.
    pub fn finish(mut self, limit: Duration) -> Result<bool, Failure> {
        self.order(&Orders { finish: true, ..Orders::default() });
        let watch = Stopwatch::start();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(true),
                Ok(Some(status)) => return Err(self.ended(status)),
                Ok(None) if watch.elapsed() >= limit => return Ok(false),
                Ok(None) => std::thread::sleep(POLL),
                Err(error) => return Err(Failure::io(&format!("look after {}", self.name), &error)),
            }
        }
    }

    fn ended(&self, status: ExitStatus) -> Failure {
        let said = last_line(&self.log).unwrap_or_else(|| "it said nothing".to_owned());
        Failure::new(Exit::Failure, format!("{} ended by itself ({status}): {said}", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _: std::io::Result<()> = self.child.kill();
        let _: std::io::Result<ExitStatus> = self.child.wait();
    }
}

fn last_line(log: &Path) -> Option<String> {
    std::fs::read_to_string(log).ok()?.lines().last().map(str::to_owned)
}
