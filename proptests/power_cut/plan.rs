//! What goes wrong next.

use super::fault::{Effect, Fault, Kind};
use super::rng::Rng;

/// Of what was not flushed, so many of a hundred sectors and names stay: often none, which shows best what was forgotten.
const KEEP: [u64; 8] = [0, 0, 0, 10, 50, 50, 90, 100];

/// How much stays.
pub fn keep(rng: &mut Rng) -> u64 {
    KEEP[rng.below(KEEP.len() as u64) as usize]
}

/// What goes wrong in the next life of the nodes; `None` if the power is only cut when everything is quiet.
pub fn next(rng: &mut Rng) -> Option<Fault> {
    let cut = Effect::Cut { keep: keep(rng), seed: rng.number() };
    let (kind, last, effect) = match rng.below(20) {
        // While a node is opened, mostly.
        0..=4 => (None, 40, cut),
        5..=6 => (Some(Kind::ChangeNames), 8, cut),
        7..=8 => (Some(Kind::FlushNames), 6, cut),
        9..=11 => (Some(Kind::Write), 120, cut),
        12..=14 => (Some(Kind::Flush), 120, cut),
        15..=16 => (Some(Kind::Flush), 60, Effect::Refuse),
        17..=18 => (Some(Kind::FlushNames), 6, Effect::Refuse),
        _ => return None,
    };
    Some(Fault { kind, number: rng.between(1, last), effect })
}

/// How long a flush takes: on some disks long enough for two writes to be on their way at once.
pub fn flush_us(rng: &mut Rng) -> u64 {
    [0, 0, 300, 2_000][rng.below(4) as usize]
}

/// Bytes that are published before the power is cut in any case.
pub fn bytes(rng: &mut Rng) -> i64 {
    (rng.between(1, 5) * rng.between(1, 5)) as i64 * (1 << 20)
}
