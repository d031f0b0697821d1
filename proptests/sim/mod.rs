//! Whole nodes in one thread, with a clock, a disk and a network that do as a seed says.
//!
//! The simulator performs the effects of engines as the shell does, so what is simulated is what ships. Disks lose
//! what is in flight when a node dies, connections break without a word, bytes come in pieces and late, and frames
//! of runs may come twice or again. What must hold is said in [`model`], naively, and looked at in [`checks`], after
//! each step and when all has come to rest.
//!
//! A seed gives one history: `SIM_NOTES=1` prints what the nodes report in it.

mod checks;
mod disk;
mod histories;
mod model;
mod net;
mod node;
mod regressions;
mod rng;
mod steps;
mod turn;
mod users;
mod world;
