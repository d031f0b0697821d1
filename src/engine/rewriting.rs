//! Messages that somebody has written anew, at the end of the log: as they were, or with other contents. The old one is taken out by a
//! record of the same batch, so there is one of them whenever the node dies.

use std::collections::BTreeSet;

use super::effect::{Event, Refusal, RequestId};
use super::staging::{RECORDS_AT_ONCE, Stager};
use super::{Engine, Pending};
use crate::format::control::{Change, Control, Place, StreamOwner, Verb};
use crate::format::message::MessageParts;
use crate::format::record::RECORD_HEADER_BYTES;
use crate::ids::{Lsn, LsnRange, StreamId};

/// A message as it is to stand in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its record until now.
    pub lsn: Lsn,
    /// The flags of that.
    pub flags: u8,
    /// The body of the new one.
    pub body: Vec<u8>,
}

/// One message that waits for that.
#[derive(Clone, Debug)]
pub(super) struct Rewrite {
    change: Change,
    written: Written,
}

impl Rewrite {
    /// More than its records come to: the sets and streams that may be new beside it are small.
    fn most_bytes(&self) -> usize {
        let change = Control::Administered(self.change.clone()).encode().len();
        self.written.body.len() + change + 4 * RECORD_HEADER_BYTES + 2048
    }

    fn key(&self) -> (Option<StreamId>, Lsn) {
        (self.change.stream, self.written.lsn)
    }
}

/// What was written anew in the batch that is being filled.
pub(super) type Rewritten = BTreeSet<(Option<StreamId>, Lsn)>;

impl Engine {
    /// Somebody has messages of one place, or of one stream, written anew.
    pub(super) fn rewrite(
        &mut self,
        id: RequestId,
        (who, verb): (String, Verb),
        (place, stream): (Place, Option<StreamId>),
        messages: Vec<Written>,
    ) {
        assert!(matches!(verb, Verb::Edit | Verb::Requeue), "nothing else writes anything anew");
        if self.is_disk_full() {
            // What is left of the disk is for what frees it.
            self.events.push_back(Event::Refused(id, Refusal::DiskFull));
            return;
        }
        for written in messages {
            let ranges = vec![LsnRange { first: written.lsn, count: 1 }];
            let change =
                Change { at: self.now.wall, who: who.clone(), verb, place, stream, dropped: 0, ranges };
            self.pending.push_back(Pending::Rewrite(Box::new(Rewrite { change, written })));
            self.requests.changes_for(id);
        }
        self.pending.push_back(Pending::Done(id));
    }

    /// Puts one in, if the state is known by which it is there, and there is room. Whoever is gone by then is written down as
    /// not met.
    pub(super) fn stage_rewrite(
        &self,
        stager: &mut Stager<'_>,
        rewrite: &Rewrite,
        done: &mut Rewritten,
    ) -> bool {
        let has_room = stager.builder.has_room(rewrite.most_bytes())
            && stager.builder.has_room_for_extents(RECORDS_AT_ONCE);
        if !has_room || done.contains(&rewrite.key()) {
            return false;
        }
        let Rewrite { change, written } = rewrite;
        let mut change = change.clone();
        // Invariant: whoever asks has it from a record that was verified, and looked at what was put in its place.
        let parts = MessageParts::of_body(&written.body).expect("what is written anew is a message");
        let owner = self.owner_of(&change, written.lsn);
        match owner.filter(|owner| stager.routing.leads_to(owner)) {
            None => change.ranges.clear(),
            Some(owner) => {
                let mut beside = Vec::new();
                let route = stager.routing.route_owner(&owner, &mut beside);
                for control in &beside {
                    assert!(stager.push(control.kind(), &control.encode()), "room was asked for");
                }
                stager.builder.push_message(stager.buffer, &parts, written.flags, route.set);
            }
        }
        let control = Control::Administered(change);
        assert!(stager.push(control.kind(), &control.encode()), "room was asked for");
        done.insert(rewrite.key());
        true
    }

    /// Who is to have the new message; nobody if the old one is not where it was, or will not be.
    fn owner_of(&self, change: &Change, lsn: Lsn) -> Option<StreamOwner> {
        // What is left of a full disk is for what frees it.
        if self.is_disk_full() {
            return None;
        }
        let one = LsnRange { first: lsn, count: 1 };
        if change.place != Place::Outgoing {
            let is_here = self.state.inbox.at_place(one, change.place).next().is_some();
            let is_over = self.handled.contains(lsn);
            return (is_here && !is_over).then_some(StreamOwner::Peer(crate::ids::PeerSlot::SELF));
        }
        let id = change.stream?;
        let stream = self.state.streams.get(&id)?;
        let run = stream.owed_in(lsn, lsn.plus(1)).next()?;
        let is_over = self.acks.get(&id).is_some_and(|acked| *acked >= run.position);
        // To who is parked nothing more is owed: what is taken out for it would be lost.
        let is_parked =
            matches!(stream.owner, StreamOwner::Peer(slot) if self.state.parked_peers.contains(&slot));
        (!is_over && !is_parked).then(|| stream.owner.clone())
    }
}
