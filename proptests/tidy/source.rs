//! One source file, taken apart just far enough for the rules: code without comments and texts, without tests.

use std::ops::Range;

/// A source file. Lines are counted from 0 in here and from 1 in what is printed.
pub struct Source {
    /// Its path below `src`.
    pub name: String,
    /// The lines as they are.
    pub lines: Vec<String>,
    /// The same lines; comments, the contents of texts, and everything that is compiled for tests only are blanks.
    pub code: Vec<String>,
    /// Lines that are compiled for tests only.
    pub test_lines: Vec<bool>,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Source {
        let mut code: Vec<char> = blank_comments_and_texts(text);
        let test_only = text.contains("#![cfg(test)]") || name.ends_with("tests.rs");
        let tests = if test_only { vec![Range { start: 0, end: code.len() }] } else { test_items(&code) };
        let mut test_lines = vec![test_only; text.lines().count()];
        for range in tests {
            let first = line_of(&code, range.start);
            let last = line_of(&code, range.end.saturating_sub(1));
            test_lines.iter_mut().take(last + 1).skip(first).for_each(|line| *line = true);
            code[range].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
        }
        let code: String = code.into_iter().collect();
        Source {
            name: name.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            code: code.lines().map(str::to_owned).collect(),
            test_lines,
        }
    }

    /// The first part of the path: the layer, or the file's own stem at the top.
    pub fn layer(&self) -> &str {
        let first = self.name.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many modules stand above the items of this file: 0 in `lib.rs`, 1 in `wire/mod.rs`, 2 in `wire/hello.rs`.
    pub fn depth(&self) -> usize {
        let parts = self.name.split('/').count();
        match self.name.as_str() {
            "lib.rs" | "main.rs" => 0,
            name if name.ends_with("/mod.rs") => parts - 1,
            _ => parts,
        }
    }

    /// Where a line is, as people write it.
    pub fn at(&self, line: usize) -> String {
        format!("src/{}:{}", self.name, line + 1)
    }

    /// The lines on which `word` stands as code, not as a part of a longer word.
    pub fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let has = move |line: &&String| contains_word(line, word);
        self.code.iter().enumerate().filter(move |(_, line)| has(line)).map(|(index, _)| index)
    }

