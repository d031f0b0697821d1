//! One node's process, through all its lives, as the driver sees it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cast::CAST;
use super::orders::Orders;
use super::report::Report;
use super::setup::{Setup, VARIABLE};

/// How often it is looked, a millisecond apart, whether a process stands still: a thread of it may wait for a disk.
const STOP_LOOKS_MAX: u32 = 60_000;

/// See the module.
pub struct Process {
    setup: Setup,
    stderr: std::path::PathBuf,
    running: Option<(Child, ChildStdin)>,
    orders: Orders,
    report: Arc<Mutex<Report>>,
    /// What was acknowledged to lives that are over, and handled by them, as far as they told.
    before: (u64, u64),
}

impl Process {
    /// A process that is not started yet.
    pub fn new(setup: Setup, work: &Path) -> Process {
        let stderr = work.join(format!("{}.stderr", CAST[setup.node].name));
        Process {
            setup,
            stderr,
            running: None,
            orders: Orders::default(),
            report: Arc::default(),
            before: (0, 0),
        }
    }

    pub fn name(&self) -> &'static str {
        CAST[self.setup.node].name
    }

    pub fn life(&self) -> u32 {
        self.setup.life
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// What it said last in this life.
    pub fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what it said.
    pub fn forget_report(&self) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Report::default();
    }

    /// What was acknowledged to it, and how often its handlers were called, in all lives.
    pub fn totals(&self) -> (u64, u64) {
        let now = self.report();
        (self.before.0 + now.acknowledged, self.before.1 + now.handled)
    }

    /// What the last life of all is told.
    pub fn begin_last(&mut self) {
        self.setup.is_last = true;
        self.orders = Orders::default();
    }

    /// Begins the next life, by a command to which the environment is added.
    pub fn start(&mut self, mut command: Command) -> Result<(), String> {
        self.before = self.totals();
        self.report = Arc::default();
        self.setup.life += 1;
        let setup = serde_json::to_string(&self.setup).map_err(|error| error.to_string())?;
        let log = File::options().create(true).append(true).open(&self.stderr);
        command.env(VARIABLE, setup).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(log.map_err(|error| error.to_string())?);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", self.name()))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else { return Err("no pipes".to_owned()) };
        follow(stdout, Arc::clone(&self.report));
        self.running = Some((child, stdin));
        self.tell(self.orders)
    }

    /// Tells it what to do from now on, in this life and in later ones.
    pub fn tell(&mut self, orders: Orders) -> Result<(), String> {
        self.orders = orders;
        let line = serde_json::to_string(&orders).map_err(|error| error.to_string())?;
        let Some((_, stdin)) = &mut self.running else { return Ok(()) };
        // If it has ended by itself, that is seen where it is looked after.
        drop(writeln!(stdin, "{line}"));
        Ok(())
    }

    pub fn orders(&self) -> Orders {
        self.orders
    }

    /// Nobody but the driver ends it, and it has nothing to complain of.
    pub fn must_be_well(&mut self) -> Result<(), String> {
        let Some((child, _)) = &mut self.running else { return Ok(()) };
        match child.try_wait() {
            Ok(None) => {}
            ended => return Err(self.fault(&format!("ended by itself: {ended:?}"))),
        }
        match self.report().complaint() {
            None => Ok(()),
            Some(complaint) => Err(self.fault(&complaint)),
        }
    }

    /// SIGKILL, and the end of it is waited for.
    pub fn kill(&mut self) -> Result<(), String> {
        self.must_be_well()?;
        let Some((mut child, _)) = self.running.take() else { return Ok(()) };
        child.kill().and_then(|()| child.wait()).map(drop).map_err(|error| error.to_string())
    }

    /// SIGSTOP; returns when it stands still.
    pub fn stop(&mut self) -> Result<(), String> {
        self.signal(Signal::SIGSTOP)?;
        for _ in 0..STOP_LOOKS_MAX {
            if self.state() == Some('T') {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Err(self.fault("does not stop"))
    }

    /// SIGCONT.
    pub fn go_on(&mut self) -> Result<(), String> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<(), String> {
        self.must_be_well()?;
        let Some((child, _)) = &self.running else { return Ok(()) };
        // It was not waited for yet, so the number is still its own.
        kill(Pid::from_raw(child.id() as i32), signal).map_err(|error| format!("{}: {error}", self.name()))
    }

    /// What the kernel says of it, as one letter.
    fn state(&self) -> Option<char> {
        let (child, _) = self.running.as_ref()?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// Whether it has ended well, after it was told to.
    pub fn has_finished(&mut self) -> Result<bool, String> {
        let Some((child, _)) = &mut self.running else { return Ok(true) };
        match child.try_wait().map_err(|error| error.to_string())? {
            None => Ok(false),
            Some(status) if status.success() => {
                self.running = None;
                Ok(true)
            }
            Some(status) => Err(self.fault(&format!("could not finish: {status}"))),
        }
    }

    fn fault(&self, what: &str) -> String {
        let told = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        format!("{} {what}, in life {}\n{told}", self.name(), self.setup.life)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}

/// Keeps the last report of one life. Half a line, which a kill may leave, is none.
fn follow(stdout: ChildStdout, report: Arc<Mutex<Report>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Ok(told) = serde_json::from_str(&line) {
                *report.lock().unwrap_or_else(PoisonError::into_inner) = told;
            }
        }
    });
}
