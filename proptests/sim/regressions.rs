//! Each defect that the simulator found, as the shortest history that shows it.

use resolute::engine::effect::Note;
use resolute::engine::request::Request;
use resolute::format::control::{Control, Place, Verb};
use resolute::ids::{Lsn, LsnRange};
use resolute::limits::{ALLOWANCE_REST_MS, CREDIT_BYTES};

use super::net::Weather;
use super::node::Mood;
use super::set_back::publish;
use super::steps::{self, Step};
use super::world::World;

// Each dial proposed a secret of its own, and after a crash the two nodes could never connect again.
#[test]
fn two_dials_at_a_first_meeting_agree_on_one_secret() {
    let mut world = steps::world(4247718821464542595, Weather::FAIR);
    world.steps(&[
        Step::Subscribe { node: 1, address: "n0", topic: 0 },
        Step::Run { us: 7743 },
        Step::Send { node: 2, address: "alias1" },
        Step::Subscribe { node: 0, address: "n2", topic: 0 },
        Step::Run { us: 1164 },
        Step::Subscribe { node: 1, address: "n2", topic: 0 },
        Step::Break { a: 0, b: 2 },
        Step::Unsubscribe { node: 1, address: "n0", topic: 0 },
        Step::Send { node: 0, address: "n0" },
        Step::Unsubscribe { node: 0, address: "n0", topic: 0 },
        Step::Crash { node: 0, down_ms: 3 },
        Step::Send { node: 1, address: "alias2" },
        Step::Run { us: 6715 },
        Step::Crash { node: 1, down_ms: 0 },
    ]);
    world.settle();
}

fn requests(world: &mut World, node: usize, request: Request) -> bool {
    let id = world.request(node, request);
    world.run_ms(500);
    world.is_done(node, id)
}

// It waited for the durable mark to rise, which on an idle node it never does.
#[test]
fn a_wish_that_is_there_already_is_done_at_once() {
    let mut world = World::new(1, 2, Weather::FAIR);
    world.part(0, 1, true);
    let wish = || Request::Subscribe { address: "n0".into(), topics: vec!["a".into()] };
    assert!(requests(&mut world, 1, wish()));
    assert!(requests(&mut world, 1, wish()));
}

// The confirmation of an earlier wish overwrote a later one that was not applied yet.
#[test]
fn a_wish_that_changes_while_it_is_confirmed_is_kept() {
    for seed in 0..40 {
        let mut world = World::new(seed, 2, Weather::FAIR);
        world.write_us = 8000;
        world.subscribe(1, "n0", "a");
        world.run_ms(500);
        world.unsubscribe(1, "n0", "a");
        world.run_us(500 * seed);
        world.subscribe(1, "n0", "a");
        world.run_us(300 * (seed % 7));
        world.unsubscribe(1, "n0", "a");
        world.run_us(300 * (seed % 5));
        world.subscribe(1, "n0", "a");
        world.run_ms(1000);
        assert!(world.publish(0, &["a"], 10).is_some(), "seed {seed}: the last wish counts");
        world.settle();
    }
}

// Confirmed was told as soon as it was asked for, because the wish was not applied yet.
#[test]
fn a_wish_is_not_confirmed_before_the_publisher_has_it() {
    let mut world = World::new(1, 2, Weather::FAIR);
    world.part(0, 1, true);
    let (address, topics) = ("n0".to_owned(), vec!["a".to_owned()]);
    let wish = Request::Subscribe { address: address.clone(), topics: topics.clone() };
    let ids = world.request_at_once(1, vec![wish, Request::Confirmed { address, topics }]);
    world.run_ms(500);
    assert!(world.is_done(1, ids[0]) && !world.is_done(1, ids[1]));
    world.settle();
    assert!(world.is_done(1, ids[1]));
}

