//! Peers that say anything, in any order and with good checksums, to one node.

use resolute::engine::request::Request;
use resolute::format::frame::{FrameKind, append, append_run_headers};
use resolute::format::message::{MessageHead, MessageParts};
use resolute::format::record::{self, RecordKind};
use resolute::ids::{Epoch, Incarnation, Lsn, NodeId, Position, StreamId};
use resolute::limits::{FRAME_BYTES_MAX, PAYLOAD_BYTES_MAX};
use resolute::time::Wall;
use resolute::wire::bodies::Body;
use resolute::wire::goodbye::GoodbyeCode;
use resolute::wire::hello::{Hello, PROTOCOL_VERSION};
use resolute::wire::met::Met;
use resolute::wire::proof::{Role, prove};

use super::node::{ADDRESS, Node};
use super::source::Source;

const STEPS_MAX: usize = 200;
const CONNECTIONS_MAX: usize = 6;
const TOPICS: [&str; 3] = ["a", "b", "c"];
const SECRET: [u8; 16] = [9; 16];

pub fn run(bytes: &[u8]) {
    let (mut source, mut node) = (Source::new(bytes), Node::new());
    for _ in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        step(&mut node, &mut source);
    }
    node.write_all();
    node.handle();
    node.turn();
    node.write_all();
}

fn step(node: &mut Node, source: &mut Source<'_>) {
    match source.below(16) {
        0 => node.turn(),
        1 => node.write_one(source.below(2)),
        2 => node.pass_ms(u64::from(source.byte()) * 50),
        3 if node.connections.len() < CONNECTIONS_MAX => node.accept(),
        4 if node.connections.len() < CONNECTIONS_MAX => node.connect(),
        5 => {
            let payload = vec![0x5a; source.below(256) * 900];
            node.publish(TOPICS[source.below(3)], &payload);
        }
        6 => node.handle(),
        7 => request(node, source),
        _ if node.connections.is_empty() => node.accept(),
        8 => {
            let at = source.below(node.connections.len());
            node.hang_up(at);
        }
        9 => {
            let at = source.below(node.connections.len());
            node.takes(at, source.below(2) == 0);
        }
        _ => {
            let at = source.below(node.connections.len());
            let frames = frames(node, at, source);
            node.hear(at, &frames);
        }
    }
}

fn request(node: &mut Node, source: &mut Source<'_>) {
    let address = [ADDRESS, "tcp://b:1", "tcp://c:1"][source.below(3)].to_owned();
    let topics = vec![TOPICS[source.below(3)].to_owned()];
    let request = match source.below(3) {
        0 => Request::Subscribe { address, topics },
        1 => Request::Unsubscribe { address, topics },
        _ => Request::RemoveDestination { address },
    };
    let now = node.now();
    node.engine.handle_request(now, resolute::engine::effect::RequestId(u64::from(source.byte())), request);
}

/// What a peer says next: often what belongs there, sometimes anything.
fn frames(node: &mut Node, at: usize, source: &mut Source<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match source.below(14) {
        0 => hello(source).append_to(&mut out),
        1 => proof(node, at, source).append_to(&mut out),
        2 => established(node, at).append_to(&mut out),
        3 => Body::Resume { cursors: cursors(source) }.append_to(&mut out),
        4 => {
            let mut topics: Vec<String> = TOPICS.iter().map(|topic| (*topic).to_owned()).collect();
            topics.truncate(source.below(4));
            Body::Interest { generation: source.number(), topics }.append_to(&mut out);
        }
        5 => Body::Ack { credit: source.number(), cursors: cursors(source) }.append_to(&mut out),
        6 => {
            let last = Position(source.number() >> 2);
            Body::StreamEnd { stream: stream(source), last }.append_to(&mut out);
        }
        7 => {
            let (stream, first) = (stream(source), Position((source.number() >> 3).max(1)));
            Body::Gap { stream, first, count: (source.number() >> 3).max(1) }.append_to(&mut out);
        }
        8 => Body::InterestConfirmed { generation: source.number() }.append_to(&mut out),
        9 => Body::Heartbeat.append_to(&mut out),
        10 => {
            let code = GoodbyeCode::from_number(source.number() as u16);
            Body::Goodbye { code, reason: "x".to_owned() }.append_to(&mut out);
        }
        11 => {
            let kind = FrameKind::ALL[source.below(12)];
            let body = source.some();
            if kind != FrameKind::Run {
                append(&mut out, kind, body);
            }
        }
        12 => out.extend_from_slice(source.some()),
        _ => run_of(source, &mut out),
    }
    out
}

