//! What may go wrong, and how often.
//!
//! **A process dies** at any moment. Writes that it gave to the kernel go on; others were never begun. What the kernel has is
//! shown to the next process, whether or not it is on stable storage.
//!
//! **The power is cut** at any moment, also while a node recovers. A write that was reported as done is there (O_DSYNC), and so is
//! what was synced. Of everything else each sector of 512 bytes is there or not, on its own: writes are lost, torn in any pattern,
//! and one that was begun later may be there without one that was begun earlier: a hole, which a process that dies leaves too. A
//! sector is never half there. Messages that were published together are gone together. Disks are quick or slow, and deaths often fall into writes, one or two of which are on their way.
//!
//! **A disk fails**: a write ends with an error, and what of it is there is as after the death of the node that follows; a read ends with an error, or
//! gives bytes of which one bit is wrong. The node then stops, and is started again; what else it had asked of the disk is
//! still done before that. A disk has no room for another segment, for a while.
//! A write is done in part: its first blocks are there, and the rest is a write that is still to be done.
//!
//! **A bit flips at rest**, in a copy of what a node is about to open: the scan must give out what is left of it as it was and
//! name the damage, or cut it off where nothing calls it durable. The node goes on with the true files, for of damage it would
//! refuse to open. The tests of recovery look at each bit, of other logs.
//!
//! **A network** delays, splits what it carries anywhere, breaks without a word to one side or to both (half-open), and keeps
//! nodes apart for a while. Beyond what TCP does, frames of messages come twice, again later, or in another order. Bytes are not
//! lost from the middle of a connection, and not changed unnoticed: that is TCP's and the checksums' to see.
//!
//! **A wall clock** jumps, forwards and backwards, by up to a day. The monotonic clock does not.
//!
//! **A directory** is deleted, or replaced by an older copy of itself, or a copy is opened on another machine, beside its live
//! original.
//!
//! **Many come**: strangers that shake hands, want nothing and go, at nodes that know few peers; these forget the one for the
//! other. Some come again, and one stays and is a peer like any other. Frames come in pieces on several connections at once, and
//! a node has memory for little more than one of the largest.
//!
//! **Somebody interferes**: messages that are parked or given up are tried again, or any are taken out of the inbox, at any moment.
//! A node is told to forget another, which goes on to owe it what it owed until it is told the same; or to send it nothing for a
//! while; or how much may wait for it, what happens then, and for how long it may be absent. In some histories that is little for all
//! from the beginning, and so is what one sender may have in an inbox.
//!
//! Which of these may happen is drawn for each seed, so that rare combinations are not drowned by common ones. How often each did
//! happen is counted (see `tally`): one that never does is a failure of the simulation.

use super::disk::Death;
use super::rng::Rng;

/// One kind of what may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Killed,
    PowerCut,
    WritesLost,
    WritesTorn,
    Hole,
    BatchLost,
    DiedRecovering,
    WriteFailed,
    ShortWrite,
    ReadFailed,
    ReadFlipped,
    BitFlipped,
    DiskFull,
    SetAside,
    Broken,
    HalfOpen,
    Parted,
    Duplicated,
    Replayed,
    Reordered,
    ClockJumped,
    Wiped,
    Restored,
    Cloned,
    GaveWay,
    CameBack,
    Administered,
    TakenOut,
    Rewritten,
    Removed,
    Paused,
    Limited,
    Crowded,
}

impl Fault {
    pub const ALL: [Fault; 33] = [
        Fault::Killed,
        Fault::PowerCut,
        Fault::WritesLost,
        Fault::WritesTorn,
        Fault::Hole,
        Fault::BatchLost,
        Fault::DiedRecovering,
        Fault::WriteFailed,
        Fault::ShortWrite,
        Fault::ReadFailed,
        Fault::ReadFlipped,
        Fault::BitFlipped,
        Fault::DiskFull,
        Fault::SetAside,
        Fault::Broken,
        Fault::HalfOpen,
        Fault::Parted,
        Fault::Duplicated,
        Fault::Replayed,
        Fault::Reordered,
        Fault::ClockJumped,
        Fault::Wiped,
        Fault::Restored,
        Fault::Cloned,
        Fault::GaveWay,
        Fault::CameBack,
        Fault::Administered,
        Fault::TakenOut,
        Fault::Rewritten,
        Fault::Removed,
        Fault::Paused,
        Fault::Limited,
        Fault::Crowded,
    ];
}

/// The chances, each in percent and of one occasion.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// That a death cuts the power of the machine.
    pub cut: u64,
    /// That a node that recovers dies before the next step of it.
    pub die_recovering: u64,
    /// That a write fails.
    pub write_fails: u64,
    /// That a write is done in part.
    pub short_writes: u64,
    /// That a read fails.
    pub read_fails: u64,
    /// That a read gives a wrong bit.
    pub read_flips: u64,
    /// That a bit of a copy flips before a node recovers.
    pub rots: u64,
    /// That there is no room for the next segment.
    pub no_room: u64,
}

impl Faults {
    /// None but that half of the deaths are power cuts.
    pub const FEW: Faults = Faults { cut: 50, ..Faults::NONE };
    pub const NONE: Faults = Faults {
        cut: 0,
        die_recovering: 0,
        write_fails: 0,
        short_writes: 0,
        read_fails: 0,
        read_flips: 0,
        rots: 0,
        no_room: 0,
    };

    /// Some of them, of any strength.
    pub fn draw(rng: &mut Rng) -> Faults {
        // Most deaths that hurt the disk are these.
        let cut = if rng.chance(80) { rng.between(20, 100) } else { 0 };
        let mut chance = |most: u64| if rng.chance(50) { rng.between(1, most) } else { 0 };
        Faults {
            cut,
            die_recovering: chance(40),
            write_fails: chance(2),
            short_writes: chance(20),
            read_fails: chance(20),
            read_flips: chance(30),
            rots: chance(40),
            no_room: chance(60),
        }
    }

    pub fn death(&self, rng: &mut Rng) -> Death {
        if rng.chance(self.cut) { Death::PowerCut } else { Death::Killed }
    }
}
