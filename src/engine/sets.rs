//! The sets of streams that messages of this segment are owed to.
//!
//! A set lives no longer than it routes something. Its number then goes to the next one, whose record says so in the
//! log: a message is owed to what its set stood for at its place. With every segment all are forgotten, so a checkpoint
//! holds none, and numbers begin anew: there are never more than a segment has records.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::routing::Route;
use crate::format::control::Control;
use crate::ids::{SetId, StreamId};

/// One set.
#[derive(Clone, Debug)]
struct Minted {
    streams: Arc<[StreamId]>,
    /// How many topics lead to it. Those that topics in company or addresses lead to are not counted: they stay until
    /// the segment ends.
    topics: u32,
}

/// The sets whose records were staged. See the module.
#[derive(Clone, Debug, Default)]
pub struct Sets {
    by_streams: BTreeMap<Arc<[StreamId]>, SetId>,
    minted: BTreeMap<SetId, Minted>,
    free: Vec<SetId>,
    last: SetId,
}

impl Sets {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.minted.len()
    }

    /// The set of these streams, which are in their order. If it is new its record comes out in `out`.
    pub fn of(&mut self, streams: Vec<StreamId>, out: &mut Vec<Control>) -> Route {
        let routed = streams.len() as u32;
        if streams.is_empty() {
            return Route::default();
        }
        if let Some(set) = self.by_streams.get(&streams[..]) {
            return Route { set: *set, routed };
        }
        let set = self.free.pop().unwrap_or_else(|| {
            self.last = SetId(self.last.0 + 1);
            self.last
        });
        let key: Arc<[StreamId]> = streams.as_slice().into();
        out.push(Control::DestinationSet { id: set, streams });
        self.by_streams.insert(Arc::clone(&key), set);
        self.minted.insert(set, Minted { streams: key, topics: 0 });
        Route { set, routed }
    }

    /// One more topic leads to a set.
    pub fn lead(&mut self, set: SetId) {
        if let Some(minted) = self.minted.get_mut(&set) {
            minted.topics += 1;
        }
    }

    /// A topic no longer leads there. When none does, the set's number is free.
    pub fn leave(&mut self, set: SetId) {
        let Some(minted) = self.minted.get_mut(&set) else { return };
        minted.topics -= 1;
        if minted.topics == 0 {
            self.remove(set);
        }
    }

    /// A stream takes no more messages: the set of it alone is not used again. Larger ones go with their topics.
    pub fn stream_ended(&mut self, id: StreamId) {
        if let Some(set) = self.by_streams.get(&[id][..]).copied() {
            assert!(self.minted[&set].topics == 0, "who wants a topic has a stream that takes messages");
            self.remove(set);
        }
    }

    fn remove(&mut self, set: SetId) {
        if let Some(minted) = self.minted.remove(&set) {
            self.by_streams.remove(&minted.streams);
            self.free.push(set);
        }
    }

    /// A segment begins: what messages need is said there again.
    pub fn forget(&mut self) {
        *self = Sets::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_when_no_topic_leads_to_its_set() {
        let (mut sets, mut out) = (Sets::default(), Vec::new());
        let streams = |count: u64| (1..=count).map(StreamId).collect::<Vec<_>>();
        let two = sets.of(streams(2), &mut out);
        sets.lead(two.set);
        sets.lead(two.set);
        sets.leave(two.set);
        assert_eq!(sets.of(streams(2), &mut out), two, "the other topic leads there still");
        sets.leave(two.set);
        let three = sets.of(streams(3), &mut out);
        assert_eq!((three.set, three.routed, sets.count()), (two.set, 3, 1));
        assert_eq!(out.len(), 2);
        assert_ne!(sets.of(streams(2), &mut out).set, three.set);
    }
}
