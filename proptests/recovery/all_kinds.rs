//! Batches of all that a log has in practice, filled as the engine fills them, by what it fills them with.

use resolute::format::control::{Accepted, Carried};
use resolute::format::message::{MessageHead, MessageParts};
use resolute::format::record::{self, FLAG_ATOMIC_MORE, FLAG_COMMAND, RecordKind};
use resolute::ids::{Incarnation, Lsn, PeerSlot, Position, SetId, StreamId};
use resolute::log::batch_builder::BatchBuilder;
use resolute::time::Wall;

use super::body;
use super::written_log::WrittenLog;
use crate::golden::control;

/// One batch while it is filled.
struct Filling<'a> {
    builder: &'a mut BatchBuilder,
    buffer: &'a mut [u8],
    /// What is in this batch is in no other.
    seed: u64,
}

/// Sorts of batches, of one block to eight, in the order in which they come.
const SORTS: [fn(&mut Filling<'_>); 7] =
    [messages, run, large_messages, group, carried, large_runs, large_group];

/// Appends the batch that is due after so many others.
pub fn append(log: &mut WrittenLog, seed: u64) {
    fill(log, seed, SORTS[seed as usize % SORTS.len()]);
}

/// Appends a batch with a record of each kind that is neither a message nor brings one.
pub fn append_state(log: &mut WrittenLog, seed: u64) {
    fill(log, seed, state);
}

/// Appends a batch with a run behind which an atomic group stands, and both run to the end of it.
pub fn append_runs_and_group(log: &mut WrittenLog, seed: u64) {
    fill(log, seed, large_runs);
}

fn fill(log: &mut WrittenLog, seed: u64, sort: fn(&mut Filling<'_>)) {
    log.append_filled(|builder, buffer| sort(&mut Filling { builder, buffer, seed }));
}

fn messages(batch: &mut Filling<'_>) {
    batch.message(10, 0, 1);
    batch.message(100, FLAG_COMMAND, 2);
    batch.message(1, 0, 0);
}

fn large_messages(batch: &mut Filling<'_>) {
    batch.message(9000, 0, 1);
    batch.message(20_000, 0, 1);
    batch.message(5, 0, 2);
}

/// A group between messages of their own.
fn group(batch: &mut Filling<'_>) {
    batch.message(40, 0, 1);
    batch.group(&[700, 5000, 3], 1);
    batch.message(60, 0, 1);
}

/// A group that fills its batch.
fn large_group(batch: &mut Filling<'_>) {
    batch.group(&[15_000, 9000], 3);
}

/// A run, of which the publisher's group was a part, and what the node publishes and writes down behind it.
fn run(batch: &mut Filling<'_>) {
    batch.run(&[(300, 0), (40, FLAG_ATOMIC_MORE), (2500, FLAG_COMMAND)]);
    batch.message(50, 0, 1);
    batch.control(RecordKind::Handled);
}

/// Runs one behind the other, a group behind them.
fn large_runs(batch: &mut Filling<'_>) {
    batch.run(&[(9000, 0), (12_000, 0)]);
    batch.run(&[(1, FLAG_ATOMIC_MORE)]);
    batch.group(&[200, 30], 1);
}

/// Two records that were carried forward, with what is known of them.
fn carried(batch: &mut Filling<'_>) {
    batch.carried(3000);
    batch.control(RecordKind::Parked);
    batch.carried(20);
}

fn state(batch: &mut Filling<'_>) {
    for kind in RecordKind::ALL {
        if control(kind).is_some() {
            batch.control(kind);
        }
    }
}

impl Filling<'_> {
    /// A payload that no other record has.
    fn payload(&self, bytes: usize) -> Vec<u8> {
        body(self.seed << 16 | self.builder.next_lsn().0, bytes)
    }

    fn message(&mut self, bytes: usize, flags: u8, set: u32) {
        let (head, payload) = (head(), self.payload(bytes));
        let parts = MessageParts::new(&head, &payload).unwrap();
        self.builder.push_message(self.buffer, &parts, flags, SetId(set));
    }

    fn group(&mut self, sizes: &[usize], set: u32) {
        for (number, bytes) in sizes.iter().enumerate() {
            let more = if number + 1 < sizes.len() { FLAG_ATOMIC_MORE } else { 0 };
            self.message(*bytes, more, set);
        }
    }

    /// A run of messages of so many bytes and with these flags, under the numbers of a peer.
    fn run(&mut self, sizes: &[(usize, u8)]) {
        let (first, mut records) = (self.seed * 1000 + 7, Vec::new());
        for (lsn, (bytes, flags)) in (first..).step_by(2).zip(sizes) {
            append_message(&mut records, Lsn(lsn), *flags, &self.payload(*bytes));
        }
        let accepted = Accepted {
            slot: PeerSlot(3),
            incarnation: Incarnation(77),
            stream: StreamId(5),
            first_position: Position(first),
            count: sizes.len() as u32,
            bytes: records.len() as u32,
            last_lsn: Lsn(first + 2 * (sizes.len() as u64 - 1)),
        };
        self.builder.push_run(self.buffer, &accepted, &records);
    }

    fn carried(&mut self, bytes: usize) {
        let mut record = Vec::new();
        append_message(&mut record, Lsn(500 + self.seed), 0, &self.payload(bytes));
        let owed = vec![(StreamId(2), Position(40))];
        let (lsn, incarnation) = (Lsn(self.seed), Incarnation(77));
        let body = Carried { lsn, slot: PeerSlot(3), incarnation, in_inbox: true, owed, record: &record };
        self.builder.push_record(self.buffer, RecordKind::Carried, &body.encode());
    }

    fn control(&mut self, kind: RecordKind) {
        self.builder.push_control(self.buffer, &control(kind).unwrap());
    }
}

fn head() -> MessageHead {
    MessageHead::with_topics(Wall(1_750_000_000_000_000_000), ["orders.placed"]).unwrap()
}

/// A message as its publisher wrote it.
fn append_message(out: &mut Vec<u8>, lsn: Lsn, flags: u8, payload: &[u8]) {
    let message = MessageParts::new(&head(), payload).unwrap().pieces().concat();
    record::append(out, lsn, RecordKind::Message, flags, &message);
}
