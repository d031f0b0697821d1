//! The programs of the system that give us networks and disks of our own.

use std::process::Command;

/// Runs a program with its arguments, blanks between them, and returns what it says.
pub fn run(line: &str) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let program = words.next().ok_or("no program")?;
    match Command::new(program).args(words).output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Whether this process may do what only the superuser may.
pub fn must_be_root() -> Result<(), String> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err("it needs the superuser".to_owned()) }
}
