//! The deliberate bugs of `scripts/mutants`: what each patch must say of itself, and that it still fits the source.
//!
//! To build and run each of them takes a while and is the script's business. Here, with all other tests, it is seen that
//! none is outdated, so that the script can be run on any day.

use std::fs;
use std::path::Path;

/// One patch: a bug, who notices it, and where it goes.
#[derive(Debug, PartialEq, Eq)]
struct Mutant {
    bug: String,
    caught_by: Vec<String>,
    hunks: Vec<Hunk>,
}

/// One place of a patch.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hunk {
    file: String,
    /// The lines as they are: those around the place, and those that go.
    old: Vec<String>,
    /// The lines as they will be.
    new: Vec<String>,
}

impl Mutant {
    /// Reads a patch as `git diff` writes it, behind the lines that say what it is.
    fn parse(text: &str) -> Result<Mutant, String> {
        let (head, diff) =
            text.split_once("\n\ndiff --git ").ok_or("no line between the words and the diff")?;
        let mut lines = head.lines();
        let bug =
            lines.next().and_then(|line| line.strip_prefix("Bug: ")).ok_or("the first line is no `Bug: `")?;
        let caught_by: Option<Vec<String>> =
            lines.map(|line| line.strip_prefix("Caught by: ").map(str::to_owned)).collect();
        let caught_by =
            caught_by.filter(|tests| !tests.is_empty()).ok_or("not followed by `Caught by: ` alone")?;
        Ok(Mutant { bug: bug.to_owned(), caught_by, hunks: hunks(diff)? })
    }
}

/// The hunks of a diff, whose first line may be cut.
fn hunks(diff: &str) -> Result<Vec<Hunk>, String> {
    let (mut file, mut hunks, mut left) = (String::new(), Vec::<Hunk>::new(), (0, 0));
    for line in diff.lines().skip(1) {
        if left == (0, 0) {
            if let Some(path) = line.strip_prefix("+++ b/") {
                path.clone_into(&mut file);
            } else if let Some(counts) = line.strip_prefix("@@ -") {
                left = line_counts(counts).ok_or_else(|| format!("what is {line:?}"))?;
                hunks.push(Hunk { file: file.clone(), ..Hunk::default() });
            } else if !line.starts_with("--- a/") && !line.starts_with("diff --git ") {
                return Err(format!("{line:?} is behind the last line of a hunk"));
            }
            continue;
        }
        let hunk = hunks.last_mut().ok_or("no hunk")?;
        let (sign, rest) = line.split_at_checked(1).ok_or("an empty line in a hunk")?;
        if matches!(sign, " " | "-") {
            hunk.old.push(rest.to_owned());
            left.0 -= 1;
        }
        if matches!(sign, " " | "+") {
            hunk.new.push(rest.to_owned());
            left.1 -= 1;
        }
        if !matches!(sign, " " | "-" | "+") || left.0 < 0 || left.1 < 0 {
            return Err(format!("{line:?} in a hunk"));
        }
    }
    if hunks.is_empty() || left != (0, 0) { Err("a hunk is cut off".to_owned()) } else { Ok(hunks) }
}

/// How many old and new lines a hunk has, from `12,7 +12,6 @@ …`.
fn line_counts(text: &str) -> Option<(i64, i64)> {
    let (old, rest) = text.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let count = |range: &str| range.split_once(',').map_or(Some(1), |(_, count)| count.parse().ok());
    Some((count(old)?, count(new)?))
}

/// Why a hunk does not fit a file with that text.
fn misfit(hunk: &Hunk, text: &str) -> Option<String> {
    let (code, _) = text.split_once("\n#[cfg(test)]\nmod tests {").unwrap_or((text, ""));
    let lines: Vec<&str> = code.lines().collect();
    let places = lines.windows(hunk.old.len()).filter(|lines| hunk.old.iter().eq(lines.iter())).count();
    match places {
        _ if hunk.old == hunk.new => Some("it changes nothing".to_owned()),
        1 => None,
        _ => Some(format!("in {} its lines are found {places} times", hunk.file)),
    }
}

/// The patches, by their names.
fn mutants() -> Vec<(String, Mutant)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("proptests/mutants");
    let mut found: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert_eq!(path.extension().unwrap(), "patch");
            let mutant = Mutant::parse(&fs::read_to_string(&path).unwrap());
            (name.clone(), mutant.unwrap_or_else(|why| panic!("{name}: {why}")))
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

