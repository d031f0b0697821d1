//! What is done to nodes, and how often it really was.

use std::collections::BTreeMap;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL, and a new life on the same directory.
    Kill,
    /// SIGSTOP, and SIGCONT after a while: it misses whatever its peers did meanwhile.
    Stop,
    /// Nothing passes its link in either direction, and nobody is told.
    Cut,
    /// It hears, and nothing that it says is heard: its connections are half-open.
    OneWay,
    /// Its connections are broken, and both sides are told.
    Reset,
    /// Its disk has no room left, for a while.
    Fill,
}

impl Fault {
    pub const ALL: [Fault; 6] =
        [Fault::Kill, Fault::Stop, Fault::Cut, Fault::OneWay, Fault::Reset, Fault::Fill];

    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Stop => "stop",
            Fault::Cut => "cut",
            Fault::OneWay => "one-way",
            Fault::Reset => "reset",
            Fault::Fill => "fill",
        }
    }
}

/// How often each kind happened, and which could not be had, and why.
#[derive(Default)]
pub struct Tally {
    happened: BTreeMap<Fault, u64>,
    missing: BTreeMap<Fault, String>,
}

impl Tally {
    /// It cannot be had here.
    pub fn miss(&mut self, fault: Fault, why: &str) {
        self.missing.insert(fault, why.to_owned());
    }

    pub fn has(&self, fault: Fault) -> bool {
        !self.missing.contains_key(&fault)
    }

    /// It happened, and something was there that it happened to.
    pub fn count(&mut self, fault: Fault) {
        *self.happened.entry(fault).or_default() += 1;
    }

    pub fn of(&self, fault: Fault) -> u64 {
        self.happened.get(&fault).copied().unwrap_or(0)
    }

    /// All counts, for people.
    pub fn told(&self) -> String {
        let told = Fault::ALL.map(|fault| match self.missing.get(&fault) {
            Some(_) => format!("{} not to be had", fault.name()),
            None => format!("{} {}", fault.name(), self.of(fault)),
        });
        told.join(", ")
    }

    /// Why each kind that is not to be had is not.
    pub fn reasons(&self) -> impl Iterator<Item = String> {
        self.missing.iter().map(|(fault, why)| format!("no {} here: {why}", fault.name()))
    }

    /// A fault that never happened was not tested.
    pub fn must_be_complete(&self) -> Result<(), String> {
        let never = Fault::ALL.into_iter().filter(|fault| self.has(*fault) && self.of(*fault) == 0);
        let never: Vec<&str> = never.map(Fault::name).collect();
        if never.is_empty() { Ok(()) } else { Err(format!("never happened: {}", never.join(", "))) }
    }
}
