//! What nodes are busy with when something goes wrong.

use super::template::Template;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// A node is opened in a directory that is not there yet, and closed.
    OpenNew,
    /// One message, and it is waited for.
    PublishOne,
    /// An atomic batch, and many messages of which none is waited for at first.
    Batches,
    /// Flushes take so long that two writes are on their way.
    TwoInFlight,
    /// The segment is full: the log goes on in the next.
    Roll,
    /// The same with so much state that the checkpoint has more than one block.
    Checkpoint,
    /// Segments are filled, freed and used again, with a message that is carried along.
    Recycle,
    /// The next segment's file is made.
    Prewrite,
    /// A peer sends, and is told that it arrived.
    Accept,
    /// Messages of the inbox are handled.
    Handle,
    /// A node subscribes at another, and that one here.
    Subscribe,
    /// What is owed is read from the log and sent.
    Deliver,
    /// A node is closed and opened again.
    Reopen,
    /// The log ends in the middle of a write.
    TornTail,
}

impl Scenario {
    pub const ALL: [Scenario; 14] = [
        Scenario::OpenNew,
        Scenario::PublishOne,
        Scenario::Batches,
        Scenario::TwoInFlight,
        Scenario::Roll,
        Scenario::Checkpoint,
        Scenario::Recycle,
        Scenario::Prewrite,
        Scenario::Accept,
        Scenario::Handle,
        Scenario::Subscribe,
        Scenario::Deliver,
        Scenario::Reopen,
        Scenario::TornTail,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Scenario::OpenNew => "open-new",
            Scenario::PublishOne => "publish-one",
            Scenario::Batches => "batches",
            Scenario::TwoInFlight => "two-in-flight",
            Scenario::Roll => "roll",
            Scenario::Checkpoint => "checkpoint",
            Scenario::Recycle => "recycle",
            Scenario::Prewrite => "prewrite",
            Scenario::Accept => "accept",
            Scenario::Handle => "handle",
            Scenario::Subscribe => "subscribe",
            Scenario::Deliver => "deliver",
            Scenario::Reopen => "reopen",
            Scenario::TornTail => "torn-tail",
        }
    }

    /// What lies on the disk to begin with.
    pub fn template(self) -> Template {
        match self {
            Scenario::OpenNew => Template::Empty,
            Scenario::Roll | Scenario::Recycle => Template::Full,
            Scenario::Checkpoint => Template::FullOfState,
            Scenario::Prewrite => Template::WithoutNext,
            Scenario::Deliver => Template::Owing,
            Scenario::TornTail => Template::Torn,
            _ => Template::Used,
        }
    }

    /// Whether things already go wrong while the node is opened.
    pub fn is_of_opening(self) -> bool {
        matches!(self, Scenario::OpenNew | Scenario::TornTail)
    }

    /// Whether the node is closed and opened while things go wrong.
    pub fn closes(self) -> bool {
        self.is_of_opening() || self == Scenario::Reopen
    }

    /// Whether another node, on an ordinary disk, takes part.
    pub fn has_peer(self) -> bool {
        matches!(self, Scenario::Accept | Scenario::Subscribe | Scenario::Deliver)
    }

    /// How long a flush takes, in microseconds.
    pub fn flush_us(self) -> u64 {
        if self == Scenario::TwoInFlight { 2_000 } else { 0 }
    }
}
