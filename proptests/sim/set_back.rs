//! Defects that the simulator found where a log goes back to an older state, or has a double: each as the shortest history that shows it.

use resolute::engine::effect::Note;
use resolute::format::frame::FrameView;
use resolute::ids::{Lsn, Position, StreamId};
use resolute::wire::bodies::Body;

use super::net::Weather;
use super::node::Mood;
use super::world::World;

/// Node 1 wants a topic of node 0, and has said so.
fn one_subscriber() -> World {
    let mut world = World::new(1, 2, Weather::FAIR);
    world.handler(1, "a", "h", Mood::Fine);
    world.subscribe(1, "n0", "a");
    world.run_ms(500);
    world
}

pub fn publish(world: &mut World, count: usize) {
    for _ in 0..count {
        world.publish(0, &["a"], 10);
    }
}

/// Node 0 publishes until a node has freed a segment, and a replay begins with a later checkpoint.
pub fn roll(world: &mut World, node: usize, topic: &str) {
    for _ in 0..2_000 {
        if world.nodes[node].was_freed {
            return;
        }
        world.publish(0, &[topic], 60_000);
        world.run_ms(5);
    }
    panic!("n{node} frees no segment");
}

// It was taken for an ack of what was published after the copy was made, which was lost.
#[test]
fn a_node_that_was_set_back_loses_nothing_in_silence() {
    let mut world = one_subscriber();
    world.copy(0);
    publish(&mut world, 5);
    world.run_ms(500);
    // A second opening, so that the peer remembers a later one than the copy.
    world.crash(0);
    world.start(0);
    world.run_ms(500);
    world.restore(0);
    world.start(0);
    publish(&mut world, 20);
    world.run_ms(20_000);
    let set_back = |note: &Note| matches!(note, Note::Ended { reason, .. } if reason.contains("set back"));
    assert!(world.notes.iter().any(|(node, note)| *node == 1 && set_back(note)));
    assert_eq!(world.accepted_numbers(1).len(), 5, "nothing of the other history is taken in");
}

/// A copy of node 0 or 1 that was opened again as often as the original and more, and published as much and more,
/// before it met the other.
fn a_copy_that_caught_up(set_back: usize) -> World {
    let mut world = one_subscriber();
    world.copy(set_back);
    world.crash(set_back);
    world.start(set_back);
    world.run_ms(500);
    publish(&mut world, 5);
    world.run_ms(500);
    world.part(0, 1, true);
    world.restore(set_back);
    for _ in 0..3 {
        world.start(set_back);
        world.run_ms(500);
        for _ in 0..10 {
            world.publish(0, &["a"], 10);
        }
        world.run_ms(500);
        world.crash(set_back);
    }
    world.start(set_back);
    world.part(0, 1, false);
    world.run_ms(20_000);
    world
}

fn heard(world: &World, node: usize, words: &str) -> bool {
    let says = |note: &Note| matches!(note, Note::Ended { reason, .. } if reason.contains(words));
    world.notes.iter().any(|(at, note)| *at == node && says(note))
}

// It went unnoticed, and gave ids and positions a second time, of which the peer took what came after its own.
#[test]
fn a_publisher_whose_copy_caught_up_is_noticed() {
    let world = a_copy_that_caught_up(0);
    assert!(heard(&world, 0, "set back"), "{:?}", world.notes);
    assert_eq!(world.accepted_numbers(1).len(), 5, "nothing of the other history is taken in");
}

// What it had accepted would have been called lost, or sent again.
#[test]
fn a_subscriber_whose_copy_caught_up_is_noticed() {
    let world = a_copy_that_caught_up(1);
    assert!(heard(&world, 1, "set back"), "{:?}", world.notes);
}

// Nothing told the copy from the original when it was made in the opening that the peer had met last.
#[test]
fn a_copy_made_in_the_opening_that_was_met_last_is_noticed() {
    let mut world = one_subscriber();
    world.copy(0);
    publish(&mut world, 5);
    world.run_ms(500);
    world.part(0, 1, true);
    world.restore(0);
    world.start(0);
    publish(&mut world, 20);
    world.run_ms(500);
    world.part(0, 1, false);
    world.run_ms(20_000);
    assert!(heard(&world, 0, "set back") || heard(&world, 1, "set back"), "{:?}", world.notes);
    assert_eq!(world.accepted_numbers(1).len(), 5, "nothing of the other history is taken in");
}

