//! What lies on the disks while no node is open, as the log's own reader shows it.

use std::path::Path;

use resolute::MessageId;
use resolute::inspect::{Filter, InspectError, Snapshot, View};

use super::addresses::ABSENT;
use super::causes::chain;
use super::number::Number;

/// The messages on the disks of both nodes.
pub struct Snapshots {
    /// Owed to the subscriber.
    pub owed: Vec<(Number, MessageId)>,
    /// Owed to somebody who never comes.
    pub absent: Vec<(Number, MessageId)>,
    /// Accepted by the subscriber and not yet handled.
    pub inbox: Vec<(Number, MessageId)>,
    /// Logs that do not end where a write ended.
    pub torn: u64,
}

impl Snapshots {
    /// What is owed by `publishers`, and what lies in the inboxes of `subscribers`.
    pub fn read(publishers: &[&Path], subscribers: &[&Path]) -> Result<Snapshots, String> {
        let mut read = Snapshots { owed: Vec::new(), absent: Vec::new(), inbox: Vec::new(), torn: 0 };
        let (failed, all) = (|error: InspectError| chain(&error), Filter::default());
        for publisher in publishers.iter().filter_map(|directory| snapshot(directory).transpose()) {
            let publisher = publisher?;
            for message in publisher.outgoing(&all, None).map_err(failed)? {
                let message = message.map_err(failed)?;
                let list = if message.address == ABSENT { &mut read.absent } else { &mut read.owed };
                list.push((Number::of_payload(message.message.payload())?, message.message.id()));
            }
            read.torn += u64::from(is_torn(&publisher));
        }
        for subscriber in subscribers.iter().filter_map(|directory| snapshot(directory).transpose()) {
            let subscriber = subscriber?;
            for message in subscriber.incoming(&all, None).map_err(failed)? {
                let message = message.map_err(failed)?.message;
                read.inbox.push((Number::of_payload(message.payload())?, message.id()));
            }
            let parked = subscriber.parked(&all, None).map_err(failed)?.next().is_some();
            if parked || subscriber.dead_letters(&all, None).map_err(failed)?.next().is_some() {
                return Err("a message has no handler although there is one that succeeds".to_owned());
            }
            read.torn += u64::from(is_torn(&subscriber));
        }
        Ok(read)
    }

    /// Each message with the place that it is in, each place in its order.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, Number, MessageId)> {
        let places = [("outbox", &self.owed), ("queue of the absent", &self.absent), ("inbox", &self.inbox)];
        places
            .into_iter()
            .flat_map(|(place, list)| list.iter().map(move |(number, id)| (place, *number, *id)))
    }
}

/// `None` where no log was begun: the power may have been cut before.
fn snapshot(directory: &Path) -> Result<Option<View>, String> {
    match View::open(directory) {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(InspectError::NoDirectory(_) | InspectError::NoLog(_)) => Ok(None),
        Err(error) => Err(format!("what a cut left cannot be read: {}", chain(&error))),
    }
}

fn is_torn(view: &View) -> bool {
    view.snapshot().and_then(Snapshot::torn).is_some()
}
