//! The end of the control socket that is in the node.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use super::desk::{Desk, IsCurrent, Listener, NoAnswer};
use super::guests::{Guest, Guests};
use super::place::{SocketId, SocketPlace};
use super::protocol::{Answer, Ask, Request, VERSION};
use crate::bus::Envelope;
use crate::bus::error::chain;
use crate::bus::inspect::{Found, Passing, Said};
use crate::io::shared::Shared;
use crate::io::{credentials, unix_socket};
use crate::limits::{CONTROL_CONNECTIONS_MAX, CONTROL_REQUEST_BYTES_MAX};
use crate::log::durable_part::DurablePart;

/// How long a request may take to come.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether whoever copies the log is still there.
const PIN_PAUSE: Duration = Duration::from_secs(1);

/// How often it is looked for messages that passed.
const TAIL_PAUSE: Duration = Duration::from_millis(50);

/// Serves the control socket of a node until it is stopped.
#[derive(Debug)]
pub(crate) struct Server {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    desk: Desk,
    place: SocketPlace,
    listener: UnixListener,
    socket: SocketId,
    stopped: AtomicBool,
    guests: Guests,
}

impl Server {
    /// Makes the socket and serves it on a thread of its own.
    pub(crate) fn start(directory: &Path, shared: Arc<Shared>) -> io::Result<Server> {
        let place = SocketPlace::in_directory(directory)?;
        let (listener, socket) = place.listen()?;
        let desk = Desk::new(std::path::absolute(directory)?, shared);
        let (stopped, guests) = (AtomicBool::new(false), Guests::default());
        let inner = Arc::new(Inner { desk, place, listener, socket, stopped, guests });
        let serving = Arc::clone(&inner);
        Builder::new().name("resolute-control".to_owned()).spawn(move || serving.accept())?;
        Ok(Server { inner })
    }

