//! What goes wrong next.

use super::fault::{Effect, Fault, Kind};
use super::loss::{Loss, Unit};
use super::publishing::Style;
use super::rng::Rng;

/// Of what was not flushed, so many of a hundred stay: often nothing, which shows best what was forgotten; sometimes all but
/// a sector or two of a large write, or no more than those.
const KEEP: [u64; 10] = [0, 0, 0, 1, 10, 50, 50, 90, 99, 100];

/// How much stays.
pub fn loss(rng: &mut Rng) -> Loss {
    let unit = if rng.chance(75) { Unit::Sectors } else { Unit::Writes };
    Loss { unit, keep: KEEP[rng.below(KEEP.len() as u64) as usize], seed: rng.number() }
}

/// What goes wrong in the next life of the nodes; `None` if the power is only cut when everything is quiet.
pub fn next(rng: &mut Rng, is_behind_a_tear: bool) -> Option<Fault> {
    let cut = Effect::Cut(loss(rng));
    let (kind, first, last, effect) = match rng.below(22) {
        // In the middle of the repair, or behind the first batches that are written over what was cut off.
        0..=13 if is_behind_a_tear => (Some(Kind::Flush), 3, 8, Effect::Cut(Loss { keep: 0, ..loss(rng) })),
        // While a node is opened, mostly.
        0..=4 => (None, 1, 40, cut),
        5..=6 => (Some(Kind::ChangeNames), 1, 8, cut),
        7..=8 => (Some(Kind::FlushNames), 1, 6, cut),
        9..=11 => (Some(Kind::Write), 1, 120, cut),
        12..=14 => (Some(Kind::Flush), 1, 120, cut),
        15..=16 => (Some(Kind::Flush), 1, 60, Effect::Refuse),
        17..=18 => (Some(Kind::FlushNames), 1, 6, Effect::Refuse),
        19..=20 => (Some(Kind::Free), 1, 2, cut),
        _ => return None,
    };
    Some(Fault { kind, number: rng.between(first, last), effect })
}

/// What is published, and how.
pub fn style(rng: &mut Rng) -> Style {
    [Style::Mixed, Style::Mixed, Style::Large, Style::Small][rng.below(4) as usize]
}

/// How long a flush takes, and a write that is durable by itself: on some disks long enough for the next batch to be waiting.
pub fn flush_us(rng: &mut Rng) -> u64 {
    [0, 300, 2_000, 6_000][rng.below(4) as usize]
}

/// Bytes that are published before the power is cut in any case.
pub fn bytes(rng: &mut Rng, style: Style) -> i64 {
    match style {
        Style::Small => (rng.between(10, 100) << 10) as i64,
        Style::Mixed | Style::Large => (rng.between(1, 5) * rng.between(1, 5)) as i64 * (1 << 20),
    }
}
