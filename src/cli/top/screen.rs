//! What two looks at a node say, on a screen. It is made for 80 columns and 24 lines: more lines show more peers, and more
//! columns nothing.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use super::look::Looks;
use super::numbers::{byte_rate, bytes, count, rate, time};
use super::peers;
use crate::bus::Status;
use crate::cli::table::plain;

/// Columns that are used.
pub const COLUMNS: u16 = 80;

/// Lines that a screen should have.
pub const LINES: u16 = 24;

/// Where the right half begins.
const RIGHT: u16 = 55;

/// The part of a buffer that is written to. What lies outside is left out.
pub struct Canvas<'a> {
    area: Rect,
    buffer: &'a mut Buffer,
}

impl Canvas<'_> {
    /// How many lines there are.
    pub fn lines(&self) -> u16 {
        self.area.height
    }

    /// Writes a text into columns `x..x + width` of a line. One that is longer ends with an ellipsis.
    pub fn put(&mut self, (x, y): (u16, u16), width: u16, text: &str, style: Style) {
        let width = width.min(self.area.width.saturating_sub(x));
        if y >= self.area.height || width == 0 {
            return;
        }
        let text = plain(text);
        let (x, y) = (self.area.x + x, self.area.y + y);
        if Span::raw(text.as_str()).width() <= usize::from(width) {
            self.buffer.set_stringn(x, y, text, usize::from(width), style);
        } else {
            let (end, _) = self.buffer.set_stringn(x, y, text, usize::from(width - 1), style);
            self.buffer.set_stringn(end, y, "…", 1, style);
        }
    }

    /// Writes a text so that it ends before column `end`.
    pub fn put_right(&mut self, (end, y): (u16, u16), text: &str, style: Style) {
        let width = u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX).min(end);
        self.put((end - width, y), width, text, style);
    }
}

/// Draws the node, as it is by the last look, and how fast it goes since the one before.
pub fn draw(looks: &Looks<'_>, interval: Duration, area: Rect, buffer: &mut Buffer) {
    let area = Rect { width: area.width.min(COLUMNS), ..area }.intersection(buffer.area);
    let mut canvas = Canvas { area, buffer };
    title(looks.now.status.name.as_str(), &looks.now.status.address, interval, &mut canvas);
    let (text, is_bad) = condition(&looks.now.status);
    let style = if is_bad { Style::new().fg(Color::Red).add_modifier(Modifier::BOLD) } else { Style::new() };
    canvas.put((0, 1), COLUMNS, &text, style);
    traffic(looks, &mut canvas);
    inbox(looks, &mut canvas);
    log(looks, &mut canvas);
    peers::draw(looks, &mut canvas);
}

