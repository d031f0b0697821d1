//! The peers of a node on the screen: those first to whom most is owed.

use ratatui::style::{Modifier, Style};

use super::look::Looks;
use super::numbers::{bytes, count, time};
use super::screen::{COLUMNS, Canvas, faint};
use crate::bus::DestinationStatus;

/// The line that sums them up. Their heads and they themselves follow.
const FIRST_LINE: u16 = 14;

/// The columns of numbers: their head, and where each ends.
const NUMBERS: [(&str, u16); 4] = [("owed", 52), ("bytes", 62), ("oldest", 72), ("lost", COLUMNS)];

pub fn draw(looks: &Looks<'_>, canvas: &mut Canvas<'_>) {
    let mut peers: Vec<&DestinationStatus> = looks.now.status.destinations.iter().collect();
    // Of those that are owed the same, the one that has waited longest, and then the one that is away.
    peers.sort_by_key(|peer| {
        (std::cmp::Reverse(peer.owed), peer.oldest_at, peer.connected, &peer.name, &peer.address)
    });
    let connected = peers.iter().filter(|peer| peer.connected).count() as u64;
    let sums =
        format!("peers {}, {} connected, {}", count(peers.len() as u64), count(connected), owed(&peers));
    canvas.put((0, FIRST_LINE), COLUMNS, &sums, Style::new().add_modifier(Modifier::BOLD));
    if peers.is_empty() {
        return;
    }
    for (x, head) in [(0, "name"), (17, "address"), (40, "here")] {
        canvas.put((x, FIRST_LINE + 1), 8, head, faint());
    }
    for (head, end) in NUMBERS {
        canvas.put_right((end, FIRST_LINE + 1), head, faint());
    }
    let room = usize::from(canvas.lines().saturating_sub(FIRST_LINE + 2));
    let fit = if peers.len() <= room { room } else { room.saturating_sub(1) };
    let (shown, rest) = peers.split_at(peers.len().min(fit));
    for (y, peer) in (FIRST_LINE + 2..).zip(shown) {
        row(looks, peer, y, canvas);
    }
    if !rest.is_empty() {
        let last = FIRST_LINE + 2 + u16::try_from(shown.len()).unwrap_or(u16::MAX - FIRST_LINE - 2);
        let text = format!("and {} more, {}", count(rest.len() as u64), owed(rest));
        canvas.put((0, last), COLUMNS, &text, faint());
    }
}

fn owed(peers: &[&DestinationStatus]) -> String {
    let sum = |of: fn(&DestinationStatus) -> u64| {
        peers.iter().fold(0, |sum: u64, peer| sum.saturating_add(of(peer)))
    };
    format!("owed {} messages, {}", count(sum(|peer| peer.owed)), bytes(sum(|peer| peer.owed_bytes)))
}

fn row(looks: &Looks<'_>, peer: &DestinationStatus, y: u16, canvas: &mut Canvas<'_>) {
    let name = if peer.node.is_none() { "(nobody yet)" } else { &peer.name };
    canvas.put((0, y), 16, name, Style::new());
    canvas.put((17, y), 22, &peer.address, Style::new());
    let style = if peer.connected { Style::new() } else { Style::new().add_modifier(Modifier::BOLD) };
    canvas.put((40, y), 4, if peer.connected { "yes" } else { "no" }, style);
    let oldest = match peer.oldest_at {
        Some(at) => time(looks.age(at)),
        None => "-".to_owned(),
    };
    let numbers = [count(peer.owed), bytes(peer.owed_bytes), oldest, count(peer.lost)];
    for ((_, end), number) in NUMBERS.into_iter().zip(numbers) {
        canvas.put_right((end, y), &number, Style::new());
    }
}
