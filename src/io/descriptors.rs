//! Descriptors that connections may take. Whoever connects decides how many there are; the log must find some whatever
//! they decide, or it could open no further segment and would stop for good.
#![forbid(unsafe_code)]

use std::os::fd::{AsRawFd, RawFd};

use nix::sys::resource::{Resource, getrlimit};

use crate::limits::DESCRIPTORS_KEPT;

/// How many the process may have, if that is known: RLIMIT_NOFILE.
#[must_use]
pub fn limit() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft)
}

/// Whether a connection leaves as many descriptors as are kept for the log.
#[must_use]
pub fn leaves_enough(connection: &impl AsRawFd) -> bool {
    // The limit may be changed while the process runs. Where nobody knows it, the kernel is left to say no.
    limit().is_some_and(|limit| is_below(connection.as_raw_fd(), limit))
}

/// A new descriptor is the lowest number that is free, so at least as many as its number are in use.
fn is_below(descriptor: RawFd, limit: u64) -> bool {
    let kept = DESCRIPTORS_KEPT.min(limit / 2);
    u64::try_from(descriptor).is_ok_and(|descriptor| descriptor < limit - kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_descriptors_are_not_for_connections() {
        assert!(is_below(895, 1024) && !is_below(896, 1024) && !is_below(1023, 1024));
        assert!(is_below(1 << 20, u64::MAX), "without a limit there are always more");
        assert!(is_below(31, 64) && !is_below(32, 64), "of few, half");
        assert!(!is_below(0, 0) && !is_below(-1, 1024));
    }
}
