//! One entry of a journal: 32 bytes, which divide a page, so that a kill never leaves half of one.
//!
//! ```text
//!  0      1           2      4      8        16    24        32
//!  kind | publisher | more | life | number | lsn | log |
//! ```

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 32;

/// One number in so many is of a topic that nobody handles before the end. What lay in an inbox through all that
/// happened and is then looked at once shows whether it came there once, and in which order.
pub const KEPT_EVERY: u64 = 512;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers up to this one may be published from now on.
    Claimed = 1,
    /// Numbers up to this one were acknowledged, and this is the id of the last.
    Acknowledged = 2,
    /// A message was handled as it came.
    Handled = 3,
    /// A message that nobody had handled was found in the inbox.
    Kept = 4,
    /// A message that nobody can have published.
    Foreign = 5,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// Its place in the cast.
    pub publisher: u8,
    /// How many more messages belong to the same atomic batch.
    pub more: u16,
    /// Which life of the publisher.
    pub life: u32,
    /// Dense in each life of a publisher, from 1.
    pub number: u64,
    /// The record in the publisher's log, which its id names.
    pub lsn: u64,
    /// The rest of the id: the publisher and the life of its log.
    pub log: u64,
}

impl Entry {
    pub fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0] = self.kind as u8;
        bytes[1] = self.publisher;
        bytes[2..4].copy_from_slice(&self.more.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.life.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.lsn.to_le_bytes());
        bytes[24..].copy_from_slice(&self.log.to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: [u8; ENTRY_BYTES]) -> Result<Entry, String> {
        let kinds = [Kind::Claimed, Kind::Acknowledged, Kind::Handled, Kind::Kept, Kind::Foreign];
        let kind = kinds.into_iter().find(|kind| *kind as u8 == bytes[0]);
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
        Ok(Entry {
            kind: kind.ok_or_else(|| format!("a journal says {bytes:?}"))?,
            publisher: bytes[1],
            more: u16::from_le_bytes([bytes[2], bytes[3]]),
            life: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            number: word(8),
            lsn: word(16),
            log: word(24),
        })
    }
}
