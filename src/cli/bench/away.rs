//! Subscribers that are away: their subscriptions are on the publisher's disk, and nobody is there.

use std::path::Path;

use super::load::TOPIC;
use super::{directory_in, open};
use crate::bus::{Bus, IntoTopics};
use crate::cli::exit::Failure;
use crate::limits::SEGMENT_BYTES_MIN;

/// Topics of one of those who subscribe to other topics: they travel in one frame, which has room for some more.
const TOPICS_PER_SUBSCRIBER: u32 = 5_000;

/// A subscription to what is measured, whose subscriber leaves for good.
pub async fn subscribe(publisher: &Path) -> Result<(), Failure> {
    let web = open(publisher).await?;
    subscribe_and_leave(&web, publisher, TOPIC).await?;
    Ok(web.close().await?)
}

/// So many subscriptions to other topics. Calls `told` with how many there are, again and again.
pub async fn subscribe_to_others(
    publisher: &Path,
    subscriptions: u32,
    told: impl Fn(u32),
) -> Result<(), Failure> {
    let web = open(publisher).await?;
    let mut next = 0;
    while next < subscriptions {
        let end = subscriptions.min(next + TOPICS_PER_SUBSCRIBER);
        let topics: Vec<String> = (next..end).map(|number| format!("other.{number}")).collect();
        subscribe_and_leave(&web, publisher, topics).await?;
        next = end;
        told(next);
    }
    Ok(web.close().await?)
}

/// The subscriber's directory is removed with it: nothing is left that a disk must have room for.
async fn subscribe_and_leave(web: &Bus, publisher: &Path, topics: impl IntoTopics) -> Result<(), Failure> {
    let dir = directory_in(publisher.parent().unwrap_or(publisher))?;
    let away = Bus::builder(dir.path()).segment_bytes(SEGMENT_BYTES_MIN).open().await?;
    away.subscribe(web.address(), topics).await?.confirmed().await?;
    Ok(away.close().await?)
}
