//! What people change by hand: in the inbox, and of what is owed.

use super::apply::Applied;
use super::state::State;
use crate::format::control::{Change, Place};
use crate::ids::{Lsn, LsnRange, StreamId};

impl State {
    /// What somebody asked for in record `at`, as far as the messages are still where they were.
    pub(super) fn administered(&mut self, at: Lsn, change: &Change, applied: &mut Vec<Applied>) {
        let count = match (change.place, change.verb.removes()) {
            (Place::Outgoing, true) => self.take_out(at, change),
            // What is owed is tried for ever.
            (Place::Outgoing, false) => 0,
            (Place::Incoming, false) => self.hurry(change, applied),
            (_, removes) => self.change_inbox(change, removes, applied),
        };
        applied.push(Applied::Administered(count));
    }

    fn change_inbox(&mut self, change: &Change, removes: bool, applied: &mut Vec<Applied>) -> u64 {
        let mut count = 0;
        for range in &change.ranges {
            let here: Vec<Lsn> = self.inbox.at_place(*range, change.place).collect();
            for first in here {
                let one = LsnRange { first, count: 1 };
                count += 1;
                if removes {
                    self.handled(one);
                } else {
                    self.inbox.retry(first);
                    applied.push(Applied::Retried(one));
                }
            }
        }
        count
    }

    /// What failed and waits to be called again waits no longer. What did not fail is with its handlers, or will be.
    fn hurry(&mut self, change: &Change, applied: &mut Vec<Applied>) -> u64 {
        let mut count = 0;
        for range in &change.ranges {
            let here: Vec<Lsn> = self.inbox.at_place(*range, change.place).collect();
            for lsn in here.into_iter().filter(|lsn| self.inbox.hurry(*lsn)) {
                applied.push(Applied::Hurried(lsn));
                count += 1;
            }
        }
        count
    }

    /// How many messages are owed of these records: on one stream, or on all.
    pub(super) fn owed_of(&self, only: Option<StreamId>, ranges: &[LsnRange]) -> u64 {
        let streams = self.streams.iter().filter(|(id, _)| only.is_none_or(|only| only == **id));
        let owed = streams
            .flat_map(|(_, stream)| ranges.iter().flat_map(|range| stream.owed_in(range.first, range.end())));
        owed.map(|run| run.count).sum()
    }

    /// Of one stream, or of all. The positions stay, as gaps: receivers are told of them.
    fn take_out(&mut self, at: Lsn, change: &Change) -> u64 {
        let (mut count, only) = (0, change.stream);
        for range in &change.ranges {
            let streams = self.streams.iter_mut().filter(|(id, _)| only.is_none_or(|only| only == **id));
            let taken: u64 = streams.map(|(_, stream)| stream.take_out(*range, at)).sum();
            if taken > 0 {
                self.forget_carried(range.first, range.count);
            }
            count += taken;
        }
        self.dropped += change.dropped;
        count
    }
}
