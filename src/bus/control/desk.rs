//! What is looked up and changed in a node, for whoever asks: through its socket, or in the process that opened it for that.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::protocol::{Hand, VerbName};
use crate::bus::Status;
use crate::bus::administrator::Place;
use crate::bus::inspect::{Filter, Found, InspectError, Passing, RecordReader, messages_in};
use crate::engine::listing::{Cursor, List, Page};
use crate::engine::request::Request;
use crate::ids::{Lsn, LsnRange};
use crate::io::mailbox::Mail;
use crate::io::shared::Shared;
use crate::limits::{CONTROL_LOOKS_AGAIN_MAX, LIST_MESSAGES_PER_PAGE};

/// How long after a place in the log that had changed is asked for anew.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// Answers for one node. Its calls block.
#[derive(Debug)]
pub(in crate::bus) struct Desk {
    directory: PathBuf,
    shared: Arc<Shared>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::bus) enum NoAnswer {
    #[error("the node is closing")]
    Closing,
    #[error("the log can no longer be written")]
    Storage(#[source] Option<Arc<std::io::Error>>),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Whoever asked no longer takes it.
    #[error(transparent)]
    Gone(#[from] std::io::Error),
}

impl Desk {
    pub(in crate::bus) fn new(directory: PathBuf, shared: Arc<Shared>) -> Desk {
        Desk { directory, shared }
    }

    pub(in crate::bus) fn status(&self) -> Result<Status, NoAnswer> {
        self.ask(Mail::Status).map(Status::from)
    }

    /// Gives out the messages of a list that a filter admits, at most so many.
    pub(in crate::bus) fn list(
        &self,
        list: List,
        filter: &Filter,
        limit: u64,
        mut give: impl FnMut(Found) -> std::io::Result<()>,
    ) -> Result<(), NoAnswer> {
        self.walk(list, true, filter, limit, |_, found| Ok(found.map_or(Ok(()), &mut give)?))
    }

    /// Gives out what passes through the node until it closes, or nobody takes it any more. Where there is nothing, `pause` waits.
    pub(in crate::bus) fn tail(
        &self,
        from_start: bool,
        mut give: impl FnMut(Passing) -> std::io::Result<()>,
        mut pause: impl FnMut() -> std::io::Result<()>,
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
                None => pause()?,
                Some(Ok(chunk)) => {
                    let messages = messages_in(&chunk, &page, page.from);
                    messages.into_iter().try_for_each(|message| give(Passing::Message(message)))?;
                    (from, looks) = (Some(chunk.end()), 0);
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

    /// Does something with the messages of a place that a filter admits, at most so many. Says how many.
    pub(in crate::bus) fn change(
        &self,
        hand: Hand,
        filter: &Filter,
        limit: u64,
        who: &str,
    ) -> Result<u64, NoAnswer> {
        if hand.verb == VerbName::Retry && hand.place == Place::Incoming {
            return Ok(0);
        }
        let list = match hand.place {
            Place::Incoming => List::Incoming,
            Place::Parked => List::Parked,
            Place::DeadLetters => List::DeadLetters,
        };
        let (mut count, mut ranges) = (0, Vec::new());
        // What they say matters only to a filter.
        let reads = *filter != Filter::default();
        self.walk(list, reads, filter, limit, |lsn, _| {
            (count, ranges) = (count + 1, with(std::mem::take(&mut ranges), lsn));
            // However many they are, the engine is held up by a page of them at most.
            let is_page = count % LIST_MESSAGES_PER_PAGE as u64 == 0;
            if is_page { self.do_to(hand, &mut ranges, who) } else { Ok(()) }
        })?;
        self.do_to(hand, &mut ranges, who)?;
        Ok(count)
    }

    fn do_to(&self, hand: Hand, ranges: &mut Vec<LsnRange>, who: &str) -> Result<(), NoAnswer> {
        let ranges = std::mem::take(ranges);
        if ranges.is_empty() {
            return Ok(());
        }
        let (who, verb, place) = (who.to_owned(), hand.verb.into(), hand.place.into());
        match self.shared.request_blocking(Request::Change { who, verb, place, ranges }) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(NoAnswer::Storage(self.shared.failure())),
            Err(_) => Err(NoAnswer::Closing),
        }
    }

    /// Goes through a list, and reads its messages if somebody wants to know what they say.
    fn walk(
        &self,
        list: List,
        reads: bool,
        filter: &Filter,
        limit: u64,
        mut give: impl FnMut(Lsn, Option<Found>) -> Result<(), NoAnswer>,
    ) -> Result<(), NoAnswer> {
        let mut reader = RecordReader::new(self.directory.clone());
        let (mut from, mut left, mut looks) = (Some(Cursor::default()), limit, 0);
        while let Some(cursor) = from.filter(|_| left > 0) {
            let Page { messages, next } = self.ask(|reply| Mail::List(list, cursor, reply))?;
            from = next;
            // The next message is just being carried elsewhere.
            if messages.is_empty() && next == Some(cursor) {
                std::thread::sleep(PAUSE);
            }
            for listed in messages {
                let found = if reads { reader.found(&listed).map(Some) } else { Ok(None) };
                match found {
                    Ok(found) => {
                        looks = 0;
                        let is_wanted = found.as_ref().is_none_or(|found| filter.admits(&found.message));
                        if left > 0 && is_wanted {
                            give(listed.lsn, found)?;
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

/// A list of ranges, and one record more that comes behind them all.
fn with(mut ranges: Vec<LsnRange>, lsn: Lsn) -> Vec<LsnRange> {
    match ranges.last_mut() {
        Some(last) if last.end() == lsn => last.count += 1,
        _ => ranges.push(LsnRange { first: lsn, count: 1 }),
    }
    ranges
}
