//! What is to be published: one argument, or the lines of standard input.

use std::io::{self, BufRead, Read};

use tokio::sync::mpsc;

use crate::cli::exit::{Exit, Failure};
use crate::limits::PAYLOAD_BYTES_MAX;

/// Lines that were read and are not yet published.
const LINES_AHEAD: usize = 128;

/// See the module.
pub enum Input {
    /// One payload.
    One(Option<Vec<u8>>),
    /// Lines, read by a thread of their own: reading standard input blocks.
    Lines { lines: mpsc::Receiver<Result<Vec<u8>, Failure>>, read: u64 },
}

impl Input {
    pub fn one(data: Vec<u8>) -> Input {
        Input::One(Some(data))
    }

    pub fn lines() -> Result<Input, Failure> {
        let (sender, lines) = mpsc::channel(LINES_AHEAD);
        let read = move || {
            let mut input = io::stdin().lock();
            while let Some(line) = next_line(&mut input).transpose() {
                let failed = line.is_err();
                if sender.blocking_send(line).is_err() || failed {
                    return;
                }
            }
        };
        let spawned = std::thread::Builder::new().name("resolute-stdin".to_owned()).spawn(read);
        spawned.map_err(|error| Failure::io("start a thread", &error))?;
        Ok(Input::Lines { lines, read: 0 })
    }

    /// The next payload; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Input::One(data) => Ok(data.take()),
            Input::Lines { lines, read } => {
                let line = lines.recv().await.transpose();
                *read += 1;
                line
            }
        }
    }

    /// Which payload was taken last, for errors.
    pub fn place(&self) -> String {
        match self {
            Input::One(_) => "the message".to_owned(),
            Input::Lines { read, .. } => format!("line {read}"),
        }
    }
}

/// The next line without its end; nothing at the end of the input. Never reads much more than a payload may have.
fn next_line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let limit = PAYLOAD_BYTES_MAX as u64 + 2;
    let read = input.take(limit).read_until(b'\n', &mut line);
    let read = read.map_err(|error| Failure::io("read standard input", &error))?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.len() > PAYLOAD_BYTES_MAX {
        let text = format!("longer than the {PAYLOAD_BYTES_MAX} bytes that a payload may have");
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok((read > 0).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_as_they_are_and_the_last_needs_no_end() {
        let mut input: &[u8] = b"a\n\n\xff\r\nlast";
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, [&b"a"[..], b"", b"\xff\r", b"last"]);
    }

    #[test]
    fn a_line_of_the_largest_payload_is_taken_and_a_longer_one_refused() {
        for (bytes, fits) in
            [(PAYLOAD_BYTES_MAX, true), (PAYLOAD_BYTES_MAX + 1, false), (PAYLOAD_BYTES_MAX * 2, false)]
        {
            let mut text = vec![b'x'; bytes];
            assert_eq!(next_line(&mut &text[..]).is_ok(), fits, "{bytes}");
            text.push(b'\n');
            assert_eq!(next_line(&mut &text[..]).is_ok(), fits, "{bytes} and an end");
        }
    }
}
