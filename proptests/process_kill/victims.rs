//! The processes, and who is killed when.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::child::{DIRECTORY, LIFE, PEER, PORT, ROLE};

/// What the subscribers are called.
pub const SUBSCRIBERS: [&str; 2] = ["email", "audit"];

/// One process, through all its lives.
pub struct Victim {
    name: &'static str,
    directory: PathBuf,
    port: u16,
    publisher_port: u16,
    life: u64,
    child: Option<Child>,
}

impl Victim {
    /// The publisher and the subscribers; none is started.
    pub fn all(directory: &Path) -> Vec<Victim> {
        let publisher_port = free_port();
        let of = |name, port| Victim {
            name,
            directory: directory.to_owned(),
            port,
            publisher_port,
            life: 0,
            child: None,
        };
        std::iter::once(of("publisher", publisher_port))
            .chain(SUBSCRIBERS.into_iter().map(|name| of(name, free_port())))
            .collect()
    }

    /// Begins the next life.
    pub fn start(&mut self) -> Result<(), String> {
        self.life += 1;
        let log = self.directory.join(format!("{}.stderr", self.name));
        let log = File::options().create(true).append(true).open(log).map_err(|error| error.to_string())?;
        let child = Command::new(std::env::current_exe().map_err(|error| error.to_string())?)
            .env(ROLE, self.name)
            .env(DIRECTORY, &self.directory)
            .env(PORT, self.port.to_string())
            .env(PEER, format!("tcp://127.0.0.1:{}", self.publisher_port))
            .env(LIFE, self.life.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Nobody but us ends it.
    pub fn must_be_alive(&mut self) -> Result<(), String> {
        let Some(child) = &mut self.child else { return Ok(()) };
        match child.try_wait() {
            Ok(None) => Ok(()),
            ended => Err(format!(
                "{} ended by itself in life {}: {ended:?}\n{}",
                self.name,
                self.life,
                self.told()
            )),
        }
    }

    /// SIGKILL, and the end of it is waited for.
    pub fn kill(&mut self) -> Result<(), String> {
        self.must_be_alive()?;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().and_then(|()| child.wait()).map(drop).map_err(|error| error.to_string())
    }

    /// Asks it to finish, and waits until it has.
    pub fn finish(&mut self, limit: Duration) -> Result<(), String> {
        self.must_be_alive()?;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(b"finish\n").map_err(|error| error.to_string())?;
        }
        let began = Instant::now();
        loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(format!("{} could not finish: {status}\n{}", self.name, self.told()));
                }
                None if began.elapsed() > limit => {
                    drop(child.kill().and_then(|()| child.wait()));
                    return Err(format!("{} does not finish\n{}", self.name, self.told()));
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.directory.join(format!("{}.stderr", self.name))).unwrap_or_default()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}

/// Below those that the system gives to connections: one of them could be there when a process comes back.
fn free_port() -> u16 {
    let start = (std::process::id() * 61 % 10_000) as u16;
    let ports = (0..10_000).map(|offset| 20_000 + (start + offset) % 10_000);
    static TAKEN: std::sync::Mutex<Vec<u16>> = std::sync::Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap();
    let is_free =
        |port: &u16| !taken.contains(port) && std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = ports.into_iter().find(is_free).expect("no port is free");
    taken.push(port);
    port
}

/// Random numbers that can be had again.
pub struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// From `RESOLUTE_SEED`; or one that is the same each time, and one from the time of day.
    pub fn from_environment() -> Result<Vec<Chance>, String> {
        let given = super::own_main::number("RESOLUTE_SEED")?;
        let now = std::time::UNIX_EPOCH.elapsed().map_or(2, |time| time.as_nanos() as u64);
        let seeds = given.map_or_else(|| vec![1, now], |seed| vec![seed]);
        Ok(seeds.into_iter().map(|seed| Chance { seed, state: seed }).collect())
    }

    /// What gives the same numbers again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// SplitMix64 (Steele, Lea, Flood, 2014).
    fn next(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// Until the next kill: often long enough for everything to run well, and sometimes too short to open.
    pub fn pause(&mut self) -> Duration {
        let most = if self.next(4) == 0 { 80 } else { 1500 };
        Duration::from_millis(self.next(most))
    }

    /// Until a killed process is started again.
    pub fn short_pause(&mut self) -> Duration {
        Duration::from_millis(self.next(150))
    }

    /// Who is killed: one, and now and then two at once.
    pub fn victims(&mut self, of: usize) -> Vec<usize> {
        let first = self.next(of as u64) as usize;
        let second = (self.next(5) == 0).then_some((first + 1) % of);
        std::iter::once(first).chain(second).collect()
    }
}
