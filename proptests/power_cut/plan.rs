//! What goes wrong next.

use super::fault::{Effect, Fault, Kind};
use super::latency::Latency;
use super::loss::{Loss, Unit};
use super::publishing::Style;
use super::rng::Rng;

/// Of what was not flushed, so many of a hundred stay: often nothing, which shows best what was forgotten; sometimes all but
/// a sector or two of a large write, or no more than those.
const KEEP: [u64; 10] = [0, 0, 0, 1, 10, 50, 50, 90, 99, 100];

/// How much stays.
pub fn loss(rng: &mut Rng) -> Loss {
    let unit = match rng.below(10) {
        0..=6 => Unit::Sectors,
        7 => Unit::Writes,
        _ => Unit::Newest,
    };
    Loss { unit, keep: KEEP[rng.below(KEEP.len() as u64) as usize], seed: rng.number() }
}

/// What goes wrong in the next life of the nodes; `None` if the power is only cut when everything is quiet.
pub fn next(rng: &mut Rng, is_behind_a_tear: bool) -> Option<Fault> {
    let cut = Effect::Cut(loss(rng));
    let (kind, first, last, effect) = match rng.below(22) {
        // What an opening leaves of writes that were in flight shows if the next cut comes right behind its first batch.
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

/// How fast the disk is. The kernel lets the second of two writes pass the flush of the first one only if it has waited for
/// some four milliseconds: on slow disks, two are nearly always on their way at once.
pub fn latency(rng: &mut Rng, style: Style) -> Latency {
    let slow = Latency { write_us: 6_000, flush_us: 2_000 };
    let disks = [0, 300, 2_000].map(|flush_us| Latency { write_us: 0, flush_us });
    let is_slow = rng.chance(if style == Style::Small { 75 } else { 35 });
    let drawn = disks[rng.below(disks.len() as u64) as usize];
    if is_slow { slow } else { drawn }
}

/// Bytes that are published before the power is cut in any case.
pub fn bytes(rng: &mut Rng, style: Style) -> i64 {
    match style {
        Style::Small => (rng.between(10, 100) << 10) as i64,
        Style::Mixed | Style::Large => (rng.between(1, 5) * rng.between(1, 5)) as i64 * (1 << 20),
    }
}
