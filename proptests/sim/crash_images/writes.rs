//! Writes that nobody knows to have arrived, and what a power cut may make of them.
//!
//! Of each write, the sectors count that it changes; a sector arrives whole or not at all. In which ways a write may arrive:
//!
//! - up to [`SUBSETS_MAX`] sectors, which is a block: every subset of them;
//! - more: everything up to one sector, everything from one sector on, everything but one, and one alone; each of these
//!   for each sector, or, of long writes, for those near either end and some between: see [`Grain`].
//!
//! Several writes are put together in every combination of these ways, up to [`TOGETHER_MAX`]; beyond that, each write
//! in every way while each of the others is there in full or not at all, and, if they are no more than that, every combination of
//! those ways in which a write of more than [`SUBSETS_TOGETHER_MAX`] sectors arrives in pieces.

use resolute::ids::SegmentNumber;

use super::super::disk::SECTOR;
use super::medium::{Medium, Place, Sector};

const SUBSETS_MAX: usize = 8;
const SUBSETS_TOGETHER_MAX: usize = 6;
const TOGETHER_MAX: usize = 1 << 10;

/// How much of everything is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// So many images of one moment.
    pub at_most: usize,
    /// One in so many of them is followed into its recovery; the others are recovered, and that is all.
    pub one_in: u64,
    /// Which ones.
    pub seed: u64,
}

impl Share {
    pub const ALL: Share = Share { at_most: usize::MAX, one_in: 1, seed: 0 };

    pub fn follows(self, hash: u64) -> bool {
        (hash ^ self.seed).is_multiple_of(self.one_in)
    }
}

/// Which sectors of a long write are looked at one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grain {
    /// Of a write that is no longer than this, all; of a longer one, one in so many.
    each: usize,
    /// And so many at either end.
    edge: usize,
}

impl Grain {
    /// Batches.
    pub const BATCH: Grain = Grain { each: 128, edge: 16 };
    /// Zeros of a repair: over what was in flight, which comes first, and far more often over what a file held long ago.
    pub const ZEROS: Grain = Grain { each: 16, edge: 4 };
}

/// The sectors of one write that differ from what is there, in their order.
#[derive(Clone, Debug)]
pub struct Write {
    pub segment: SegmentNumber,
    pub sectors: Vec<(usize, Sector)>,
    pub grain: Grain,
}

/// Which sectors of a write arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Subset(u32),
    UpTo(usize),
    From(usize),
    AllBut(usize),
    Only(usize),
}

impl Kept {
    const NONE: Kept = Kept::UpTo(0);
    const ALL: Kept = Kept::From(0);

    fn keeps(self, index: usize) -> bool {
        match self {
            Kept::Subset(bits) => bits & 1 << index != 0,
            Kept::UpTo(end) => index < end,
            Kept::From(first) => index >= first,
            Kept::AllBut(one) => index != one,
            Kept::Only(one) => index == one,
        }
    }

    /// All ways in which a write of so many sectors may arrive.
    fn ways(sectors: usize, grain: Grain) -> Vec<Kept> {
        if sectors <= SUBSETS_MAX {
            return (0..1_u32 << sectors).map(Kept::Subset).collect();
        }
        Kept::pieces(sectors, grain)
    }

    /// Those of them that are looked at where several writes are put together.
    fn ways_together(sectors: usize, grain: Grain) -> Vec<Kept> {
        if sectors <= SUBSETS_TOGETHER_MAX {
            Kept::ways(sectors, grain)
        } else {
            Kept::pieces(sectors, grain)
        }
    }

    fn pieces(sectors: usize, grain: Grain) -> Vec<Kept> {
        let Grain { each, edge } = grain;
        let is_looked_at =
            |at: &usize| sectors <= each || *at < edge || *at + edge >= sectors || at.is_multiple_of(each);
        let mut ways = vec![Kept::NONE, Kept::ALL];
        for at in (0..sectors).filter(is_looked_at) {
            ways.extend([Kept::AllBut(at), Kept::Only(at)]);
            if at > 0 {
                ways.extend([Kept::UpTo(at), Kept::From(at)]);
            }
        }
        ways
    }
}

impl Write {
    /// `bytes` at `offset`, over what `medium` shows.
    pub fn new(medium: &Medium, segment: SegmentNumber, offset: u64, bytes: &[u8]) -> Write {
        let first = offset as usize / SECTOR;
        let sectors = bytes.chunks(SECTOR).enumerate().map(|(index, new)| (first + index, new));
        let changed = sectors.filter(|(sector, new)| medium.sector((segment, *sector)) != *new);
        // Invariant: whole blocks are written.
        let sectors = changed.map(|(sector, new)| (sector, new.try_into().unwrap())).collect();
        Write { segment, sectors, grain: Grain::BATCH }
    }

