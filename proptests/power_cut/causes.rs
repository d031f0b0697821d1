//! What is behind an error.

use std::error::Error as StdError;
use std::sync::Arc;

use nix::errno::Errno;
use resolute::{Error, ErrorClass};

/// Whether one of `errnos` is the cause, and the node did not take what it found for damage.
pub fn is_of_the_disk(error: &Error, errnos: &[Errno]) -> bool {
    let is_cause = |cause| errno_of(cause).is_some_and(|errno| errnos.contains(&errno));
    error.class() != ErrorClass::Corrupt && causes(error).any(is_cause)
}

fn errno_of(error: &(dyn StdError + 'static)) -> Option<Errno> {
    let io = match error.downcast_ref::<Arc<std::io::Error>>() {
        Some(shared) => Some(&**shared),
        None => error.downcast_ref::<std::io::Error>(),
    };
    io.and_then(std::io::Error::raw_os_error).map(Errno::from_raw)
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error with its causes, in one line.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
