//! Whether io_uring can be set up here, and if not, what stands in the way and who can move it.
#![forbid(unsafe_code)]

use std::io;

use io_uring::{IoUring, Probe, opcode};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use super::buffer_pool::{BufferPool, RegistrationState};
use super::ring::set_up;

/// 0: for all; 1: for members of a group; 2: for nobody. Kernels before 6.6 have no such file.
const SYSCTL_PATH: &str = "/proc/sys/kernel/io_uring_disabled";

/// A ring as small as the kernel makes them: what is asked is whether, not how large.
const ENTRIES: u32 = 1;

/// Why there is no io_uring. What it displays is the cause and the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UringUnavailable {
    /// ENOSYS.
    #[error(
        "this kernel has no io_uring, or a seccomp profile hides it: use Linux 5.11 or later, and in a container a \
         profile that allows io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Missing,
    /// EPERM, with kernel.io_uring_disabled at 2.
    #[error("io_uring is switched off for everybody here: as root, `sysctl kernel.io_uring_disabled=0`")]
    DisabledForAll,
    /// EPERM, with kernel.io_uring_disabled at 1.
    #[error(
        "io_uring is switched off for this user: join the group that kernel.io_uring_group names, or, as root, \
         `sysctl kernel.io_uring_disabled=0`"
    )]
    DisabledForUser,
    /// EPERM, and the sysctl does not explain it.
    #[error(
        "io_uring is forbidden here, most likely by the seccomp profile of a container: use one that allows \
         io_uring_setup, io_uring_enter and io_uring_register (docker run --security-opt seccomp=PROFILE.json)"
    )]
    Forbidden,
    /// ENOMEM.
    #[error(
        "there is no locked memory left for io_uring (the limit is {}, for all processes of this user): raise \
         `ulimit -l`, or LimitMEMLOCK= of the unit",
        limit(*limit_bytes)
    )]
    LockedMemory {
        /// RLIMIT_MEMLOCK of this process, if there is one.
        limit_bytes: Option<u64>,
    },
    /// There is one, and it cannot do what the log needs.
    #[error("the io_uring of this kernel is too old: use Linux 5.11 or later")]
    TooOld,
    /// Anything else.
    #[error("io_uring cannot be set up")]
    Other(#[source] io::Error),
}

fn limit(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{} KiB", bytes >> 10))
}

/// Sets up a ring, looks at what it can do and takes it down.
///
/// # Errors
/// The cause, as far as it can be told, and the fix.
pub fn probe() -> Result<(), UringUnavailable> {
    let ring = set_up(|| IoUring::new(ENTRIES)).map_err(why_refused)?;
    let mut able = Probe::new();
    ring.submitter().register_probe(&mut able).map_err(|_| UringUnavailable::TooOld)?;
    let needed = [
        opcode::WriteFixed::CODE,
        opcode::Write::CODE,
        opcode::Read::CODE,
        opcode::Writev::CODE,
        opcode::Accept::CODE,
        opcode::Connect::CODE,
        opcode::AsyncCancel::CODE,
    ];
    if needed.iter().all(|&code| able.is_supported(code)) { Ok(()) } else { Err(UringUnavailable::TooOld) }
}

/// Whether the buffers of a node can be registered, tried with a ring that is taken down again.
///
/// # Errors
/// No ring can be set up.
pub fn registers_buffers() -> Result<RegistrationState, UringUnavailable> {
    let runtime = set_up(|| tokio_uring::Runtime::new(&tokio_uring::builder())).map_err(why_refused)?;
    Ok(runtime.block_on(async { BufferPool::new().register() }))
}

/// Why a ring was refused, here and now.
#[must_use]
pub fn why_refused(error: io::Error) -> UringUnavailable {
    cause(error, sysctl().as_deref(), locked_memory_limit())
}

fn cause(error: io::Error, sysctl: Option<&str>, limit_bytes: Option<u64>) -> UringUnavailable {
    match (error.raw_os_error().map(Errno::from_raw), sysctl.map(str::trim)) {
        (Some(Errno::ENOSYS), _) => UringUnavailable::Missing,
        (Some(Errno::EPERM | Errno::EACCES), Some("2")) => UringUnavailable::DisabledForAll,
        (Some(Errno::EPERM | Errno::EACCES), Some("1")) => UringUnavailable::DisabledForUser,
        (Some(Errno::EPERM | Errno::EACCES), _) => UringUnavailable::Forbidden,
        (Some(Errno::ENOMEM), _) => UringUnavailable::LockedMemory { limit_bytes },
        _ => UringUnavailable::Other(error),
    }
}

fn sysctl() -> Option<String> {
    std::fs::read_to_string(SYSCTL_PATH).ok()
}

fn locked_memory_limit() -> Option<u64> {
    getrlimit(Resource::RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(errno: Errno, sysctl: Option<&str>) -> String {
        cause(io::Error::from(errno), sysctl, Some(8 << 20)).to_string()
    }

    #[test]
    fn each_cause_is_named_with_its_fix() {
        assert!(said(Errno::ENOSYS, None).contains("use Linux 5.11 or later, and in a container a profile"));
        assert!(said(Errno::EPERM, Some("2\n")).contains("for everybody here: as root, `sysctl"));
        assert!(said(Errno::EPERM, Some("1\n")).contains("join the group that kernel.io_uring_group names"));
        assert!(said(Errno::EPERM, Some("0\n")).contains("seccomp profile of a container"));
        assert!(said(Errno::EPERM, None).contains("seccomp profile of a container"));
        assert!(said(Errno::ENOMEM, Some("0\n")).contains("the limit is 8192 KiB"));
    }

    #[test]
    fn what_is_not_understood_keeps_its_source() {
        let unknown = cause(io::Error::from(Errno::EMFILE), None, None);
        let source = std::error::Error::source(&unknown).unwrap();
        assert_eq!(source.to_string(), io::Error::from(Errno::EMFILE).to_string());
    }

    #[test]
    fn where_a_runtime_starts_the_probe_agrees() {
        tokio_uring::start(async { tokio_uring::no_op().await }).unwrap();
        probe().unwrap();
    }
}
