//! Whole nodes in one thread, with a clock, a disk and a network that do as a seed says.
//!
//! The simulator performs the effects of engines as the shell does, so what is simulated is what ships; logs are recovered by the
//! shipped scan. What may go wrong is said in [`faults`]. What must hold is said in [`model`], naively, and looked at in
//! [`checks`], after each step and when all has come to rest.
//!
//! A seed gives one history: `SIM_NOTES=1` prints what the nodes report in it.

mod carrying;
mod checks;
mod conservation;
mod crash_images;
mod deciding;
mod disk;
mod faults;
mod full_batches;
mod histories;
mod left;
mod model;
mod net;
mod node;
mod promises;
mod quotas;
mod regressions;
mod rewriting;
pub mod rng;
mod rot;
mod set_back;
mod simulate;
mod steps;
mod stores;
mod strangers;
mod tally;
mod told;
mod turn;
mod users;
mod withdrawals;
mod world;
