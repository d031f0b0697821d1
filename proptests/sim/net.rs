//! Connections between simulated nodes: two pipes of bytes each, which keep their order, arrive in pieces whenever
//! they like, and break without a word.

use std::collections::{BTreeMap, VecDeque};

use resolute::engine::effect::SessionId;
use resolute::limits::HANDSHAKE_FRAME_BYTES_MAX;
use resolute::wire::frame_buffer::ReceiveWindow;
use resolute::wire::held_frames::HeldFrames;

/// A connection; the node that dialled is side 0.
pub type ConnectionId = u64;

/// One end of a connection, as a node sees it.
pub struct End {
    pub node: usize,
    pub life: u32,
    pub session: SessionId,
    pub window: ReceiveWindow,
    /// Whole frames that wait for room on a full disk.
    pub held: HeldFrames,
    /// Arrived and not yet in the window.
    pub backlog: VecDeque<u8>,
    /// The node let go of it, or was told that it is gone.
    pub closed: bool,
    /// Nothing that is written from now on arrives before that time.
    pub last_arrival: u64,
}

impl End {
    pub fn new(node: usize, life: u32, session: SessionId) -> End {
        let window = ReceiveWindow::new(HANDSHAKE_FRAME_BYTES_MAX);
        End {
            node,
            life,
            session,
            window,
            held: HeldFrames::default(),
            backlog: VecDeque::new(),
            closed: false,
            last_arrival: 0,
        }
    }
}

pub struct Connection {
    pub ends: [End; 2],
    /// Nothing passes any more.
    pub broken: bool,
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The longest time that bytes take, in milliseconds.
    pub delay_ms: u64,
    /// In how many pieces bytes arrive, at most.
    pub pieces: u64,
    /// Runs that come twice, in percent.
    pub duplicated: u64,
    /// Runs of any time that come again, in percent.
    pub replayed: u64,
    /// Runs that change places with the next, in percent.
    pub reordered: u64,
}

impl Weather {
    pub const FAIR: Weather = Weather { delay_ms: 1, pieces: 3, duplicated: 0, replayed: 0, reordered: 0 };
    pub const FOUL: Weather = Weather { delay_ms: 5, pieces: 3, duplicated: 20, replayed: 20, reordered: 10 };
}

#[derive(Default)]
pub struct Net {
    pub connections: BTreeMap<ConnectionId, Connection>,
    pub next: ConnectionId,
    /// Pairs that cannot reach each other.
    pub apart: std::collections::BTreeSet<(usize, usize)>,
    /// Runs once sent from one node to another.
    pub history: BTreeMap<(usize, usize), Vec<Vec<u8>>>,
    /// A run that is held back until the next one was sent.
    pub held: BTreeMap<(ConnectionId, usize), Vec<u8>>,
}

impl Net {
    pub fn are_apart(&self, a: usize, b: usize) -> bool {
        self.apart.contains(&(a.min(b), a.max(b)))
    }

    /// The connection and the side of a node's session.
    pub fn find(&self, node: usize, life: u32, session: SessionId) -> Option<(ConnectionId, usize)> {
        self.connections.iter().find_map(|(id, connection)| {
            let is_it =
                |end: &End| end.node == node && end.life == life && end.session == session && !end.closed;
            connection.ends.iter().position(is_it).map(|side| (*id, side))
        })
    }

    /// The open connections that a node sees.
    pub fn of_node(&self, node: usize, life: u32) -> Vec<(ConnectionId, usize)> {
        let mut found = Vec::new();
        for (id, connection) in &self.connections {
            for (side, end) in connection.ends.iter().enumerate() {
                if end.node == node && end.life == life && !end.closed {
                    found.push((*id, side));
                }
            }
        }
        found
    }

    pub fn forget_closed(&mut self) {
        self.connections.retain(|_, connection| connection.ends.iter().any(|end| !end.closed));
    }
}
