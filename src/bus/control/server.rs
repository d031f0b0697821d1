//! The end of the control socket that is in the node.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use super::desk::{Desk, NoAnswer};
use super::place::SocketPlace;
use super::protocol::{Answer, Ask, Request, VERSION};
use crate::bus::Envelope;
use crate::bus::error::chain;
use crate::bus::inspect::{Found, Passing, Said};
use crate::io::credentials;
use crate::io::shared::Shared;
use crate::limits::{CONTROL_CONNECTIONS_MAX, CONTROL_REQUEST_BYTES_MAX};

/// How long a request may take to come.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

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
    stopped: AtomicBool,
    /// Those who are connected, so that they can be cut off.
    connected: Mutex<BTreeMap<u64, UnixStream>>,
}

impl Server {
    /// Makes the socket and serves it on a thread of its own.
    pub(crate) fn start(directory: &Path, shared: Arc<Shared>) -> io::Result<Server> {
        let place = SocketPlace::in_directory(directory)?;
        let listener = place.listen()?;
        let desk = Desk::new(std::path::absolute(directory)?, shared);
        let (stopped, connected) = (AtomicBool::new(false), Mutex::default());
        let inner = Arc::new(Inner { desk, place, stopped, connected });
        let serving = Arc::clone(&inner);
        Builder::new().name("resolute-control".to_owned()).spawn(move || serving.accept(&listener))?;
        Ok(Server { inner })
    }

    /// Takes the socket away and cuts off whoever is connected. Must come before the lock of the directory is released.
    pub(crate) fn stop(&self) {
        if self.inner.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        // The thread waits for somebody to connect. If it has ended, there is nobody to wake.
        drop(self.inner.place.connect());
        if let Err(error) = self.inner.place.remove() {
            tracing::warn!(%error, "the control socket stays in the directory");
        }
        for stream in self.inner.connected().values() {
            // One that is closed already is what is wanted.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One of those who are connected: however that ends, its place is free again.
struct Connected<'a> {
    inner: &'a Inner,
    number: u64,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.inner.connected().remove(&self.number);
    }
}

impl Inner {
    fn connected(&self) -> MutexGuard<'_, BTreeMap<u64, UnixStream>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Inner>, listener: &UnixListener) {
        for number in 0.. {
            let accepted = listener.accept();
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            match accepted.and_then(|(stream, _)| self.take_in(number, stream)) {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%error, "nobody is served on the control socket for a moment");
                    std::thread::sleep(REQUEST_PATIENCE / 100);
                }
            }
        }
    }

    fn take_in(self: &Arc<Inner>, number: u64, stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(REQUEST_PATIENCE))?;
        if self.connected().len() >= CONTROL_CONNECTIONS_MAX {
            let line =
                Answer::Refused(format!("{CONTROL_CONNECTIONS_MAX} commands look at the node already"));
            // Whoever has gone need not be told.
            drop(say(&mut BufWriter::new(stream), &line));
            return Ok(());
        }
        self.connected().insert(number, stream.try_clone()?);
        let inner = Arc::clone(self);
        let serve = move || {
            let _connected = Connected { inner: &inner, number };
            if let Err(error) = inner.serve(&stream) {
                tracing::debug!(%error, "whoever asked on the control socket has gone");
            }
        };
        let spawned = Builder::new().name("resolute-control".to_owned()).spawn(serve);
        if spawned.is_err() {
            self.connected().remove(&number);
        }
        spawned.map(drop)
    }

    fn serve(&self, stream: &UnixStream) -> io::Result<()> {
        let mut line = String::new();
        BufReader::new(stream.take(CONTROL_REQUEST_BYTES_MAX)).read_line(&mut line)?;
        let mut out = BufWriter::with_capacity(64 << 10, stream);
        let last = match read_request(&line) {
            Ok(ask) => match self.answer(ask, stream, &mut out) {
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
        stream: &UnixStream,
        out: &mut impl Write,
    ) -> Result<Answer, NoAnswer> {
        stream.set_read_timeout(Some(TAIL_PAUSE))?;
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
        let pause = || {
            out.borrow_mut().flush()?;
            pause_and_listen(stream)
        };
        self.desk.tail(from_start, give, pause)?;
        Ok(Answer::Done)
    }

    /// Answers, but for the last line, which is the result.
    fn answer(&self, ask: Ask, stream: &UnixStream, out: &mut impl Write) -> Result<Answer, NoAnswer> {
        match ask {
            Ask::Status => {
                say_line(out, &Answer::Status(Box::new(self.desk.status()?)))?;
                Ok(Answer::Done)
            }
            Ask::List { list, filter, limit } => {
                let limit = limit.unwrap_or(u64::MAX);
                self.desk.list(list.into(), &filter, limit, |found| say_message(out, &found))?;
                Ok(Answer::Done)
            }
            Ask::Tail { topics, from_start } => self.tail(&topics, from_start, stream, out),
            Ask::Change { hand, filter, limit } => {
                let who = credentials::of_peer(stream)?;
                let count = self.desk.change(hand, &filter, limit.unwrap_or(u64::MAX), &who)?;
                Ok(Answer::Changed(count))
            }
        }
    }
}

/// Waits a moment for nothing, and hears if whoever listens has gone.
fn pause_and_listen(mut stream: &UnixStream) -> io::Result<()> {
    match stream.read(&mut [0]) {
        Ok(0) => Err(io::ErrorKind::BrokenPipe.into()),
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn read_request(line: &str) -> Result<Ask, String> {
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
