//! The processes that handle what is published, as the publisher sees them.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::io;
use super::latency::Latencies;
use super::receiver::{Question, Standing};
use crate::bus::Stopwatch;
use crate::cli::exit::{Exit, Failure};

/// How long a receiver may go on without handling anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// All of them.
pub struct Receivers(Vec<Receiver>);

impl Receivers {
    /// Starts so many, each with a directory of its own in `dir`. They subscribe by themselves.
    pub fn start(count: u32, dir: &Path, publisher: &str) -> Result<Receivers, Failure> {
        let start = |number| Receiver::start(&dir.join(format!("receiver-{number}")), publisher);
        (1..=count).map(start).collect::<Result<_, _>>().map(Receivers)
    }

    /// Where they stand, taken together. What they did before counts no longer for the most memory they had.
    pub fn begin(&mut self) -> Result<Standing, Failure> {
        self.0.iter_mut().map(|receiver| receiver.ask(Question::Begin)).sum()
    }

    /// Waits until each has handled so many messages, and says where they stand then.
    pub fn wait(&mut self, messages: u64) -> Result<Standing, Failure> {
        self.0.iter_mut().map(|receiver| receiver.wait(messages)).sum()
    }

    /// How long messages took from the call of publish to the call of a handler, at any of them.
    pub fn latencies(&mut self) -> Result<Latencies, Failure> {
        let mut sum = Latencies::new();
        for receiver in &mut self.0 {
            sum.add(&receiver.ask(Question::Latencies)?);
        }
        Ok(sum)
    }
}

/// One other process. Dropping it kills it.
struct Receiver {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Receiver {
    fn start(dir: &Path, publisher: &str) -> Result<Receiver, Failure> {
        let failed = io("start a receiver");
        let mut child = Command::new(std::env::current_exe().map_err(&failed)?)
            .arg("bench-receiver")
            .arg("--dir")
            .arg(dir)
            .args(["--from", publisher])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(&failed)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new(Exit::Failure, "a receiver has no pipes"));
        };
        Ok(Receiver { child, to, from: BufReader::new(from) })
    }

    fn ask<T: DeserializeOwned>(&mut self, question: Question) -> Result<T, Failure> {
        let failed = io("ask a receiver");
        writeln!(self.to, "{}", question.text()).and_then(|()| self.to.flush()).map_err(&failed)?;
        let mut line = String::new();
        self.from.read_line(&mut line).map_err(&failed)?;
        serde_json::from_str(&line).map_err(std::io::Error::from).map_err(&failed)
    }

    fn wait(&mut self, messages: u64) -> Result<Standing, Failure> {
        let (mut last, mut watch) = (0, Stopwatch::start());
        loop {
            let standing: Standing = self.ask(Question::Standing)?;
            if standing.handled >= messages {
                return Ok(standing);
            }
            if standing.handled > last {
                (last, watch) = (standing.handled, Stopwatch::start());
            } else if watch.elapsed() > PATIENCE {
                let text = format!("a receiver has handled {last} of {messages} messages and no more come");
                return Err(Failure::new(Exit::Failure, text));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
