//! What the standard library does not offer of Unix sockets.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, bind, listen, recv, shutdown,
    socket,
};
use nix::sys::stat::{Mode, fchmod};

/// Connections that wait to be taken.
const BACKLOG: i32 = 16;

/// A socket that only its owner may connect to: it has these permissions before it has a name, whatever the umask.
///
/// # Errors
/// As from socket(2), fchmod(2), bind(2) and listen(2); the path is too long for the address of a socket.
pub fn listen_privately(path: &Path) -> io::Result<UnixListener> {
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    fchmod(&made, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(made.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&made, Backlog::new(BACKLOG)?)?;
    Ok(made.into())
}

/// Nobody is taken in any more, and whoever waits for the next one does not.
///
/// # Errors
/// As from shutdown(2).
pub fn stop_listening(listener: &UnixListener) -> io::Result<()> {
    Ok(shutdown(listener.as_raw_fd(), Shutdown::Both)?)
}

/// Whether the other end has closed, and everything that it said before was read. Does not wait.
#[must_use]
pub fn has_gone(stream: &UnixStream) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    match recv(stream.as_raw_fd(), &mut [0], flags) {
        Ok(bytes) => bytes == 0,
        Err(errno) => !matches!(errno, Errno::EAGAIN | Errno::EINTR),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_may_connect_whatever_the_umask() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        // Of all threads: they make files that are more open for a moment, and no test minds.
        let umask = nix::sys::stat::umask(Mode::empty());
        let listener = listen_privately(&path);
        nix::sys::stat::umask(umask);
        let listener = listener.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let client = UnixStream::connect(&path).unwrap();
        drop(listener.accept().unwrap());
        assert!(has_gone(&client));
    }

    #[test]
    fn whoever_waits_for_a_connection_is_woken() {
        let dir = tempfile::tempdir().unwrap();
        let listener = listen_privately(&dir.path().join("socket")).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| listener.accept().map(drop));
            stop_listening(&listener).unwrap();
            assert!(waiting.join().unwrap().is_err());
        });
    }

    #[test]
    fn who_says_something_or_nothing_is_there() {
        let (here, mut there) = UnixStream::pair().unwrap();
        assert!(!has_gone(&here));
        there.write_all(b"x").unwrap();
        assert!(!has_gone(&here));
    }
}
