//! A ring, once the kernel has taken down those before it.
#![forbid(unsafe_code)]

use std::io;
use std::time::Duration;

use nix::errno::Errno;

use crate::limits::{RING_PAUSE_MS, RING_WAIT_MS};

/// Sets up a ring, and waits up to [`RING_WAIT_MS`] for locked memory where there is none. Blocks.
///
/// What a ring had locked counts against its user until a worker of the kernel has taken the ring down: whoever opens a
/// node again at once, under a small limit, would be refused for a ring that is gone.
///
/// # Errors
/// As from `ring`.
pub fn set_up<R>(mut ring: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    for _ in 0..RING_WAIT_MS / RING_PAUSE_MS {
        match ring() {
            Err(error) if error.raw_os_error() == Some(Errno::ENOMEM as i32) => {
                std::thread::sleep(Duration::from_millis(RING_PAUSE_MS));
            }
            answer => return answer,
        }
    }
    ring()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_memory_is_waited_for_and_nothing_else_is() {
        let mut answers = vec![Ok(7), Err(Errno::ENOMEM.into()), Err(Errno::ENOMEM.into())];
        assert_eq!(set_up(|| answers.pop().unwrap()).unwrap(), 7);
        let mut tries = 0;
        let refused = set_up(|| {
            tries += 1;
            Err::<(), _>(Errno::EPERM.into())
        });
        assert_eq!((refused.unwrap_err().raw_os_error(), tries), (Some(Errno::EPERM as i32), 1));
    }

    #[test]
    fn locked_memory_that_never_comes_is_a_refusal() {
        let mut tries = 0;
        let refused = set_up(|| {
            tries += 1;
            Err::<(), _>(Errno::ENOMEM.into())
        });
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(Errno::ENOMEM as i32));
        assert_eq!(tries, RING_WAIT_MS / RING_PAUSE_MS + 1);
    }
}
