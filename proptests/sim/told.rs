//! What publishers believe to be settled, and who was told where it is not.

use std::collections::{BTreeMap, BTreeSet};

use resolute::engine::effect::Note;
use resolute::engine::state::State;
use resolute::format::control::StreamOwner;
use resolute::ids::{Lsn, NodeId, Position, StreamId};

use super::model::MessageNumber;
use super::world::World;

/// What one node owed to the nodes that it knows: read from its state after each batch.
#[derive(Clone, Debug, Default)]
pub struct Book(BTreeMap<StreamId, Account>);

#[derive(Clone, Debug)]
struct Account {
    owed_to: NodeId,
    /// Records of each stretch of positions.
    runs: BTreeMap<Position, (Lsn, u64)>,
    /// When everything up to there was settled, where that rose, and where the log ended that says so.
    settled: Vec<(u64, Lsn, Position)>,
}

impl Account {
    fn settle(&mut self, now: u64, end: Lsn, position: Position) {
        if self.settled.last().is_none_or(|(.., last)| *last < position) {
            self.settled.push((now, end, position));
        }
    }

    fn end(&self) -> Position {
        self.runs.last_key_value().map_or(Position(0), |(first, (_, count))| first.plus(*count))
    }

    fn position(&self, lsn: Lsn) -> Option<Position> {
        let here = |(_, (first, count)): &(&Position, &(Lsn, u64))| *first <= lsn && lsn < first.plus(*count);
        self.runs.iter().find(here).map(|(position, (first, _))| position.plus(lsn.since(*first)))
    }

    /// The record at a position.
    fn record(&self, position: Position) -> Option<Lsn> {
        // Of a stretch from which something was taken out there are parts beside it.
        let mut before = self.runs.range(..=position).rev();
        let (first, (lsn, _)) = before.find(|(first, (_, count))| position < first.plus(*count))?;
        Some(lsn.plus(position.since(*first)))
    }

    fn settled_at(&self, position: Position) -> Option<u64> {
        self.settled.iter().find(|(.., last)| *last >= position).map(|(at, ..)| *at)
    }
}

impl Book {
    pub fn write(&mut self, now: u64, state: &State) {
        let end = state.index.end();
        for (id, stream) in &state.streams {
            let StreamOwner::Peer(slot) = stream.owner else { continue };
            let new = Account { owed_to: state.node_of(slot), runs: BTreeMap::new(), settled: Vec::new() };
            let account = self.0.entry(*id).or_insert(new);
            account.owed_to = state.node_of(slot);
            account.runs.extend(stream.runs().iter().map(|run| (run.position, (run.lsn, run.count))));
            account.settle(now, end, stream.acked);
        }
        // What had an end is settled.
        for (_, account) in self.0.iter_mut().filter(|(id, _)| !state.streams.contains_key(id)) {
            account.settle(now, end, account.end());
        }
    }

    /// A crash took everything from that record on.
    pub fn crashed(&mut self, end: Lsn) {
        for account in self.0.values_mut() {
            account.runs.retain(|_, (first, _)| *first < end);
            for (first, count) in account.runs.values_mut() {
                *count = (*count).min(end.since(*first));
            }
            account.settled.retain(|(_, log, _)| *log <= end);
        }
    }

    /// The record at a position of a stream.
    pub fn record(&self, stream: StreamId, position: Position) -> Option<Lsn> {
        self.0.get(&stream)?.record(position)
    }

    /// Where a message to that node is.
    fn places(&self, to: NodeId, lsn: Lsn) -> impl Iterator<Item = (StreamId, Position, Option<u64>)> {
        let theirs = self.0.iter().filter(move |(_, account)| account.owed_to == to);
        theirs.filter_map(move |(id, account)| {
            let position = account.position(lsn)?;
            Some((*id, position, account.settled_at(position)))
        })
    }
}

/// What a node was told of another.
#[derive(Clone, Debug)]
pub struct Told {
    when: u64,
    /// Who was told.
    at: NodeId,
    /// Of whom.
    of: NodeId,
    is_a_double: bool,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// They have a session.
    Met,
    /// They do not remember the same, and will not speak to each other: it is not said what one of them lacks.
    TwoLogs,
    /// These messages are lost.
    Gap(BTreeSet<MessageNumber>),
}

/// Whether a session ended because two sides do not remember the same, or because at this address another node was before: then
/// they do not come to compare what they remember.
fn is_of_two_logs(reason: &str) -> bool {
    let said = [
        "set back",
        "never sent",
        "one identity",
        "never met",
        "under this identity",
        "another node answered",
    ];
    said.iter().any(|words| reason.contains(words))
}

