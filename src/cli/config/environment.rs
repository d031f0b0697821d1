//! What the environment sets.

use std::ffi::OsString;
use std::path::PathBuf;

use super::key::{FILE_VARIABLE, KEYS, Key, PREFIX};
use super::names::nearest;
use super::problem::Problem;
use super::settings::{Given, Origin};

/// The variables that are for resolute.
#[derive(Debug, Default)]
pub struct Environment {
    /// What they set.
    pub given: Vec<(&'static Key, Given)>,
    /// The file that they name.
    pub file: Option<PathBuf>,
    /// Those that are like no setting: whoever runs a service of that name may put them there.
    pub strangers: Vec<String>,
}

impl Environment {
    /// The variables of this process, and what is wrong with them.
    pub fn of_this_process() -> (Environment, Vec<Problem>) {
        Environment::of(std::env::vars_os())
    }

    /// One that is empty is as good as none.
    fn of(variables: impl Iterator<Item = (OsString, OsString)>) -> (Environment, Vec<Problem>) {
        let (mut found, mut wrong) = (Environment::default(), Vec::new());
        for (name, value) in variables.filter(|(_, value)| !value.is_empty()) {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            if name == FILE_VARIABLE {
                found.file = Some(PathBuf::from(value));
            } else if let Some(key) = KEYS.iter().find(|key| key.variable() == name) {
                let origin = Origin::Environment(name.to_owned());
                found.given.push((key, Given { value, origin }));
            } else if let Some(key) = nearest(name) {
                let hint = format!("no setting has that name: did you mean {}?", key.variable());
                wrong.push(Problem::new(name, hint));
            } else {
                found.strangers.push(name.to_owned());
            }
        }
        found.strangers.sort_unstable();
        (found, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_set_what_they_are_named_for() {
        let variables = [
            ("RESOLUTE_DIR", "data"),
            ("RESOLUTE_NAME", ""),
            ("RESOLUTE_CONFIG", "x.toml"),
            ("RESOLUTE_SEED", "7"),
            ("RESOLUTE_BINDD", "x"),
            ("DIR", "y"),
        ];
        let all = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let (found, wrong) = Environment::of(all);
        assert_eq!(found.given.iter().map(|(key, _)| key.name).collect::<Vec<_>>(), ["dir"]);
        assert_eq!(found.given[0].1.value, "data");
        assert_eq!((found.file, found.strangers), (Some("x.toml".into()), vec!["RESOLUTE_SEED".to_owned()]));
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].text.contains("did you mean RESOLUTE_BIND?"), "{wrong:?}");
    }
}