// It was said when the subscription was on its way to the disk, and a power cut took it back.
#[test]
fn subscribers_that_were_told_of_are_still_there_after_a_crash() {
    for seed in 0..20 {
        let mut world = World::new(seed, 2, Weather::FAIR);
        let told = Request::Subscribers { topic: "a".to_owned(), count: 1 };
        let id = world.request_at_once(0, vec![told])[0];
        world.subscribe(1, "n0", "a");
        let is_told = (0..100_000).any(|_| {
            world.run_us(10);
            world.is_done(0, id)
        });
        assert!(is_told, "seed {seed}");
        world.crash(0);
        world.start(0);
        assert!(world.publish(0, &["a"], 10).is_some(), "seed {seed}: it is forgotten");
        world.settle();
    }
}

// Wishes at another name of the node itself stayed open, and its commands waited for the next opening.
#[test]
fn a_node_is_its_own_peer_by_any_name() {
    let mut world = World::new(1, 1, Weather::FAIR);
    world.handler(0, "a", "h", Mood::Fine);
    world.handler(0, "cmd", "h", Mood::Fine);
    world.send(0, "alias0", 10);
    world.subscribe(0, "alias0", "a");
    world.run_ms(50);
    world.send(0, "n0", 10);
    assert!(requests(
        &mut world,
        0,
        Request::Confirmed { address: "alias0".into(), topics: vec!["a".into()] }
    ));
    assert!(world.publish(0, &["a"], 10).is_some());
    world.settle();
    assert_eq!(world.runs.len(), 3);
    world.subscribe(0, "n0", "a");
    world.unsubscribe(0, "alias0", "a");
    world.run_ms(50);
    assert!(world.publish(0, &["a"], 10).is_some(), "it is still wanted by the other name");
    world.unsubscribe(0, "n0", "a");
    world.run_ms(50);
    assert!(world.publish(0, &["a"], 10).is_none());
}

// The headers of runs, and runs that came twice, were never given back.
#[test]
fn credit_comes_back_for_all_that_was_sent() {
    let mut world = World::new(1, 2, Weather { duplicated: 50, ..Weather::FAIR });
    world.handler(1, "a", "h", Mood::Fine);
    world.subscribe(1, "n0", "a");
    world.run_ms(500);
    for _ in 0..300 {
        world.publish(0, &["a"], 30_000);
        world.run_ms(2);
    }
    world.settle();
    let up = world.nodes[1].up.as_ref().unwrap();
    let session = up.engine.sessions().iter().next().unwrap();
    let sender = world.nodes[0].up.as_ref().unwrap().engine.sessions().iter().next().unwrap();
    assert!(session.accepted_bytes >= sender.sent, "{} of {}", session.accepted_bytes, sender.sent);
}

// Every new session was granted a whole window, whatever the inbox held, and nobody looked whether peers kept to theirs.
#[test]
fn an_inbox_that_is_full_grows_by_no_session_and_honest_peers_are_never_ended() {
    const INBOX_BYTES: u64 = 200_000;
    for seed in 0..6 {
        let mut world = World::new(seed, 2, Weather::FAIR);
        world.nodes[1].inbox_bytes_max = INBOX_BYTES;
        world.crash(1);
        world.start(1);
        world.handler(1, "a", "h", Mood::Fine);
        world.subscribe(1, "n0", "a");
        world.run_ms(500);
        world.serve(1, false);
        for round in 0..300 {
            world.publish(0, &["a"], 60_000);
            world.run_us(500 * (seed + 1));
            // Most of these find the window full; some find it half used, or runs on their way.
            match round % 50 {
                20 => world.break_between(0, 1),
                30 => world.run_ms(15_000),
                40 if seed % 2 == 0 => {
                    world.crash(1);
                    world.start(1);
                    world.serve(1, false);
                }
                _ => {}
            }
        }
        world.run_ms(15_000);
        let bytes = world.nodes[1].up.as_ref().unwrap().engine.state().inbox.bytes();
        assert!(bytes >= INBOX_BYTES, "{bytes}: nothing that was said of a full inbox was tried");
        assert!(bytes <= INBOX_BYTES + CREDIT_BYTES, "{bytes}");
        world.settle();
    }
}

