//! What is looked up and changed in a node, for whoever asks: through its socket, or in the process that opened it for that.

mod rewriting;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::ages::{Ages, OLDEST_LOOKED_AT_MAX};
use super::protocol::{Decree, Hand, VerbName};
use crate::bus::administrator::Place;
use crate::bus::error::chain as chain_of_errors;
use crate::bus::inspect::{
    Chain, ChangeByHand, Counter, Damage, Filter, Found, InspectError, Passing, RecordReader, Soundness,
    Verification, changes_in, messages_in,
};
use crate::bus::{Error, Status};
use crate::engine::effect::Refusal;
use crate::engine::listing::{Cursor, List, Listed, Page, Remark};
use crate::engine::request::Request;
use crate::ids::{Lsn, LsnRange, StreamId};
use crate::io::directory::Directory;
use crate::io::mailbox::Mail;
use crate::io::pin::Pin;
use crate::io::shared::Shared;
use crate::limits::{CONTROL_LOOKS_AGAIN_MAX, LIST_MESSAGES_PER_PAGE};
use crate::log::chunk::Chunk;
use crate::log::extent::ExtentKind;

/// How long after a place in the log that had changed is asked for anew.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// Whether a look at the log has come to its end, so that there is time to wait.
pub(in crate::bus) struct IsCurrent(pub bool);

/// Whoever asked, and may go before there is an answer.
pub(in crate::bus) trait Listener {
    /// Fails if nobody wants the answer any more.
    fn listen(&self) -> std::io::Result<()>;
}

/// Whoever asks in this process waits for the answer.
pub(in crate::bus) struct Caller;