impl Told {
    fn is_between(&self, one: NodeId, other: NodeId) -> bool {
        (self.at, self.of) == (one, other) || (self.at, self.of) == (other, one)
    }

    /// Whether it says that a message that was settled then is lost, or may be. Where two logs do not fit nobody can say which
    /// messages that concerns: none that were settled later.
    fn speaks_of(&self, number: MessageNumber, settled_at: u64) -> bool {
        match &self.what {
            What::Met => false,
            What::TwoLogs => self.when >= settled_at,
            What::Gap(lost) => lost.contains(&number),
        }
    }
}

impl World {
    /// Writes down what a node is told.
    pub fn hear(&mut self, node: usize, note: &Note) {
        let Some(at) = self.nodes[node].identity else { return };
        let (of, what) = match note {
            Note::Established { node, .. } => (*node, What::Met),
            // It lacks what came since it was copied, or has what was lost with the log that went back.
            Note::NewLife { node } | Note::Ahead { node, .. } => {
                assert!(self.model.is_broken(*node, at), "{at} is told of {node} what is not so: {note:?}");
                (*node, What::TwoLogs)
            }
            Note::Ended { node: Some(of), reason } if is_of_two_logs(reason) => (*of, What::TwoLogs),
            Note::Gap { node, is_ours, stream, first, count } => {
                // What lies at these positions may change, where a publisher is set back.
                let publisher = if *is_ours { at } else { *node };
                let positions = (0..*count).map(|index| first.plus(index));
                if !self.model.is_broken(*node, at) {
                    self.check_gap(publisher, *stream, positions.clone());
                }
                let lost = positions.filter_map(|at| self.model.number_at(publisher, *stream, at));
                (*node, What::Gap(lost.collect()))
            }
            _ => return,
        };
        let is_a_double = self.nodes[node].is_clone;
        self.told.push(Told { when: self.now, at, of, is_a_double, what });
    }

    /// Between two that remember the same nothing is lost but what somebody took out.
    fn check_gap(&self, publisher: NodeId, stream: StreamId, mut positions: impl Iterator<Item = Position>) {
        let (book, log) = (&self.model.books[&publisher], &self.model.logs[&publisher]);
        // What was taken out while it waited for whoever answers at an address is in no book.
        let is_there = |at: &Position| {
            book.record(stream, *at)
                .is_some_and(|lsn| !log.withdrawn.contains(&lsn) && !log.taken_from.contains(&(lsn, stream)))
        };
        let found = positions.find(is_there);
        assert!(found.is_none(), "position {found:?} of stream {stream} of {publisher} is no gap");
    }

    /// What a node that was set back, or has a double, lacks or left out is still owed, or one of the two is told of it.
    pub fn check_told(&self, from: NodeId, to: NodeId, missing: &[(Lsn, MessageNumber)]) {
        for (lsn, number) in missing {
            let mut places = self.model.books[&from].places(to, *lsn);
            let is_known = |(_, _, settled_at): (StreamId, Position, Option<u64>)| {
                // What is still owed is not lost.
                let Some(settled_at) = settled_at else { return true };
                // What only a double was told, nobody at the original reads.
                let mut told = self.told.iter().filter(|told| told.is_between(from, to) && !told.is_a_double);
                let is_astray = self.model.astray.contains(number);
                told.any(|told| told.speaks_of(*number, if is_astray { 0 } else { settled_at }))
                    || !self.have_met_since(from, to, settled_at)
            };
            assert!(
                places.any(is_known),
                "{to} lacks {number}, which is record {lsn} of {from}, and nobody was told: {:?}",
                self.model.books[&from].places(to, *lsn).collect::<Vec<_>>()
            );
        }
    }

    /// Two have no session and want none, or the one lacks nothing of its own log that the other has, or one of them was told since the log went
    /// back or got a double.
    pub fn check_noticed(&self, from: NodeId, to: NodeId) {
        let have_occasion = self.hears(from, to) && self.hears(to, from);
        if !have_occasion && !self.wants(from, to) && !self.wants(to, from) {
            return;
        }
        let left_behind = self.model.left_behind(to, from);
        if left_behind.is_empty() {
            return;
        }
        let told = self
            .told
            .iter()
            .filter(|told| told.is_between(from, to) && !told.is_a_double && told.what == What::TwoLogs);
        let told = told.map(|told| told.when).max();
        for (lsn, number) in left_behind {
            // What came from a double since is lost as long as there is one.
            let since = self.lost_since.get(&number).or_else(|| self.apart_since.get(&from));
            let is_told = told >= since.copied() && since.is_some();
            assert!(
                is_told,
                "{from} speaks with {to}, and lacks {number}, its record {lsn}, since {since:?}; they were told at {told:?}"
            );
        }
    }

