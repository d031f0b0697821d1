//! `publish` and `send`.

use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use serde_json::json;

use super::arguments::{MessageArguments, NodeArguments, Publish, Send};
use super::exit::{Exit, Failure};
use super::output::{Output, say};
use super::runtime::{Stop, block_on};
use super::table::facts;
use crate::bus::{Bus, DrainReport, Message, Receipt, Stopwatch, Ticket};
use crate::format::message::check_topic;
use input::Input;

mod input;

/// Messages that are on their way to the disk at once.
const WINDOW: usize = 4096;

/// How long an outbox that does not become empty is left alone before it is looked at again.
const DRAIN_STEP: Duration = Duration::from_millis(200);

/// Where messages go.
enum Target {
    Subscribers { at_least: usize, wait: Option<u64> },
    Address(String),
}

/// What came of it.
#[derive(Default)]
struct Report {
    published: u64,
    routed: u64,
    unrouted: u64,
    last: Option<Receipt>,
    left: Option<DrainReport>,
    interrupted: bool,
}

pub fn publish(arguments: &Publish) -> Result<(), Failure> {
    let target = Target::Subscribers { at_least: arguments.subscribers, wait: arguments.wait };
    block_on(run(&arguments.node, &arguments.bind, &arguments.message, &target))
}

pub fn send(arguments: &Send) -> Result<(), Failure> {
    let target = Target::Address(arguments.to.clone());
    block_on(run(&arguments.node, &arguments.bind, &arguments.message, &target))
}

/// Checks topics before anything else is done: nobody could ever subscribe to a bad one.
pub fn check_topics<'t>(topics: impl IntoIterator<Item = &'t String>) -> Result<(), Failure> {
    for topic in topics {
        check_topic(topic)
            .map_err(|defect| Failure::new(Exit::Usage, format!("topic {topic:?}: {defect}")))?;
    }
    Ok(())
}

/// Opens the node that a command works with.
pub async fn open(node: &NodeArguments, bind: &str) -> Result<Bus, Failure> {
    let mut builder = Bus::builder(&node.dir).bind(bind);
    if let Some(address) = &node.opening.advertise {
        builder = builder.advertise(address);
    }
    if let Some(name) = &node.opening.name {
        builder = builder.name(name);
    }
    if let Some(bytes) = node.opening.segment_bytes {
        builder = builder.segment_bytes(bytes);
    }
    if let Some(bytes) = node.opening.inbox_bytes {
        builder = builder.inbox_bytes(bytes);
    }
    if let Some(bytes) = node.opening.disk_bytes {
        builder = builder.disk_bytes(bytes);
    }
    if let Some(bytes) = node.opening.sender_bytes {
        builder = builder.sender_bytes(bytes);
    }
    Ok(builder.quota(node.opening.quota()).open().await?)
}

async fn run(
    node: &NodeArguments,
    bind: &str,
    what: &MessageArguments,
    target: &Target,
) -> Result<(), Failure> {
    check_topics([&what.topic])?;
    let stop = Stop::listen()?;
    let bus = open(node, bind).await?;
    let watch = Stopwatch::start();
    let mut report = Report::default();
    let mut outcome = all(&bus, what, target, &stop, &mut report).await;
    // Whatever ended it: what is published is published, and goes out.
    if report.published > 0 && !report.interrupted {
        let drained = drain(&bus, Duration::from_secs(what.deadline), &stop, &mut report).await;
        outcome = outcome.and(drained);
    }
    let closed = bus.close().await;
    if report.published > 0 {
        report.write(what.json, watch.elapsed())?;
    }
    outcome?;
    closed?;
    report.verdict(what.deadline)
}

/// Publishes everything, and returns when all of it is on stable storage.
async fn all(
    bus: &Bus,
    what: &MessageArguments,
    target: &Target,
    stop: &Stop,
    report: &mut Report,
) -> Result<(), Failure> {
    if !subscribed(bus, &what.topic, target, stop).await? {
        report.interrupted = true;
        return Ok(());
    }
    let mut input = match &what.data {
        Some(data) => Input::one(data.as_bytes().to_vec()),
        None => Input::lines()?,
    };
    let mut waiting: VecDeque<Ticket> = VecDeque::new();
    let mut outcome = Ok(());
    while let Some(next) = stop
        .or(input.next())
        .await
        .unwrap_or_else(|| {
            report.interrupted = true;
            Ok(None)
        })
        .transpose()
    {
        let staged = match next {
            Ok(data) => stage(bus, what, target, data).await,
            Err(failure) => Err(failure),
        };
        match staged {
            Ok(ticket) => waiting.push_back(ticket),
            Err(failure) => {
                outcome = Err(failure.while_doing(&input.place()));
                break;
            }
        }
        if waiting.len() >= WINDOW
            && let Some(ticket) = waiting.pop_front()
        {
            report.count(ticket.wait().await?);
        }
    }
    for ticket in waiting {
        report.count(ticket.wait().await?);
    }
    outcome
}