// The stream of a command that was acknowledged is gone at its sender, and nobody missed the command (seed 363).
#[test]
fn a_receiver_that_was_set_back_behind_all_that_it_acknowledged_is_noticed() {
    let mut world = World::new(1, 2, Weather::FAIR);
    world.subscribe(1, "n0", "a");
    world.run_ms(500);
    world.copy(1);
    world.send(0, "n1", 10);
    world.run_ms(500);
    assert_eq!(world.accepted_numbers(1).len(), 1);
    world.restore(1);
    world.start(1);
    world.run_ms(20_000);
    assert!(heard(&world, 1, "set back"), "{:?}", world.notes);
}

// Each was written down, with how far the log of its sender reaches, though nothing was acknowledged.
#[test]
fn acks_of_what_is_not_there_are_not_written_down() {
    let mut world = one_subscriber();
    publish(&mut world, 1);
    world.run_ms(500);
    let now = world.clock(0);
    let engine = &mut world.nodes[0].up.as_mut().unwrap().engine;
    let session = engine.sessions().iter().next().unwrap().id;
    let mut bytes = Vec::new();
    Body::Ack { credit: 0, durable: Lsn(1 << 40), cursors: vec![(StreamId(999), Position(1))] }
        .append_to(&mut bytes);
    engine.handle_frame(now, session, &FrameView::parse(&bytes).unwrap().unwrap().0);
    assert!(engine.sessions().get(session).is_some() && !engine.wants_to_stage());
}

/// A copy of node 0 is opened while the original goes on, and both meet node 1.
#[test]
fn a_double_of_a_live_node_is_noticed() {
    for published_apart in [0, 20] {
        let mut world = World::new(1, 2, Weather::FAIR);
        world.handler(1, "a", "h", Mood::Fine);
        world.subscribe(1, "n0", "a");
        world.subscribe(0, "n1", "b");
        world.run_ms(500);
        world.part(1, 2, true);
        world.clone_beside(0);
        for _ in 0..published_apart {
            world.publish(0, &["a"], 10);
            world.publish(2, &["a"], 10);
        }
        world.run_ms(500);
        world.part(1, 2, false);
        world.run_ms(30_000);
        let told = (0..3).any(|node| heard(&world, node, "set back") || heard(&world, node, "one identity"));
        assert!(told, "{:?}", world.notes);
        assert_eq!(
            world.accepted_numbers(1).len(),
            published_apart,
            "nothing of the other history is taken in"
        );
    }
}

// The simulator took it for whoever was there last, and held it to what that log had been (seed 2156).
#[test]
fn a_copy_of_a_directory_that_was_deleted_since_is_who_it_was() {
    let mut world = World::new(1, 1, Weather::FAIR);
    world.handler(0, "a", "h", Mood::Fine);
    world.subscribe(0, "n0", "a");
    world.run_ms(500);
    world.copy(0);
    let publish = |world: &mut World| {
        for _ in 0..5 {
            assert!(world.publish(0, &["a"], 10).is_some());
        }
        world.run_ms(500);
    };
    publish(&mut world);
    let was = world.nodes[0].identity;
    world.wipe(0);
    world.start(0);
    assert_ne!(world.nodes[0].identity, was);
    world.restore(0);
    world.start(0);
    assert_eq!(world.nodes[0].identity, was);
    publish(&mut world);
    world.settle();
}

// Told what is remembered of its log, a node that was set back found nothing wrong with it; then what it had sent before, and
// lost, came in on the old session, and the new one began with positions that were not what it had sent there.
#[test]
fn what_comes_on_an_old_session_during_a_handshake_is_told_too() {
    for seed in 0..100 {
        let mut world = World::new(seed, 2, Weather { delay_ms: 100, ..Weather::FAIR });
        world.subscribe(1, "n0", "a");
        world.run_ms(2_000);
        world.copy(0);
        publish(&mut world, 5);
        world.run_ms(seed % 50);
        world.restore(0);
        world.start(0);
        publish(&mut world, 6);
        world.settle();
    }
}

