//! What was tried, what was promised and what came of it. The test's own memory, which loses no power.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use resolute::{Envelope, MessageId};

use super::number::Number;
use super::snapshot::Snapshots;

/// All that is known of the messages of one history.
#[derive(Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Clone, Default)]
struct Book {
    /// The next sequence number of each task.
    next: BTreeMap<u64, u64>,
    tried: BTreeSet<Number>,
    /// Messages that are stored together or not at all.
    batches: Vec<Vec<Number>>,
    /// What must be somewhere for ever: publishing it resolved, or it was seen on a disk or in a handler.
    there: BTreeMap<Number, MessageId>,
    numbers: BTreeMap<MessageId, Number>,
    /// What publishing resolved of.
    acknowledged: u64,
    handled: BTreeSet<Number>,
    /// Of these the disks say that nothing is left to do.
    done: BTreeSet<Number>,
    calls: u64,
    /// The last message of each task that was handled: in the life of the subscriber that goes on, and ever.
    last_in_life: BTreeMap<u64, u64>,
    last: BTreeMap<u64, u64>,
    /// What must not be.
    wrong: Vec<String>,
}

impl Clone for Ledger {
    /// Another that knows the same, for another story that begins like this one.
    fn clone(&self) -> Ledger {
        Ledger(Mutex::new(self.book().clone()))
    }
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `count` messages of a task, of which one or more are about to be published.
    pub fn begin(&self, task: u64, count: u64, is_atomic: bool) -> Vec<Number> {
        let mut book = self.book();
        let next = book.next.entry(task).or_default();
        let numbers: Vec<Number> = (*next..*next + count).map(|sequence| Number { task, sequence }).collect();
        *next += count;
        book.tried.extend(&numbers);
        if is_atomic {
            book.batches.push(numbers.clone());
        }
        numbers
    }

    /// Publishing it resolved.
    pub fn acknowledge(&self, number: Number, id: MessageId) {
        let mut book = self.book();
        book.acknowledged += 1;
        book.found(number, id);
    }

    /// A handler is called with it.
    pub fn handle(&self, envelope: &Envelope) {
        let mut book = self.book();
        match Number::of_payload(envelope.payload()) {
            Ok(number) => book.handle(number, envelope.id()),
            Err(why) => book.wrong.push(why),
        }
    }

    /// The subscriber begins a life: it may be given again what it had not marked.
    pub fn begin_life(&self) {
        self.book().last_in_life.clear();
    }

    pub fn acknowledged(&self) -> u64 {
        self.book().acknowledged
    }

    /// How many messages were handled, and how often a handler was called.
    pub fn handled(&self) -> (u64, u64) {
        let book = self.book();
        (book.handled.len() as u64, book.calls)
    }

    pub fn fail(&self, why: String) {
        self.book().wrong.push(why);
    }

    /// Whether anything was seen that must not be.
    pub fn check(&self) -> Result<(), String> {
        self.book().wrong.first().map_or(Ok(()), |why| Err(why.clone()))
    }

    /// Whether the disks hold all that they must, and nothing else.
    pub fn check_disks(&self, disks: &Snapshots) -> Result<(), String> {
        let mut book = self.book();
        let mut last: BTreeMap<(&str, u64), u64> = BTreeMap::new();
        for (place, number, id) in disks.all() {
            if last.insert((place, number.task), number.sequence).is_some_and(|last| last >= number.sequence)
            {
                book.wrong.push(format!("{place}: {number} is not in its order"));
            }
            book.found(number, id);
        }
        let on_disk: BTreeSet<Number> = disks.all().map(|(_, number, _)| number).collect();
        let is_there = |number: &Number| on_disk.contains(number) || book.handled.contains(number);
        let lost: Vec<&Number> = book.there.keys().filter(|number| !is_there(number)).collect();
        if let Some(first) = lost.first() {
            return Err(format!("{} messages are lost, the first of them {first}", lost.len()));
        }
        if let Some(again) = on_disk.iter().find(|number| book.done.contains(number)) {
            return Err(format!("{again} was handled and gone for good, and is on a disk again"));
        }
        for batch in &book.batches {
            let there = batch.iter().filter(|number| is_there(number)).count();
            if there != 0 && there != batch.len() {
                return Err(format!(
                    "of the batch that begins with {}, {there} of {} are there",
                    batch[0],
                    batch.len()
                ));
            }
        }
        let done: Vec<Number> = book.handled.difference(&on_disk).copied().collect();
        book.done.extend(done);
        drop(book);
        self.check()
    }
}

impl Book {
    /// That it is there, under that id and no other.
    fn found(&mut self, number: Number, id: MessageId) {
        if !self.tried.contains(&number) {
            self.wrong.push(format!("{number} was never published"));
        }
        if *self.there.entry(number).or_insert(id) != id {
            self.wrong.push(format!("{number} has two ids, {id} and {}", self.there[&number]));
        }
        if *self.numbers.entry(id).or_insert(number) != number {
            self.wrong.push(format!("{id} is the id of {number} and of {}", self.numbers[&id]));
        }
    }

    fn handle(&mut self, number: Number, id: MessageId) {
        self.found(number, id);
        self.calls += 1;
        if self.done.contains(&number) {
            self.wrong.push(format!("{number} is handled again, and was gone for good"));
        }
        if let Some(last) = self.last_in_life.insert(number.task, number.sequence)
            && last >= number.sequence
        {
            self.wrong.push(format!("{number} is handled after {last} in one life"));
        }
        if self.handled.insert(number)
            && let Some(last) = self.last.insert(number.task, number.sequence)
            && last >= number.sequence
        {
            self.wrong.push(format!("{number} is handled for the first time, and {last} was before"));
        }
    }
}
