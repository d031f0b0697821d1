//! The results as a table in Markdown.

use crate::arguments::SIZES;
use crate::machine::Machine;
use crate::peers::Kind;
use crate::results::{Figure, Results, Row, median};

const HEAD: [&str; 9] = [
    "",
    "durable when acknowledged",
    "publish/s, 128 B",
    "publish/s, 1 KiB",
    "end to end/s, 128 B",
    "end to end/s, 1 KiB",
    "one at a time, p50",
    "flushes a message, many in flight",
    "flushes a message, one at a time",
];

pub fn markdown(results: &Results, machine: &Machine) -> String {
    let mut text = format!("{}: {}.\n\n", machine.date, machine.text);
    line(&mut text, &HEAD.map(str::to_owned));
    line(&mut text, &std::array::from_fn::<_, 9, _>(|n| if n < 2 { ":--" } else { "--:" }.to_owned()));
    for row in &results.rows {
        line(&mut text, &cells(row, machine));
    }
    text.push('\n');
    notes(&mut text, results, machine);
    text
}

fn line(text: &mut String, cells: &[String; 9]) {
    text.push_str("| ");
    text.push_str(&cells.join(" | "));
    text.push_str(" |\n");
}

fn cells(row: &Row, machine: &Machine) -> [String; 9] {
    let name = format!("{} {}, {}", row.title.name, row.version, row.title.setting);
    let name = if row.title.kind == Kind::Ours { format!("**{}**", name.trim()) } else { name };
    if let Some(reason) = &row.missing {
        let name = format!("{}, {}", row.title.name, row.title.setting);
        let reason = reason.replace('|', "/").replace('\n', " ");
        let mut cells: [String; 9] = std::array::from_fn(|_| "-".to_owned());
        (cells[0], cells[1]) = (name, format!("not measured: {reason}"));
        return cells;
    }
    let durable = match row.is_durable() {
        _ if !machine.counts => "not counted",
        None => "not counted",
        Some(true) => "yes",
        Some(false) => "**no**",
    };
    let rate = |figure| row.per_second(figure).map_or_else(|| "-".to_owned(), thousands);
    let flushes = |figure| row.flushes_per_message(figure).map_or_else(|| "-".to_owned(), significant);
    [
        name,
        durable.to_owned(),
        rate(Figure::Publish(SIZES[0])),
        rate(Figure::Publish(SIZES[1])),
        rate(Figure::EndToEnd(SIZES[0])),
        rate(Figure::EndToEnd(SIZES[1])),
        row.p50_us().map_or_else(|| "-".to_owned(), |p50| format!("{p50:.0} µs")),
        flushes(Figure::Publish(SIZES[0])),
        flushes(Figure::OneAtATime),
    ]
}

fn notes(text: &mut String, results: &Results, machine: &Machine) {
    let Results { rounds, seconds, yardsticks, .. } = results;
    let fast = median(yardsticks.iter().map(|yardstick| yardstick.bytes_per_second / 1e6)).unwrap_or(0.0);
    let soon = median(yardsticks.iter().map(|yardstick| yardstick.p50_us)).unwrap_or(0.0);
    let idle = median(results.idle.iter().copied()).unwrap_or(0.0);
    let medians =
        if *rounds == 1 { "One round".to_owned() } else { format!("Medians of {rounds} alternating rounds") };
    let mut note = |note: &str| {
        text.push_str(note);
        text.push('\n');
    };
    note(&format!("{medians} of {seconds} s a measurement, clients and servers on the same cores."));
    note("The disk itself in the same run, each write flushed:");
    note(&format!("{fast:.0} MB/s (1 MiB, two in flight), p50 {soon:.0} µs (4 KiB, one at a time)."));
    if machine.counts {
        note(&format!(
            "Durable was judged by the flushes that the disk counted, less {idle:.1}/s of the idle machine."
        ));
    } else {
        note("The disk counts no flushes, so nothing was judged durable.");
    }
    note("");
    for row in &results.rows {
        let ways = [("publish", Figure::Publish(SIZES[0])), ("end to end", Figure::EndToEnd(SIZES[0]))];
        let ways: Vec<String> =
            ways.into_iter().filter_map(|(name, figure)| way(row, name, figure)).collect();
        if !ways.is_empty() {
            note(&format!("- {}: {}.", row.title.name, ways.join("; ")));
        }
    }
}

/// How a figure was reached.
fn way(row: &Row, name: &str, figure: Figure) -> Option<String> {
    let middle = row.middle(figure)?;
    let slower =
        if middle.slower.is_empty() { String::new() } else { format!(" (slower: {})", middle.slower) };
    Some(format!("{name} by {}{slower}", middle.how))
}

/// As `1,234,567`, with no more digits than a run repeats.
pub fn thousands(value: f64) -> String {
    let digits = rounded(value).to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits that are not zero.
fn rounded(value: f64) -> u64 {
    let unit = 10_f64.powi((value.max(1.0).log10().floor() as i32 - 2).max(0));
    ((value / unit).round() * unit) as u64
}

fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let decimals = (1 - value.abs().log10().floor() as i32).clamp(0, 7) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_digits_and_their_commas() {
        assert_eq!(thousands(1_234_567.0), "1,230,000");
        assert_eq!(thousands(45_678.0), "45,700");
        assert_eq!(thousands(999.6), "1,000");
        assert_eq!(thousands(7.0), "7");
    }

    #[test]
    fn flushes_have_two_digits() {
        assert_eq!(significant(1.0), "1.0");
        assert_eq!(significant(0.001_34), "0.0013");
        assert_eq!(significant(0.0), "0");
    }
}
