//! `import`: lines of NDJSON become messages of a node.

pub mod intake;
pub mod ledger;
pub mod line;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use serde_json::{Value, json};

use self::intake::{Counts, Intake};
use self::ledger::Key;
use super::exit::{Exit, Failure};
use super::output::{Output, say};
use super::runtime::block_on;
use super::transfer_arguments::{HowToImport, Import};
use crate::limits::{EXTENSION_BYTES_MAX, PAYLOAD_BYTES_MAX, TOPIC_BYTES_MAX, TOPICS_MAX};

/// Bytes of the longest line that may be a message: each byte of it may be written as six, and there is room for what else a line
/// says.
const LINE_BYTES_MAX: u64 =
    6 * (PAYLOAD_BYTES_MAX + EXTENSION_BYTES_MAX + TOPICS_MAX * TOPIC_BYTES_MAX) as u64 + (1 << 20);

pub fn run(arguments: &Import) -> Result<(), Failure> {
    let mut lines = Lines::open(arguments)?;
    let mut intake = Intake::open(&arguments.dir, arguments.how.check, arguments.how.again)?;
    block_on(async {
        let outcome = all(&mut lines, &mut intake).await;
        let counts = intake.counts();
        let closed = intake.close().await;
        match outcome {
            Ok(refused) => {
                closed?;
                report(arguments, counts, refused)
            }
            Err(failure) => {
                Err(failure.while_doing(&format!("after {} messages were imported", counts.imported)))
            }
        }
    })
}

/// Takes all lines that are messages, and says how many are none.
async fn all(lines: &mut Lines, intake: &mut Intake) -> Result<u64, Failure> {
    intake.settle().await?;
    // How often a line without an id came: each time it is another message.
    let mut nameless: HashMap<Key, u64> = HashMap::new();
    let mut refused = 0;
    while let Some(line) = lines.next()? {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let why = match line::parsed(&line) {
            Ok(incoming) => {
                let mut nth = 0;
                if incoming.origin.is_none() {
                    let count = nameless.entry(Key::of(&[&line])).or_default();
                    *count += 1;
                    nth = *count;
                }
                let key = || Key::of(&[b"line", &line, &nth.to_le_bytes()]);
                intake.take(incoming, &key).await?.err().map(|error| super::exit::chain(&error))
            }
            Err(why) => Some(why),
        };
        if let Some(why) = why {
            refused += 1;
            say(&format!("line {}: {why}", lines.number));
        }
    }
    intake.flush().await?;
    Ok(refused)
}

fn report(arguments: &Import, counts: Counts, refused: u64) -> Result<(), Failure> {
    let mut out = Output::new();
    if arguments.how.json {
        out.json(&as_json(counts, &arguments.how, json!({ "refused": refused })))?;
    } else {
        out.line(&sentence(counts, arguments.how.check, "message"))?;
    }
    out.finish()?;
    warn_of_doubles(counts);
    match refused {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Usage, "1 line is no message that can be imported")),
        _ => Err(Failure::new(Exit::Usage, format!("{refused} lines are no messages that can be imported"))),
    }
}

/// What came of it, or would, and what more is to be said.
pub fn as_json(counts: Counts, how: &HowToImport, more: Value) -> Value {
    let mut said = json!({
        "imported": counts.imported,
        "already_there": counts.already_there,
        "perhaps_twice": counts.perhaps_twice,
        "only_checked": how.check,
    });
    if let (Value::Object(said), Value::Object(more)) = (&mut said, more) {
        said.extend(more);
    }
    said
}

/// The same for people.
pub fn sentence(counts: Counts, only_checked: bool, noun: &str) -> String {
    let Counts { imported, already_there, .. } = counts;
    let done = match (only_checked, imported) {
        (true, _) => "would be imported",
        (false, 1) => "is imported",
        (false, _) => "are imported",
    };
    let messages = if imported == 1 { noun.to_owned() } else { format!("{noun}s") };
    let before = match already_there {
        0 => String::new(),
        1 => "; 1 was imported before, or is there".to_owned(),
        _ => format!("; {already_there} were imported before, or are there"),
    };
    format!("{imported} {messages} {done}{before}")
}

pub fn warn_of_doubles(counts: Counts) {
    if counts.perhaps_twice > 0 {
        say(&format!(
            "{} of them may have been imported before: an import was interrupted in the middle of them, and what was there may \
             have been delivered or taken since",
            counts.perhaps_twice
        ));
    }
}

/// Lines of a file, or of standard input.
struct Lines {
    input: Box<dyn BufRead>,
    name: String,
    number: u64,
}

impl Lines {
    fn open(arguments: &Import) -> Result<Lines, Failure> {
        let (input, name): (Box<dyn BufRead>, _) = match &arguments.file {
            None => (Box::new(io::stdin().lock()), "standard input".to_owned()),
            Some(path) => {
                let name = path.display().to_string();
                let file = File::open(path).map_err(|error| Failure::io(&format!("open {name}"), &error))?;
                (Box::new(BufReader::with_capacity(256 << 10, file)), name)
            }
        };
        Ok(Lines { input, name, number: 0 })
    }

    /// The next line. Of one that is too long the beginning, which is no JSON.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut line = Vec::new();
        let failed = |error: io::Error| Failure::io(&format!("read {}", self.name), &error);
        let read = (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(failed)?;
        if read as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            self.input.skip_until(b'\n').map_err(failed)?;
        }
        self.number += 1;
        Ok((read > 0).then_some(line))
    }
}
