//! The rules themselves. Each says what it found, and where.

use super::layers::{Layer, find};
use super::source::Source;

/// The most lines of a file without its tests, and of a function.
#[derive(Clone, Copy)]
pub struct Lengths {
    pub file: usize,
    pub function: usize,
}

/// What to aim at: longer is printed.
pub const SOFT: Lengths = Lengths { file: 400, function: 70 };
/// What breaks the test.
pub const HARD: Lengths = Lengths { file: 450, function: 90 };

const CLOCKS: [&str; 3] = ["Instant::now", "SystemTime::now", "clock_gettime"];
const RINGS: [&str; 3] = ["tokio_uring", "io_uring", "nix"];
const IMPURE_WORDS: [&str; 12] = [
    "SystemTime",
    "Instant",
    "HashMap",
    "HashSet",
    "tokio",
    "nix",
    "getrandom",
    "async",
    "println!",
    "eprintln!",
    "unsafe",
    "tracing",
];
const IMPURE_STD: [&str; 6] = ["fs", "net", "time", "thread", "env", "process"];
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// Everything that breaks a rule in this file.
pub fn breaks(source: &Source) -> Vec<String> {
    let Some(layer) = find(source.layer()) else {
        return vec![format!("{}: src/{} is no layer: give it a row", source.at(0), source.layer())];
    };
    let mut found = lengths(source, HARD);
    found.extend(purity(source, layer));
    found.extend(imports(source, layer));
    found.extend(places(source, layer));
    found.extend(unsafe_blocks(source, layer));
    found.extend(panics(source));
    found
}

/// Files and functions that are too long.
pub fn lengths(source: &Source, most: Lengths) -> Vec<String> {
    let mut found = Vec::new();
    let lines = source.test_lines.iter().filter(|is_test| !**is_test).count();
    if lines > most.file {
        found.push(format!("{}: {lines} lines without tests, {} is the most", source.at(0), most.file));
    }
    for (name, first, lines) in source.functions() {
        if lines > most.function {
            found.push(format!(
                "{}: {name} has {lines} lines, {} is the most",
                source.at(first),
                most.function
            ));
        }
    }
    found
}

fn purity(source: &Source, layer: &Layer) -> Vec<String> {
    if !layer.pure {
        return Vec::new();
    }
    let mut found = words(source, &IMPURE_WORDS, "has no place in a pure layer");
    for (line, name) in source.names_below("std") {
        if IMPURE_STD.contains(&name.as_str()) {
            found.push(format!("{}: std::{name} has no place in a pure layer", source.at(line)));
        }
    }
    let is_top = source.name == format!("{}/mod.rs", layer.name);
    if is_top && !source.code.iter().any(|line| line.contains("#![forbid(unsafe_code)]")) {
        found.push(format!("{}: a pure layer begins with #![forbid(unsafe_code)]", source.at(0)));
    }
    found
}

fn imports(source: &Source, layer: &Layer) -> Vec<String> {
    let to_the_root = vec!["super"; source.depth().max(1)].join("::");
    let mut found = Vec::new();
    for root in ["crate", "resolute", &to_the_root] {
        for (line, name) in source.names_below(root) {
            let allowed = match find(&name) {
                Some(other) => other.name == layer.name || layer.below.contains(&other.name),
                // `super` may as well stand in a module within the file. What the crate's root names anew comes from
                // above.
                None => root == to_the_root || matches!(layer.name, "bus" | "cli" | "lib" | "main"),
            };
            if !allowed {
                found.push(format!("{}: {} must not see {name}", source.at(line), layer.name));
            }
        }
    }
    found
}

fn places(source: &Source, layer: &Layer) -> Vec<String> {
    let mut found = Vec::new();
    if layer.name != "io" {
        found.extend(words(source, &RINGS, "belongs to io alone"));
    }
    if source.name != "io/clock.rs" {
        found.extend(words(source, &CLOCKS, "belongs to io/clock.rs alone"));
    }
    found.extend(words(source, &UNFINISHED, "must not stay"));
    found
}

fn unsafe_blocks(source: &Source, layer: &Layer) -> Vec<String> {
    let mut found = Vec::new();
    for line in source.lines_with("unsafe") {
        if layer.name != "io" && !layer.pure {
            found.push(format!("{}: unsafe belongs to io alone", source.at(line)));
        }
        // To declare an unsafe function asks for care, it does not claim that it was taken.
        let claims = !source.code[line].contains("unsafe fn");
        if layer.name == "io" && claims && !source.has_comment_above(line, "SAFETY:", 3) {
            found.push(format!("{}: unsafe without // SAFETY: above it", source.at(line)));
        }
    }
    found
}

fn panics(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (line, code) in source.code.iter().enumerate() {
        let panics = code.contains(".unwrap()") || code.contains(".expect(");
        if panics && !source.has_comment_above(line, "// Invariant:", 3) {
            found.push(format!("{}: unwrap or expect without // Invariant: above it", source.at(line)));
        }
    }
    found
}

