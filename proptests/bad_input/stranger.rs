//! A plain socket at a node's door, and as much of the protocol as someone with bad intentions needs.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use resolute::format::frame::{self, FrameKind, FrameView};
use resolute::format::message::{MessageHead, MessageParts};
use resolute::format::record::{RecordKind, append};
use resolute::ids::{Epoch, Incarnation, Lsn, NodeId, Position, StreamId};
use resolute::time::Wall;
use resolute::wire::bodies::Body;
use resolute::wire::goodbye::GoodbyeCode;
use resolute::wire::hello::{Hello, PROTOCOL_VERSION};
use resolute::wire::proof::{Role, prove};

/// One connection.
pub struct Stranger {
    socket: TcpStream,
    received: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// With a reason.
    Goodbye(GoodbyeCode, String),
    /// Without.
    Closed,
    /// It did not.
    Open,
}

/// A hello of a node that nobody knows.
pub fn hello(node: u128) -> Hello {
    Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        node: NodeId(node),
        incarnation: Incarnation(7),
        epoch: Epoch(1),
        nonce: 99,
        challenge: [5; 16],
        frame_bytes_max: 1 << 20,
        credit_bytes: 4 << 20,
        name: "stranger".to_owned(),
        address: String::new(),
        dialled: String::new(),
        met: None,
    }
}

pub fn hello_frame(hello: &Hello) -> Vec<u8> {
    let mut frame = Vec::new();
    hello.append_to(&mut frame);
    frame
}

pub fn body_frame(body: &Body) -> Vec<u8> {
    let mut frame = Vec::new();
    body.append_to(&mut frame);
    frame
}

/// A run of small messages.
pub fn run_frame(stream: u64, first: u64, count: u32) -> Vec<u8> {
    run_of(stream, first, count, b"from a stranger")
}

/// A run of messages with that payload.
pub fn run_of(stream: u64, first: u64, count: u32, payload: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    let head = MessageHead::with_topics(Wall(1), ["a"]).unwrap();
    let parts = MessageParts::new(&head, payload).unwrap();
    let body = parts.pieces().concat();
    for number in 0..u64::from(count) {
        append(&mut records, Lsn(first + number), RecordKind::Message, 0, &body);
    }
    let mut run = Vec::new();
    frame::append_run_headers(&mut run, StreamId(stream), Position(first), count, records.len());
    run.extend(records);
    run
}

impl Stranger {
    /// Connects to `tcp://host:port`.
    pub fn connect(address: &str) -> Stranger {
        Self::try_connect(address).unwrap()
    }

    /// The same where that may be too much to ask of the machine.
    pub fn try_connect(address: &str) -> std::io::Result<Stranger> {
        let socket = TcpStream::connect(address.strip_prefix("tcp://").unwrap())?;
        socket.set_nodelay(true)?;
        Ok(Stranger { socket, received: Vec::new() })
    }

    /// Hangs up so that the kernel remembers nothing of it: else some ten thousand connections a minute are the most.
    pub fn vanish(self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&self.socket, sockopt::Linger, &linger).unwrap();
    }

    /// Sends bytes. That the node has had enough in the middle of it is no surprise.
    pub fn send(&mut self, bytes: &[u8]) {
        drop(self.socket.write_all(bytes));
    }

    pub fn say(&mut self, body: &Body) {
        self.send(&body_frame(body));
    }

    /// Nothing more will be sent.
    pub fn hush(&mut self) {
        drop(self.socket.shutdown(std::net::Shutdown::Write));
    }

    /// The next frame; how the connection ended if there is none.
    pub fn frame(&mut self, patience: Duration) -> Result<(FrameKind, Vec<u8>), End> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        loop {
            if let Some((view, bytes)) = FrameView::parse(&self.received).expect("a node sends whole frames")
            {
                let frame = (view.kind, view.body.to_vec());
                self.received.drain(..bytes);
                return Ok(frame);
            }
            let mut more = [0; 65536];
            match self.socket.read(&mut more) {
                Ok(0) => return Err(End::Closed),
                Ok(count) => self.received.extend(&more[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(End::Open);
                }
                Err(_) => return Err(End::Closed),
            }
        }
    }

    /// How it ends, whatever is said before.
    pub fn end(&mut self, patience: Duration) -> End {
        loop {
            match self.frame(patience) {
                Ok((FrameKind::Goodbye, body)) => match Body::decode(FrameKind::Goodbye, &body) {
                    Ok(Body::Goodbye { code, reason }) => return End::Goodbye(code, reason),
                    other => panic!("a bad goodbye: {other:?}"),
                },
                Ok(_) => {}
                Err(end) => return end,
            }
        }
    }

    /// Waits for a frame of that kind.
    pub fn until(&mut self, kind: FrameKind) -> Vec<u8> {
        self.try_until(kind).unwrap_or_else(|end| panic!("{end:?} instead of {kind:?}"))
    }

    /// The same, or how the connection ended.
    pub fn try_until(&mut self, kind: FrameKind) -> Result<Vec<u8>, End> {
        loop {
            match self.frame(Duration::from_secs(10))? {
                (found, body) if found == kind => return Ok(body),
                (FrameKind::Goodbye, body) => match Body::decode(FrameKind::Goodbye, &body) {
                    Ok(Body::Goodbye { code, reason }) => return Err(End::Goodbye(code, reason)),
                    other => panic!("a bad goodbye: {other:?}"),
                },
                _ => {}
            }
        }
    }

    /// Says who it is, and hears who is there.
    pub fn meet(&mut self, own: &Hello) -> Hello {
        self.try_meet(own).unwrap_or_else(|end| panic!("{end:?} instead of a hello"))
    }

    /// The same, by someone who may be refused.
    pub fn try_meet(&mut self, own: &Hello) -> Result<Hello, End> {
        self.send(&hello_frame(own));
        Ok(Hello::decode(&self.try_until(FrameKind::Hello)?).unwrap())
    }

    /// A proof under a secret that it proposes.
    pub fn proof(own: &Hello, theirs: &Hello, secret: [u8; 16]) -> Body {
        let mac = prove(&secret, &theirs.challenge, own.node, theirs.node, Role::Dialler);
        Body::Proof { mac, proposed: Some(secret), met: None }
    }

    /// All that makes a session; what may be said then is anything. What the node says of itself.
    pub fn establish(&mut self, node: u128) -> Hello {
        self.try_establish(&hello(node)).unwrap_or_else(|end| panic!("{end:?} instead of a session"))
    }

    /// The same, by someone who may be refused.
    pub fn try_establish(&mut self, own: &Hello) -> Result<Hello, End> {
        self.try_establish_with(own, Lsn(0))
    }

    /// The same, by someone whose log reaches so far.
    pub fn try_establish_with(&mut self, own: &Hello, durable: Lsn) -> Result<Hello, End> {
        let theirs = self.try_meet(own)?;
        self.say(&Self::proof(own, &theirs, [9; 16]));
        self.try_until(FrameKind::Established)?;
        self.try_until(FrameKind::Resume)?;
        self.say(&Body::Resume { durable, cursors: vec![] });
        Ok(theirs)
    }
}
