//! The end of the control socket that asks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::place::SocketPlace;
use super::protocol::{Answer, Ask, Decree, Hand, Request, VERSION};
use crate::bus::administrator::Place;
use crate::bus::inspect::{ChangeByHand, Filter, Found, Passing, Verification};
use crate::bus::{Envelope, Status};
use crate::engine::listing::List;
use crate::format::message::MessageView;
use crate::format::record::RecordView;
use crate::ids::{Lsn, MessageId, SegmentNumber};
use crate::limits::{CONTROL_REQUEST_BYTES_MAX, RECORD_BYTES_MAX};
use crate::log::durable_part::DurablePart;

/// Why a node that is open cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It has no control socket, or nobody listens there.
    #[error("the one in {} is open{}, and cannot be asked: is it being opened or closed?", path.display(), pid.map_or_else(String::new, |pid| format!(" in process {pid}")))]
    Unreachable {
        /// The data directory.
        path: PathBuf,
        /// The process, if it said so.
        pid: Option<u32>,
        /// Why not.
        source: io::Error,
    },
    /// The node ended, or the connection to it.
    #[error("the node no longer answers")]
    Gone(#[source] io::Error),
    /// It says something that this program does not understand.
    #[error("the node says what this program does not understand: {0}")]
    Nonsense(String),
    /// There is more in the request than a node reads.
    #[error("the request has {bytes} bytes, and a node reads {most} of one: ask for less at a time")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// How many it may have.
        most: u64,
    },
    /// It refuses.
    #[error("the node says: {0}")]
    Refused(String),
}

/// Asks one node.
#[derive(Debug)]
pub(crate) struct Client {
    directory: PathBuf,
    pid: Option<u32>,
    place: SocketPlace,
}

impl Client {
    /// The node that a process has open.
    pub(crate) fn of(directory: &Path, pid: Option<u32>) -> Result<Client, ControlError> {
        let path = directory.to_owned();
        let client = match SocketPlace::in_directory(directory) {
            Ok(place) => Client { directory: path, pid, place },
            Err(source) => return Err(ControlError::Unreachable { path, pid, source }),
        };
        // Whoever hears nothing of it and goes is no trouble there.
        client.connect().map(drop)?;
        Ok(client)
    }

    fn connect(&self) -> Result<UnixStream, ControlError> {
        let (path, pid) = (&self.directory, self.pid);
        self.place.connect().map_err(|source| ControlError::Unreachable { path: path.clone(), pid, source })
    }

    fn ask(&self, ask: Ask) -> Result<Answers, ControlError> {
        let stream = self.connect()?;
        let request = Request { version: VERSION, ask };
        let mut line = serde_json::to_string(&request).map_err(|error| ControlError::Gone(error.into()))?;
        line.push('\n');
        if line.len() as u64 > CONTROL_REQUEST_BYTES_MAX {
            return Err(ControlError::TooLong { bytes: line.len(), most: CONTROL_REQUEST_BYTES_MAX });
        }
        let written = (&stream).write_all(line.as_bytes());
        let mut answers = Answers { stream: BufReader::with_capacity(64 << 10, stream) };
        if let Err(error) = written {
            // It may have said why before it closed.
            let said = answers.next().err();
            return Err(said
                .filter(|said| matches!(said, ControlError::Refused(_)))
                .unwrap_or(ControlError::Gone(error)));
        }
        Ok(answers)
    }

    pub(crate) fn status(&self) -> Result<Status, ControlError> {
        match self.ask(Ask::Status)?.next()? {
            Answer::Status(status) => Ok(*status),
            other => Err(nonsense(&other)),
        }
    }

    /// A look at every byte of what is durable.
    pub(crate) fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<Verification, ControlError> {
        let mut answers = self.ask(Ask::Verify)?;
        loop {
            match answers.next()? {
                Answer::Verifying { done, total } => progress(done, total),
                Answer::Verified(found) => return Ok(found),
                other => return Err(nonsense(&other)),
            }
        }
    }

    /// What people changed by hand.
    pub(crate) fn changes(
        &self,
        mut give: impl FnMut(ChangeByHand) -> ControlFlow<()>,
    ) -> Result<(), ControlError> {
        let mut answers = self.ask(Ask::Changes)?;
        loop {
            match answers.next()? {
                Answer::ByHand(change) => {
                    if give(change).is_break() {
                        return Ok(());
                    }
                }
                Answer::Done => return Ok(()),
                other => return Err(nonsense(&other)),
            }
        }
    }

    /// Messages as they pass, until the node closes.
    pub(crate) fn tail(
        &self,
        topics: Vec<String>,
        from_start: bool,
    ) -> Result<impl Iterator<Item = Result<Passing, ControlError>> + use<>, ControlError> {
        let mut answers = self.ask(Ask::Tail { topics, from_start })?;
        Ok(std::iter::from_fn(move || answers.passing().transpose()))
    }

