//! Where the control socket of a node is.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Its name in the data directory.
const NAME: &str = "control";

/// And while it is made: whoever looks for it finds it with its permissions, or not at all.
const NAME_WHILE_MADE: &str = "control.new";

/// A directory with a control socket in it. The path of a socket may have 107 bytes, that of a directory any number: so it goes
/// by way of the open directory.
#[derive(Debug)]
pub(super) struct SocketPlace {
    directory: File,
}

impl SocketPlace {
    pub(super) fn in_directory(path: &Path) -> io::Result<SocketPlace> {
        Ok(SocketPlace { directory: File::open(path)? })
    }

    fn path_of(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.directory.as_raw_fd()))
    }

    /// Makes the socket; one that a process left which was killed goes. The caller holds the lock of the directory.
    pub(super) fn listen(&self) -> io::Result<UnixListener> {
        let made = self.path_of(NAME_WHILE_MADE);
        remove(&made)?;
        let listener = UnixListener::bind(&made)?;
        std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        std::fs::rename(&made, self.path_of(NAME))?;
        Ok(listener)
    }

    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.path_of(NAME))
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.path_of(NAME))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
