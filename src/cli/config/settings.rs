//! What is set, and where that comes from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::file;
use super::key::{KEYS, Key, Kind};
use super::problem::Problem;
use crate::bus::{AtLimit, Bus, Quota, chain};
use crate::cli::list_arguments::age;
use crate::limits::SEGMENT_BYTES_MIN;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// Which line, from 1 on.
        line: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl Origin {
    /// Its kind, in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Origin::File { .. } => "file",
            Origin::Environment(_) => "environment",
            Origin::Flag(_) => "flag",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) | Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// A value that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// As it is written on a command line.
    pub value: OsString,
    /// Where it comes from.
    pub origin: Origin,
}

/// What is set of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    given: BTreeMap<&'static str, Given>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Variables that are named as if they were for resolute, and are like no setting.
    pub strangers: Vec<String>,
}

impl Settings {
    /// Reads the file and the environment of this process, and says all that is wrong there. `named` is the file that the command
    /// line names.
    pub fn load(named: Option<&Path>) -> (Settings, Vec<Problem>) {
        let (environment, mut problems) = Environment::of_this_process();
        let file = named.map(Path::to_owned).or_else(|| environment.file.clone());
        let mut settings = Settings { strangers: environment.strangers, ..Settings::default() };
        match file::find(file) {
            Ok(None) => {}
            Ok(Some((path, text))) => {
                let (given, wrong) = file::parse(&path, &text);
                given.into_iter().for_each(|(key, given)| settings.set(key, given, &mut problems));
                problems.extend(wrong);
                settings.file = Some(path);
            }
            Err(problem) => problems.push(problem),
        }
        environment.given.into_iter().for_each(|(key, given)| settings.set(key, given, &mut problems));
        problems.sort_by_key(|problem| problem.place.clone());
        (settings, problems)
    }

    /// Takes a value in place of one that comes from further away. What cannot be is refused even if a flag wins over it: the next
    /// command may not have the flag.
    pub fn set(&mut self, key: &'static Key, given: Given, problems: &mut Vec<Problem>) {
        match refusal(key, &given.value) {
            Some(text) => problems.push(Problem::new(given.origin.to_string(), text)),
            None => drop(self.given.insert(key.name, given)),
        }
    }

    /// What is set, in the order of the keys.
    pub fn given(&self) -> impl Iterator<Item = (&'static Key, &Given)> {
        KEYS.iter().filter_map(|key| Some((key, self.get(key)?)))
    }

    /// The value of a key, if it is set.
    pub fn get(&self, key: &Key) -> Option<&Given> {
        self.given.get(key.name)
    }
}

/// Why a setting cannot have that value, if it cannot: what a node would say when it is opened.
fn refusal(key: &Key, value: &OsString) -> Option<String> {
    if key.kind == Kind::Directory {
        return value.is_empty().then(|| format!("{} is empty", key.name));
    }
    let Some(text) = value.to_str() else { return Some(format!("{} is not UTF-8", key.name)) };
    let bytes = if key.kind == Kind::Bytes {
        match text.parse::<u64>() {
            Ok(bytes) => bytes,
            Err(_) => return Some(format!("{} is a whole number of bytes, and not {text:?}", key.name)),
        }
    } else {
        0
    };
    let node = Bus::builder("");
    let node = match key.name {
        "bind" => node.bind(text),
        "advertise" => node.advertise(text),
        "name" => node.name(text),
        "segment_bytes" => node.segment_bytes(bytes),
        "inbox_bytes" => node.inbox_bytes(bytes),
        "sender_bytes" => node.sender_bytes(bytes),
        "backlog_bytes" => node.quota(Quota { backlog_bytes: bytes, ..Quota::default() }),
        // Whether one that evicts has a lease, which is a setting of its own, is seen when the node is opened.
        "at_limit" => return text.parse::<AtLimit>().err().map(|error| error.to_string()),
        "lease" => match age(text) {
            Ok(lease) => node.quota(Quota { lease: Some(lease), ..Quota::default() }),
            Err(what) => return Some(format!("lease is {text:?}: {what}")),
        },
        // Whether they are four segments is seen when the node is opened: the size of those is a setting of its own.
        "disk_bytes" => node.segment_bytes(SEGMENT_BYTES_MIN).disk_bytes(bytes),
        // Invariant: a test goes through all keys.
        other => unreachable!("nobody knows what {other} may be"),
    };
    node.checked().err().map(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_example_says_can_be_and_other_things_cannot() {
        for key in &KEYS {
            let value = |text: &str| OsString::from(text.trim_matches('"').replace('_', ""));
            assert_eq!(refusal(key, &value(key.example)), None, "{}", key.name);
        }
        for (name, value) in [
            ("dir", ""),
            ("bind", "7450"),
            ("bind", ""),
            ("advertise", "http://x:1"),
            ("segment_bytes", "8388609"),
            ("segment_bytes", "64MiB"),
            ("segment_bytes", "-1"),
            ("inbox_bytes", "1"),
            ("disk_bytes", "33554431"),
            ("sender_bytes", "4194303"),
            ("backlog_bytes", "4194303"),
            ("at_limit", "drop"),
            ("lease", "0s"),
            ("lease", "7"),
            ("name", &"x".repeat(129)),
        ] {
            let key = super::super::key::find(name).unwrap();
            assert!(refusal(key, &value.into()).is_some(), "{name} {value}");
        }
    }
}
