//! What people change in the inbox by hand.

use super::apply::Applied;
use super::state::State;
use crate::format::control::{Change, InboxPlace, Verb};
use crate::ids::{Lsn, LsnRange};

impl State {
    /// What somebody asked for, as far as the messages are still where they were.
    pub(super) fn administered(&mut self, change: &Change, applied: &mut Vec<Applied>) {
        let mut count = 0;
        for range in &change.ranges {
            let here: Vec<Lsn> = self.inbox.at_place(*range, change.place).collect();
            // What still waits is with its handlers, or will be.
            let is_vain = change.verb == Verb::Retry && change.place == InboxPlace::Incoming;
            for first in here.into_iter().filter(|_| !is_vain) {
                let one = LsnRange { first, count: 1 };
                count += 1;
                match change.verb {
                    Verb::Remove => self.handled(one),
                    Verb::Retry => {
                        self.inbox.retry(first);
                        applied.push(Applied::Retried(one));
                    }
                }
            }
        }
        applied.push(Applied::Administered(count));
    }
}
