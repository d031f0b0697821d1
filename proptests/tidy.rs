//! A test that guards the taste of the source: which layer may name what, how long things may be, and which comments
//! must be there. The rules are told in the manual's page on architecture; here they bite.

mod layers;
mod rules;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// Every source file below `directory`, in the order of their names.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_source_keeps_its_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files_below(&root);
    assert!(files.len() > 10, "the source is where it was");
    let (mut breaks, mut long) = (Vec::new(), Vec::new());
    for path in files {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let source = Source::new(&name, &fs::read_to_string(&path).unwrap());
        breaks.extend(rules::breaks(&source));
        long.extend(rules::lengths(&source, rules::SOFT));
    }
    for warning in long {
        println!("long: {warning}");
    }
    assert!(breaks.is_empty(), "\n{}\n", breaks.join("\n"));
}

/// The names in a list of a TOML file, quoted and one to a line, from `start` on.
fn listed<'t>(text: &'t str, start: &str) -> Vec<&'t str> {
    let from = text.split_once(start).map_or("", |(_, from)| from);
    from.lines().take_while(|line| !line.starts_with(']')).filter_map(|line| line.split('"').nth(1)).collect()
}

#[test]
fn the_lock_files_of_the_packages_beside_know_what_the_library_needs() {
    // They are not built here, and refuse to be built where their lock files have fallen behind.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (_, needed) = manifest.split_once("\n[dependencies]\n").unwrap();
    let needed = needed.lines().take_while(|line| !line.starts_with('['));
    let needed = needed.filter(|line| !line.starts_with('#') && !line.contains("optional = true"));
    let needed: Vec<_> = needed.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    assert!(needed.contains(&"slab"));
    for package in ["benches/peers", "fuzz"] {
        let lock = fs::read_to_string(root.join(package).join("Cargo.lock")).unwrap();
        let (_, entry) = lock.split_once("name = \"resolute-bus\"").expect("the library is in it");
        let locked = listed(entry, "dependencies = [");
        assert!(!locked.is_empty());
        for name in &needed {
            let is_it = |locked: &&str| locked == name || locked.starts_with(&format!("{name} "));
            assert!(locked.iter().any(is_it), "{name}: cargo metadata in {package} mends it");
        }
    }
}
