//! Who a process is, in the words of a record.

use std::io;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, User, getpid, getuid};

/// Who is at the other end of a Unix socket, by the word of the kernel.
///
/// # Errors
/// As from getsockopt(2).
pub fn of_peer(stream: &UnixStream) -> io::Result<String> {
    let credentials = getsockopt(stream, PeerCredentials)?;
    Ok(words(Uid::from_raw(credentials.uid()), credentials.pid()))
}

/// Who this process is.
#[must_use]
pub fn own() -> String {
    words(getuid(), getpid().as_raw())
}

fn words(uid: Uid, pid: i32) -> String {
    // A user without a name is a user all the same.
    let name = User::from_uid(uid).ok().flatten().map(|user| format!("{} ", user.name));
    format!("{}(uid {uid}), process {pid}", name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_at_the_other_end() {
        let (here, _there) = UnixStream::pair().unwrap();
        assert_eq!(of_peer(&here).unwrap(), own());
        assert!(own().ends_with(&format!("process {}", std::process::id())));
    }
}
