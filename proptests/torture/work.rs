//! The directory of one run, and what runs left behind whose driver was killed.

use std::path::{Path, PathBuf};

use super::namespaces;
use super::small_disk;

/// The directory of this run. Removed when this is dropped, unless it is kept.
pub struct Work {
    path: PathBuf,
    is_kept: bool,
}

impl Work {
    pub fn new() -> Result<Work, String> {
        let path = std::env::temp_dir().join(format!("{}{}", namespaces::PREFIX, std::process::id()));
        std::fs::create_dir(&path)
            .and_then(|()| std::fs::create_dir(path.join("journals")))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Work { path, is_kept: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn journals(&self) -> PathBuf {
        self.path.join("journals")
    }

    /// Gives it a name that no later run removes.
    pub fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        let kept = std::env::temp_dir().join(format!("resolute-tortured-{}", std::process::id()));
        match std::fs::rename(&self.path, &kept) {
            Ok(()) => kept,
            Err(error) => {
                println!(
                    "{} could not be renamed, and the next run will remove it: {error}",
                    self.path.display()
                );
                self.path.clone()
            }
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.is_kept {
            remove(&self.path);
        }
    }
}

fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            println!("{} stays: {error}", path.display());
        }
        _ => {}
    }
}

/// Removes what is left of drivers that are gone. Their nodes died with them.
pub fn remove_leftovers() {
    let mut drivers = namespaces::drivers();
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        drivers.extend(name.strip_prefix(namespaces::PREFIX).and_then(|driver| driver.parse::<u32>().ok()));
    }
    drivers.sort_unstable();
    drivers.dedup();
    for driver in drivers.into_iter().filter(|driver| !is_alive(*driver)) {
        println!("torture: removes what process {driver} left behind");
        namespaces::remove(driver);
        let path = std::env::temp_dir().join(format!("{}{driver}", namespaces::PREFIX));
        small_disk::unmount(&path.join("small"));
        remove(&path);
    }
}

/// Whether that number is a driver's still. It may be another program's by now.
fn is_alive(driver: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{driver}/comm"));
    name.is_ok_and(|name| name.starts_with("torture")) && driver != std::process::id()
}