    /// Takes the socket away and cuts off whoever is connected. Must come before the lock of the directory is released.
    pub(crate) fn stop(&self) {
        if self.inner.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Err(error) = unix_socket::stop_listening(&self.inner.listener) {
            tracing::warn!(%error, "the control socket still listens");
        }
        if let Err(error) = self.inner.place.remove(self.inner.socket) {
            tracing::warn!(%error, "the control socket stays in the directory");
        }
        self.inner.guests.end();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn accept(self: Arc<Inner>) {
        loop {
            let accepted = self.listener.accept();
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            match accepted.and_then(|(stream, _)| self.take_in(stream)) {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%error, "nobody is served on the control socket for a moment");
                    std::thread::sleep(REQUEST_PATIENCE / 100);
                }
            }
        }
    }

    fn take_in(self: &Arc<Inner>, stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(REQUEST_PATIENCE))?;
        let guest = Guest::new(stream);
        let Some(number) = self.guests.take_in(guest.clone()) else {
            let line =
                Answer::Refused(format!("{CONTROL_CONNECTIONS_MAX} commands look at the node already"));
            // Whoever has gone need not be told.
            drop(say(&mut BufWriter::new(&guest), &line));
            return Ok(());
        };
        let inner = Arc::clone(self);
        let serve = move || {
            let _seat = inner.guests.seat(number);
            if let Err(error) = inner.serve(&guest) {
                tracing::debug!(%error, "whoever asked on the control socket has gone");
            }
        };
        let spawned = Builder::new().name("resolute-control".to_owned()).spawn(serve);
        if spawned.is_err() {
            drop(self.guests.seat(number));
        }
        spawned.map(drop)
    }

    fn serve(&self, guest: &Guest) -> io::Result<()> {
        let mut line = String::new();
        BufReader::new(guest.stream().take(CONTROL_REQUEST_BYTES_MAX)).read_line(&mut line)?;
        let mut out = BufWriter::with_capacity(64 << 10, guest);
        let last = match read_request(&line) {
            Ok(ask) => match self.answer(ask, guest, &mut out) {
                Ok(last) => last,
                Err(NoAnswer::Gone(error)) => return Err(error),
                Err(why) => Answer::Refused(chain(&why)),
            },
            Err(why) => Answer::Refused(why),
        };
        say(&mut out, &last)
    }

    fn tail(
        &self,
        topics: &[String],
        from_start: bool,
        guest: &Guest,
        out: &mut impl Write,
    ) -> Result<Answer, NoAnswer> {
        let out = std::cell::RefCell::new(out);
        let is_wanted = |message: &Envelope| {
            topics.is_empty() || message.topics().any(|topic| topics.iter().any(|wanted| wanted == topic))
        };
        let give = |passing| match passing {
            Passing::Message(message) if is_wanted(&message) => {
                say_message(&mut *out.borrow_mut(), &Found { message, said: Said::Places(Vec::new()) })
            }
            Passing::Message(_) => Ok(()),
            Passing::Missed(count) => say_line(&mut *out.borrow_mut(), &Answer::Missed(count)),
        };
        let listen = |is_current: IsCurrent| {
            out.borrow_mut().flush()?;
            guest.listen()?;
            if is_current.0 {
                std::thread::sleep(TAIL_PAUSE);
            }
            Ok(())
        };
        self.desk.tail(from_start, give, listen)?;
        Ok(Answer::Done)
    }

    /// Leaves what is durable where it is until whoever asked is through with it, has gone, or the node closes.
    fn pin(&self, guest: &Guest, out: &mut impl Write) -> Result<Answer, NoAnswer> {
        let pin = self.desk.pin()?;
        let DurablePart { first, last, end, last_lsn } = pin.part();
        say(out, &Answer::Pinned { first: first.0, last: last.0, end, record: last_lsn.0 })?;
        guest.stream().set_read_timeout(Some(PIN_PAUSE))?;
        let mut line = [0];
        loop {
            match guest.stream().read(&mut line) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(_) => return Ok(Answer::Unpinned { stayed: !pin.is_broken() }),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    // Copying takes its time.
                    guest.listen()?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Answers, but for the last line, which is the result.
    fn answer(&self, ask: Ask, guest: &Guest, out: &mut impl Write) -> Result<Answer, NoAnswer> {
        match ask {
            Ask::Status => {
                say_line(out, &Answer::Status(Box::new(self.desk.status()?)))?;
                Ok(Answer::Done)
            }
            Ask::Verify => {
                let found = self.desk.verify(|done, total| {
                    say(out, &Answer::Verifying { done, total })?;
                    guest.listen()
                })?;
                Ok(Answer::Verified(found))
            }
            Ask::Changes => {
                self.desk.changes(guest, |change| say_line(out, &Answer::ByHand(change)))?;
                Ok(Answer::Done)
            }
            Ask::List { list, filter, limit } => {
                let limit = limit.unwrap_or(u64::MAX);
                self.desk.list(list.into(), &filter, limit, guest, |found| say_message(out, &found))?;
                Ok(Answer::Done)
            }
            Ask::Pin => self.pin(guest, out),
            Ask::Tail { topics, from_start } => self.tail(&topics, from_start, guest, out),
            Ask::Change { hand, filter, limit } => {
                let who = credentials::of_peer(guest.stream())?;
                let count = self.desk.change(hand, &filter, limit.unwrap_or(u64::MAX), &who, guest)?;
                Ok(Answer::Changed(count))
            }
            Ask::Rewrite { place, filter, limit, payload } => {
                let (who, limit) = (credentials::of_peer(guest.stream())?, limit.unwrap_or(u64::MAX));
                let count = self.desk.rewrite((place, payload.as_deref()), &filter, limit, &who, guest)?;
                Ok(Answer::Changed(count))
            }
            Ask::Decide(decree) => {
                let who = credentials::of_peer(guest.stream())?;
                let is_known = self.desk.decide(decree, &who)?;
                Ok(if is_known { Answer::Done } else { Answer::UnknownPeer })
            }
        }
    }
}

fn read_request(line: &str) -> Result<Ask, String> {
    if line.len() as u64 == CONTROL_REQUEST_BYTES_MAX && !line.ends_with('\n') {
        return Err(format!("a request has more than {CONTROL_REQUEST_BYTES_MAX} bytes"));
    }
    let value: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("no request: {error}"))?;
    let version = value.get("version").and_then(serde_json::Value::as_u64);
    if version != Some(u64::from(VERSION)) {
        let said = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        return Err(format!(
            "the node speaks version {VERSION} of the control protocol, and the request {said}"
        ));
    }
    let request: Request = serde_json::from_value(value).map_err(|error| format!("no request: {error}"))?;
    Ok(request.ask)
}

fn say_line(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    serde_json::to_writer(&mut *out, answer)?;
    out.write_all(b"\n")
}

fn say(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    say_line(out, answer)?;
    out.flush()
}

fn say_message(out: &mut impl Write, found: &Found) -> io::Result<()> {
    let record = found.message.record();
    let (id, bytes, said) = (found.message.id().to_string(), record.len(), found.said.clone());
    say_line(out, &Answer::Message { id, bytes, said })?;
    out.write_all(record)
}
