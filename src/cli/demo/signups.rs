//! The sign-ups: lines of JSON objects, each of which gets its number.

use std::path::Path;

use serde_json::{Map, Value};

use crate::cli::exit::{Exit, Failure};

const BUILT_IN: &str = include_str!("../../../examples/signups.ndjson");

/// See the module.
#[derive(Debug)]
pub struct SignUps {
    /// Each object without its number and its opening brace: what follows the number.
    rests: Vec<String>,
}

impl SignUps {
    /// Reads the sign-ups of a file, or those that are built in.
    pub fn load(input: Option<&Path>) -> Result<SignUps, Failure> {
        let Some(path) = input else { return SignUps::parse(BUILT_IN, "the built-in sign-ups") };
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| Failure::io(&format!("read {name}"), &error))?;
        SignUps::parse(&text, &name)
    }

    fn parse(text: &str, name: &str) -> Result<SignUps, Failure> {
        let mut rests = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let object: Result<Map<String, Value>, _> = serde_json::from_str(line);
            let mut object = object.map_err(|error| {
                Failure::new(Exit::Usage, format!("{name}: line {} is no JSON object: {error}", index + 1))
            })?;
            object.remove("number");
            let text = Value::Object(object).to_string();
            let rest = &text[1..];
            rests.push(if rest == "}" { rest.to_owned() } else { format!(",{rest}") });
        }
        if rests.is_empty() {
            return Err(Failure::new(Exit::Usage, format!("{name} has no sign-ups")));
        }
        Ok(SignUps { rests })
    }

    pub fn lines(&self) -> u64 {
        self.rests.len() as u64
    }

    /// Sign-up `number`, counted from 1: beyond the last line it begins again at the first.
    pub fn payload(&self, number: u64) -> String {
        let rest = &self.rests[((number - 1) % self.lines()) as usize];
        format!("{{\"number\":{number}{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_where_the_lines_begin_again() {
        let signups = SignUps::parse("{\"name\":\"Zoë\",\"number\":7}\n\n{}\n", "x").unwrap();
        assert_eq!(signups.lines(), 2);
        assert_eq!(signups.payload(1), "{\"number\":1,\"name\":\"Zoë\"}");
        assert_eq!(signups.payload(2), "{\"number\":2}");
        assert_eq!(signups.payload(3), "{\"number\":3,\"name\":\"Zoë\"}");
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_line() {
        let failure = SignUps::parse("{}\n[1]\n", "x").unwrap_err();
        assert!(format!("{failure:?}").contains("line 2"));
        assert!(SignUps::parse("\n", "x").is_err());
    }

    #[test]
    fn a_thousand_varied_sign_ups_are_built_in() {
        let signups = SignUps::load(None).unwrap();
        assert_eq!(signups.lines(), 1000);
        let mut emails = std::collections::BTreeSet::new();
        let mut foreign = 0;
        for number in 1..=1000 {
            let signup: Value = serde_json::from_str(&signups.payload(number)).unwrap();
            assert_eq!(signup["number"], number);
            assert!(emails.insert(signup["email"].as_str().unwrap().to_owned()), "{signup}");
            foreign += usize::from(!signup["name"].as_str().unwrap().is_ascii());
        }
        assert!(foreign > 100, "{foreign}");
    }
}