/// The screen as text, one line for each of its own.
pub fn text(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let (mut line, mut x) = (String::new(), buffer.area.left());
        while x < buffer.area.right() {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // What is wide hides the cell behind it.
            x += u16::try_from(Span::raw(symbol).width()).unwrap_or(1).max(1);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out
}

pub fn faint() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn title(name: &str, address: &str, interval: Duration, canvas: &mut Canvas<'_>) {
    canvas.put((0, 0), 12, "resolute top", bold());
    canvas.put((14, 0), 22, name, bold());
    canvas.put((38, 0), 25, if address.is_empty() { "not advertised" } else { address }, Style::new());
    canvas.put_right((COLUMNS, 0), &format!("every {} s, q", interval.as_secs_f64()), faint());
}

/// The worst that is to be known of the log, and whether it is bad.
fn condition(status: &Status) -> (String, bool) {
    if let Some(failure) = &status.failure {
        (format!("FAILED, nothing is accepted any more: {failure}"), true)
    } else if status.disk_quota_reached {
        (
            "DISK QUOTA: the log has as much as it may take, and accepts nothing before some is freed"
                .to_owned(),
            true,
        )
    } else if status.disk_full {
        ("DISK FULL: nothing is accepted before there is room again".to_owned(), true)
    } else if let Some(warning) = &status.durability_warning {
        (format!("NOT DURABLE: {warning}"), true)
    } else {
        (format!("the log was found {}", status.recovery), false)
    }
}

fn traffic(looks: &Looks<'_>, canvas: &mut Canvas<'_>) {
    for (end, head) in [(25, "messages"), (38, "bytes"), (51, "since opened")] {
        canvas.put_right((end, 3), head, faint());
    }
    type Sum = fn(&Status) -> u64;
    let rows: [(&str, Sum, Option<Sum>); 4] = [
        ("in   accepted", |s| s.traffic.accepted, Some(|s| s.traffic.accepted_bytes)),
        ("     handled", |s| s.traffic.handled, None),
        ("out  published", |s| s.traffic.published, Some(|s| s.traffic.published_bytes)),
        ("     delivered", |s| s.traffic.delivered, None),
    ];
    for (y, (label, messages, size)) in (4..).zip(rows) {
        canvas.put((0, y), 15, label, Style::new());
        canvas.put_right((25, y), &rate(looks.rate(messages)), bold());
        if let Some(size) = size {
            canvas.put_right((38, y), &byte_rate(looks.rate(size)), Style::new());
        }
        canvas.put_right((51, y), &count(messages(&looks.now.status)), Style::new());
    }
}

fn inbox(looks: &Looks<'_>, canvas: &mut Canvas<'_>) {
    let status = &looks.now.status;
    let rows = [
        ("waiting", count(status.incoming)),
        ("at handlers", count(status.in_handlers)),
        ("inbox", bytes(status.inbox_bytes)),
        ("retries", rate(looks.rate(|status| status.traffic.retried))),
        ("given up", rate(looks.rate(|status| status.traffic.given_up))),
        ("dead letters", count(status.dead_letters)),
        ("parked", count(status.parked)),
        ("dropped", count(status.dropped)),
    ];
    for (y, (label, value)) in (3..).zip(rows) {
        canvas.put((RIGHT, y), 13, label, Style::new());
        canvas.put_right((COLUMNS, y), &value, bold());
    }
}

fn log(looks: &Looks<'_>, canvas: &mut Canvas<'_>) {
    let (status, commits) = (&looks.now.status, &looks.now.status.commits);
    let records = looks.per_batch(|status| status.commits.records);
    let size = looks.per_batch(|status| status.commits.bytes);
    let each = match (records, size) {
        (Some(records), Some(size)) => {
            let number = if records < 10.0 { format!("{records:.1}") } else { count(records.round() as u64) };
            format!("{number} records, {} each", bytes(size.round() as u64))
        }
        _ => "none was written between the looks".to_owned(),
    };
    let mean = looks.per_batch(|status| status.commits.nanoseconds);
    let mean = mean.map_or_else(|| "-".to_owned(), |mean| time(Duration::from_nanos(mean.round() as u64)));
    let slowest = time(Duration::from_nanos(commits.slowest_recent_nanoseconds));
    let under_way = time(Duration::from_nanos(commits.oldest_in_flight_nanoseconds));
    let free = status.free_bytes.map_or_else(|| "unknown".to_owned(), bytes);
    let rows = [
        ("commits", format!("{:>8}, {each}", rate(looks.rate(|status| status.commits.batches)))),
        ("latency", format!("{mean} mean, {slowest} at most of the last 64")),
        ("lag", format!("{} records on their way to the disk, for {under_way}", count(status.durable_lag))),
        (
            "disk",
            format!(
                "log {} in {} segments, writes {}, {free} free",
                bytes(status.log_bytes),
                count(status.segments),
                byte_rate(looks.rate(|status| status.written_bytes)),
            ),
        ),
    ];
    for (y, (label, value)) in (9..).zip(rows) {
        canvas.put((0, y), 8, label, Style::new());
        let width = if y < 11 { RIGHT - 10 } else { COLUMNS - 9 };
        canvas.put((9, y), width, &value, Style::new());
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::look::Look;
    use super::*;
    use crate::bus::DestinationStatus;

    /// A node with so many peers, of which everything is as large as a number can be.
    fn absurd(peers: usize) -> Look {
        let most = u64::MAX;
        let long = "\u{1b}[2J\r\n日本語 ".repeat(50);
        let peer = |number: usize| {
            serde_json::json!({
                "node": "n", "name": format!("peer{number}{long}"), "address": long, "connected": number.is_multiple_of(2),
                "owed": most, "owed_bytes": most, "topics": [long], "wanted": [], "lost": most,
                "oldest_at": std::time::UNIX_EPOCH,
            })
        };
        let status = serde_json::json!({
            "node": "n", "name": long, "address": long, "epoch": most, "outgoing": most, "incoming": most,
            "parked": most, "dead_letters": most, "in_handlers": most, "inbox_bytes": most, "dropped": most,
            "local_topics": [], "destinations": (0..peers).map(peer).collect::<Vec<_>>(), "segments": most,
            "log_bytes": most, "flushes": most, "written_bytes": most, "file_system": long, "direct": true,
            "durability_warning": null, "registration": long, "recovery": "clean", "disk_full": false,
            "failure": null, "durable_lag": most, "free_bytes": most,
            "traffic": { "published": most, "published_bytes": most, "accepted": most, "accepted_bytes": most,
                "delivered": most, "handled": most, "retried": most, "given_up": most },
            "commits": { "batches": most, "records": most, "bytes": most, "nanoseconds": most,
                "slowest_recent_nanoseconds": most, "oldest_in_flight_nanoseconds": most },
        });
        let wall = std::time::UNIX_EPOCH + Duration::from_secs(3 * 86_400 + 7200);
        Look { status: serde_json::from_value(status).unwrap(), at: 1_000_000_000, wall }
    }

    /// The same, as it was a second before: without anything, and with one batch less.
    fn before(look: &Look) -> Look {
        let mut status = look.status.clone();
        (status.traffic, status.commits, status.written_bytes) = Default::default();
        status.commits.batches = u64::MAX - 1;
        Look { status, at: 0, ..look.clone() }
    }

    fn shown(looks: &Looks<'_>, columns: u16, lines: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
        let interval = Duration::from_secs(1);
        terminal.draw(|frame| draw(looks, interval, frame.area(), frame.buffer_mut())).unwrap();
        text(terminal.backend().buffer())
    }

    #[test]
    fn a_screen_of_80_by_24_holds_whatever_a_node_says() {
        let now = absurd(300);
        let was = before(&now);
        let screen = shown(&Looks::new(Some(&was), &now), COLUMNS, LINES);
        assert_eq!(screen.lines().count(), usize::from(LINES), "{screen}");
        assert!(screen.lines().all(|line| Span::raw(line).width() <= usize::from(COLUMNS)), "{screen}");
        assert!(!screen.chars().any(|c| c != '\n' && c.is_control()), "{screen}");
        let flat = screen.split_whitespace().collect::<Vec<_>>().join(" ");
        for told in [
            "resolute top",
            "every 1 s, q",
            "the log was found clean",
            "accepted 18.4E/s 16.0 EiB/s 18.4E at handlers",
            "waiting 18.4E",
            "published 18.4E/s 16.0 EiB/s 18.4E",
            "delivered 18.4E/s 18.4E",
            "handled 18.4E/s 18.4E",
            "at handlers 18.4E",
            "inbox 16.0 EiB",
            "retries 18.4E/s",
            "given up 18.4E/s",
            "dead letters 18.4E",
            "parked 18.4E",
            "dropped 18.4E",
            "commits 1.0/s, 18.4E records, 16.0 EiB each",
            "latency 213503d mean, 213503d at most of the last 64",
            "lag 18.4E records on their way to the disk, for 213503d",
            "log 16.0 EiB in 18.4E segments, writes 16.0 EiB/s, 16.0 EiB free",
            "peers 300, 150 connected, owed 18.4E messages, 16.0 EiB",
            "18.4E 16.0 EiB 3d 2h 18.4E",
            "and 293 more, owed 18.4E",
        ] {
            assert!(flat.contains(told), "{told:?} is not in\n{screen}");
        }
    }

    #[test]
    fn one_look_knows_no_rates_and_neither_do_looks_at_two_openings() {
        let now = absurd(0);
        let mut other = before(&now);
        other.status.epoch -= 1;
        for looks in [Looks::new(None, &now), Looks::new(Some(&other), &now), Looks::new(Some(&now), &now)] {
            let screen = shown(&looks, COLUMNS, LINES);
            let flat = screen.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flat.contains("accepted - - 18.4E"), "{screen}");
            assert!(flat.contains("commits -, none was written"), "{screen}");
        }
    }

    #[test]
    fn what_is_wrong_stands_on_top_the_worst_of_it() {
        let mut look = absurd(1);
        let told =
            |look: &Look| shown(&Looks::new(None, look), COLUMNS, LINES).lines().nth(1).unwrap().to_owned();
        look.status.durability_warning = Some("it is memory".to_owned());
        assert_eq!(told(&look), "NOT DURABLE: it is memory");
        look.status.disk_full = true;
        assert!(told(&look).starts_with("DISK FULL"));
        look.status.disk_quota_reached = true;
        assert!(told(&look).starts_with("DISK QUOTA"));
        look.status.failure = Some("\u{1b}x".repeat(200));
        assert!(
            told(&look).starts_with("FAILED, nothing is accepted any more: \u{fffd}x")
                && told(&look).ends_with('…')
        );
    }

    #[test]
    fn a_terminal_of_any_size_will_do_and_more_lines_show_more_peers() {
        let now = absurd(30);
        let looks = Looks::new(None, &now);
        for (columns, lines) in [(1, 1), (10, 5), (79, 15), (80, 16), (81, 17), (200, 23), (3, 200)] {
            shown(&looks, columns, lines);
        }
        let peers =
            |lines| shown(&looks, 120, lines).lines().filter(|line| line.starts_with("peer")).count() - 1;
        assert_eq!([peers(24), peers(45), peers(46), peers(100)], [7, 28, 30, 30]);
    }

    #[test]
    fn those_come_first_to_whom_most_is_owed() {
        let mut now = absurd(3);
        for (of, owed) in now.status.destinations.iter_mut().zip([5, 9, 7]) {
            let name = format!("owed{owed}");
            *of = DestinationStatus { name, owed, owed_bytes: owed, ..of.clone() };
        }
        let screen = shown(&Looks::new(None, &now), COLUMNS, LINES);
        let order: Vec<&str> =
            screen.lines().filter_map(|line| line.strip_prefix("owed")?.split(' ').next()).collect();
        assert_eq!(order, ["9", "7", "5"]);
        assert!(screen.contains("owed 21 messages, 21 B"), "{screen}");
    }
}
