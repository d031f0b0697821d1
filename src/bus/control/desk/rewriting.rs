//! Messages are written anew: as they were, or with another payload.

use super::{Asked, Desk, Listener, NoAnswer, list_of, stream_of};
use crate::bus::administrator::Place;
use crate::bus::inspect::Filter;
use crate::engine::effect::Refusal;
use crate::engine::request::Request;
use crate::engine::rewriting::Written;
use crate::format::control::Verb;
use crate::format::message::{MessageDefect, MessageView};
use crate::format::record::{FLAG_COMMAND, RECORD_HEADER_BYTES, RecordView};
use crate::ids::{Lsn, StreamId};
use crate::limits::{LIST_MESSAGES_PER_PAGE, PAYLOAD_BYTES_MAX, RECORD_BYTES_MAX};

/// Of messages that wait to be given to the engine no more than that, in bytes.
const BYTES_AT_A_TIME: usize = 1 << 20;

/// What is to be written anew on one stream, or in the inbox.
#[derive(Default)]
struct Gathered {
    stream: Option<StreamId>,
    messages: Vec<Written>,
    bytes: usize,
}

impl Gathered {
    fn is_enough(&self) -> bool {
        self.messages.len() >= LIST_MESSAGES_PER_PAGE || self.bytes >= BYTES_AT_A_TIME
    }
}

impl Desk {
    /// Writes the messages of a place that a filter admits anew at the end of the log, at most so many, with that payload if there is
    /// one. Says how many: others may have been handled meanwhile.
    pub(in crate::bus) fn rewrite(
        &self,
        (place, payload): (Place, Option<&[u8]>),
        filter: &Filter,
        limit: u64,
        who: &str,
        listener: &dyn Listener,
    ) -> Result<u64, NoAnswer> {
        if let Some(long) = payload.map(<[u8]>::len).filter(|bytes| *bytes > PAYLOAD_BYTES_MAX) {
            return Err(NoAnswer::Invalid(Box::new(MessageDefect::LongPayload(long).into())));
        }
        let verb = if payload.is_some() { Verb::Edit } else { Verb::Requeue };
        let asked = Asked { list: list_of(place), filter, limit, reads: true };
        let (mut count, mut gathered) = (0, Gathered::default());
        self.walk(&asked, listener, |listed, found| {
            let Some(found) = found else { return Ok(()) };
            if gathered.is_enough() || gathered.stream != stream_of(listed) {
                count += self.write((verb, place), &mut gathered, who)?;
                gathered.stream = stream_of(listed);
            }
            // A dead letter is listed once for each handler that gave it up.
            if gathered.messages.last().is_none_or(|last| last.lsn != listed.lsn) {
                let written = written(listed.lsn, found.message.record(), payload);
                // What came of others may say more in its topics and headers than messages of this node do.
                let bytes = RECORD_HEADER_BYTES + written.body.len();
                if bytes > RECORD_BYTES_MAX {
                    return Err(NoAnswer::Invalid(Box::new(MessageDefect::LongPayload(bytes).into())));
                }
                gathered.bytes += written.body.len();
                gathered.messages.push(written);
            }
            Ok(())
        })?;
        Ok(count + self.write((verb, place), &mut gathered, who)?)
    }

    fn write(
        &self,
        (verb, place): (Verb, Place),
        gathered: &mut Gathered,
        who: &str,
    ) -> Result<u64, NoAnswer> {
        let Gathered { stream, messages, .. } = std::mem::take(gathered);
        if messages.is_empty() {
            return Ok(0);
        }
        let (who, place) = (who.to_owned(), place.into());
        match self.shared.request_blocking(Request::Rewrite { who, verb, place, stream, messages }) {
            Ok(Ok(count)) => Ok(count),
            Ok(Err(Refusal::Storage)) => Err(NoAnswer::Storage(self.shared.failure())),
            Ok(Err(refusal)) => Err(NoAnswer::Refused(refusal)),
            Err(_) => Err(NoAnswer::Closing),
        }
    }
}

fn written(lsn: Lsn, record: &[u8], payload: Option<&[u8]>) -> Written {
    // Invariant: records of lists come of batches that were verified, and are messages.
    let record = RecordView::parse(record).expect("a record of a list is damaged in memory");
    let message = MessageView::again(record.body).expect("a record of a list is no message");
    let head = &record.body[..record.body.len() - message.payload.len()];
    let body = [head, payload.unwrap_or(message.payload)].concat();
    // Whatever was said of it and those beside it in its batch, it now stands alone.
    Written { lsn, flags: record.header.flags & FLAG_COMMAND, body }
}
