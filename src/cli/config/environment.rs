//! What the environment sets.

use std::ffi::{OsStr, OsString};
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
            } else if let Some(key) = nearest(name).filter(|_| !is_of_a_service(name, &value)) {
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

/// Whether Kubernetes made it for a service whose name begins as the variables do, and perhaps goes on as a setting.
fn is_of_a_service(name: &str, value: &OsStr) -> bool {
    let has_port =
        name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_address = || value.to_str().is_some_and(|value| value.contains("://"));
    ["_SERVICE_HOST", "_SERVICE_PORT"].iter().any(|part| name.contains(part))
        || has_port
        || name.ends_with("_PORT") && is_address()
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
            ("RESOLUTE_DIR_SERVICE_HOST", "10.0.0.1"),
            ("RESOLUTE_NAME_PORT", "tcp://10.0.0.1:80"),
            ("RESOLUTE_NAME_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("DIR", "y"),
        ];
        let all = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let (found, wrong) = Environment::of(all);
        assert_eq!(found.given.iter().map(|(key, _)| key.name).collect::<Vec<_>>(), ["dir"]);
        assert_eq!(found.given[0].1.value, "data");
        assert_eq!(found.file, Some("x.toml".into()));
        let strangers = [
            "RESOLUTE_DIR_SERVICE_HOST",
            "RESOLUTE_NAME_PORT",
            "RESOLUTE_NAME_PORT_80_TCP_ADDR",
            "RESOLUTE_SEED",
        ];
        assert_eq!(found.strangers, strangers);
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].text.contains("did you mean RESOLUTE_BIND?"), "{wrong:?}");
    }
}
