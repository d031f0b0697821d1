//! The steps of a history: what users do, and what befalls them.

use proptest::prelude::*;

use super::net::Weather;
use super::node::{Mood, Node};
use super::world::World;

pub const TOPICS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
pub enum Step {
    Publish { node: usize, topics: (usize, usize), count: u8, bytes: usize },
    Send { node: usize, address: &'static str },
    Subscribe { node: usize, address: &'static str, topic: usize },
    Unsubscribe { node: usize, address: &'static str, topic: usize },
    Crash { node: usize, down_ms: u64 },
    Wipe { node: usize },
    Break { a: usize, b: usize },
    Part { a: usize, b: usize },
    Meet { a: usize, b: usize },
    Serve { node: usize, serving: bool },
    Run { us: u64 },
}

const ADDRESSES: [&str; 8] = ["n0", "n1", "n2", "alias0", "alias1", "alias2", "n0", "n1"];

fn node() -> impl Strategy<Value = usize> {
    0..3_usize
}

fn address() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&ADDRESSES[..])
}

/// One step; `wipes` and `unsubscribes` say whether those are among them.
pub fn step(wipes: bool, unsubscribes: bool) -> impl Strategy<Value = Step> {
    let time = prop_oneof![0..2_000_u64, 0..50_000_u64, 0..3_000_000_u64];
    let unsubscribe = (node(), address(), 0..3_usize);
    prop_oneof![
        8 => (node(), (0..3_usize, 0..3_usize), 1..6_u8, prop_oneof![8..200_usize, 8..60_000_usize])
            .prop_map(|(node, topics, count, bytes)| Step::Publish { node, topics, count, bytes }),
        2 => (node(), address()).prop_map(|(node, address)| Step::Send { node, address }),
        4 => (node(), address(), 0..3_usize).prop_map(|(node, address, topic)| Step::Subscribe { node, address, topic }),
        2 => unsubscribe.prop_map(move |(node, address, topic)| {
            if unsubscribes { Step::Unsubscribe { node, address, topic } } else { Step::Subscribe { node, address, topic } }
        }),
        2 => (node(), 0..4_000_u64).prop_map(|(node, down_ms)| Step::Crash { node, down_ms }),
        1 => node().prop_map(move |node| if wipes { Step::Wipe { node } } else { Step::Crash { node, down_ms: 1 } }),
        2 => (node(), node()).prop_map(|(a, b)| Step::Break { a, b }),
        1 => (node(), node()).prop_map(|(a, b)| Step::Part { a, b }),
        1 => (node(), node()).prop_map(|(a, b)| Step::Meet { a, b }),
        1 => (node(), any::<bool>()).prop_map(|(node, serving)| Step::Serve { node, serving }),
        8 => time.prop_map(|us| Step::Run { us }),
    ]
}

/// Three nodes; two handlers for `a`, one that always fails for `b` at one of them, none for `c` at another.
pub fn world(seed: u64, weather: Weather) -> World {
    world_of((0..3).map(|index| Node::new(index, true)).collect(), seed, weather)
}

/// The same, with nodes that have limits of their own.
pub fn world_of(nodes: Vec<Node>, seed: u64, weather: Weather) -> World {
    let mut world = World::of(nodes, seed, weather);
    for node in 0..3 {
        world.handler(node, "a", "one", Mood::Moody(30));
        world.handler(node, "a", "two", Mood::Moody(10));
        world.handler(node, "b", "three", if node == 1 { Mood::Failing } else { Mood::Fine });
        world.handler(node, "cmd", "four", Mood::Moody(10));
        if node != 2 {
            world.handler(node, "c", "five", Mood::Fine);
        }
    }
    world
}

impl World {
    pub fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish { node, topics: (one, other), count, bytes } => {
                for _ in 0..count {
                    self.publish(
                        node,
                        &[TOPICS[one], TOPICS[other]][..if one == other { 1 } else { 2 }],
                        bytes,
                    );
                }
            }
            Step::Send { node, address } => {
                self.send(node, address, 50);
            }
            Step::Subscribe { node, address, topic } => {
                self.subscribe(node, address, TOPICS[topic]);
            }
            Step::Unsubscribe { node, address, topic } => {
                self.unsubscribe(node, address, TOPICS[topic]);
            }
            Step::Crash { node, down_ms } => {
                self.crash(node);
                self.after_us(down_ms * 1000, down_ms * 1000, super::world::Event::Start(node));
            }
            Step::Wipe { node } => {
                self.wipe(node);
                self.start(node);
            }
            Step::Break { a, b } => self.break_between(a, b),
            Step::Part { a, b } => self.part(a, b, true),
            Step::Meet { a, b } => self.part(a, b, false),
            Step::Serve { node, serving } => self.serve(node, serving),
            Step::Run { us } => self.run_us(us),
        }
    }

    pub fn steps(&mut self, steps: &[Step]) {
        steps.iter().for_each(|step| self.step(step));
    }
}
