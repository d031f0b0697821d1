//! Where the control socket of a node is.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::io::unix_socket;

/// Its name in the data directory.
const NAME: &str = "control";

/// And while it is made: whoever looks for it finds it listening, or not at all.
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

    /// Makes the socket, and says which it is; one that a process left which was killed goes. The caller holds the lock of the
    /// directory.
    pub(super) fn listen(&self) -> io::Result<(UnixListener, SocketId)> {
        let made = self.path_of(NAME_WHILE_MADE);
        remove(&made)?;
        let listener = unix_socket::listen_privately(&made)?;
        let id = SocketId::of(&made)?;
        std::fs::rename(&made, self.path_of(NAME))?;
        Ok((listener, id))
    }

    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.path_of(NAME))
    }

    /// Takes the socket away, unless another has its name by now.
    pub(super) fn remove(&self, id: SocketId) -> io::Result<()> {
        let path = self.path_of(NAME);
        match SocketId::of(&path) {
            Ok(there) if there == id => remove(&path),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Which socket it is: its device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketId(u64, u64);

impl SocketId {
    fn of(path: &Path) -> io::Result<SocketId> {
        let known = std::fs::symlink_metadata(path)?;
        Ok(SocketId(known.dev(), known.ino()))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
