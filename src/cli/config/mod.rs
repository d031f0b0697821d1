//! Settings of a node that need not be said on the command line: `resolute.toml`, variables of the environment, and the flags,
//! each of which wins over the one before it.
//!
//! What the file and the environment say becomes the default of the argument of that name, so a command never asks where a
//! value comes from, and what it must be given is still said by clap.

pub mod arguments;
mod commands;
mod environment;
mod file;
mod key;
mod names;
mod problem;
mod settings;
mod toml_text;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command, CommandFactory};

use super::arguments::Arguments;
use super::exit::Failure;
pub use commands::{check, show};
use settings::Settings;

/// The argument that only commands have which open a node.
const OPENS_A_NODE: &str = "advertise";

/// Why there are no arguments.
pub enum NoArguments {
    /// They cannot be, or it is help that was wanted.
    Clap(clap::Error),
    /// The settings cannot be.
    Settings(Failure),
}

impl From<clap::Error> for NoArguments {
    fn from(error: clap::Error) -> NoArguments {
        NoArguments::Clap(error)
    }
}

/// The arguments, with the settings that the command knows for those that are not given.
pub fn matches(given: &[OsString]) -> Result<ArgMatches, NoArguments> {
    let command = Arguments::command();
    // Which command it is, whatever it still lacks. Who asks for help gets it, however the settings are.
    let asked = command.clone().ignore_errors(true).try_get_matches_from(given)?;
    let known = asked.subcommand_name().and_then(|name| command.find_subcommand(name));
    let Some(name) = known.filter(|known| is_about_a_node(known)).map(|known| known.get_name().to_owned())
    else {
        return Ok(command.try_get_matches_from(given)?);
    };
    let named = asked.try_get_one::<PathBuf>("config").ok().flatten();
    let settings = found(named.map(PathBuf::as_path)).map_err(NoArguments::Settings)?;
    Ok(command.mut_subcommand(name, |known| with_defaults(known, &settings)).try_get_matches_from(given)?)
}

/// What the file and the environment say; all that is wrong with them if anything is.
fn found(named: Option<&Path>) -> Result<Settings, Failure> {
    let (settings, problems) = Settings::load(named);
    problem::failure(&problems).map_or(Ok(settings), Err)
}

/// Whether it opens a node or looks at one, in the directory that it is given as `--dir`.
fn is_about_a_node(command: &Command) -> bool {
    !command.is_hide_set() && has(command, "dir")
}

fn has(command: &Command, id: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_id() == id && !argument.is_positional())
}

fn with_defaults(command: Command, settings: &Settings) -> Command {
    let opens_a_node = has(&command, OPENS_A_NODE);
    let known = settings.given().filter(|(key, _)| key.name == "dir" || opens_a_node);
    known.fold(command, |command, (key, given)| {
        let value = given.value.clone();
        command.mut_arg(key.name, |argument| argument.required(false).default_value(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_for_commands_about_nodes_and_each_has_its_argument() {
        let command = Arguments::command();
        let about = |name: &str| is_about_a_node(command.find_subcommand(name).unwrap());
        assert!(
            ["publish", "send", "subscribe", "status", "keys", "tail", "verify", "unlock"].map(about)
                == [true; 8]
        );
        assert!(
            ["map", "bench", "demo", "config", "man", "demo-web", "bench-receiver"].map(about) == [false; 7]
        );
        let opening = |known: &&Command| has(known, OPENS_A_NODE);
        let opening: Vec<&Command> = command.get_subcommands().filter(opening).collect();
        assert_eq!(
            opening.iter().map(|known| known.get_name()).collect::<Vec<_>>(),
            ["publish", "send", "subscribe"]
        );
        for (known, key) in opening.iter().flat_map(|known| key::KEYS.iter().map(move |key| (known, key))) {
            assert!(has(known, key.name), "{} has no {}", known.get_name(), key.flag());
        }
    }
}
