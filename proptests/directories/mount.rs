//! File systems of one test's own, where the system lets us have them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system that is there until this is dropped.
pub struct Mount {
    directory: tempfile::TempDir,
}

impl Mount {
    /// A file system in memory with those options. Where none may be mounted that is said, and the test is skipped.
    pub fn in_memory(options: &str) -> Option<Mount> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = run("mount", &["-t", "tmpfs", "-o", options, "tmpfs"], directory.path());
        Self::keep(mounted, directory)
    }

    /// An ext4 of that size, in a file.
    pub fn on_loop(image: &Path, bytes: u64) -> Option<Mount> {
        std::fs::File::create(image).unwrap().set_len(bytes).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let image = image.to_str().unwrap();
        let made = run("mkfs.ext4", &["-q", "-F", "-m", "0", image], Path::new(""));
        let mounted = made.and_then(|()| run("mount", &["-o", "loop", image], directory.path()));
        Self::keep(mounted, directory)
    }

    fn keep(mounted: Result<(), String>, directory: tempfile::TempDir) -> Option<Mount> {
        match mounted {
            Ok(()) => Some(Mount { directory }),
            Err(why) => {
                println!("skipped: nothing can be mounted here: {why}");
                None
            }
        }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Takes all room that is left, by a file.
    pub fn fill(&self) -> PathBuf {
        let filler = self.directory.path().join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        let full = loop {
            if let Err(error) = file.write_all(&[1; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        filler
    }

    /// Mounts it anew with other options.
    pub fn remount(&self, options: &str) -> bool {
        run("mount", &["-o", &format!("remount,{options}")], self.directory.path()).is_ok()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a thread of a node that is just closing may still have a file open.
        if let Err(why) = run("umount", &["-l"], self.directory.path()) {
            println!("{} stays mounted: {why}", self.directory.path().display());
        }
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments);
    if !path.as_os_str().is_empty() {
        command.arg(path);
    }
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{program}: {error}")),
    }
}