/// Whether enough subscriptions match, after waiting for them.
async fn subscribed(bus: &Bus, topic: &str, target: &Target, stop: &Stop) -> Result<bool, Failure> {
    let Target::Subscribers { at_least, wait } = target else { return Ok(true) };
    let limit = wait.map_or(Duration::MAX, Duration::from_secs);
    let waiting = tokio::time::timeout(limit, bus.subscribers(topic, *at_least));
    match stop.or(waiting).await {
        Some(Ok(found)) => Ok(found.map(|()| true)?),
        Some(Err(_)) => {
            let text = format!("fewer than {at_least} subscriptions match {topic:?}: nothing was published");
            Err(Failure::new(Exit::Unreachable, text))
        }
        None => Ok(false),
    }
}

async fn stage(
    bus: &Bus,
    what: &MessageArguments,
    target: &Target,
    data: Vec<u8>,
) -> Result<Ticket, Failure> {
    let message = what
        .headers
        .iter()
        .fold(Message::new(data), |message, (name, value)| message.header(name, value.as_bytes()));
    Ok(match target {
        Target::Subscribers { .. } => bus.publish_nowait(&what.topic, message).await?,
        Target::Address(address) => bus.send_nowait(address, &what.topic, message).await?,
    })
}

/// Waits until nothing is owed. What the directory's inbox holds does not matter here, and nobody handles it.
async fn drain(bus: &Bus, deadline: Duration, stop: &Stop, report: &mut Report) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    loop {
        let left = deadline.saturating_sub(watch.elapsed());
        match stop.or(bus.drain(left.min(DRAIN_STEP))).await {
            Some(drained) => report.left = Some(drained?),
            None => {
                report.interrupted = true;
                report.left = Some(bus.drain(Duration::ZERO).await?);
                return Ok(());
            }
        }
        if left.is_zero() || report.undelivered() == 0 {
            return Ok(());
        }
    }
}

impl Report {
    fn count(&mut self, receipt: Receipt) {
        self.published += 1;
        self.routed += u64::from(receipt.routed);
        self.unrouted += u64::from(receipt.routed == 0);
        self.last = Some(receipt);
    }

    fn undelivered(&self) -> u64 {
        self.left.as_ref().map_or(0, |left| left.undelivered)
    }

    fn owed(&self) -> &[(String, u64)] {
        self.left.as_ref().map_or(&[], |left| &left.owed)
    }

    fn write(&self, as_json: bool, took: Duration) -> Result<(), Failure> {
        let last_id = self.last.and_then(|receipt| receipt.id).map(|id| id.to_string());
        let mut out = Output::new();
        if as_json {
            let owed =
                self.owed().iter().map(|(address, owed)| json!({ "address": address, "messages": owed }));
            out.json(&json!({
                "published": self.published,
                "routed": self.routed,
                "unrouted": self.unrouted,
                "undelivered": self.undelivered(),
                "owed": owed.collect::<Vec<_>>(),
                "last_id": last_id,
                "seconds": took.as_secs_f64(),
            }))?;
        } else {
            let mut rows = vec![
                ("published", self.published.to_string()),
                ("to subscribers", self.routed.to_string()),
                ("to nobody", self.unrouted.to_string()),
                ("not yet delivered", self.undelivered().to_string()),
            ];
            rows.extend(self.owed().iter().map(|(address, owed)| ("owed to", format!("{address}: {owed}"))));
            rows.extend(last_id.map(|id| ("last id", id)));
            rows.push(("seconds", format!("{:.3}", took.as_secs_f64())));
            out.line(&facts(&rows))?;
        }
        out.finish().map(drop)
    }

    fn verdict(&self, deadline: u64) -> Result<(), Failure> {
        if self.interrupted {
            return Err(Failure::new(
                Exit::Failure,
                format!("interrupted after {} messages", self.published),
            ));
        }
        match self.undelivered() {
            0 => {
                if self.published == 0 {
                    say("nothing to publish: there were no lines");
                }
                Ok(())
            }
            owed => Err(Failure::new(
                Exit::Unreachable,
                format!(
                    "{owed} messages could not be delivered within {deadline} s: they stay on the disk, and go out the \
                     next time that a node is opened on this directory"
                ),
            )),
        }
    }
}
