//! `completions` and `man`: what shells, and those who read manuals, expect of a tool.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::{Arguments, Completions, Man, ShellName};
use super::exit::{CODES, Failure};
use super::output::Output;

pub fn completions(arguments: &Completions) -> Result<(), Failure> {
    let shell = match arguments.shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Zsh => Shell::Zsh,
        ShellName::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible(), "resolute", &mut script);
    print(&script)
}

pub fn man(arguments: &Man) -> Result<(), Failure> {
    let mut root = visible();
    // Gives each subcommand the name that it has in full.
    root.build();
    match &arguments.out {
        None => print(&page(&root)?),
        Some(directory) => write_pages(&root, directory),
    }
}

/// The tool without the commands that it gives to processes of its own.
fn visible() -> clap::Command {
    let root = Arguments::command();
    let shown = root.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut visible = clap::Command::new("resolute")
        .version(env!("CARGO_PKG_VERSION"))
        .args(root.get_arguments().cloned())
        .subcommands(shown);
    if let Some(about) = root.get_about() {
        visible = visible.about(about.clone());
    }
    if let Some(about) = root.get_long_about() {
        visible = visible.long_about(about.clone());
    }
    visible.after_help(CODES)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = Output::new();
    out.line(String::from_utf8_lossy(text).trim_end())?;
    out.finish().map(drop)
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut page);
    rendered.map_err(|error| Failure::io("make a page of the manual", &error))?;
    Ok(page)
}

/// One page for the command, and one for each below it.
fn write_pages(command: &clap::Command, directory: &Path) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    let written = std::fs::write(&path, page(command)?);
    written.map_err(|error| Failure::io(&format!("write {}", path.display()), &error))?;
    let mut below = command.get_subcommands().filter(|below| below.get_name() != "help");
    below.try_for_each(|below| write_pages(below, directory))
}
