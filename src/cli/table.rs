//! Tables for people.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table, TableComponent};

use super::exit::Failure;
use super::output::{Output, Wrote, stdout_is_terminal};

/// Rows that are laid out together. A longer list becomes several tables, so that it need not fit in memory.
const ROWS_PER_TABLE: usize = 1000;

/// Characters of a payload that a table shows.
const PREVIEW_CHARACTERS: usize = 60;

/// A table that is written as it grows.
pub struct Rows {
    header: &'static [&'static str],
    table: Table,
    rows: usize,
}

impl Rows {
    pub fn new(header: &'static [&'static str]) -> Rows {
        Rows { header, table: blank(header), rows: 0 }
    }

    pub fn push(&mut self, out: &mut Output, row: Vec<String>) -> Result<Wrote, Failure> {
        self.table.add_row(row.iter().map(|cell| lines(cell)));
        self.rows += 1;
        if self.rows.is_multiple_of(ROWS_PER_TABLE) { self.write(out) } else { Ok(Wrote::Taken) }
    }

    fn write(&mut self, out: &mut Output) -> Result<Wrote, Failure> {
        let table = std::mem::replace(&mut self.table, blank(self.header));
        out.line(&table.to_string())
    }

    /// Writes the rest, and how many there were; `empty` if there were none.
    pub fn finish(mut self, out: &mut Output, empty: &str) -> Result<Wrote, Failure> {
        if self.rows == 0 {
            return out.line(empty);
        }
        if !self.rows.is_multiple_of(ROWS_PER_TABLE) {
            self.write(out)?;
        }
        out.line(&format!("{} in all", self.rows))
    }
}

fn blank(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    for between_rows in [TableComponent::HorizontalLines, TableComponent::MiddleIntersections] {
        table.remove_style(between_rows);
    }
    // In a pipe lines have no width to fit.
    if stdout_is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(header.iter().copied());
    table
}

/// A table of names and values.
pub fn facts(rows: &[(&str, String)]) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    for (name, value) in rows {
        table.add_row([(*name).to_owned(), lines(value)]);
    }
    table.trim_fmt()
}

/// A text of somebody else's, in one line: what a terminal would take for a command is none.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The same in several lines.
pub fn lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// The beginning of a payload, in one line.
pub fn preview(payload: &[u8]) -> String {
    // Four bytes are the most that a character has; one more character says that there is more.
    let beginning = &payload[..payload.len().min(4 * (PREVIEW_CHARACTERS + 1))];
    let text = String::from_utf8_lossy(beginning);
    let mut shown: String = plain(&text).chars().take(PREVIEW_CHARACTERS).collect();
    if text.chars().count() > PREVIEW_CHARACTERS {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_gives_a_terminal_no_commands() {
        assert_eq!(plain("\u{1b}]0;x\u{7}\u{9b}1m\nZoë"), "\u{fffd}]0;x\u{fffd}\u{fffd}1m\u{fffd}Zoë");
        assert_eq!(lines("a\u{1b}\nb"), "a\u{fffd}\nb");
    }

    #[test]
    fn a_preview_is_one_short_line_whatever_the_payload() {
        assert_eq!(preview("Zoë\n\u{1b}[31m".as_bytes()), "Zoë\u{fffd}\u{fffd}[31m");
        assert_eq!(preview(&[0xff; 1000]).chars().count(), PREVIEW_CHARACTERS + 1);
        assert_eq!(preview("ü".repeat(60).as_bytes()), "ü".repeat(60));
        assert_eq!(preview("ü".repeat(61).as_bytes()), format!("{}…", "ü".repeat(60)));
    }
}
