//! The processes that handle what is published, as the publisher sees them.

use std::future::Future;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::pin::pin;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::future::{Either, select};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::io;
use super::latency::Latencies;
use super::receiver::{Question, Standing};
use super::scratch::Process;
use crate::bus::Stopwatch;
use crate::cli::exit::{Exit, Failure};

/// How long a receiver may go on without handling anything, or without an answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked where a receiver stands, or whether it has ended.
const LOOK: Duration = Duration::from_millis(1);

/// And how many times at most whether it has ended.
const LOOKS_MAX: u32 = 1_000;

/// All of them.
pub struct Receivers {
    receivers: Vec<Receiver>,
    /// One of them has ended, or wants to hear nothing more.
    ended: Arc<Notify>,
}

impl Receivers {
    /// Starts so many, each with a directory of its own in `dir`. They subscribe by themselves.
    pub fn start(count: u32, dir: &Path, publisher: &str) -> Result<Receivers, Failure> {
        let ended = Arc::new(Notify::new());
        let start = |number| Receiver::start(&dir.join(format!("receiver-{number}")), publisher, &ended);
        let receivers = (1..=count).map(start).collect::<Result<_, _>>()?;
        Ok(Receivers { receivers, ended })
    }

    /// The outcome of `future`, unless one of them ends before: then that would wait for ever.
    pub async fn while_they_live<T>(
        &self,
        future: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match select(pin!(future), pin!(self.ended.notified())).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(first_ended(&self.receivers)),
        }
    }

    /// Where they stand, taken together. What they did before counts no longer for the most memory they had.
    pub fn begin(&mut self) -> Result<Standing, Failure> {
        self.receivers.iter_mut().map(|receiver| receiver.ask(Question::Begin)).sum()
    }

    /// Waits until each has handled so many messages, and says where they stand then.
    pub fn wait(&mut self, messages: u64) -> Result<Standing, Failure> {
        self.receivers.iter_mut().map(|receiver| receiver.wait(messages)).sum()
    }

    /// How long messages took from the call of publish to the call of a handler, at any of them.
    pub fn latencies(&mut self) -> Result<Latencies, Failure> {
        let mut sum = Latencies::new();
        for receiver in &mut self.receivers {
            sum.add(&receiver.ask(Question::Latencies)?);
        }
        Ok(sum)
    }
}

/// One other process.
struct Receiver {
    process: Process,
    to: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl Receiver {
    fn start(dir: &Path, publisher: &str, ended: &Arc<Notify>) -> Result<Receiver, Failure> {
        let failed = io("start a receiver");
        let mut command = Command::new(std::env::current_exe().map_err(&failed)?);
        command.arg("bench-receiver").arg("--dir").arg(dir).args(["--from", publisher]);
        let process =
            Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped())).map_err(&failed)?;
        let pipes = {
            let mut child = process.child();
            child.stdin.take().zip(child.stdout.take())
        };
        let (to, from) = pipes.ok_or_else(|| failure("a receiver has no pipes"))?;
        let (answer, answers) = mpsc::channel();
        let (lines, ended) = (BufReader::new(from).lines(), Arc::clone(ended));
        std::thread::spawn(move || {
            pass_on(lines, &answer);
            // Before anybody looks: whoever asks in vain learns why.
            drop(answer);
            ended.notify_one();
        });
        Ok(Receiver { process, to, answers })
    }

    /// That it has ended, if it has.
    fn ended(&self) -> Option<Failure> {
        let status = self.process.child().try_wait().ok()??;
        Some(failure(format!("a receiver has ended ({status})")))
    }

    fn ask<T: DeserializeOwned>(&mut self, question: Question) -> Result<T, Failure> {
        // Whoever cannot be asked does not answer either, and that tells more.
        let asked = writeln!(self.to, "{}", question.text()).and_then(|()| self.to.flush());
        let line = self.answers.recv_timeout(PATIENCE).map_err(|why| match (why, asked) {
            (mpsc::RecvTimeoutError::Disconnected, _) => first_ended(std::slice::from_ref(self)),
            (mpsc::RecvTimeoutError::Timeout, Err(error)) => Failure::io("ask a receiver", &error),
            (mpsc::RecvTimeoutError::Timeout, Ok(())) => {
                failure(format!("a receiver has not answered for {} s", PATIENCE.as_secs()))
            }
        })?;
        serde_json::from_str(&line).map_err(std::io::Error::from).map_err(io("understand a receiver"))
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
                return Err(failure(format!(
                    "a receiver has handled {last} of {messages} messages and no more come"
                )));
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Of those of which one has closed its output. It is seen a moment later that it has ended too.
fn first_ended(receivers: &[Receiver]) -> Failure {
    for _ in 0..LOOKS_MAX {
        if let Some(failure) = receivers.iter().find_map(Receiver::ended) {
            return failure;
        }
        std::thread::sleep(LOOK);
    }
    failure("a receiver has closed its output")
}

fn failure(text: impl Into<String>) -> Failure {
    Failure::new(Exit::Failure, text)
}

/// Until there are no more lines, or nobody wants them.
fn pass_on(lines: Lines<BufReader<ChildStdout>>, to: &mpsc::Sender<String>) {
    for line in lines {
        if !line.is_ok_and(|line| to.send(line).is_ok()) {
            return;
        }
    }
}
