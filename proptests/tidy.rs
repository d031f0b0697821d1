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
