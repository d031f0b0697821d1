//! The ancestor's files, and what is said of them.

use std::path::{Path, PathBuf};

use crate::cli::exit::{Exit, Failure};
use crate::cli::output::say;
use crate::stores::legacy::Damage;

/// One file.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    pub bytes: Vec<u8>,
}

/// What in the files cannot be taken over. Each is said as it is met.
#[derive(Clone, Copy, Debug, Default)]
pub struct Complaints {
    /// Places that make no sense.
    pub damaged: u64,
    /// What makes sense and is nothing that can be here.
    pub refused: u64,
}

impl Source {
    /// Reads a file, all of it, as the ancestor did. None if there is no such file.
    pub fn read(path: &Path) -> Result<Option<Source>, Failure> {
        let lock = PathBuf::from(format!("{}.lock", path.display()));
        if lock.exists() {
            say(&format!(
                "{} is there: a service was killed, or still runs. What it changes from now on is not seen",
                lock.display()
            ));
        }
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(Source { path: path.to_owned(), bytes })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::io(&format!("read {}", path.display()), &error)),
        }
    }
}

impl Complaints {
    pub fn damaged(&mut self, source: &Source, damage: &[Damage]) {
        for one in damage {
            self.damaged += 1;
            say(&format!("{}: {one}", source.path.display()));
        }
    }

    pub fn refused(&mut self, source: &Source, offset: usize, why: &str) {
        self.refused += 1;
        say(&format!("{}: offset {offset}: {why}", source.path.display()));
    }

    /// Damage counts more than what cannot be here.
    pub fn verdict(self) -> Result<(), Failure> {
        let places = |count: u64| if count == 1 { "1 place".to_owned() } else { format!("{count} places") };
        match self {
            Complaints { damaged: 0, refused: 0 } => Ok(()),
            Complaints { damaged: 0, refused } => Err(Failure::new(
                Exit::Usage,
                format!("{} could not be taken over: the rest was", places(refused)),
            )),
            Complaints { damaged, .. } => Err(Failure::new(
                Exit::Corrupt,
                format!("the files are damaged in {}: what makes sense was taken over", places(damaged)),
            )),
        }
    }
}