// The goodbye of a session whose socket took nothing more was waited for, and so no other session was ever closed.
#[test]
fn a_socket_that_takes_nothing_keeps_no_other_from_being_closed() {
    let mut world = World::new(1, 3, Weather::FAIR);
    for node in [1, 2] {
        world.subscribe(node, "n0", "a");
        world.handler(node, "a", "h", Mood::Fine);
    }
    world.run_ms(500);
    world.stuck.insert((0, 1));
    for _ in 0..100 {
        world.publish(0, &["a"], 60_000);
        world.run_ms(2);
    }
    // It breaks, and the publisher never hears of it.
    world
        .net
        .connections
        .values_mut()
        .filter(|c| c.ends.iter().any(|end| end.node == 1))
        .for_each(|c| c.broken = true);
    world.run_ms(30_000);
    world.stuck.clear();
    world.run_ms(30_000);
    world.settle();
    let sessions = world.nodes[0].up.as_ref().unwrap().engine.sessions().iter().count();
    assert_eq!(sessions, 2, "what ended is closed");
}

// It stood only in the record of the removal, and was gone with the segment of that record.
#[test]
fn the_count_of_what_was_dropped_outlives_its_segment() {
    let mut world = World::new(1, 2, Weather::FAIR);
    world.handler(1, "a", "h", Mood::Fine);
    world.subscribe(1, "n0", "a");
    for _ in 0..5 {
        world.send(0, "nowhere", 10);
    }
    world.run_ms(500);
    world.request(0, Request::RemoveDestination { address: "nowhere".into() });
    while !world.nodes[0].was_freed {
        world.publish(0, &["a"], 60_000);
        world.run_ms(4);
    }
    world.crash(0);
    world.start(0);
    assert_eq!(world.nodes[0].up.as_ref().unwrap().engine.state().dropped, 5);
    world.settle();
}

// Every set lived as long as its streams, in memory and in every checkpoint: with each subscriber of a topic one more, of
// all the streams.
#[test]
fn sets_live_no_longer_than_they_route_something_and_are_in_no_checkpoint() {
    let mut world = World::new(3, 4, Weather::FAIR);
    let state = |world: &World| world.nodes[0].up.as_ref().unwrap().engine.state().clone();
    for round in 0..5 {
        for node in 1..4 {
            world.subscribe(node, "n0", "a");
            world.run_ms(500);
            assert!(world.publish(0, &["a"], 100).is_some());
            assert!(world.publish(0, &["a", "b"], 100).is_some());
            world.run_ms(50);
        }
        assert!(state(&world).sets.len() <= 2, "round {round}: {:?}", state(&world).sets);
        for node in 1..4 {
            world.unsubscribe(node, "n0", "a");
            world.run_ms(500);
        }
        world.crash(0);
        world.start(0);
        // Some only find out by silence.
        world.run_ms(30_000);
    }
    world.subscribe(1, "n0", "a");
    world.run_ms(500);
    let before = world.nodes[0].up.as_ref().unwrap().engine.segments().active().number;
    while world.nodes[0].up.as_ref().unwrap().engine.segments().active().number == before {
        world.publish(0, &["a"], 200_000);
        world.run_ms(5);
    }
    let checkpoint = state(&world).checkpoint();
    assert!(!checkpoint.iter().any(|control| matches!(control, Control::DestinationSet { .. })));
    world.publish(0, &["a"], 100);
    world.run_ms(100);
    assert_eq!(state(&world).sets.len(), 1, "it was said again");
    world.crash(0);
    world.start(0);
    world.settle();
}

// A checkpoint that fit no segment began one after the other, for ever.
#[test]
fn what_would_not_fit_a_segment_is_refused_and_the_rest_goes_on() {
    let mut world = World::new(3, 1, Weather::FAIR);
    world.handler(0, "a", "h", Mood::Fine);
    world.subscribe(0, "n0", "a");
    let mut refused = 0;
    for address in 0..30 {
        let topics = (0..2_000).map(|number| format!("{number:0>180}")).collect();
        let id = world.request(0, Request::Subscribe { address: format!("far{address}"), topics });
        world.run_ms(500);
        let up = world.nodes[0].up.as_ref().unwrap();
        assert!(up.done.contains(&id) != up.refused.contains(&id));
        refused += usize::from(up.refused.contains(&id));
    }
    assert!((10..28).contains(&refused), "{refused}");
    let number = |world: &World| world.nodes[0].up.as_ref().unwrap().engine.segments().active().number;
    let before = number(&world);
    for _ in 0..40 {
        world.publish(0, &["a"], 200_000);
        world.run_ms(50);
    }
    assert!(number(&world) > before && number(&world).0 < before.0 + 20);
    assert!(world.publish(0, &["a"], 100).is_some());
    world.settle();
}