    fn put(&self, medium: &mut Medium, kept: Kept, undo: &mut Vec<(Place, Sector)>) {
        for (index, (sector, new)) in self.sectors.iter().enumerate() {
            if kept.keeps(index) {
                let place = (self.segment, *sector);
                undo.push((place, medium.put(place, new)));
            }
        }
    }
}

/// What was changed, to be changed back.
#[derive(Default)]
pub struct Undo(Vec<(Place, Sector)>);

impl Undo {
    pub fn put_all(&mut self, medium: &mut Medium, write: &Write) {
        write.put(medium, Kept::ALL, &mut self.0);
    }

    pub fn undo(self, medium: &mut Medium) {
        for (place, old) in self.0.into_iter().rev() {
            medium.put(place, &old);
        }
    }
}

/// The combinations of the ways in which writes may arrive.
fn combinations(writes: &[Write]) -> Vec<Vec<Kept>> {
    let ways: Vec<Vec<Kept>> =
        writes.iter().map(|write| Kept::ways(write.sectors.len(), write.grain)).collect();
    if ways.iter().map(Vec::len).product::<usize>() <= TOGETHER_MAX {
        return product(&ways);
    }
    let together: Vec<Vec<Kept>> =
        writes.iter().map(|write| Kept::ways_together(write.sectors.len(), write.grain)).collect();
    let is_few = together.iter().map(Vec::len).product::<usize>() <= TOGETHER_MAX;
    let mut all = if is_few { product(&together) } else { Vec::new() };
    for one in 0..ways.len() {
        let coarse = ways.iter().enumerate();
        let coarse: Vec<Vec<Kept>> = coarse
            .map(|(index, ways)| if index == one { ways.clone() } else { vec![Kept::NONE, Kept::ALL] })
            .collect();
        all.extend(product(&coarse));
    }
    all
}

fn product(ways: &[Vec<Kept>]) -> Vec<Vec<Kept>> {
    ways.iter().fold(vec![Vec::new()], |before, ways| {
        let with = |kept: &Vec<Kept>, way: &Kept| kept.iter().copied().chain([*way]).collect();
        before.iter().flat_map(|kept| ways.iter().map(move |way| with(kept, way))).collect()
    })
}

/// Shows each image that a power cut may leave of `writes`, on top of `medium`: all of them, or every so manyth.
pub fn each_cut(medium: &mut Medium, writes: &[Write], share: Share, look: &mut dyn FnMut(&mut Medium)) {
    let combinations = combinations(writes);
    let step = combinations.len().div_ceil(share.at_most).max(1);
    let first = share.seed as usize % step;
    for kept in combinations.into_iter().skip(first).step_by(step) {
        let mut undo = Undo::default();
        for (write, kept) in writes.iter().zip(kept) {
            write.put(medium, kept, &mut undo.0);
        }
        look(medium);
        undo.undo(medium);
    }
}

#[test]
fn two_blocks_arrive_in_pieces_together_and_each_in_every_subset() {
    let block = |offset: usize| {
        let sectors = (0..8).map(|index| (offset + index, [1; SECTOR])).collect();
        Write { segment: SegmentNumber(1), sectors, grain: Grain::BATCH }
    };
    let all = combinations(&[block(0), block(8)]);
    let shown = |kept: &Vec<Kept>| -> Vec<bool> {
        kept.iter().flat_map(|kept| (0..8).map(|index| kept.keeps(index))).collect()
    };
    let all: std::collections::BTreeSet<Vec<bool>> = all.iter().map(shown).collect();
    // Both in pieces, which are 28 ways each; one of them in another of the 256, and the other in full or not at all.
    assert_eq!(all.len(), 28 * 28 + 2 * (256 - 28) * 2);
    let both_are_torn = |way: &&Vec<bool>| {
        way.chunks(8).all(|write| write.iter().any(|kept| *kept) && write.iter().any(|kept| !kept))
    };
    assert_eq!(all.iter().filter(both_are_torn).count(), 26 * 26);
}

#[test]
fn few_sectors_arrive_in_every_subset_and_many_in_pieces_and_with_gaps() {
    assert_eq!(Kept::ways(3, Grain::BATCH).len(), 8);
    let shown = |sectors: usize| -> std::collections::BTreeSet<Vec<bool>> {
        let kept = |way: &Kept| (0..sectors).map(|index| way.keeps(index)).collect();
        Kept::ways(sectors, Grain::BATCH).iter().map(kept).collect()
    };
    assert_eq!(shown(8).len(), 256);
    // None and all; eight each up to, from, without and alone. Of these, the first alone, all but the last, and so on, are
    // the same.
    assert_eq!(shown(9).len(), 2 + 4 * 9 - 2 - 4);
    assert!(shown(300).len() > 120 && shown(300).len() < 160, "{}", shown(300).len());
}
