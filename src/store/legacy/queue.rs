//! What a `.seuss` file holds.

use std::collections::VecDeque;

use super::damage::Damage;
use super::operations::{Kind, Operation, Operations, Step};

/// Bytes of the shortest enqueue: its number, its length, and a value of one byte with its padding.
const ENQUEUE_BYTES_MIN: usize = 12;

/// Bytes of a dequeue.
const DEQUEUE_BYTES: usize = 4;

/// An item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// What it is, JSON.
    pub value: &'a str,
    /// Where it was enqueued.
    pub offset: usize,
}

/// A queue as its file says.
///
/// What was passed over may have been items, which were dequeued later, before those that came behind them. So many dequeues as
/// there can have been such items are taken to be theirs, and items that were dequeued may so come again; a dequeue right before
/// what was passed over counts as part of it. No item that can be read is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue<'a> {
    /// Its items, the oldest first.
    pub items: Vec<Item<'a>>,
    /// What makes no sense.
    pub damage: Vec<Damage>,
    /// How many of the items may have been dequeued, at most.
    pub perhaps_gone: usize,
}

/// What stands in the queue while its file is read.
enum Standing<'a> {
    Item(Item<'a>),
    /// At most so many items that cannot be read.
    Lost(usize),
}

impl<'a> Queue<'a> {
    /// Reads a file.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Queue<'a> {
        let mut queue = Queue::default();
        let mut standing = VecDeque::new();
        // The dequeue that was read last, if nothing came behind it, and what it took.
        let mut dequeued = None;
        let mut theirs = 0;
        for step in Operations::of(bytes, Kind::Queue) {
            match step {
                Step::Operation(offset, Operation::Put { value, .. }) => {
                    standing.push_back(Standing::Item(Item { value, offset }));
                    dequeued = None;
                }
                Step::Operation(_, Operation::Take { .. }) => {
                    dequeued = dequeue(&mut standing);
                    theirs += usize::from(matches!(dequeued, Some(Standing::Lost(_))));
                }
                Step::Damage(passed_over) => {
                    if let Some(taken) = dequeued.take() {
                        theirs += usize::from(matches!(taken, Standing::Item(_)));
                        standing.push_front(taken);
                    }
                    // Dequeues may have been passed over too.
                    theirs += passed_over.bytes / DEQUEUE_BYTES;
                    standing.push_back(Standing::Lost(passed_over.bytes / ENQUEUE_BYTES_MIN));
                    queue.damage.push(passed_over);
                }
            }
        }
        let items = standing.into_iter().filter_map(|standing| match standing {
            Standing::Item(item) => Some(item),
            Standing::Lost(_) => None,
        });
        queue.items = items.collect();
        queue.perhaps_gone = theirs.min(queue.items.len());
        queue
    }
}

/// Takes the oldest of what stands in a queue.
fn dequeue<'a>(standing: &mut VecDeque<Standing<'a>>) -> Option<Standing<'a>> {
    loop {
        match standing.front_mut()? {
            Standing::Lost(0) => drop(standing.pop_front()),
            Standing::Lost(count) => {
                *count -= 1;
                return Some(Standing::Lost(1));
            }
            Standing::Item(_) => return standing.pop_front(),
        }
    }
}
