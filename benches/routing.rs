//! What do subscriptions cost the publisher: to find who gets a message, to make the publishers' table anew, and to take
//! one more in?
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
    routing.table(&mut Vec::new());
    routing
}

fn route(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    group.throughput(Throughput::Elements(1));
    for (wants, name) in Wants::ALL {
        for subscriptions in SUBSCRIPTIONS {
            let (mut routing, mut out) = (routing(wants, subscriptions), Vec::new());
            group.bench_function(BenchmarkId::new(name, subscriptions), |b| {
                b.iter(|| {
                    let route = routing.route(std::iter::once(black_box(TOPIC)), &mut out);
                    assert_eq!(route.routed, wants.routed(subscriptions));
                });
            });
            assert!(out.is_empty(), "a set is minted once");
        }
    }
    group.finish();
}

fn table(c: &mut Criterion) {
    let mut group = c.benchmark_group("table");
    group.sample_size(20);
    for (wants, name) in Wants::ALL {
        for subscriptions in SUBSCRIPTIONS {
            let (mut routing, mut out) = (routing(wants, subscriptions), Vec::new());
            let topics = (subscriptions / wants.routed(subscriptions)) as usize;
            group.throughput(Throughput::Elements(u64::from(subscriptions)));
            group.bench_function(BenchmarkId::new(name, subscriptions), |b| {
                b.iter(|| assert_eq!(routing.table(black_box(&mut out)).len(), topics));
            });
            assert!(out.is_empty(), "a set is minted once");
        }
    }
    group.finish();
}

/// One more subscription beside those that are there, and the table that follows it.
fn subscription(c: &mut Criterion) {
    let mut group = c.benchmark_group("one_more_subscription");
    group.sample_size(20).throughput(Throughput::Elements(1));
    for (wants, name) in Wants::ALL {
        for subscriptions in SUBSCRIPTIONS {
            let before = routing(wants, subscriptions);
            group.bench_function(BenchmarkId::new(name, subscriptions), |b| {
                b.iter_batched_ref(
                    || (before.clone(), Vec::new()),
                    |(routing, out)| {
                        let (slot, topics) = (subscriptions + 1, vec![wants.topic(subscriptions + 1)]);
                        let control = Control::Subscriber { slot: PeerSlot(slot), added: true, topics };
                        routing.stage(control, out);
                        routing.table(out);
                        assert_eq!(out.len(), 3, "its stream, its wish, and the set of its topic");
                    },
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, route, table, subscription);
criterion_main!(benches);