#[test]
fn there_are_enough_and_each_says_what_it_is_and_who_notices() {
    let mutants = mutants();
    assert!(mutants.len() >= 40, "only {}", mutants.len());
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let number = |name: &str| name.split_once('-').and_then(|(number, _)| number.parse::<u32>().ok());
    for pair in mutants.windows(2) {
        assert!(number(&pair[0].0) < number(&pair[1].0), "{}: numbers rise", pair[1].0);
    }
    for (name, mutant) in &mutants {
        assert!(number(name).is_some(), "{name} has no number");
        assert!(mutant.bug.ends_with('.') && mutant.bug.len() > 20, "{name}: a sentence says what is wrong");
        for caught in &mutant.caught_by {
            let (target, filter) = caught.split_once(' ').unwrap_or((caught, ""));
            let is_target = target == "lib" || manifest.contains(&format!("[[test]]\nname = \"{target}\"\n"));
            assert!(is_target, "{name}: there is no target {target}");
            assert!(!filter.contains(' '), "{name}: one filter a line");
            assert!(
                !matches!(target, "lib" | "proptests") || !filter.is_empty(),
                "{name}: a filter names the tests"
            );
        }
    }
}

#[test]
fn each_fits_the_source_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, mutant) in mutants() {
        for hunk in &mutant.hunks {
            assert!(hunk.file.starts_with("src/"), "{name}: {} is no source", hunk.file);
            let text = fs::read_to_string(root.join(&hunk.file)).unwrap();
            assert_eq!(misfit(hunk, &text), None, "{name}");
        }
    }
}

#[test]
fn the_table_of_the_manual_has_each_with_its_words() {
    let page = include_str!("../src/manual/testing.md");
    let (_, section) = page.split_once("\n## Deliberate bugs\n").unwrap();
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    let expected: Vec<String> = mutants()
        .iter()
        .map(|(name, mutant)| {
            let caught: Vec<String> = mutant.caught_by.iter().map(|test| format!("`{test}`")).collect();
            format!("| {} | `{name}` | {} |", mutant.bug, caught.join(", "))
        })
        .collect();
    assert_eq!(rows, expected, "\n{}\n", expected.join("\n"));
    let count = format!("| `scripts/mutants` | {} bugs of our own |", expected.len());
    assert!(page.contains(&count), "the table of all tests says how many there are: {count}");
}

const SAMPLE: &str =
    "Bug: One is two, which is not so.\nCaught by: lib one\nCaught by: proptests two::three\n
diff --git a/src/a.rs b/src/a.rs
--- a/src/a.rs
+++ b/src/a.rs
@@ -1,3 +1,3 @@
 fn one() -> u32 {
-    1
+    2
 }
";

const SAMPLED: &str =
    "fn one() -> u32 {\n    1\n}\n\n#[cfg(test)]\nmod tests {\nfn one() -> u32 {\n    1\n}\n}\n";

#[test]
fn a_patch_is_read_and_fits_what_it_was_made_of() {
    let mutant = Mutant::parse(SAMPLE).unwrap();
    assert_eq!(mutant.bug, "One is two, which is not so.");
    assert_eq!(mutant.caught_by, ["lib one", "proptests two::three"]);
    let [hunk] = &mutant.hunks[..] else { panic!("{:?}", mutant.hunks) };
    assert_eq!((&*hunk.file, hunk.old.len(), &*hunk.new[1]), ("src/a.rs", 3, "    2"));
    assert_eq!(misfit(hunk, SAMPLED), None);
}

#[test]
fn a_patch_that_fits_nowhere_or_twice_or_changes_nothing_is_told() {
    let hunk = Mutant::parse(SAMPLE).unwrap().hunks.remove(0);
    assert!(misfit(&hunk, &SAMPLED.replace("    1", "    3")).is_some());
    assert!(misfit(&hunk, &[SAMPLED; 2].concat().replace("#[cfg(test)]", "")).is_some());
    let nothing = Hunk { new: hunk.old.clone(), ..hunk };
    assert!(misfit(&nothing, SAMPLED).is_some());
}

#[test]
fn a_patch_that_is_cut_off_or_says_nothing_is_refused() {
    for (from, to) in [
        ("Bug: ", ""),
        ("Caught by: lib one\nCaught by: proptests two::three\n", ""),
        ("Caught by: lib", "Seen by: lib"),
        ("\n }\n", "\n"),
        ("@@ -1,3", "@@ -1,2"),
        ("@@ -1,3 +1,3 @@", "@@"),
        ("+    2", "\\    2"),
    ] {
        let changed = SAMPLE.replacen(from, to, 1);
        assert_ne!(changed, SAMPLE);
        assert!(Mutant::parse(&changed).is_err(), "{from:?}");
    }
}