fn words(source: &Source, words: &[&str], why: &str) -> Vec<String> {
    let found = words.iter().flat_map(|word| source.lines_with(word).map(move |line| (line, word)));
    found.map(|(line, word)| format!("{}: {word} {why}", source.at(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(name: &str, text: &str) -> Vec<String> {
        breaks(&Source::new(name, text))
    }

    /// That each text breaks a rule in that file, and once only.
    fn each_breaks(name: &str, texts: &[&str]) {
        for text in texts {
            assert_eq!(broken(name, text).len(), 1, "{text}: {:?}", broken(name, text));
        }
    }

    fn none_breaks(name: &str, texts: &[&str]) {
        for text in texts {
            assert_eq!(broken(name, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_break_is_told_with_its_file_and_line() {
        let found = broken("log/x.rs", "\nuse std::fs;\n");
        assert_eq!(found, ["src/log/x.rs:2: std::fs has no place in a pure layer"]);
    }

    #[test]
    fn pure_layers_are_pure() {
        each_breaks(
            "engine/x.rs",
            &[
                "use std::{io, net};",
                "async fn f() {}",
                "x: HashMap<A, B>",
                "println!()",
                "unsafe { x }",
                "a: Instant",
            ],
        );
        none_breaks(
            "engine/x.rs",
            &["// async", "\"HashMap\"", "std::fmt", "asynchronous()", "#![forbid(unsafe_code)]"],
        );
        none_breaks("engine/x.rs", &["#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"]);
        each_breaks("log/mod.rs", &["pub mod x;"]);
    }

    #[test]
    fn imports_point_down() {
        each_breaks(
            "format/x.rs",
            &["use crate::log::A;", "use crate::{ids::A, wire::B};", "use super::super::io;"],
        );
        each_breaks("log/x.rs", &["use crate::wire::A;", "use crate::Bus;"]);
        each_breaks("wire/x.rs", &["use crate::log;"]);
        each_breaks("engine/x.rs", &["crate::io::f()", "crate::bus::f()", "crate::cli::f()"]);
        each_breaks("io/x.rs", &["use crate::bus;"]);
        each_breaks("bus/x.rs", &["use crate::cli;"]);
        each_breaks("cli/x.rs", &["use crate::engine;", "use resolute::io;"]);
        each_breaks("stray/x.rs", &[""]);
        none_breaks("wire/x.rs", &["use crate::format::A;", "use super::super::ids;", "use crate::wire::B;"]);
        none_breaks("cli/x.rs", &["use crate::{bus, format, log};", "use resolute::Bus;"]);
    }

    #[test]
    fn rings_and_clocks_have_their_place() {
        each_breaks(
            "bus/x.rs",
            &["tokio_uring::start()", "use nix::x;", "Instant::now()", "SystemTime::now()"],
        );
        each_breaks("io/x.rs", &["std::time::Instant::now()", "clock_gettime(x)"]);
        none_breaks("io/clock.rs", &["Instant::now()", "use nix::x;"]);
        none_breaks("bus/x.rs", &["let x: Instant;", "unix::x()"]);
    }

    #[test]
    fn unsafe_is_argued_in_io_and_absent_elsewhere() {
        each_breaks(
            "io/x.rs",
            &["unsafe { x }", "// SAFETY: far\n\nunsafe { x }", "// SAFETY: a\nf();\n// b\nunsafe { x }"],
        );
        none_breaks("io/x.rs", &["// SAFETY: a\n// b\nlet x =\n    unsafe { x };", "unsafe fn f() {}"]);
        each_breaks("bus/x.rs", &["// SAFETY: a\nunsafe { x }"]);
    }

    #[test]
    fn a_panic_names_the_invariant_that_rules_it_out() {
        each_breaks(
            "bus/x.rs",
            &["x.unwrap()", "x.expect(\"y\")", "// Invariant: a\n1;\n2;\n3;\n4;\nx.unwrap()"],
        );
        none_breaks(
            "bus/x.rs",
            &["// Invariant: a\n// b\nlet y = x\n    .unwrap();", "x.unwrap_or(1)", "/// x.unwrap()"],
        );
        each_breaks("bus/x.rs", &["todo!()", "unimplemented!()", "dbg!(x)"]);
    }

    #[test]
    fn files_and_functions_are_short() {
        let long = format!("fn f() {{\n{}}}\n", "x;\n".repeat(89));
        assert_eq!(broken("bus/x.rs", &long), ["src/bus/x.rs:1: f has 91 lines, 90 is the most"]);
        assert_eq!(broken("bus/x.rs", &"x;\n".repeat(451)).len(), 1);
        let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "x;\n".repeat(450), "x;\n".repeat(450));
        none_breaks("bus/x.rs", &[&tests]);
    }
}
