//! The names by which nodes, records and streams are known. All are plain numbers; none can be mistaken for
//! another.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The number that follows this one by `count`.
            #[must_use]
            pub const fn plus(self, count: u64) -> Self {
                Self(self.0 + count)
            }

            /// How far this number lies after `earlier`. Panics if it lies before it.
            #[must_use]
            pub const fn since(self, earlier: Self) -> u64 {
                assert!(self.0 >= earlier.0);
                self.0 - earlier.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// The number of a record in its node's log: dense, from 1, never reused once spoken. 0 is "before the first".
    Lsn
}
number! {
    /// The place of a message in one stream: dense, from 1. 0 is "before the first".
    Position
}
number! {
    /// One queue owed by one node to another, minted by the node that owes. [`StreamId::LOCAL`] is what a node
    /// owes to itself.
    StreamId
}
number! {
    /// One opening of a data directory, counted from 1.
    Epoch
}
number! {
    /// The number of a batch in its log: dense, from 1, across segments and epochs.
    BatchNumber
}
number! {
    /// The number of a segment in the order in which the log used it, from 1.
    SegmentNumber
}
number! {
    /// One life of a data directory: random, minted when it is made, and anew when its log was set back.
    Incarnation
}

impl StreamId {
    /// Messages that this node published and itself subscribed to: they go from its log to its inbox without a
    /// network between.
    pub const LOCAL: StreamId = StreamId(0);
}

/// A set of streams that one message is owed to. [`SetId::NONE`] is "owed to nobody".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SetId(pub u32);

impl SetId {
    /// A record that is owed to nobody: what a node logs for itself.
    pub const NONE: SetId = SetId(0);
}

/// A peer as this node's log knows it. [`PeerSlot::SELF`] is the node itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PeerSlot(pub u32);

impl PeerSlot {
    /// The node that owns the log.
    pub const SELF: PeerSlot = PeerSlot(0);
}

/// The identity of a node: random, minted with its data directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u128);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// What names one message for ever: the node that published it, the life of that node's log, and the record in it.
///
/// Written as `node-incarnation-lsn` in hexadecimal, hexadecimal and decimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageId {
    /// The publisher.
    pub node: NodeId,
    /// The life of the publisher's log.
    pub incarnation: Incarnation,
    /// The record in that log.
    pub lsn: Lsn,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}-{}", self.node, self.incarnation.0, self.lsn)
    }
}

/// Why a text is not a [`MessageId`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message id is written node-incarnation-lsn, such as 00ab…-00cd…-17")]
pub struct NotAMessageId;

impl std::str::FromStr for MessageId {
    type Err = NotAMessageId;

    fn from_str(text: &str) -> Result<Self, NotAMessageId> {
        let mut parts = text.splitn(3, '-');
        let (Some(node), Some(incarnation), Some(lsn)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NotAMessageId);
        };
        Ok(MessageId {
            node: NodeId(u128::from_str_radix(node, 16).map_err(|_| NotAMessageId)?),
            incarnation: Incarnation(u64::from_str_radix(incarnation, 16).map_err(|_| NotAMessageId)?),
            lsn: Lsn(lsn.parse().map_err(|_| NotAMessageId)?),
        })
    }
}

/// Consecutive records of a log: `count` of them from `first`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LsnRange {
    /// The first record.
    pub first: Lsn,
    /// How many; at least 1.
    pub count: u64,
}

impl LsnRange {
    /// The record after the last.
    #[must_use]
    pub const fn end(self) -> Lsn {
        self.first.plus(self.count)
    }

    /// The last record.
    #[must_use]
    pub const fn last(self) -> Lsn {
        assert!(self.count > 0);
        Lsn(self.first.0 + self.count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_reads_back_what_it_writes() {
        let id = MessageId { node: NodeId(0xab << 100 | 7), incarnation: Incarnation(0xcd), lsn: Lsn(17) };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("1-2".parse::<MessageId>(), Err(NotAMessageId));
        assert_eq!("x-2-3".parse::<MessageId>(), Err(NotAMessageId));
    }
}
