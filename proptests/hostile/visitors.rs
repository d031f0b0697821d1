//! Strangers who talk to a node in memory: what it writes down of them can be looked at, and thousands take no time.

use resolute::engine::effect::{RequestId, SessionId};
use resolute::engine::request::Request;
use resolute::engine::session::Session;
use resolute::ids::{Lsn, NodeId};
use resolute::wire::bodies::Body;
use resolute::wire::hello::Hello;
use resolute::wire::proof::{Role, prove};

use crate::bad_input::stranger::{body_frame, hello_frame};
use crate::fuzz_targets::targets::node::Node;

/// The secret that strangers propose.
pub const SECRET: [u8; 16] = [9; 16];

/// Somebody connects.
pub fn knock(node: &mut Node) -> SessionId {
    node.accept();
    node.connections.last().unwrap().id
}

/// The node wants something from an address.
pub fn wish(node: &mut Node, address: &str) {
    let wish = Request::Subscribe { address: address.to_owned(), topics: vec!["a".into()] };
    node.engine.handle_request(node.now(), RequestId(1), wish);
    node.turn();
    node.write_all();
}

/// The node has connected to the address that it wants most, and is answered by nobody yet.
pub fn dialled(node: &mut Node) -> SessionId {
    node.turn();
    node.connect();
    node.turn();
    node.write_all();
    node.connections.last().unwrap().id
}

/// Whether the connection is still there, and not on its way out.
pub fn is_open(node: &Node, id: SessionId) -> bool {
    node.connections.iter().any(|connection| connection.id == id)
}

/// Says something, and all that follows from it is durable. What comes too late is not heard.
pub fn say(node: &mut Node, id: SessionId, frame: &[u8]) {
    if let Some(at) = node.connections.iter().position(|connection| connection.id == id) {
        node.hear(at, frame);
        node.turn();
        node.write_all();
    }
}

/// Hangs up.
pub fn leave(node: &mut Node, id: SessionId) {
    if let Some(at) = node.connections.iter().position(|connection| connection.id == id) {
        node.hang_up(at);
    }
}

fn mac(node: &Node, id: SessionId, own: NodeId, secret: &[u8; 16], role: Role) -> Option<[u8; 32]> {
    let challenge = node.engine.sessions().get(id)?.challenge;
    Some(prove(secret, &challenge, own, node.engine.state().identity.id, role))
}

/// Says who it is and proves it with that secret, which it proposes or not; whether a session came of it.
pub fn prove_with(
    node: &mut Node,
    id: SessionId,
    own: &Hello,
    secret: [u8; 16],
    proposed: Option<[u8; 16]>,
) -> bool {
    say(node, id, &hello_frame(own));
    if let Some(mac) = mac(node, id, own.node, &secret, Role::Dialler) {
        say(node, id, &body_frame(&Body::Proof { mac, proposed, met: None }));
    }
    say(node, id, &body_frame(&Body::Resume { durable: Lsn(0), cursors: vec![] }));
    node.engine.sessions().get(id).is_some_and(Session::is_known)
}

/// The frame that proves to the node who came, with the secret that is proposed.
pub fn proof(node: &Node, id: SessionId, own: NodeId) -> Vec<u8> {
    let mac = mac(node, id, own, &SECRET, Role::Dialler).unwrap();
    body_frame(&Body::Proof { mac, proposed: Some(SECRET), met: None })
}

/// Comes in for the first time, or once more; the session if it got one.
pub fn enter(node: &mut Node, own: &Hello) -> Option<SessionId> {
    let id = knock(node);
    prove_with(node, id, own, SECRET, Some(SECRET)).then_some(id)
}

/// Proves who it is to the node that dialled, with that secret.
pub fn establish_with(node: &mut Node, id: SessionId, own: NodeId, secret: [u8; 16]) {
    if let Some(mac) = mac(node, id, own, &secret, Role::Acceptor) {
        say(node, id, &body_frame(&Body::Established { mac }));
    }
    say(node, id, &body_frame(&Body::Resume { durable: Lsn(0), cursors: vec![] }));
}