    /// Has the node leave what is durable now where it is.
    pub(crate) fn pin(&self) -> Result<Pinned, ControlError> {
        let mut answers = self.ask(Ask::Pin)?;
        match answers.next()? {
            Answer::Pinned { first, last, end, record } => {
                let (first, last) = (SegmentNumber(first), SegmentNumber(last));
                let part = DurablePart { first, last, end, last_lsn: Lsn(record) };
                Ok(Pinned { part, answers })
            }
            other => Err(nonsense(&other)),
        }
    }

    pub(crate) fn change(
        &self,
        hand: Hand,
        filter: &Filter,
        limit: Option<u64>,
    ) -> Result<u64, ControlError> {
        match self.ask(Ask::Change { hand, filter: filter.clone(), limit })?.next()? {
            Answer::Changed(count) => Ok(count),
            other => Err(nonsense(&other)),
        }
    }

    pub(crate) fn rewrite(
        &self,
        place: Place,
        filter: &Filter,
        limit: Option<u64>,
        payload: Option<&[u8]>,
    ) -> Result<u64, ControlError> {
        let payload = payload.map(<[u8]>::to_vec);
        match self.ask(Ask::Rewrite { place, filter: filter.clone(), limit, payload })?.next()? {
            Answer::Changed(count) => Ok(count),
            other => Err(nonsense(&other)),
        }
    }

    /// Has another node treated otherwise. Says whether there is such a node.
    pub(crate) fn decide(&self, decree: Decree) -> Result<bool, ControlError> {
        match self.ask(Ask::Decide(decree))?.next()? {
            Answer::Done => Ok(true),
            Answer::UnknownPeer => Ok(false),
            other => Err(nonsense(&other)),
        }
    }

    pub(crate) fn list(
        &self,
        list: List,
        filter: &Filter,
        limit: Option<u64>,
    ) -> Result<impl Iterator<Item = Result<Found, ControlError>> + use<>, ControlError> {
        let mut answers = Some(self.ask(Ask::List { list: list.into(), filter: filter.clone(), limit })?);
        Ok(std::iter::from_fn(move || {
            let found = answers.as_mut()?.message().transpose();
            if !matches!(found, Some(Ok(_))) {
                answers = None;
            }
            found
        }))
    }
}

/// What a node leaves where it is, until this is dropped.
pub(crate) struct Pinned {
    pub(crate) part: DurablePart,
    answers: Answers,
}

impl Pinned {
    /// It was copied. Says whether it was there all the while.
    pub(crate) fn release(mut self) -> Result<bool, ControlError> {
        self.answers.stream.get_ref().write_all(b"\n").map_err(ControlError::Gone)?;
        match self.answers.next()? {
            Answer::Unpinned { stayed } => Ok(stayed),
            other => Err(nonsense(&other)),
        }
    }
}

/// What comes back.
struct Answers {
    stream: BufReader<UnixStream>,
}

impl Answers {
    fn next(&mut self) -> Result<Answer, ControlError> {
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(ControlError::Gone)?;
        if !line.ends_with('\n') {
            return Err(ControlError::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_str(&line) {
            Ok(Answer::Refused(why)) => Err(ControlError::Refused(why)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(ControlError::Nonsense(error.to_string())),
        }
    }

    /// What passes next; none if the node has closed.
    fn passing(&mut self) -> Result<Option<Passing>, ControlError> {
        match self.next() {
            Ok(Answer::Missed(count)) => Ok(Some(Passing::Missed(count))),
            Ok(answer) => Ok(self.message_of(answer)?.map(|found| Passing::Message(found.message))),
            Err(ControlError::Gone(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next message; none if there are no more.
    fn message(&mut self) -> Result<Option<Found>, ControlError> {
        let answer = self.next()?;
        self.message_of(answer)
    }

    fn message_of(&mut self, answer: Answer) -> Result<Option<Found>, ControlError> {
        let (id, bytes, said) = match answer {
            Answer::Message { id, bytes, said } if bytes <= RECORD_BYTES_MAX => (id, bytes, said),
            Answer::Done => return Ok(None),
            other => return Err(nonsense(&other)),
        };
        let mut record = vec![0; bytes];
        self.stream.read_exact(&mut record).map_err(ControlError::Gone)?;
        let id: MessageId = id.parse().map_err(|_| ControlError::Nonsense(format!("{id:?} is no id")))?;
        let damaged = |what: &dyn std::fmt::Display| ControlError::Nonsense(format!("message {id}: {what}"));
        let view = RecordView::parse_verified(&record).map_err(|defect| damaged(&defect))?;
        MessageView::parse(view.body).map_err(|defect| damaged(&defect))?;
        Ok(Some(Found { message: Envelope::new(Bytes::from(record), id, 1), said }))
    }
}

fn nonsense(answer: &Answer) -> ControlError {
    ControlError::Nonsense(format!("{answer:?}"))
}