    /// The first name after every `root::`, those in braces included: `root::{a::b, c}` names `a` and `c`.
    pub fn names_below(&self, root: &str) -> Vec<(usize, String)> {
        let text: Vec<char> = self.code.join("\n").chars().collect();
        let pattern: Vec<char> = format!("{root}::").chars().collect();
        let mut found = Vec::new();
        for start in 0..text.len() {
            let before = start.checked_sub(1).map_or(' ', |index| text[index]);
            // `super::crate::x` is no path, and `a::std::fs` is none of the standard library's.
            if !text[start..].starts_with(&pattern) || is_word(before) || before == ':' {
                continue;
            }
            let mut at = start + pattern.len();
            if text.get(at) != Some(&'{') {
                found.extend(word_at(&text, at).map(|word| (line_of(&text, at), word)));
                continue;
            }
            let mut depth = 0;
            let mut expects_name = false;
            while let Some(c) = text.get(at) {
                match c {
                    '{' => (depth, expects_name) = (depth + 1, depth == 0),
                    '}' if depth == 1 => break,
                    '}' => depth -= 1,
                    ',' => expects_name = depth == 1,
                    c if is_word(*c) && expects_name => {
                        found.extend(word_at(&text, at).map(|word| (line_of(&text, at), word)));
                        expects_name = false;
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        found
    }

    /// Whether a comment that contains `mark` stands on the line or above it, with at most `reach` lines of other
    /// code between.
    pub fn has_comment_above(&self, line: usize, mark: &str, reach: usize) -> bool {
        if self.lines[line].contains(mark) {
            return true;
        }
        let mut code_between = 0;
        let mut in_comment = false;
        for above in self.lines[..line].iter().rev() {
            let is_comment = above.trim_start().starts_with("//");
            if is_comment && above.contains(mark) {
                return true;
            }
            // A blank line, or the end of the comment that is nearest, ends the search.
            if above.trim().is_empty() || (in_comment && !is_comment) {
                return false;
            }
            in_comment = is_comment;
            code_between += usize::from(!is_comment);
            if code_between > reach {
                return false;
            }
        }
        false
    }

    /// Every function: its name, its first line, and how many lines it has.
    pub fn functions(&self) -> Vec<(String, usize, usize)> {
        let text: Vec<char> = self.code.join("\n").chars().collect();
        let mut found = Vec::new();
        for start in 0..text.len() {
            let is_fn = text[start..].starts_with(&['f', 'n', ' ']);
            if !is_fn || start.checked_sub(1).is_some_and(|before| is_word(text[before])) {
                continue;
            }
            // A declaration without a body ends in a semicolon; those in `[u8; 4]` are within brackets.
            if let (Some(name), Some(end)) = (word_at(&text, start + 3), end_of_item(&text, start)) {
                let first = line_of(&text, start);
                found.push((name, first, line_of(&text, end) - first + 1));
            }
        }
        found
    }
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word_at(text: &[char], at: usize) -> Option<String> {
    let word: String = text.get(at..)?.iter().take_while(|c| is_word(**c)).collect();
    (!word.is_empty()).then_some(word)
}

fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        // A word that begins or ends in a sign, such as `dbg!`, may touch anything there.
        let open =
            |edge: Option<char>, own: Option<char>| !(edge.is_some_and(is_word) && own.is_some_and(is_word));
        open(before, word.chars().next()) && open(after, word.chars().next_back())
    })
}

fn line_of(text: &[char], at: usize) -> usize {
    text[..at.min(text.len())].iter().filter(|c| **c == '\n').count()
}

/// The last character of the item that begins at `start`: the brace that closes its body, or its semicolon.
fn end_of_item(text: &[char], start: usize) -> Option<usize> {
    let (mut braces, mut brackets) = (0, 0);
    for (at, c) in text.iter().enumerate().skip(start) {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 && brackets == 0 {
                    return Some(at);
                }
            }
            ';' if braces == 0 && brackets == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// Where the items are that `#[cfg(test)]`, alone or with others, keeps from users.
fn test_items(code: &[char]) -> Vec<Range<usize>> {
    let starts = ["#[cfg(test)]", "#[cfg(all(test"].map(|start| start.chars().collect::<Vec<char>>());
    let mut found: Vec<Range<usize>> = Vec::new();
    for at in 0..code.len() {
        let is_start = starts.iter().any(|start| code[at..].starts_with(start));
        if is_start && found.last().is_none_or(|last| last.end <= at) {
            found.push(at..end_of_item(code, at).map_or(code.len(), |end| end + 1));
        }
    }
    found
}

/// The text with blanks for comments and for what stands in texts and characters. Lines stay where they are.
fn blank_comments_and_texts(text: &str) -> Vec<char> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = chars.clone();
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => find(&chars, at, &['\n']),
            '/' if chars.get(at + 1) == Some(&'*') => end_of_block_comment(&chars, at),
            '"' => end_of_text(&chars, at),
            '\'' => end_of_character(&chars, at),
            'r' if at == 0 || !is_word(chars[at - 1]) || is_byte_prefix(&chars, at) => {
                end_of_raw_text(&chars, at)
            }
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        out[at..end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
        at = end;
    }
    out
}

/// Whether the character before is the `b` or `c` of a text such as `br"…"`.
fn is_byte_prefix(chars: &[char], at: usize) -> bool {
    matches!(chars[at - 1], 'b' | 'c') && (at < 2 || !is_word(chars[at - 2]))
}

fn find(chars: &[char], from: usize, what: &[char]) -> usize {
    (from..chars.len()).find(|at| chars[*at..].starts_with(what)).unwrap_or(chars.len())
}

fn end_of_block_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_text(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// A character, or nothing if it is a lifetime.
fn end_of_character(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), _) => find(chars, from + 3, &['\'']) + 1,
        (Some(_), Some('\'')) => from + 3,
        _ => from,
    }
}

fn end_of_raw_text(chars: &[char], from: usize) -> usize {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + 1 + hashes) != Some(&'"') {
        return from;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    (find(chars, from + 2 + hashes, &close) + close.len()).min(chars.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        blank_comments_and_texts(text).into_iter().collect()
    }

    #[test]
    fn comments_and_texts_are_blanked_and_code_is_not() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(code(r#"f("x \" {", y)"#), "f(        , y)");
        assert_eq!(code("f(r#\"\"{\"#, br\"{\", b'{', '\\'', '{')"), "f(       , b    , b   ,     ,    )");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    }

    #[test]
    fn what_is_for_tests_only_is_no_code() {
        let source = Source::new(
            "x.rs",
            "use a;\n#[cfg(test)]\nmod t;\nfn p() {}\n#[cfg(test)]\nmod tests {\n    fn q() {}\n}\nfn r() {}\n",
        );
        let names: Vec<_> = source.functions().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["p", "r"]);
        assert_eq!(source.test_lines, [false, true, true, false, true, true, true, true, false]);
    }

    #[test]
    fn functions_have_their_lines_counted() {
        let source = Source::new("x.rs", "trait T { fn a(x: [u8; 2]); }\nfn b()\n{\n    if x {\n    }\n}\n");
        assert_eq!(source.functions(), [("a".to_owned(), 0, 1), ("b".to_owned(), 1, 5)]);
    }

    #[test]
    fn names_below_a_root_are_found_in_braces_too() {
        let source =
            Source::new("x.rs", "use std::{fs, io::{net}};\nuse std::net::X;\nlet y = mystd::thread;\n");
        let found = [(0, "fs".to_owned()), (0, "io".to_owned()), (1, "net".to_owned())];
        assert_eq!(source.names_below("std"), found);
    }
}
