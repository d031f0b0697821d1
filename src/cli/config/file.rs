//! `resolute.toml`.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

use super::key::{Key, Kind, find as find_key};
use super::problem::Problem;
use super::settings::{Given, Origin};

/// The file that is read if none is named and this one is there.
pub const NAME: &str = "resolute.toml";

/// The file, and what it says: the one that is named, which must be there, or [`NAME`] in the directory of the process.
pub fn find(named: Option<PathBuf>) -> Result<Option<(PathBuf, String)>, Problem> {
    let must_be = named.is_some();
    let path = named.unwrap_or_else(|| PathBuf::from(NAME));
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == ErrorKind::NotFound && !must_be => Ok(None),
        Err(error) => Err(Problem::new(path.display().to_string(), format!("cannot be read: {error}"))),
    }
}

/// What a file sets, and what is wrong with the rest.
pub fn parse(path: &Path, text: &str) -> (Vec<(&'static Key, Given)>, Vec<Problem>) {
    let line_of =
        |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
    let origin = |at| Origin::File { path: path.to_owned(), line: line_of(at) };
    let (table, errors) = DeTable::parse_recoverable(text);
    let place = |error: &Error, at: usize| origin(error.span().map_or(at, |span| span.start)).to_string();
    let mut wrong: Vec<Problem> =
        errors.iter().map(|error| Problem::new(place(error, 0), error.message())).collect();
    let mut given = Vec::new();
    if !wrong.is_empty() {
        // What could be read of it may not be what was meant.
        return (given, wrong);
    }
    for (name, value) in table.into_inner() {
        let at = name.span().start;
        let Some(key) = find_key(name.get_ref()) else {
            wrong.push(Problem::unknown_key(origin(at).to_string(), name.get_ref()));
            continue;
        };
        match read(key, value, path) {
            Ok(value) => given.push((key, Given { value, origin: origin(at) })),
            Err(error) => {
                let text = format!("{}: {}", key.name, error.message());
                wrong.push(Problem::new(place(&error, at), text));
            }
        }
    }
    (given, wrong)
}

fn read(key: &Key, value: Spanned<DeValue<'_>>, path: &Path) -> Result<OsString, Error> {
    let value = ValueDeserializer::from(value);
    Ok(match key.kind {
        Kind::Text => String::deserialize(value)?.into(),
        Kind::Bytes => u64::deserialize(value)?.to_string().into(),
        Kind::Directory => {
            let directory = PathBuf::deserialize(value)?;
            if directory.as_os_str().is_empty() {
                return Ok(OsString::new());
            }
            path.parent().unwrap_or(Path::new("")).join(directory).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<String> {
        parse(Path::new("etc/resolute.toml"), text).1.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_file_says_what_it_sets_and_on_which_line() {
        let text = "# a comment\ndir = \"data\"\n\nsegment_bytes = 67_108_864\nname = 'Zoë'\n";
        let (given, wrong) = parse(Path::new("etc/resolute.toml"), text);
        let said = given
            .iter()
            .map(|(key, given)| (key.name, given.value.to_str().unwrap(), given.origin.to_string()));
        let at = |line| format!("etc/resolute.toml:{line}");
        let expected =
            [("dir", "etc/data", at(2)), ("name", "Zoë", at(5)), ("segment_bytes", "67108864", at(4))];
        assert_eq!((said.collect::<Vec<_>>(), wrong), (expected.to_vec(), vec![]));
        let (given, _) = parse(Path::new("resolute.toml"), "dir = 'data'");
        assert_eq!(given[0].1.value, "data");
        let (given, _) = parse(Path::new("etc/resolute.toml"), "dir = '/data'");
        assert_eq!(given[0].1.value, "/data");
    }

    #[test]
    fn what_cannot_be_is_told_with_its_line_all_of_it() {
        let found = wrong(
            "bnid = 'x'\ndir = 5\nzzz = 1\nsegment_bytes = 'many'\nname = ['a']\ninbox_bytes = -1\n[node]\nx = 1\n",
        );
        assert_eq!(found.len(), 7, "{found:#?}");
        let has = |line: usize, text: &str| {
            let begins = format!("etc/resolute.toml:{line}: ");
            assert!(
                found.iter().any(|one| one.starts_with(&begins) && one.contains(text)),
                "{line}: {found:#?}"
            );
        };
        has(1, "did you mean `bind`?");
        has(2, "dir: invalid type: integer `5`");
        has(
            3,
            "the keys are dir, bind, advertise, name, segment_bytes, inbox_bytes, disk_bytes, sender_bytes",
        );
        has(4, "segment_bytes: invalid type: string \"many\", expected u64");
        has(5, "name: invalid type");
        has(6, "inbox_bytes: invalid value: integer `-1`");
        has(7, "there is no setting `node`");
    }

    #[test]
    fn a_file_that_is_no_toml_sets_nothing() {
        for text in ["dir = ", "dir = 'a'\ndir = 'b'", "dir", "= 1", "name = \"\\q\"\nbind='x'"] {
            let (given, wrong) = parse(Path::new("x"), text);
            assert!(given.is_empty() && !wrong.is_empty(), "{text}: {wrong:?}");
        }
        assert!(wrong("dir = 'a'\n\ndir = 'b'")[0].starts_with("etc/resolute.toml:3: "));
    }
}
