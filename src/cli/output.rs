//! What goes out: results to standard output, everything else to standard error.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use super::exit::Failure;

/// Results, on standard output.
pub struct Output {
    out: BufWriter<StdoutLock<'static>>,
}

/// What became of a write to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// It was taken.
    Taken,
    /// Nobody reads any more, as in `resolute keys … | head -1`: time to stop, and no failure.
    NobodyReads,
}

impl Output {
    pub fn new() -> Output {
        Output { out: BufWriter::with_capacity(64 << 10, io::stdout().lock()) }
    }

    /// Writes one value as one line of JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<Wrote, Failure> {
        wrote(
            serde_json::to_writer(&mut self.out, value)
                .map_err(io::Error::from)
                .and_then(|()| self.out.write_all(b"\n")),
        )
    }

    pub fn line(&mut self, text: &str) -> Result<Wrote, Failure> {
        wrote(writeln!(self.out, "{text}"))
    }

    /// Hands over what is still in memory. Must be called at the end: dropping tells nobody of a failure.
    pub fn finish(mut self) -> Result<Wrote, Failure> {
        wrote(self.out.flush())
    }
}

/// A closed pipe is no failure.
pub fn wrote(outcome: io::Result<()>) -> Result<Wrote, Failure> {
    match outcome {
        Ok(()) => Ok(Wrote::Taken),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Wrote::NobodyReads),
        Err(error) => Err(Failure::io("write to standard output", &error)),
    }
}

/// Says something on standard error. If nobody listens there, nobody does.
pub fn say(text: &str) {
    let text = super::table::lines(text);
    let _: io::Result<()> = writeln!(io::stderr(), "resolute: {text}");
}

pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}
