//! Nodes that come once and own nothing, until a full table of peers forgets them.

use resolute::engine::session::Phase;
use resolute::ids::NodeId;

use super::node::{Mood, Node};
use super::world::{Event, World};

const STRANGERS_MAX: usize = 5;

impl World {
    /// Somebody comes to a node and wants nothing of it; others that came are gone again.
    pub fn visit(&mut self, host: usize) {
        let mut strangers = self.strangers();
        for stranger in &strangers {
            if self.rng.chance(60) {
                self.leave(*stranger);
            }
        }
        if strangers.len() < STRANGERS_MAX && self.rng.chance(50) {
            let mut stranger = Node::new(self.nodes.len(), true);
            stranger.is_stranger = true;
            strangers = vec![stranger.index];
            self.nodes.push(stranger);
        }
        let Some(last) = strangers.len().checked_sub(1) else { return };
        let stranger = strangers[self.rng.between(0, last as u64) as usize];
        self.start(stranger);
        self.knock(stranger, host);
    }

    /// One of those who were forgotten comes to stay, and is a peer like any other from then on.
    pub fn stay(&mut self, host: usize, topic: &str) {
        let is_settled = |node: &Node| !node.is_clone && !node.is_stranger && node.index > 2;
        let forgotten = |stranger: &usize| {
            self.nodes[*stranger].identity.is_some_and(|stranger| self.has_forgotten(host, stranger))
        };
        let Some(stranger) = self.strangers().into_iter().find(forgotten) else { return };
        if !self.nodes.iter().any(is_settled) {
            self.nodes[stranger].is_stranger = false;
            self.handler(stranger, topic, "stays", Mood::Moody(10));
            self.start(stranger);
            self.subscribe(stranger, &format!("n{host}"), topic);
        }
    }

    fn strangers(&self) -> Vec<usize> {
        self.nodes.iter().filter(|node| node.is_stranger).map(|node| node.index).collect()
    }

    /// Its shell connects, though the engine did not ask for it.
    fn knock(&mut self, stranger: usize, host: usize) {
        let life = self.nodes[stranger].life;
        self.at(self.now, Event::Dialled(stranger, life, format!("n{host}")));
    }

    /// Whether another once took the place of a peer.
    pub fn has_forgotten(&self, host: usize, peer: NodeId) -> bool {
        let log = self.nodes[host].identity.and_then(|own| self.model.logs.get(&own));
        log.is_some_and(|log| log.forgotten.contains(&peer))
    }

    /// In the end, whoever was forgotten is let in again, and who forgot it may want something of it.
    pub fn check_welcome(&mut self) {
        let mut pairs = self.forgotten_pairs();
        let wants = |(host, stranger): &(usize, usize)| {
            let own = self.nodes[*host].identity.unwrap();
            !self.is_full(own) && !self.knows(*host, self.nodes[*stranger].identity.unwrap())
        };
        let wanted = pairs.iter().position(wants).map(|at| pairs.remove(at));
        // Those who are connected give way to nobody, and may fill the table.
        self.strangers().into_iter().for_each(|stranger| self.leave(stranger));
        for (host, stranger) in pairs {
            self.check_let_in(host, stranger);
        }
        if let Some((host, stranger)) = wanted {
            self.check_wanted(host, stranger);
        }
    }

    /// Hosts, and strangers that once gave way there.
    fn forgotten_pairs(&self) -> Vec<(usize, usize)> {
        let hosts = 0..self.nodes.len().min(3);
        let pairs = hosts.flat_map(|host| self.strangers().into_iter().map(move |stranger| (host, stranger)));
        let is_one = |(host, stranger): &(usize, usize)| {
            let ids = (self.nodes[*host].identity, self.nodes[*stranger].identity);
            let (Some(own), Some(peer)) = ids else { return false };
            self.has_forgotten(*host, peer) && !self.model.is_broken(own, peer) && !self.is_crowded(*host)
        };
        pairs.filter(is_one).collect()
    }

    /// Whether a node knows as many as it can, and none of them but came to stay: those give way to nobody.
    fn is_crowded(&self, host: usize) -> bool {
        let Node { up, limits, .. } = &self.nodes[host];
        let is_stranger = |peer| self.strangers().iter().any(|at| self.nodes[*at].identity == Some(peer));
        up.as_ref().is_some_and(|up| {
            let peers = &up.engine.state().peers;
            peers.values().filter(|peer| !peer.removed).count() >= limits.peers
                && !peers.values().any(|peer| is_stranger(peer.node))
        })
    }

    fn knows(&self, node: usize, peer: NodeId) -> bool {
        self.nodes[node].up.as_ref().is_some_and(|up| up.engine.state().peer_of(peer).is_some())
    }

    fn check_let_in(&mut self, host: usize, stranger: usize) {
        let [own, peer] = [host, stranger].map(|node| self.nodes[node].identity.unwrap());
        self.start(stranger);
        // Those before it may be connected for a while, as far as the host knows.
        let is_let_in = (0..10).any(|_| {
            self.knock(stranger, host);
            self.run_ms(3_000);
            self.is_in_session(host, peer) && self.is_in_session(stranger, own)
        });
        assert!(is_let_in, "n{host} has forgotten n{stranger}, and does not let it in again");
        self.leave(stranger);
    }

    fn check_wanted(&mut self, host: usize, stranger: usize) {
        self.start(stranger);
        self.subscribe(host, &format!("n{stranger}"), "a");
        let published = (0..15).find_map(|_| {
            self.run_ms(3_000);
            self.publish(stranger, &["a"], 100)
        });
        self.run_ms(3_000);
        let own = self.nodes[host].identity.unwrap();
        let came = self.model.logs[&own].inbox.values().any(|number| Some(*number) == published);
        assert!(came, "n{host} wants something of n{stranger}, which it had forgotten: {published:?}");
        self.leave(stranger);
    }

    pub fn is_in_session(&self, node: usize, peer: NodeId) -> bool {
        let mut sessions = self.nodes[node].up.iter().flat_map(|up| up.engine.sessions().iter());
        sessions.any(|session| session.phase == Phase::Established && session.node() == Some(peer))
    }
}