// Whoever was refused, a stranger even, had the whole state measured each time.
#[test]
fn what_goes_away_makes_room_again_and_is_looked_for_once_in_a_while() {
    let mut world = World::new(3, 1, Weather::FAIR);
    let topics = || (0..2_000).map(|number| format!("{number:0>180}")).collect::<Vec<_>>();
    let is_refused = |world: &mut World, address: &str| {
        let id = world.request(0, Request::Subscribe { address: address.to_owned(), topics: topics() });
        world.run_ms(100);
        world.nodes[0].up.as_ref().unwrap().refused.contains(&id)
    };
    let refused = (0..30).position(|address| is_refused(&mut world, &format!("far{address}")));
    assert!(refused.is_some_and(|count| count > 2), "{refused:?}");
    world.request(0, Request::Unsubscribe { address: "far0".to_owned(), topics: topics() });
    world.run_ms(100);
    assert!(is_refused(&mut world, "near"), "it was measured when the last one was refused");
    world.run_ms(ALLOWANCE_REST_MS);
    assert!(!is_refused(&mut world, "near"));
    world.settle();
}

// One that was dialled at the same time from the other side was told like a failure, with a warning.
#[test]
fn a_second_connection_with_a_node_is_no_failure() {
    let mut redundant = 0;
    for seed in 1..=50 {
        let mut world = World::new(seed, 2, Weather::FAIR);
        world.subscribe(0, "n1", "a");
        world.subscribe(1, "n0", "a");
        world.run_ms(2_000);
        let ended: Vec<_> =
            world.notes.iter().filter(|(_, note)| matches!(note, Note::Ended { .. })).collect();
        assert!(ended.is_empty(), "seed {seed}: {ended:?}");
        redundant += world.notes.iter().filter(|(_, note)| matches!(note, Note::Redundant { .. })).count();
    }
    assert!(redundant > 0, "none ever dialled at once");
}

// A wish that was taken back and came again while its peer took nothing: both streams are owed to it at once.
#[test]
fn of_two_streams_to_one_peer_what_lies_first_in_the_log_goes_first() {
    let mut world = World::new(1, 2, Weather::FAIR);
    world.nodes[1].inbox_bytes_max = 1;
    // An answer at its address would keep its stream from ending.
    world.nodes[1].reachable = false;
    world.crash(1);
    world.start(1);
    world.handler(1, "a", "h", Mood::Fine);
    world.subscribe(1, "n0", "a");
    world.run_ms(500);
    world.serve(1, false);
    publish(&mut world, 1);
    world.run_ms(500);
    // With the next session it is granted nothing.
    world.break_between(0, 1);
    world.run_ms(20_000);
    publish(&mut world, 3);
    world.unsubscribe(1, "n0", "a");
    world.run_ms(500);
    world.subscribe(1, "n0", "a");
    world.run_ms(500);
    publish(&mut world, 3);
    world.run_ms(500);
    let state = world.nodes[0].up.as_ref().unwrap().engine.state();
    let owed: Vec<u64> = state.streams.values().map(|stream| stream.owed()).collect();
    assert_eq!(owed, [3, 3], "both wait");
    world.serve(1, true);
    world.settle();
    let accepted = world.accepted_numbers(1);
    assert!(accepted.len() == 7 && accepted.is_sorted(), "{accepted:?}");
}

