//! What a message is known by in this test, and what it says.

use std::fmt;

use super::rng::Rng;

/// Most messages are small, and some fill blocks and batches.
const BYTES_OFTEN: u64 = 600;
const BYTES_SOMETIMES: u64 = 60_000;
const BYTES_SELDOM: u64 = 200_000;

/// The tasks from this one on publish large messages only, some of which make a write of the log with a thousand sectors.
pub const LARGE_TASKS: u64 = 100;

/// The tasks from this one on publish small messages only, of which a batch takes one block.
pub const SMALL_TASKS: u64 = 200;
/// The messages of this task fill segments.
pub const FILLING_TASK: u64 = 90;
const BYTES_FILLING: u64 = 150_000;

/// A message: who published it, and the how manieth of theirs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    pub task: u64,
    pub sequence: u64,
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.task, self.sequence)
    }
}

impl Number {
    /// What it says: itself, and bytes that follow from it.
    pub fn payload(self) -> Vec<u8> {
        let mut rng = Rng::new(self.task << 40 | self.sequence);
        let (least, most) = match (self.task, rng.below(100)) {
            (FILLING_TASK, _) => (BYTES_FILLING, BYTES_FILLING + 1),
            (SMALL_TASKS.., _) => (0, BYTES_OFTEN),
            (LARGE_TASKS.., _) => (BYTES_SOMETIMES / 2, BYTES_SOMETIMES),
            (_, 0) => (0, BYTES_SELDOM),
            (_, 1..=8) => (0, BYTES_SOMETIMES),
            _ => (0, BYTES_OFTEN),
        };
        let mut payload = format!("{self} ").into_bytes();
        let (bytes, first) = (rng.between(least, most) as usize, rng.number() as u8);
        payload.extend((0..bytes).map(|index| first.wrapping_add((index * 7) as u8)));
        payload
    }

    /// Whose payload that is, if it is whole.
    pub fn of_payload(payload: &[u8]) -> Result<Number, String> {
        let head = payload.split(|byte| *byte == b' ').next().unwrap_or_default();
        let head = String::from_utf8_lossy(head);
        let numbers = head.split_once('-').and_then(|(task, sequence)| {
            Some(Number { task: task.parse().ok()?, sequence: sequence.parse().ok()? })
        });
        match numbers {
            Some(number) if number.payload() == payload => Ok(number),
            _ => Err(format!("a message that begins with {head:?} was never published like that")),
        }
    }
}
