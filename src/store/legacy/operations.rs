//! The operations in a file, one after the other, and what lies between them that is none.

use serde::de::IgnoredAny;

use super::damage::{Damage, Trouble};

const END: u32 = 0;
const PUT: u32 = 1;
const TAKE: u32 = 2;

/// Bytes of a number.
const WORD: usize = 4;

/// Which kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Map,
    Queue,
}

/// An operation. In a queue there are no keys, and they are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    Put { key: &'a str, value: &'a str },
    Take { key: &'a str },
}

/// What comes next in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// An operation, and where it begins.
    Operation(usize, Operation<'a>),
    /// What is none.
    Damage(Damage),
}

/// The steps of a file.
#[derive(Clone, Debug)]
pub struct Operations<'a> {
    bytes: &'a [u8],
    kind: Kind,
    at: usize,
    /// Behind the last byte that is not zero, rounded up as all is padded: there is nothing from here on.
    end: usize,
}

/// An operation, and where the next begins; no operation at the end.
type Parsed<'a> = (Option<Operation<'a>>, usize);

impl<'a> Operations<'a> {
    pub fn of(bytes: &'a [u8], kind: Kind) -> Operations<'a> {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| round_up(last + 1));
        Operations { bytes, kind, at: 0, end }
    }

    fn parse(&self, at: usize) -> Result<Parsed<'a>, Trouble> {
        let (marker, next) = self.number(at)?;
        match (marker, self.kind) {
            (END, _) => Ok((None, next)),
            (PUT, Kind::Map) => {
                let (key, next) = self.key(next)?;
                let (value, next) = self.value(next)?;
                Ok((Some(Operation::Put { key, value }), next))
            }
            (PUT, Kind::Queue) => {
                let (value, next) = self.value(next)?;
                Ok((Some(Operation::Put { key: "", value }), next))
            }
            (TAKE, Kind::Map) => {
                let (key, next) = self.key(next)?;
                Ok((Some(Operation::Take { key }), next))
            }
            (TAKE, Kind::Queue) => Ok((Some(Operation::Take { key: "" }), next)),
            (other, _) => Err(Trouble::Marker(other)),
        }
    }

    fn number(&self, at: usize) -> Result<(u32, usize), Trouble> {
        let word = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<WORD>()).ok_or(Trouble::Length)?;
        Ok((u32::from_be_bytes(*word), at + WORD))
    }

    /// A length and what has it, and where the next begins.
    fn counted(&self, at: usize) -> Result<(&'a [u8], usize), Trouble> {
        let (length, first) = self.number(at)?;
        let end = usize::try_from(length).ok().and_then(|length| first.checked_add(length));
        let counted = end.and_then(|end| Some((self.bytes.get(first..end)?, round_up(end))));
        counted.ok_or(Trouble::Length)
    }

    fn key(&self, at: usize) -> Result<(&'a str, usize), Trouble> {
        let (key, next) = self.counted(at)?;
        // The first zero ends the look at it: a wrong length would lead over many operations, again and again.
        if key.contains(&0) {
            return Err(Trouble::Key);
        }
        Ok((std::str::from_utf8(key).map_err(|_| Trouble::Key)?, next))
    }

    fn value(&self, at: usize) -> Result<(&'a str, usize), Trouble> {
        let (value, next) = self.counted(at)?;
        // As above: no JSON has a zero, and it is not looked at behind one.
        serde_json::from_slice::<IgnoredAny>(value).map_err(|_| Trouble::Value)?;
        Ok((std::str::from_utf8(value).map_err(|_| Trouble::Value)?, next))
    }

    /// Where the next operation begins that makes sense; the end if there is none.
    fn resume(&self, after: usize) -> usize {
        let mut at = after;
        while at < self.end {
            let (begins, looked_to) = self.is_beginning(at);
            if begins {
                return at;
            }
            at = looked_to;
        }
        self.end
    }

    /// Whether what begins here can be trusted to be an operation; if not, where the next may begin. A dequeue is a number and
    /// nothing else: it counts if an item comes behind it, perhaps behind more of its kind, or the end.
    fn is_beginning(&self, at: usize) -> (bool, usize) {
        let mut next = at;
        loop {
            match self.parse(next) {
                Ok((Some(Operation::Take { .. }), behind)) if self.kind == Kind::Queue => next = behind,
                Ok((Some(_), _)) => return (true, next),
                Ok((None, _)) | Err(_) if next >= self.end => return (next > at, next),
                // None of those before it is followed by anything better.
                Ok((None, _)) | Err(_) => return (false, next + WORD),
            }
        }
    }
}

impl<'a> Iterator for Operations<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        if self.at >= self.end {
            return None;
        }
        let offset = self.at;
        let trouble = match self.parse(offset) {
            Ok((Some(operation), next)) => {
                self.at = next;
                return Some(Step::Operation(offset, operation));
            }
            Ok((None, _)) => Trouble::Hole,
            Err(trouble) => trouble,
        };
        self.at = self.resume(offset + WORD);
        Some(Step::Damage(Damage { offset, bytes: self.at - offset, trouble }))
    }
}

fn round_up(bytes: usize) -> usize {
    bytes.next_multiple_of(WORD)
}
