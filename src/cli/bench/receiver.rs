//! A process that handles what `bench deliver` publishes. It answers in lines of JSON, one for each line that it is sent.

use std::io::{BufRead, Write};
use std::iter::Sum;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;

use super::arguments::BenchReceiver;
use super::latency::Latencies;
use super::load::TOPIC;
use super::usage::Usage;
use super::{SEGMENT_BYTES, io, runtime};
use crate::bus::{Bus, Envelope, Stopwatch};
use crate::cli::exit::Failure;

/// What a receiver can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Where it stands, before anything is measured.
    Begin,
    /// Where it stands.
    Standing,
    /// How long messages took to come.
    Latencies,
}

impl Question {
    /// The line that asks it.
    pub fn text(self) -> &'static str {
        match self {
            Question::Begin => "begin",
            Question::Standing => "standing",
            Question::Latencies => "latencies",
        }
    }

    fn of_text(text: &str) -> Option<Question> {
        [Question::Begin, Question::Standing, Question::Latencies].into_iter().find(|one| one.text() == text)
    }
}

/// Where a receiver stands, or several together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Standing {
    pub handled: u64,
    pub usage: Usage,
    pub flushes: u64,
    pub written_bytes: u64,
}

impl Sum for Standing {
    fn sum<I: Iterator<Item = Standing>>(standings: I) -> Standing {
        standings.fold(Standing::default(), |sum, one| Standing {
            handled: sum.handled + one.handled,
            usage: sum.usage.and(&one.usage),
            flushes: sum.flushes + one.flushes,
            written_bytes: sum.written_bytes + one.written_bytes,
        })
    }
}

/// What was handled.
#[derive(Clone)]
struct Handled {
    count: Arc<AtomicU64>,
    latencies: Arc<Mutex<Latencies>>,
}

impl Handled {
    fn latencies(&self) -> MutexGuard<'_, Latencies> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, message: &Envelope) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if let Some(watch) = published_at(message.payload()) {
            self.latencies().record(watch.elapsed());
        }
    }

    async fn answer_all(&self, mut questions: UnboundedReceiver<Question>, bus: &Bus) -> Result<(), Failure> {
        while let Some(question) = questions.recv().await {
            let line = self.answer(question, bus).await?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush()).map_err(io("report"))?;
        }
        Ok(())
    }

    async fn answer(&self, question: Question, bus: &Bus) -> Result<String, Failure> {
        let answer = match question {
            Question::Latencies => serde_json::to_string(&self.latencies().clone()),
            Question::Begin | Question::Standing => {
                let status = bus.status().await?;
                serde_json::to_string(&Standing {
                    handled: self.count.load(Ordering::Relaxed),
                    usage: if question == Question::Begin { Usage::from_now() } else { Usage::now() },
                    flushes: status.flushes,
                    written_bytes: status.written_bytes,
                })
            }
        };
        answer.map_err(std::io::Error::from).map_err(io("report"))
    }
}

pub fn run(arguments: &BenchReceiver) -> Result<(), Failure> {
    // From the start: whoever started this may end before anything else has come about.
    let questions = questions();
    let handled = Handled { count: Arc::default(), latencies: Arc::new(Mutex::new(Latencies::new())) };
    runtime()?.block_on(async {
        let handling = handled.clone();
        let builder = Bus::builder(&arguments.dir).segment_bytes(SEGMENT_BYTES);
        let builder = builder.every(TOPIC, move |message: Envelope| {
            handling.handle(&message);
            std::future::ready(Ok::<(), String>(()))
        });
        let bus = builder.open().await?;
        let serving = tokio::spawn(bus.serve());
        let subscribing = async {
            bus.subscribe(&arguments.from, TOPIC).await?.confirmed().await?;
            std::future::pending().await
        };
        let (Either::Left((outcome, _)) | Either::Right((outcome, _))) =
            select(pin!(subscribing), pin!(handled.answer_all(questions, &bus))).await;
        bus.close().await?;
        drop(serving.await);
        outcome
    })
}

/// What comes in by standard input. It ends with it, or with what is no question: then whoever started this has ended, or
/// never was the one who should.
fn questions() -> UnboundedReceiver<Question> {
    let (sender, questions) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let question = line.ok().as_deref().and_then(Question::of_text);
            if question.is_none_or(|question| sender.send(question).is_err()) {
                return;
            }
        }
    });
    questions
}

fn published_at(payload: &[u8]) -> Option<Stopwatch> {
    let reading = u64::from_le_bytes(payload.get(..8)?.try_into().ok()?);
    (reading != 0).then(|| Stopwatch::from_reading(reading))
}
