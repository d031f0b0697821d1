//! What do subscriptions cost the publisher: to find who gets a message, with the lock and without it, and to take one
//! more in, with a message before it and one behind it?
//!
//! Each subscription is that of another peer, either to a topic of its own or to one that all share. A topic is found
//! in the same time whoever wants others; only its own subscribers may be counted.
#![allow(missing_docs)] // what criterion generates has none

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use resolute::engine::routing::Routing;
use resolute::engine::state::State;
use resolute::engine::stream::Stream;
use resolute::format::control::{Control, StreamOwner};
use resolute::ids::{PeerSlot, Position, StreamId};
use resolute::io::route_table::RouteTable;
use resolute::limits::PEERS_MAX;

const SUBSCRIPTIONS: [u32; 3] = [1, 100, 10_000];
const TOPIC: &str = "signup";

const _: () = assert!(SUBSCRIPTIONS[2] as usize <= PEERS_MAX);

/// What the peers want.
#[derive(Clone, Copy)]
enum Wants {
    /// Each a topic of its own; the published one is that of the first.
    Others,
    /// All the published one.
    TheSame,
}

impl Wants {
    const ALL: [(Wants, &str); 2] =
        [(Wants::Others, "of_other_topics"), (Wants::TheSame, "of_the_same_topic")];

    fn topic(self, slot: u32) -> String {
        match self {
            Wants::Others if slot > 1 => format!("{TOPIC}.{slot}"),
            Wants::Others | Wants::TheSame => TOPIC.to_owned(),
        }
    }

    /// How many a message of the published topic goes to.
    fn routed(self, subscriptions: u32) -> u32 {
        match self {
            Wants::Others => 1,
            Wants::TheSame => subscriptions,
        }
    }
}

/// The routing of so many subscriptions as a replay leaves them, the sets of their topics minted.
fn routing(wants: Wants, subscriptions: u32) -> Routing {
    let mut state = State::default();
    for slot in 1..=subscriptions {
        let (peer, id) = (PeerSlot(slot), StreamId(slot.into()));
        let stream = Stream::new(StreamOwner::Peer(peer), Position(1), Position(0), false);
        state.subscribers.insert(peer, BTreeSet::from([wants.topic(slot)]));
        state.streams.insert(id, stream);
        state.last_stream = id;
    }
    let mut routing = Routing::of(&state);
    let mut out = Vec::new();
    for slot in 1..=subscriptions {
        routing.route(std::iter::once(wants.topic(slot).as_str()), &mut out).expect("nobody is held back");
    }
    routing
}

/// The table of that routing, its routes filled in.
fn filled(routing: &mut Routing) -> RouteTable {
    let topics: Vec<String> = routing.topics().map(str::to_owned).collect();
    let table = RouteTable::of(1, topics.iter().map(String::as_str));
    for topic in &topics {
        table.fill(
            topic.as_bytes(),
            routing.route(std::iter::once(topic.as_str()), &mut Vec::new()).expect("nobody is held back"),
        );
    }
    table
}

fn route(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    group.throughput(Throughput::Elements(1));
    for (wants, name) in Wants::ALL {
        for subscriptions in SUBSCRIPTIONS {
            let (mut routing, mut out) = (routing(wants, subscriptions), Vec::new());
            group.bench_function(BenchmarkId::new(name, subscriptions), |b| {
                b.iter(|| {
                    let route = routing
                        .route(std::iter::once(black_box(TOPIC)), &mut out)
                        .expect("nobody is held back");
                    assert_eq!(route.routed, wants.routed(subscriptions));
                });
            });
            assert!(out.is_empty(), "a set is minted once");
        }
    }
    group.finish();
}

fn look_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("look_up");
    group.throughput(Throughput::Elements(1));
    for (wants, name) in Wants::ALL {
        for subscriptions in SUBSCRIPTIONS {
            let table = filled(&mut routing(wants, subscriptions));
            group.bench_function(BenchmarkId::new(name, subscriptions), |b| {
                b.iter(|| {
                    let route = table.look_up(black_box(TOPIC.as_bytes()));
                    assert_eq!(route.map(|route| route.routed), Some(wants.routed(subscriptions)));
                });
            });
        }
    }
    group.finish();
}

/// One more subscription beside those that are there, the table that follows it, and the route of the next message.
fn subscription(c: &mut Criterion) {
    let mut group = c.benchmark_group("one_more_subscription");
    group.sample_size(20).throughput(Throughput::Elements(1));
    for (wants, name) in Wants::ALL {
        for subscriptions in SUBSCRIPTIONS {
            let mut before = routing(wants, subscriptions);
            let table = filled(&mut before);
            group.bench_function(BenchmarkId::new(name, subscriptions), |b| {
                b.iter_batched_ref(
                    || (before.clone(), Vec::new(), None),
                    |(routing, out, next)| {
                        let (slot, topic) = (subscriptions + 1, wants.topic(subscriptions + 1));
                        let topics = vec![topic.clone()];
                        let control = Control::Subscriber { slot: PeerSlot(slot), added: true, topics };
                        routing.stage(control, out);
                        let changes = routing.take_changes();
                        let topics = changes.topics.iter().map(|topic| (topic.as_str(), true));
                        *next = Some(table.followed(2, topics));
                        routing.route(std::iter::once(topic.as_str()), out).expect("nobody is held back");
                        assert_eq!(out.len(), 3, "its stream, its wish, and the set of its topic");
                    },
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, route, look_up, subscription);
criterion_main!(benches);