fn stream(source: &mut Source<'_>) -> StreamId {
    StreamId(source.number().max(1))
}

fn cursors(source: &mut Source<'_>) -> Vec<(StreamId, Position)> {
    let mut cursors: Vec<(StreamId, Position)> =
        (0..source.below(4)).map(|_| (stream(source), Position(source.number() >> 2))).collect();
    cursors.sort_unstable();
    cursors.dedup_by_key(|(stream, _)| *stream);
    cursors
}

fn hello(source: &mut Source<'_>) -> Hello {
    let node = match source.below(8) {
        // The node itself.
        7 => NodeId(1 << 64),
        other => NodeId(1 + other as u128 % 3),
    };
    Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        node,
        incarnation: Incarnation(source.below(2) as u64),
        epoch: Epoch(source.below(3) as u64),
        nonce: source.below(2) as u64,
        challenge: [5; 16],
        frame_bytes_max: FRAME_BYTES_MAX as u32,
        credit_bytes: source.number(),
        name: "x".to_owned(),
        address: ["", "tcp://b:1", "tcp://c:1"][source.below(3)].to_owned(),
        dialled: String::new(),
        met: None,
    }
}

/// Who the peer said it is, and what it was asked.
fn claim(node: &Node, at: usize) -> Option<(NodeId, [u8; 16])> {
    let session = node.engine.sessions().get(node.connections[at].id)?;
    Some((session.node()?, session.challenge))
}

fn proof(node: &Node, at: usize, source: &mut Source<'_>) -> Body {
    let (peer, challenge) = claim(node, at).unwrap_or((NodeId(1), [0; 16]));
    let own = node.engine.state().identity.id;
    let secret = if source.below(8) == 7 { [8; 16] } else { SECRET };
    let mac = prove(&secret, &challenge, peer, own, Role::Dialler);
    let how = source.byte();
    let incarnation = node.engine.state().identity.incarnation;
    let met = Met { incarnation, epoch: Epoch(2), nonce: 3, seen: Lsn(4) };
    Body::Proof { mac, proposed: (how % 4 != 3).then_some(secret), met: (how >= 128).then_some(met) }
}

fn established(node: &Node, at: usize) -> Body {
    let session = node.engine.sessions().get(node.connections[at].id);
    let (peer, challenge) = claim(node, at).unwrap_or((NodeId(1), [0; 16]));
    let secret = session.and_then(|session| session.secret).unwrap_or(SECRET);
    Body::Established {
        mac: prove(&secret, &challenge, peer, node.engine.state().identity.id, Role::Acceptor),
    }
}

/// A run, at the place where one is due or anywhere else.
fn run_of(source: &mut Source<'_>, out: &mut Vec<u8>) {
    let (stream, first, count) = (source.number(), source.number(), source.below(4));
    let payload = vec![0x5a; (source.below(256) * 1000).min(PAYLOAD_BYTES_MAX / 2)];
    let said = if source.below(8) == 7 { source.number() as u32 } else { count as u32 };
    let head = MessageHead::with_topics(Wall(1), ["a"]).expect("a topic");
    let body = MessageParts::new(&head, &payload).expect("a message").pieces().concat();
    let mut records = Vec::new();
    for number in 0..count {
        record::append(&mut records, Lsn(1 + number as u64), RecordKind::Message, 0, &body);
    }
    append_run_headers(out, StreamId(stream), Position(first), said, records.len());
    out.extend_from_slice(&records);
}