impl Listener for Caller {
    fn listen(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What comes of reading a log through, in its order.
enum Part {
    /// Batches, where they lie, and how many records of how many are read with them.
    Chunk(Chunk, (u64, u64), (u64, u64)),
    /// What comes next was not written right behind what came before: that is freed.
    Freed,
    /// What lies there cannot be read, and nothing comes behind it.
    Unreadable(InspectError, (u64, u64)),
}

/// What is gone through.
struct Asked<'a> {
    list: List,
    filter: &'a Filter,
    /// At most so many messages.
    limit: u64,
    /// Whether somebody wants to know what they say.
    reads: bool,
}

/// Answers for one node. Its calls block.
#[derive(Debug)]
pub(in crate::bus) struct Desk {
    directory: PathBuf,
    shared: Arc<Shared>,
    ages: Ages,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::bus) enum NoAnswer {
    #[error("the node is closing")]
    Closing,
    #[error("the log can no longer be written")]
    Storage(#[source] Option<Arc<std::io::Error>>),
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    Invalid(Box<Error>),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Whoever asked no longer takes it.
    #[error(transparent)]
    Gone(#[from] std::io::Error),
}

impl Desk {
    pub(in crate::bus) fn new(directory: PathBuf, shared: Arc<Shared>) -> Desk {
        Desk { ages: Ages::new(directory.clone()), directory, shared }
    }

    pub(in crate::bus) fn status(&self) -> Result<Status, NoAnswer> {
        let mut status = self.ask(Mail::Status).map(Status::from)?;
        let oldest = self.ask(|reply| Mail::Oldest { most: OLDEST_LOOKED_AT_MAX, reply })?;
        self.ages.tell(&mut status.destinations, &oldest);
        let free = Directory::open_read_only(&self.directory).and_then(|directory| directory.free_bytes());
        status.free_bytes = free.ok();
        Ok(status)
    }

    /// What is durable stays where it is as long as the pin is held.
    pub(in crate::bus) fn pin(&self) -> Result<Arc<Pin>, NoAnswer> {
        self.ask(Mail::Pin)?.ok_or(NoAnswer::Closing)
    }

    /// Gives out the messages of a list that a filter admits, at most so many.
    pub(in crate::bus) fn list(
        &self,
        list: List,
        filter: &Filter,
        limit: u64,
        listener: &dyn Listener,
        mut give: impl FnMut(Found) -> std::io::Result<()>,
    ) -> Result<(), NoAnswer> {
        let asked = Asked { list, filter, limit, reads: true };
        self.walk(&asked, listener, |_, found| Ok(found.map_or(Ok(()), &mut give)?))
    }

    /// Gives out what passes through the node until it closes, or nobody takes it any more. After each part of the log `listen`
    /// says whether somebody does; it may wait where there was nothing.
    pub(in crate::bus) fn tail(
        &self,
        from_start: bool,
        mut give: impl FnMut(Passing) -> std::io::Result<()>,
        mut listen: impl FnMut(IsCurrent) -> std::io::Result<()>,
    ) -> Result<(), NoAnswer> {
        let mut reader = RecordReader::new(self.directory.clone());
        let (mut from, mut looks) = (from_start.then_some(Lsn(0)), 0);
        loop {
            let page = self.ask(|reply| Mail::Log(from, reply))?;
            if let Some(missed) = from.filter(|from| from.0 > 0 && *from < page.from) {
                give(Passing::Missed(page.from.since(missed)))?;
            }
            from = Some(page.from);
            match page.span.map(|span| reader.load(span)) {
                None => listen(IsCurrent(true))?,
                Some(Ok(chunk)) => {
                    let messages = messages_in(&chunk, &page, page.from);
                    messages.into_iter().try_for_each(|message| give(Passing::Message(message)))?;
                    (from, looks) = (Some(chunk.end()), 0);
                    listen(IsCurrent(false))?;
                }
                Some(Err(error)) if looks == CONTROL_LOOKS_AGAIN_MAX => return Err(error.into()),
                // Its segment was freed or used again meanwhile.
                Some(Err(_)) => {
                    looks += 1;
                    reader = RecordReader::new(self.directory.clone());
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Looks at every byte of what is durable now, up to the first place that is damaged.
    pub(in crate::bus) fn verify(
        &self,
        mut progress: impl FnMut(u64, u64) -> std::io::Result<()>,
    ) -> Result<Verification, NoAnswer> {
        let (mut counter, mut chain, mut damage) = (Counter::default(), Chain::default(), None);
        self.read_through(|part| {
            match part {
                Part::Chunk(chunk, place, (done, total)) => match chain.follow(chunk.bytes(), &mut counter) {
                    Ok(()) => progress(done, total)?,
                    Err(what) => damage = Some(Damage::at(place, what)),
                },
                // What comes next does not follow what was seen.
                Part::Freed => chain = Chain::default(),
                Part::Unreadable(error, place) => {
                    let what = match error {
                        InspectError::Changed { source, .. } => source.to_string(),
                        other => chain_of_errors(&other),
                    };
                    damage = Some(Damage::at(place, what));
                }
            }
            Ok(if damage.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(counter.finish(damage.map_or(Soundness::Clean, |damage| Soundness::Damaged(vec![damage]))))
    }

    /// Gives out what people changed by hand, as far as the log still says it.
    pub(in crate::bus) fn changes(
        &self,
        listener: &dyn Listener,
        mut give: impl FnMut(ChangeByHand) -> std::io::Result<()>,
    ) -> Result<(), NoAnswer> {
        self.read_through(|part| {
            match part {
                Part::Chunk(chunk, ..) => {
                    let control = chunk.extents().iter().filter(|extent| extent.kind == ExtentKind::Control);
                    let records = control.map(|extent| chunk.extent_bytes(extent));
                    records.flat_map(changes_in).try_for_each(&mut give)?;
                    listener.listen()?;
                }
                Part::Freed => {}
                Part::Unreadable(error, _) => return Err(error.into()),
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Reads what is durable now, from the beginning of the log.
    fn read_through(
        &self,
        mut take: impl FnMut(Part) -> Result<ControlFlow<()>, NoAnswer>,
    ) -> Result<(), NoAnswer> {
        let mut reader = RecordReader::new(self.directory.clone());
        let until = self.ask(|reply| Mail::Log(None, reply))?.from;
        let (mut from, mut looks) = (Lsn(0), 0);
        while from < until {
            let page = self.ask(|reply| Mail::Log(Some(from), reply))?;
            if page.from > from {
                from = page.from;
                let _: ControlFlow<()> = take(Part::Freed)?;
            }
            let Some(span) = page.span else { break };
            let place = (span.segment.0, span.offset);
            let goes_on = match reader.load(span) {
                Ok(chunk) => {
                    (from, looks) = (chunk.end(), 0);
                    take(Part::Chunk(chunk, place, (from.0.min(until.0) - 1, until.0 - 1)))?
                }
                Err(error) if looks == CONTROL_LOOKS_AGAIN_MAX => {
                    let _: ControlFlow<()> = take(Part::Unreadable(error, place))?;
                    ControlFlow::Break(())
                }
                // Its segment was freed or used again meanwhile.
                Err(_) => {
                    looks += 1;
                    reader = RecordReader::new(self.directory.clone());
                    std::thread::sleep(PAUSE);
                    ControlFlow::Continue(())
                }
            };
            if goes_on.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Does something with the messages of a place that a filter admits, at most so many, of those that are there now. Says with
    /// how many: others may have been handled meanwhile.
    pub(in crate::bus) fn change(
        &self,
        hand: Hand,
        filter: &Filter,
        limit: u64,
        who: &str,
        listener: &dyn Listener,
    ) -> Result<u64, NoAnswer> {
        if hand.verb == VerbName::Retry && hand.place == Place::Outgoing {
            return Ok(0);
        }
        let (mut found, mut count, mut ranges) = (0, 0, Vec::new());
        let mut stream = None;
        // What they say matters only to a filter.
        let asked = Asked { list: list_of(hand.place), filter, limit, reads: *filter != Filter::default() };
        self.walk(&asked, listener, |listed, _| {
            if stream != stream_of(listed) {
                count += self.do_to((hand, stream), &mut ranges, who)?;
                stream = stream_of(listed);
            }
            (found, ranges) = (found + 1, with(std::mem::take(&mut ranges), listed.lsn));
            // However many they are, the engine is held up by a page of them at most.
            if found % LIST_MESSAGES_PER_PAGE as u64 == 0 {
                count += self.do_to((hand, stream), &mut ranges, who)?;
            }
            Ok(())
        })?;
        Ok(count + self.do_to((hand, stream), &mut ranges, who)?)
    }

    fn do_to(
        &self,
        (hand, stream): (Hand, Option<StreamId>),
        ranges: &mut Vec<LsnRange>,
        who: &str,
    ) -> Result<u64, NoAnswer> {
        let ranges = std::mem::take(ranges);
        if ranges.is_empty() {
            return Ok(0);
        }
        let (who, verb, place) = (who.to_owned(), hand.verb.into(), hand.place.into());
        match self.shared.request_blocking(Request::Change { who, verb, place, stream, ranges }) {
            Ok(Ok(count)) => Ok(count),
            Ok(Err(_)) => Err(NoAnswer::Storage(self.shared.failure())),
            Err(_) => Err(NoAnswer::Closing),
        }
    }

    /// Treats another node otherwise. Says whether there is such a node.
    pub(in crate::bus) fn decide(&self, decree: Decree, who: &str) -> Result<bool, NoAnswer> {
        // Whoever asks through the socket may say anything.
        if !decree.check().map_err(|error| NoAnswer::Invalid(Box::new(error)))? {
            return Ok(false);
        }
        match self.shared.request_blocking(Request::Decide { who: who.to_owned(), order: decree.into() }) {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(Refusal::UnknownAddress)) => Ok(false),
            Ok(Err(Refusal::Storage)) => Err(NoAnswer::Storage(self.shared.failure())),
            Ok(Err(refusal)) => Err(NoAnswer::Refused(refusal)),
            Err(_) => Err(NoAnswer::Closing),
        }
    }

    /// Goes through a list, and reads its messages if somebody wants to know what they say.
    fn walk(
        &self,
        asked: &Asked<'_>,
        listener: &dyn Listener,
        mut give: impl FnMut(&Listed, Option<Found>) -> Result<(), NoAnswer>,
    ) -> Result<(), NoAnswer> {
        let mut reader = RecordReader::new(self.directory.clone());
        let (mut from, mut left, mut looks) = (Some(Cursor::default()), asked.limit, 0);
        // What comes while it is gone through is not part of it: it would never end.
        let mut last = None;
        while let Some(cursor) = from.filter(|_| left > 0) {
            listener.listen()?;
            let list = asked.list;
            let page = self.ask(|reply| Mail::List { list, from: cursor, until: last, reply })?;
            let Page { messages, next, until } = page;
            (from, last) = (next, Some(until));
            // The next message is just being carried elsewhere, or was when the log failed.
            if messages.is_empty() && next == Some(cursor) {
                if let Some(failure) = self.shared.failure() {
                    return Err(NoAnswer::Storage(Some(failure)));
                }
                std::thread::sleep(PAUSE);
            }
            for listed in messages {
                let found = if asked.reads { reader.found(&listed).map(Some) } else { Ok(None) };
                match found {
                    Ok(found) => {
                        looks = 0;
                        let is_wanted = found.as_ref().is_none_or(|f| f.is_admitted_by(asked.filter));
                        if left > 0 && is_wanted {
                            give(&listed, found)?;
                            left -= 1;
                        }
                    }
                    // Its segment was freed or used again meanwhile: it is gone, or lies elsewhere.
                    Err(error) if looks == CONTROL_LOOKS_AGAIN_MAX => return Err(error.into()),
                    Err(_) => {
                        (from, looks) = (Some(listed.cursor), looks + 1);
                        reader = RecordReader::new(self.directory.clone());
                        std::thread::sleep(PAUSE);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks the engine's thread.
    fn ask<T>(&self, mail: impl FnOnce(oneshot::Sender<T>) -> Mail) -> Result<T, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        self.shared.post(mail(reply));
        answer.blocking_recv().map_err(|_| NoAnswer::Closing)
    }
}

fn list_of(place: Place) -> List {
    match place {
        Place::Incoming => List::Incoming,
        Place::Parked => List::Parked,
        Place::DeadLetters => List::DeadLetters,
        Place::Outgoing => List::Outgoing,
    }
}

/// The stream on which a message is owed.
fn stream_of(listed: &Listed) -> Option<StreamId> {
    match &listed.remark {
        Remark::Owed { stream, .. } => Some(*stream),
        _ => None,
    }
}

/// A list of ranges, and one record more that comes behind them all.
fn with(mut ranges: Vec<LsnRange>, lsn: Lsn) -> Vec<LsnRange> {
    match ranges.last_mut() {
        Some(last) if last.end() == lsn => last.count += 1,
        _ => ranges.push(LsnRange { first: lsn, count: 1 }),
    }
    ranges
}