// A stream that had ended was forgotten, and with it that its publisher's log reached further than the copy that took its place:
// the copy sent the command again, and it was in the inbox twice.
#[test]
fn a_publisher_whose_copy_still_owes_what_was_forgotten_is_noticed() {
    for seed in 0..20 {
        let mut world = World::new(seed, 2, Weather::FAIR);
        world.subscribe(1, "n0", "a");
        world.run_ms(1_000);
        publish(&mut world, 1);
        world.run_ms(500);
        world.part(0, 1, true);
        world.send(0, "alias1", 10);
        world.run_ms(100);
        world.copy(0);
        world.part(0, 1, false);
        world.run_ms(20_000);
        // What it owed is accepted; in the next session it says that the stream is over.
        world.break_between(0, 1);
        world.run_ms(20_000);
        world.restore(0);
        world.start(0);
        world.run_ms(20_000);
        world.settle();
    }
}

// Nothing looked at what a checkpoint says of the lives of others.
#[test]
fn a_life_that_was_left_behind_is_refused_also_when_nothing_but_a_checkpoint_says_so() {
    let mut world = one_subscriber();
    world.copy(0);
    publish(&mut world, 5);
    world.run_ms(500);
    world.restore(0);
    world.nodes[0].begins_life = true;
    world.start(0);
    world.run_ms(15_000);
    let new_life = |(node, note): &(usize, Note)| *node == 1 && matches!(note, Note::NewLife { .. });
    assert!(world.notes.iter().any(new_life));
    roll(&mut world, 1, "a");
    world.crash(1);
    world.start(1);
    world.run_ms(500);
    // The copy is opened once more, as it was.
    world.restore(0);
    world.start(0);
    world.run_ms(20_000);
    assert!(heard(&world, 1, "the one that speaks is another copy of it"));
}

// Where what a backup owed had been delivered in one life, the streams of that were over and forgotten. In the next life that was
// restored from the same backup all of it came again (seeds 2006677 and 2006975).
#[test]
fn what_was_delivered_after_one_restore_does_not_come_again_after_the_next() {
    for receiver_restarts in [false, true] {
        let mut world = one_subscriber();
        world.part(0, 1, true);
        publish(&mut world, 5);
        world.send(0, "alias1", 10);
        world.run_ms(100);
        world.copy(0);
        let owed = world.numbers;
        world.part(0, 1, false);
        for _ in 0..3 {
            world.restore(0);
            world.nodes[0].begins_life = true;
            world.start(0);
            world.run_ms(20_000);
            // In the next session the publisher says which streams are over.
            world.break_between(0, 1);
            world.run_ms(20_000);
            assert_eq!(world.nodes[1].up.as_ref().unwrap().engine.state().finished.len(), 1);
            if receiver_restarts {
                roll(&mut world, 1, "a");
                world.crash(1);
                world.start(1);
            }
        }
        let came = world.accepted_numbers(1);
        assert_eq!(came.iter().filter(|number| **number <= owed).count(), 6);
        world.settle();
    }
}

/// The checker itself: nobody was told.
#[test]
#[should_panic(expected = "and lacks")]
fn a_log_that_went_back_in_silence_is_noticed_by_the_simulator() {
    let mut world = one_subscriber();
    world.copy(0);
    publish(&mut world, 5);
    world.run_ms(500);
    world.restore(0);
    world.nodes[0].begins_life = true;
    world.start(0);
    world.run_ms(5_000);
    world.told.clear();
    world.settle();
}

// With each opening of a node the simulator took what was over for settled only then, and what was said of it before for said of
// something else (seed 2741).
#[test]
fn what_was_said_of_a_new_life_counts_when_who_was_told_is_opened_again() {
    let mut world = World::new(1, 2, Weather::FAIR);
    world.subscribe(1, "n0", "a");
    world.run_ms(500);
    world.copy(1);
    world.send(0, "n1", 10);
    world.run_ms(500);
    assert_eq!(world.accepted_numbers(1).len(), 1);
    world.restore(1);
    world.nodes[1].begins_life = true;
    world.start(1);
    world.run_ms(15_000);
    let new_life = |(node, note): &(usize, Note)| *node == 0 && matches!(note, Note::NewLife { .. });
    assert!(world.notes.iter().any(new_life));
    world.crash(0);
    world.start(0);
    world.settle();
    assert_eq!(world.accepted_numbers(1).len(), 0);
}
