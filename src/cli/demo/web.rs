//! The web node: publishes sign-ups, and writes down which were acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;

use super::TOPIC;
use super::arguments::DemoNode;
use super::lines::{Appender, Follower, Numbers, number};
use super::orders::{self, Orders};
use super::signups::SignUps;
use crate::bus::{Bus, Ticket};
use crate::cli::exit::{Exit, Failure};
use crate::cli::runtime::block_on;

/// Sign-ups whose receipts are waited for together.
const BURST: usize = 256;

/// Bursts that are on their way at once.
const BURSTS_MAX: usize = 8;

/// How long the rest may take to reach email at the end.
const DRAIN: Duration = Duration::from_secs(600);

pub fn run(arguments: &DemoNode) -> Result<(), Failure> {
    block_on(async {
        let orders = orders::listen()?;
        let signups = SignUps::load(arguments.input.as_deref())?;
        let messages = arguments.messages.unwrap_or(signups.lines());
        let bus = Bus::builder(arguments.base.join("web")).bind(&arguments.bind).open().await?;
        bus.subscribers(TOPIC, 1).await?;
        let web = Web::new(bus, arguments, signups, messages, orders)?;
        web.work().await
    })
}

struct Web {
    bus: Bus,
    signups: SignUps,
    /// What is still to be published: neither acknowledged in an earlier life nor begun in this one.
    todo: VecDeque<u64>,
    sent: Appender,
    acknowledged: Appender,
    orders: watch::Receiver<Orders>,
}

impl Web {
    fn new(
        bus: Bus,
        arguments: &DemoNode,
        signups: SignUps,
        messages: u64,
        orders: watch::Receiver<Orders>,
    ) -> Result<Web, Failure> {
        let path = arguments.base.join("acknowledged");
        let failed = |error: std::io::Error| Failure::io("go on with the lists of sign-ups", &error);
        let acknowledged = Appender::open(&path).map_err(failed)?;
        let sent = Appender::open(&arguments.base.join("sent")).map_err(failed)?;
        let mut before = Numbers::up_to(messages);
        let mut take = |line: &[u8]| {
            before.insert(number(line).unwrap_or(0));
        };
        Follower::new().follow(&path, &mut take).map_err(failed)?;
        let todo = (1..=messages).filter(|number| !before.contains(*number)).collect();
        Ok(Web { bus, signups, todo, sent, acknowledged, orders })
    }

    async fn work(mut self) -> Result<(), Failure> {
        let mut bursts: VecDeque<Vec<(u64, Ticket)>> = VecDeque::new();
        loop {
            let burst = self.burst().await?;
            let waits = burst.is_empty();
            if !waits {
                bursts.push_back(burst);
            }
            if (waits || bursts.len() >= BURSTS_MAX)
                && let Some(oldest) = bursts.pop_front()
            {
                self.receipts(oldest).await?;
            } else if waits {
                let next = self.todo.front().copied().unwrap_or(u64::MAX);
                if orders::wait_for(&mut self.orders, |orders| orders.finish || orders.up_to >= next)
                    .await
                    .finish
                {
                    break;
                }
            }
        }
        self.bus.drain(DRAIN).await?;
        Ok(self.bus.close().await?)
    }

    /// Publishes the next sign-ups, as many as may be.
    async fn burst(&mut self) -> Result<Vec<(u64, Ticket)>, Failure> {
        let up_to = self.orders.borrow().up_to;
        let mut burst = Vec::new();
        while burst.len() < BURST
            && let Some(number) = self.todo.front().copied().filter(|number| *number <= up_to)
        {
            self.todo.pop_front();
            // Before the bus has it: if this process dies now, the sign-up counts as sent, and when it is sent again, as
            // sent again.
            self.note(&self.sent, format!("{number}\n").as_bytes())?;
            burst.push((number, self.bus.publish_nowait(TOPIC, self.signups.payload(number)).await?));
        }
        Ok(burst)
    }

    /// Waits for receipts, and only then writes down that there are.
    async fn receipts(&self, burst: Vec<(u64, Ticket)>) -> Result<(), Failure> {
        let mut lines = String::new();
        for (number, ticket) in burst {
            let receipt = ticket.wait().await?;
            if receipt.routed != 1 {
                let text = format!("sign-up {number} went to {} subscribers", receipt.routed);
                return Err(Failure::new(Exit::Failure, text));
            }
            lines.push_str(&format!("{number}\n"));
        }
        self.note(&self.acknowledged, lines.as_bytes())
    }

    fn note(&self, list: &Appender, lines: &[u8]) -> Result<(), Failure> {
        list.append(lines).map_err(|error| Failure::io("write down a sign-up", &error))
    }
}
