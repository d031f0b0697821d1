//! What a message carries: who published it, when in the order of things, and a checksum over all of it.

use resolute::format::checksum::checksum;

const HEAD_BYTES: usize = 15;
const CHECKSUM_BYTES: usize = 4;

/// What tells one message from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    pub publisher: u8,
    pub more: u16,
    pub life: u32,
    pub number: u64,
}

impl Numbered {
    /// The payload, with so many bytes that mean nothing.
    pub fn encode(self, padding: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + padding + CHECKSUM_BYTES);
        bytes.push(self.publisher);
        bytes.extend(self.more.to_le_bytes());
        bytes.extend(self.life.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.resize(HEAD_BYTES + padding, self.number as u8);
        bytes.extend(checksum(&bytes).to_le_bytes());
        bytes
    }

    /// What `encode` was given; `None` if it never gave this.
    pub fn decode(payload: &[u8]) -> Option<Numbered> {
        let (bytes, sum) = payload.split_last_chunk::<CHECKSUM_BYTES>()?;
        let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        (checksum(bytes) == u32::from_le_bytes(*sum)).then(|| Numbered {
            publisher: head[0],
            more: u16::from_le_bytes([head[1], head[2]]),
            life: u32::from_le_bytes([head[3], head[4], head[5], head[6]]),
            number: u64::from_le_bytes(std::array::from_fn(|index| head[7 + index])),
        })
    }
}
