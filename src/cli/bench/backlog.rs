//! What a subscriber that is away is owed before a measurement begins.

use super::load::TOPIC;
use super::usage::rss_bytes;
use crate::bus::Bus;
use crate::cli::exit::{Exit, Failure};

/// So often, in messages, it is said how far the publishing is.
const TOLD_EVERY: u64 = 1 << 16;

/// Bytes of a record beyond its payload, more than it ever has here: for the room on the disk.
const RECORD_OVERHEAD_BYTES: u64 = 128;

/// What is owed, and what that took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// Messages.
    pub owed: u64,
    /// Bytes by which the process grew meanwhile: of few messages mostly what the node takes once.
    pub grown_bytes: u64,
}

impl Backlog {
    /// Publishes messages until so many are owed, and waits until all are durable. Calls `told` with how many there are,
    /// again and again.
    pub async fn build(bus: &Bus, owed: u64, size: u32, told: impl Fn(u64)) -> Result<Backlog, Failure> {
        if owed == 0 {
            return Ok(Backlog::default());
        }
        let payload = bytes::Bytes::from(vec![0; size as usize]);
        let (before, mut last) = (rss_bytes(), None);
        for number in 0..owed {
            last = Some(bus.publish_nowait(TOPIC, payload.clone()).await?);
            if number % TOLD_EVERY == 0 {
                told(number);
            }
        }
        // A ticket speaks for all before it.
        if let Some(ticket) = last {
            ticket.wait().await?;
        }
        let grown_bytes = rss_bytes().saturating_sub(before);
        let found = bus.status().await?.outgoing;
        if found != owed {
            let text = format!("{owed} messages were published to be owed, and {found} are");
            return Err(Failure::new(Exit::Failure, text));
        }
        Ok(Backlog { owed, grown_bytes })
    }

    /// Bytes of log that so many messages take at most.
    pub fn log_bytes(owed: u64, size: u32) -> u64 {
        owed.saturating_mul(u64::from(size) + RECORD_OVERHEAD_BYTES)
    }
}
