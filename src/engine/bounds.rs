//! What an engine holds in memory because of others, and the most that it may be. The simulator looks after each turn.

use super::Engine;
use super::session::{Phase, Session};
use crate::ids::PeerSlot;
use crate::limits::{
    CREDIT_BYTES, FRAME_BYTES_MAX, INBOUND_STREAMS_PER_PEER_MAX, OPENINGS_KEPT, READ_CHUNKS_MAX,
    READS_IN_FLIGHT_MAX, RECENT_CHUNKS_MAX, SEND_BYTES_IN_FLIGHT_MAX, SESSIONS_UNESTABLISHED_MAX,
    STREAMS_FINISHED_KEPT, WRITES_IN_FLIGHT_MAX,
};

/// One kind of what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What it is, in words; of sessions and peers, the one that holds most.
    pub what: &'static str,
    /// How much there is.
    pub held: u64,
    /// How much there may be.
    pub most: u64,
}

impl Bound {
    fn new(what: &'static str, held: usize, most: usize) -> Bound {
        Bound { what, held: held as u64, most: most as u64 }
    }
}

impl Engine {
    /// All that has a bound of its own. For tests, after any turn: it takes time for each session and each stream of a peer.
    #[must_use]
    pub fn bounds(&self) -> Vec<Bound> {
        let Engine { state, resident, reads, meeting, .. } = self;
        let limits = self.config.limits;
        let (recent, read) = resident.counts();
        let most_of = |of: &dyn Fn(&Session) -> u64| self.sessions.iter().map(of).max().unwrap_or(0);
        let strangers = self.sessions.iter().filter(|session| session.peer.is_none());
        let waiting = strangers.filter(|session| session.phase != Phase::Over);
        let accepted = waiting.filter(|session| session.dialled.is_none());
        // A frame may be said as long as there is any room.
        let at_sockets = SEND_BYTES_IN_FLIGHT_MAX + FRAME_BYTES_MAX + super::transmit::RUN_OVERHEAD;
        vec![
            Bound::new("batches written last", recent, RECENT_CHUNKS_MAX + WRITES_IN_FLIGHT_MAX),
            Bound::new("batches read back", read, READ_CHUNKS_MAX),
            Bound::new("reads in flight", reads.in_flight(), READS_IN_FLIGHT_MAX),
            Bound::new(
                "connections that were accepted and proved nothing",
                accepted.count(),
                SESSIONS_UNESTABLISHED_MAX,
            ),
            Bound::new("secrets proposed to strangers", meeting.proposals(), SESSIONS_UNESTABLISHED_MAX),
            Bound::new("bytes kept of frames", self.sessions.kept(), limits.kept_bytes),
            Bound::new("bytes at a socket", most_of(&|s| s.in_flight as u64) as usize, at_sockets),
            Bound {
                what: "bytes that a peer may send",
                held: most_of(&|session| session.granted.saturating_sub(session.accepted_bytes)),
                most: CREDIT_BYTES,
            },
            Bound {
                what: "bytes that a peer was given back and had not sent",
                held: most_of(&|session| session.accepted_bytes.saturating_sub(session.received)),
                most: 0,
            },
            Bound::new(
                "acks for one peer",
                most_of(&|s| s.acks.len() as u64) as usize,
                INBOUND_STREAMS_PER_PEER_MAX,
            ),
            Bound::new("streams of one peer", self.streams_of_one_peer(), INBOUND_STREAMS_PER_PEER_MAX),
            Bound::new(
                "streams of one peer that have ended",
                self.finished_of_one_peer(),
                STREAMS_FINISHED_KEPT,
            ),
            Bound::new("openings", state.openings.list().len(), OPENINGS_KEPT),
            Bound::new("peers", state.peers_known(), limits.peers),
        ]
    }

    fn finished_of_one_peer(&self) -> usize {
        self.state.finished.values().map(Vec::len).max().unwrap_or(0)
    }

    fn streams_of_one_peer(&self) -> usize {
        let of = |slot: &PeerSlot| self.state.inbound.keys().filter(|(from, _)| from == slot).count();
        self.state.peers.keys().map(of).max().unwrap_or(0)
    }
}
