//! `config check` and `config show`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::arguments::{Check, Show};
use super::file::NAME;
use super::key::{KEYS, Key, Kind};
use super::problem::failure;
use super::settings::{Given, Settings};
use super::{found, toml_text};
use crate::cli::exit::Failure;
use crate::cli::output::{Output, say};
use crate::cli::table::Rows;

pub fn check(arguments: &Check, named: Option<&Path>) -> Result<(), Failure> {
    let (settings, problems) = Settings::load(named);
    let mut out = Output::new();
    for name in &settings.strangers {
        say(&format!("{name} is like no setting, and is not read"));
    }
    if arguments.json {
        for problem in &problems {
            out.json(&json!({ "where": problem.place, "problem": problem.text }))?;
        }
    } else if problems.is_empty() {
        let file = settings.file.as_deref();
        let read = file.map_or_else(|| format!("there is no {NAME} here"), |path| path.display().to_string());
        let count = settings.given().count();
        let set = if count == 1 {
            "1 setting, which can be".to_owned()
        } else {
            format!("{count} settings, all of which can be")
        };
        out.line(&format!("{read}: with the environment, {set}"))?;
    }
    out.finish()?;
    failure(&problems).map_or(Ok(()), Err)
}

pub fn show(arguments: &Show, named: Option<&Path>) -> Result<(), Failure> {
    let (mut settings, mut problems) = (found(named)?, Vec::new());
    arguments.flags.given().for_each(|(key, given)| settings.set(key, given, &mut problems));
    if let Some(failure) = failure(&problems) {
        return Err(failure);
    }
    let mut out = Output::new();
    if arguments.toml {
        settings = settings.with_absolute_directory()?;
        out.line(toml_text::text(&settings)?.trim_end())?;
        return out.finish().map(drop);
    }
    let mut table = Rows::new(&["setting", "value", "from", "where"]);
    for key in &KEYS {
        let given = settings.get(key);
        if arguments.json {
            out.json(&json!({
                "setting": key.name,
                "value": given.map(|given| value(key, given)),
                "from": given.map_or("default", |given| given.origin.word()),
                "where": given.map(|given| given.origin.to_string()),
            }))?;
            continue;
        }
        let row = match given {
            Some(Given { value, origin }) => {
                [value.to_string_lossy().into_owned(), origin.word().to_owned(), origin.to_string()]
            }
            None => [format!("({})", key.default), "default".to_owned(), String::new()],
        };
        table.push(&mut out, [vec![key.name.to_owned()], row.to_vec()].concat())?;
    }
    if !arguments.json {
        table.finish(&mut out, "")?;
    }
    out.finish().map(drop)
}

fn value(key: &Key, given: &Given) -> Value {
    let text = given.value.to_string_lossy();
    match (key.kind, text.parse::<u64>()) {
        (Kind::Bytes, Ok(bytes)) => Value::from(bytes),
        _ => Value::from(text),
    }
}

impl Settings {
    /// The same wherever the file is put that says it.
    fn with_absolute_directory(mut self) -> Result<Settings, Failure> {
        let Some((key, given)) = self.given().find(|(key, _)| key.kind == Kind::Directory) else {
            return Ok(self);
        };
        let path = PathBuf::from(&given.value);
        let absolute =
            std::path::absolute(&path).map_err(|error| Failure::io("find the directory", &error))?;
        let given = Given { value: absolute.into(), origin: given.origin.clone() };
        self.set(key, given, &mut Vec::new());
        Ok(self)
    }
}
