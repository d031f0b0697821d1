//! Settings as a file that says the same.

use toml::Value;

use super::file::NAME;
use super::key::{KEYS, Kind};
use super::settings::Settings;
use crate::cli::exit::{Exit, Failure};

/// A [`NAME`] with what each setting is for. What is not set stands there as a comment.
pub fn text(settings: &Settings) -> Result<String, Failure> {
    let mut out = format!(
        "# {NAME}: how `resolute publish`, `send` and `subscribe` open a node, and where all other commands find it.\n\
         # A variable of the environment wins over what stands here, and a flag over both.\n"
    );
    for key in &KEYS {
        let (name, default) = (key.name, key.default);
        out += &format!(
            "\n# {}\n# Not set: {default}. Variable {}, flag {}.\n",
            key.about,
            key.variable(),
            key.flag()
        );
        let Some(given) = settings.get(key) else {
            out += &format!("# {name} = {}\n", key.example);
            continue;
        };
        let not_text =
            || Failure::new(Exit::Failure, format!("{name} is not UTF-8, which a file cannot say"));
        let value = given.value.to_str().ok_or_else(not_text)?;
        let value = if key.kind == Kind::Bytes { value.to_owned() } else { Value::from(value).to_string() };
        out += &format!("{name} = {value}\n");
    }
    Ok(out)
}