// The side that is to prove itself there refused a second connection as long as the first one, which it had dialled, went on.
#[test]
fn what_waits_at_another_name_of_a_peer_that_is_connected_gets_there() {
    for seed in 1..=20 {
        for dials in [0, 1] {
            let mut world = World::new(seed, 2, Weather::FAIR);
            world.subscribe(dials, ["n1", "n0"][dials], "a");
            world.run_ms(1_000);
            world.send(0, "alias1", 10);
            world.run_ms(1_000);
            assert_eq!(world.accepted_numbers(1).len(), 1, "seed {seed}, {dials} dials");
            let ended = world.notes.iter().find(|(_, note)| matches!(note, Note::Ended { .. }));
            assert_eq!(ended, None, "seed {seed}, {dials} dials");
            world.settle();
        }
    }
}

// The pause before the next attempt ended by a clock that had been set back since: it was called again a day later.
#[test]
fn a_wall_clock_that_is_set_back_keeps_no_message_from_its_handler() {
    let mut world = World::new(1, 1, Weather::FAIR);
    world.handler(0, "a", "h", Mood::Failing);
    world.subscribe(0, "n0", "a");
    world.run_ms(500);
    world.publish(0, &["a"], 10);
    let failed_once =
        |world: &World| !world.nodes[0].up.as_ref().unwrap().engine.state().inbox.progress().is_empty();
    while !failed_once(&world) {
        world.run_ms(1);
    }
    world.nodes[0].wall_offset = -3_600_000_000_000;
    world.run_ms(10_000);
    let state = world.nodes[0].up.as_ref().unwrap().engine.state();
    assert_eq!((state.inbox.dead(), state.inbox.waiting()), (1, 0), "all attempts were made");
}

// It wanted to be woken at once, again and again, until what it waited for was read.
#[test]
fn a_message_that_is_due_and_must_be_read_keeps_nobody_awake() {
    let mut world = World::new(1, 1, Weather::FAIR);
    world.handler(0, "a", "h", Mood::Failing);
    world.subscribe(0, "n0", "a");
    world.subscribe(0, "n0", "b");
    world.run_ms(100);
    assert!(world.publish(0, &["a"], 10).is_some());
    // Meanwhile so much is written that it is no longer in memory. After each turn it is seen that none is wanted at once.
    for _ in 0..200 {
        world.publish(0, &["b"], 60_000);
        world.run_ms(3);
    }
    world.settle();
    assert_eq!(world.nodes[0].up.as_ref().unwrap().engine.state().inbox.dead(), 1);
}

// A message that was due had been called before dispatch came across it, and was given up then; somebody had it tried again, and
// dispatch, which remembered that it had been called, passed over it. It waited for the next opening.
#[test]
fn a_dead_letter_is_tried_again_although_dispatch_has_yet_to_come_across_it() {
    for seed in 0..20 {
        let mut world = World::new(seed, 1, Weather::FAIR);
        world.handler(0, "a", "fine", Mood::Fine);
        world.handler(0, "a", "fails", Mood::Failing);
        world.subscribe(0, "n0", "a");
        world.subscribe(0, "n0", "nobody handles");
        world.run_ms(100);
        for _ in 0..50 {
            world.publish(0, &["nobody handles"], 10);
        }
        world.publish(0, &["a"], 10).unwrap();
        let failures = |world: &World| {
            let log = world.model.logs.values().next().unwrap();
            log.failures.values().copied().max().unwrap_or(0)
        };
        while failures(&world) < 3 {
            world.run_us(500);
        }
        world.crash(0);
        world.run_ms(5_000);
        world.nodes[0].takes = 1;
        world.start(0);
        let (place, all) = (Place::Dead, LsnRange { first: Lsn(1), count: u64::MAX >> 1 });
        let dead = |world: &World| {
            let state = world.nodes[0].up.as_ref().unwrap().engine.state();
            state.inbox.at_place(all, place).next()
        };
        let lsn = (0..20_000).find_map(|_| {
            world.run_us(100);
            dead(&world)
        });
        let ranges = vec![LsnRange { first: lsn.expect("it is given up"), count: 1 }];
        world.request(
            0,
            Request::Change { who: "zoe".to_owned(), verb: Verb::Retry, place, stream: None, ranges },
        );
        world.run_ms(10_000);
        assert_eq!(dead(&world), lsn, "seed {seed}: it was not tried again");
        world.settle();
    }
}
