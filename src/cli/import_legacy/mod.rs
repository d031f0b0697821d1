//! `import-legacy`: what resolute's ancestor left behind becomes a node's, or a map or a queue of ours.

mod envelope;
mod node;
mod source;
mod standing;
mod stores;

use super::exit::{Exit, Failure};
use super::transfer_arguments::ImportLegacy;
use source::Source;

pub fn run(arguments: &ImportLegacy) -> Result<(), Failure> {
    let from = &arguments.from;
    if from.is_dir() {
        return node::run(arguments);
    }
    let missing = || Failure::new(Exit::NotFound, format!("there is no {}", from.display()));
    let file = || Source::read(from)?.ok_or_else(missing);
    match from.extension().and_then(|extension| extension.to_str()) {
        Some("seuss") => stores::queue(arguments, &file()?),
        Some("shulz") => stores::map(arguments, &file()?),
        _ if !from.exists() => Err(missing()),
        _ => Err(Failure::new(
            Exit::Usage,
            format!("{} is neither a directory, nor a .shulz file, nor a .seuss file", from.display()),
        )),
    }
}
