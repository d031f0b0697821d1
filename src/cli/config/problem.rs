//! What is wrong with settings, all of it at once.

use super::key::KEYS;
use super::names::nearest;
use crate::cli::exit::{Exit, Failure};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: a line of a file, or the name of a variable or a flag.
    pub place: String,
    /// What.
    pub text: String,
}

impl Problem {
    pub fn new(place: impl Into<String>, text: impl Into<String>) -> Problem {
        Problem { place: place.into(), text: text.into() }
    }

    /// There is no such key in a file.
    pub fn unknown_key(place: impl Into<String>, name: &str) -> Problem {
        let hint = match nearest(name) {
            Some(key) => format!("did you mean `{}`?", key.name),
            None => format!("the keys are {}", KEYS.map(|key| key.name).join(", ")),
        };
        Problem::new(place, format!("there is no setting `{name}`: {hint}"))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// How a command fails for them; it does not if there are none.
pub fn failure(problems: &[Problem]) -> Option<Failure> {
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    let text = match problems.len() {
        0 => return None,
        1 => format!("a setting cannot be:{}", lines.concat()),
        count => format!("{count} settings cannot be:{}", lines.concat()),
    };
    Some(Failure::new(Exit::Usage, text))
}
