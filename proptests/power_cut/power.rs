//! The disk's process, as the test sees it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tokio::sync::{mpsc, watch};

use super::fault::Fault;
use super::latency::Latency;
use super::loss::Loss;
use super::server::MOUNT_POINT;
use super::tally::Tally;

/// What went wrong on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The power went, in the middle of a request on that file.
    Cut { file: String },
    /// A flush of that file was refused.
    Refused { file: String },
}

/// Why a run ends early.
#[derive(Debug)]
pub enum Stop {
    /// No such file system can be had here, and why.
    Unavailable(String),
    Failed(String),
}

/// A disk whose power can be cut. It is gone when this is dropped.
pub struct Power {
    child: Child,
    /// Closed first of all: then the process ends.
    commands: Option<ChildStdin>,
    answers: mpsc::UnboundedReceiver<String>,
    event: watch::Sender<Option<Event>>,
    mount_point: PathBuf,
}

impl Power {
    /// Starts the process. The file system is mounted when this returns.
    pub async fn start(mount_point: &Path) -> Result<Power, Stop> {
        if !Path::new("/dev/fuse").exists() {
            return Err(Stop::Unavailable("there is no /dev/fuse".to_owned()));
        }
        let failed = |error: std::io::Error| Stop::Failed(error.to_string());
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .env(MOUNT_POINT, mount_point)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Whoever interrupts the test does not interrupt this: it ends by itself, and takes the file system away.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (Some(commands), Some(told)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Stop::Failed("a process without pipes".to_owned()));
        };
        let (sender, answers) = mpsc::unbounded_channel();
        let event = watch::Sender::new(None);
        let events = event.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(told).lines().map_while(Result::ok) {
                match event_of(&line) {
                    Some(event) => drop(events.send_replace(Some(event))),
                    // Nobody may be there any more.
                    None => drop(sender.send(line)),
                }
            }
        });
        let mount_point = mount_point.to_owned();
        let mut power = Power { child, commands: Some(commands), answers, event, mount_point };
        match power.answer().await.map_err(Stop::Failed)?.split_once(' ') {
            None => Ok(power),
            Some((_, why)) => Err(Stop::Unavailable(format!("nothing can be mounted: {why}"))),
        }
    }

    /// Where the file system is.
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// From now on that will go wrong. What went wrong before is forgotten.
    pub async fn arm(&mut self, fault: Fault) -> Result<(), String> {
        self.event.send_replace(None);
        self.order(&format!("arm {fault}")).await
    }

    /// How long requests take from now on.
    pub async fn set_latency(&mut self, latency: Latency) -> Result<(), String> {
        self.order(&format!("latency {latency}")).await
    }

    /// Cuts the power if it is on.
    pub async fn cut(&mut self, loss: Loss) -> Result<(), String> {
        self.order(&format!("cut {loss}")).await
    }

    /// Power again, and what is left is mounted.
    pub async fn restore(&mut self) -> Result<(), String> {
        self.order("remount").await?;
        self.event.send_replace(None);
        Ok(())
    }

    /// What has happened on the disk so far.
    pub async fn tally(&mut self) -> Result<Tally, String> {
        let answer = self.ask("tally").await?;
        let tally = answer.strip_prefix("tally ").and_then(Tally::parse);
        tally.ok_or_else(|| format!("the disk counts {answer:?}"))
    }

    /// Returns when all is known that went wrong before: the process tells it in the order in which it happened.
    pub async fn settle(&mut self) -> Result<(), String> {
        self.tally().await.map(drop)
    }

    /// What went wrong since a fault was armed, if anything did.
    pub fn event(&self) -> Option<Event> {
        self.event.borrow().clone()
    }

    /// Those who wait for something to go wrong.
    pub fn events(&self) -> watch::Receiver<Option<Event>> {
        self.event.subscribe()
    }

    /// Has something done.
    pub async fn order(&mut self, line: &str) -> Result<(), String> {
        match self.ask(line).await?.as_str() {
            "done" => Ok(()),
            other => Err(format!("the disk was told {line:?} and says {other:?}")),
        }
    }

    /// Asks for something and says what is answered.
    pub async fn ask(&mut self, line: &str) -> Result<String, String> {
        self.write(line)?;
        self.answer().await
    }

    fn write(&mut self, line: &str) -> Result<(), String> {
        let commands = self.commands.as_mut().ok_or("the disk is gone")?;
        writeln!(commands, "{line}").map_err(|error| format!("the disk is gone: {error}"))
    }

    async fn answer(&mut self) -> Result<String, String> {
        super::patience::within("the disk", self.answers.recv())
            .await?
            .ok_or_else(|| "the disk is gone".to_owned())
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        self.commands = None;
        drop(self.child.wait());
    }
}

fn event_of(line: &str) -> Option<Event> {
    let (word, file) = line.split_once(' ')?;
    let file = file.to_owned();
    match word {
        "cut" => Some(Event::Cut { file }),
        "refused" => Some(Event::Refused { file }),
        _ => None,
    }
}

/// Resolves when something has gone wrong.
pub async fn gone_wrong(events: &mut watch::Receiver<Option<Event>>) -> Event {
    loop {
        if let Some(event) = events.borrow_and_update().clone() {
            return event;
        }
        if events.changed().await.is_err() {
            // Nothing goes wrong any more.
            std::future::pending::<()>().await;
        }
    }
}
