//! What is done when and to whom: nothing but the seed decides it, and which kinds of fault are to be had.

use super::cast::{CAST, ON_THE_SMALL_DISK};
use super::fault::Fault;
use super::rng::Rng;

/// One turn of the driver's loop, about so many milliseconds. The driver counts turns and looks at no clock: what pauses
/// all processes alike stretches a plan and does not change it.
pub const TURN_MS: u64 = 10;

/// How often each kind comes in one deal.
const DECK: [(Fault, usize); 6] = [
    (Fault::Kill, 12),
    (Fault::Stop, 3),
    (Fault::Cut, 2),
    (Fault::OneWay, 2),
    (Fault::Reset, 2),
    (Fault::Fill, 1),
];

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Turns since the step before.
    pub pause: u64,
    pub fault: Fault,
    pub node: usize,
    /// A second node that is killed at the same time.
    pub also: Option<usize>,
    /// Turns until it ends: the process is started again, the link is whole.
    pub hold: u64,
}

/// An endless list of steps.
pub struct Plan {
    rng: Rng,
    kinds: Vec<Fault>,
    deck: Vec<Fault>,
    /// Whether some faults outlast the patience of a session.
    is_patient: bool,
}

impl Plan {
    pub fn new(seed: u64, kinds: Vec<Fault>, is_patient: bool) -> Plan {
        Plan { rng: Rng::new(seed), kinds, deck: Vec::new(), is_patient }
    }

    pub fn next(&mut self) -> Step {
        if self.deck.is_empty() {
            self.shuffle();
        }
        // Invariant: killing is always to be had, so the deck has cards.
        let fault = self.deck.pop().expect("a deck of no cards");
        let drawn = self.rng.below(CAST.len() as u64) as usize;
        let node = if fault == Fault::Fill { ON_THE_SMALL_DISK } else { drawn };
        let also = (fault == Fault::Kill && self.rng.chance(20)).then_some((node + 1) % CAST.len());
        // Often long enough for everything to run well, and sometimes too short even to open.
        let longest = if self.rng.chance(30) { 80 } else { 900 };
        let pause = self.rng.below(longest) / TURN_MS;
        Step { pause, fault, node, also, hold: self.hold(fault) / TURN_MS }
    }

    /// In milliseconds.
    fn hold(&mut self, fault: Fault) -> u64 {
        let is_long = self.rng.chance(10);
        match fault {
            Fault::Kill if is_long => self.rng.between(1_000, 3_000),
            Fault::Kill => self.rng.below(150),
            Fault::Reset => 0,
            // A session ends after ten seconds of silence.
            Fault::Stop | Fault::Cut | Fault::OneWay if is_long && self.is_patient => {
                self.rng.between(10_500, 13_000)
            }
            Fault::Stop | Fault::Cut | Fault::OneWay => self.rng.between(100, 1_500),
            Fault::Fill => self.rng.between(200, 2_000),
        }
    }

    fn shuffle(&mut self) {
        let kinds = DECK.into_iter().filter(|(fault, _)| self.kinds.contains(fault));
        self.deck = kinds.flat_map(|(fault, count)| std::iter::repeat_n(fault, count)).collect();
        for last in (1..self.deck.len()).rev() {
            let other = self.rng.below(last as u64 + 1) as usize;
            self.deck.swap(last, other);
        }
    }
}