    /// Who lacks what somebody took out of a stream is told of a gap there, once it has a session.
    pub fn check_told_of_withdrawn(&self, from: NodeId, to: NodeId) {
        let speaks = self.originals().any(|n| n.identity == Some(from) && self.is_in_session(n.index, to));
        if !speaks || self.is_full(to) {
            return;
        }
        for (lsn, number) in self.model.withdrawn(from, to) {
            let at = self.model.books[&from].places(to, lsn).collect::<Vec<_>>();
            let mut told = self.told.iter().filter(|told| (told.at, told.of) == (to, from));
            let is_told = told.any(|told| told.speaks_of(number, u64::MAX));
            assert!(
                is_told || at.is_empty(),
                "{to} lacks {number}, record {lsn} of {from}, which somebody took out, and was not told: {at:?}"
            );
        }
    }

    /// Whether two nodes had occasion to find out that they do not remember the same: they were in a session, or one of them
    /// wants to be. Where only a double of one was, the other says so and the original does not.
    fn have_met_since(&self, from: NodeId, to: NodeId, time: u64) -> bool {
        let says_so = |at: NodeId, of: NodeId| {
            let is_met = |told: &Told| told.what == What::Met && told.when >= time && !told.is_a_double;
            self.told.iter().any(|told| is_met(told) && (told.at, told.of) == (at, of))
        };
        says_so(from, to) && says_so(to, from) || self.wants(to, from) || self.wants(from, to)
    }

    /// Whether one wants something at an address of the other.
    fn wants(&self, one: NodeId, other: NodeId) -> bool {
        let mut nodes = self.originals().filter(|node| node.identity == Some(one));
        nodes.any(|node| {
            let addresses = &node.up.as_ref().unwrap().engine.state().addresses;
            let mut wanted = addresses.iter().filter(|(_, known)| !known.intents.is_empty());
            wanted.any(|(address, _)| {
                let there = self.resolve(address).map(|index| &self.nodes[index]);
                there.is_some_and(|there| there.is_original() && there.identity == Some(other))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(what: What) -> Told {
        Told { when: 100, at: NodeId(1), of: NodeId(2), is_a_double: false, what }
    }

    #[test]
    fn two_logs_speak_of_what_was_settled_before_and_a_gap_of_its_messages() {
        let two = told(What::TwoLogs);
        assert!(two.speaks_of(5, 100) && !two.speaks_of(5, 101));
        assert!(!told(What::Met).speaks_of(5, 0));
        let gap = told(What::Gap(BTreeSet::from([5, 6])));
        assert!(gap.speaks_of(5, u64::MAX) && !gap.speaks_of(4, 0));
    }

    #[test]
    fn a_crash_takes_from_a_book_what_it_took_from_the_log_and_nothing_else() {
        let runs = BTreeMap::from([(Position(1), (Lsn(10), 2)), (Position(3), (Lsn(21), 1))]);
        // All of it was settled, and the stream was over.
        let settled =
            vec![(100, Lsn(14), Position(1)), (200, Lsn(30), Position(3)), (300, Lsn(31), Position(4))];
        let account = Account { owed_to: NodeId(1), runs, settled };
        let mut book = Book(BTreeMap::from([(StreamId(7), account)]));
        let mut settled_at = |end| {
            book.crashed(Lsn(end));
            [1, 3].map(|position| book.0[&StreamId(7)].settled_at(Position(position)))
        };
        assert_eq!(settled_at(31), [Some(100), Some(200)]);
        assert_eq!(settled_at(29), [Some(100), None]);
        assert_eq!(settled_at(13), [None, None]);
    }

    #[test]
    fn a_book_says_which_record_lies_at_a_position() {
        let runs = BTreeMap::from([(Position(1), (Lsn(10), 2)), (Position(5), (Lsn(20), 3))]);
        let account = Account { owed_to: NodeId(1), runs, settled: Vec::new() };
        let book = Book(BTreeMap::from([(StreamId(7), account)]));
        let records = (0..9).map(|at| book.record(StreamId(7), Position(at)).map(|lsn| lsn.0));
        let expected = [None, Some(10), Some(11), None, None, Some(20), Some(21), Some(22), None];
        assert_eq!(records.collect::<Vec<_>>(), expected);
        assert_eq!(book.record(StreamId(8), Position(1)), None);
    }
}
