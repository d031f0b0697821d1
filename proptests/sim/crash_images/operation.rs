//! What a workload is made of.

use resolute::limits::BATCH_BYTES_MAX;

use super::life::{Life, Look};

/// One operation of the node that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// One message, for its peer and for itself.
    Publish,
    /// Three messages, which recovery keeps all or none of, in more than one block.
    Batch,
    /// A message of its peer comes.
    Accept,
    /// Handlers run, and succeed or fail.
    Handle,
    /// It wants a topic of its peer, and the peer one of its own.
    Subscribe,
    /// Its segment is filled up and the next one begun.
    Roll,
    /// Segments are filled until the oldest one was freed, which takes carrying something forward, and its file is written
    /// again.
    Recycle,
    /// Its segment is filled until not one more batch is sure to fit, it dies before the first one of the next segment, and
    /// its opening begins that with a checkpoint.
    Checkpoint,
}

impl Operation {
    pub const ALL: [Operation; 8] = [
        Operation::Publish,
        Operation::Batch,
        Operation::Accept,
        Operation::Handle,
        Operation::Subscribe,
        Operation::Roll,
        Operation::Recycle,
        Operation::Checkpoint,
    ];

    /// Begins it. It may go on when this returns.
    pub fn begin(self, life: &mut Life, look: &mut Look<'_>) {
        match self {
            Operation::Publish => {
                life.publish(&["b", "l"], 100, look);
            }
            Operation::Batch => {
                life.world.publish_batch(0, &["b", "l"], &[700, 3_000, 1_500]);
                life.turn(look);
            }
            Operation::Accept => {
                life.world.publish(1, &["a"], 600);
            }
            Operation::Handle => life.world.serve(0, true),
            Operation::Subscribe => {
                let topic = format!("t{}", life.world.numbers);
                life.world.subscribe(0, "n1", &topic);
                life.world.subscribe(1, "n0", &topic);
            }
            Operation::Roll => roll(life, look),
            Operation::Recycle => recycle(life, look),
            Operation::Checkpoint => checkpoint(life, look),
        }
        life.look(look);
    }

    /// Leaves no handler running.
    pub fn end(self, life: &mut Life, look: &mut Look<'_>) {
        if self == Operation::Handle {
            life.world.serve(0, false);
            life.look(look);
        }
    }
}

pub fn roll(life: &mut Life, look: &mut Look<'_>) {
    let before = life.active();
    for _ in 0..100 {
        if life.active() > before {
            return;
        }
        // One more batch than leaves room for two of the largest.
        let room = life.room().saturating_sub(2 * BATCH_BYTES_MAX as u64);
        life.publish(&["b"], room.clamp(100, 30_000) as usize, look);
        life.advance(10_000, look);
    }
    panic!("the segment is never full");
}

fn recycle(life: &mut Life, look: &mut Look<'_>) {
    let head = life.head();
    life.world.serve(0, true);
    life.look(look);
    life.advance(40_000, look);
    life.world.serve(0, false);
    life.look(look);
    for _ in 0..10 {
        let was_freed = life.head() > head;
        roll(life, look);
        life.advance(40_000, look);
        if was_freed {
            return;
        }
    }
    panic!("nothing is ever freed");
}

fn checkpoint(life: &mut Life, look: &mut Look<'_>) {
    // What goes on beside it may be the last batch of the segment, and be so small that one of the largest still fits behind
    // it. Then the opening goes on there, and it is tried again.
    let dies_between = (0..5).any(|_| dies_between_segments(life, look));
    assert!(dies_between, "it never dies between two segments");
}

/// Whether the opening begins a segment. Watched from the last batch of the full one on: what comes before it are batches like
/// any other, only so large that each has a thousand images.
fn dies_between_segments(life: &mut Life, look: &mut Look<'_>) -> bool {
    if life.room() < 2 * BATCH_BYTES_MAX as u64 {
        roll(life, &mut |_| {});
        life.advance(40_000, &mut |_| {});
    }
    let full = life.active();
    while life.active() == full && life.room() >= 2 * BATCH_BYTES_MAX as u64 {
        life.world.publish_batch(0, &["l"], &[230_000; 4]);
        life.turn(&mut |_| {});
        life.advance_until(40_000, &mut |_| {}, &mut |life| life.is_idle() || life.active() > full);
    }
    let mut turns = 0..10_000;
    while life.active() == full {
        assert!(turns.next().is_some(), "the segment is never full");
        let too_much = life.room().saturating_sub(BATCH_BYTES_MAX as u64);
        if life.publish(&["l"], too_much.clamp(100, 200_000) as usize, look) {
            life.advance_until(40_000, look, &mut |life| life.is_idle() || life.active() > full);
        } else {
            // Publishers wait, for a checkpoint or for the next segment.
            life.advance(1_000, look);
        }
    }
    life.advance_until(40_000, look, &mut |life| life.is_written_only_in(full.plus(1)));
    life.die_and_open(look);
    life.active() > full || life.room() < BATCH_BYTES_MAX as u64
}
