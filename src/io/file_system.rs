//! What lies under a data directory, and whether "on stable storage" means anything there.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;

/// Whether a flush that returned has reached a disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    /// As far as the kernel can tell.
    Disk,
    /// It never does: there is none.
    Memory,
    /// It depends on a server or a process that we know nothing of.
    Elsewhere,
}

/// The magic numbers of statfs(2), with the names people know.
const KNOWN: [(u32, &str, Flush); 17] = [
    (0x0000_EF53, "ext4", Flush::Disk),
    (0x5846_5342, "xfs", Flush::Disk),
    (0x9123_683E, "btrfs", Flush::Disk),
    (0xF2F5_2010, "f2fs", Flush::Disk),
    (0x2FC1_2FC1, "zfs", Flush::Disk),
    (0xCA45_1A4E, "bcachefs", Flush::Disk),
    (0x794C_7630, "overlayfs", Flush::Disk),
    (0x4D44, "vfat", Flush::Disk),
    (0x0102_1994, "tmpfs", Flush::Memory),
    (0x8584_58F6, "ramfs", Flush::Memory),
    (0x6969, "nfs", Flush::Elsewhere),
    (0xFF53_4D42, "cifs", Flush::Elsewhere),
    (0xFE53_4D42, "smb2", Flush::Elsewhere),
    (0x517B, "smb", Flush::Elsewhere),
    (0x00C3_6400, "ceph", Flush::Elsewhere),
    (0x6573_5546, "fuse", Flush::Elsewhere),
    (0x0102_1997, "9p", Flush::Elsewhere),
];

/// The kind of a file system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    magic: u32,
}

impl FileSystem {
    /// The file system that `path` lies in.
    pub(super) fn of(path: &Path) -> Result<FileSystem, Errno> {
        // The numbers have 32 bits; the field is as wide as the machine's words, and signed on some.
        statfs(path).map(|facts| FileSystem { magic: facts.filesystem_type().0 as u32 })
    }

    fn known(self) -> Option<&'static (u32, &'static str, Flush)> {
        KNOWN.iter().find(|(magic, ..)| *magic == self.magic)
    }

    /// Why what is "durable" here may be lost, or nothing where a flush can be trusted.
    #[must_use]
    pub fn durability_warning(self) -> Option<String> {
        let (_, name, flush) = self.known()?;
        let why = match flush {
            Flush::Disk => return None,
            Flush::Memory => "it is memory, and a restart of the machine empties it",
            Flush::Elsewhere => "what a flush means is up to whoever serves it",
        };
        Some(format!("durability is not real here: the data directory is on {name}; {why}"))
    }
}

impl fmt::Display for FileSystem {
    /// Its name, as mount(8) has it; ext2 and ext3 are told from ext4 by nobody here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((_, name, _)) => f.write_str(name),
            None => write!(f, "unknown ({:#x})", self.magic),
        }
    }
}

impl fmt::Debug for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSystem({self})")
    }
}

/// Whether there is no room left: on the disk, or in what this user may take of it.
pub(super) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOSPC | Errno::EDQUOT))
}

/// Bytes that we may still write in the file system of `path`.
pub(super) fn free_bytes(path: &Path) -> Result<u64, Errno> {
    // Not statfs: its blocks are not those that it counts in, on some network file systems.
    let facts = statvfs(path)?;
    Ok(facts.blocks_available().saturating_mul(facts.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_a_name_or_a_number() {
        assert_eq!(FileSystem { magic: 0xEF53 }.to_string(), "ext4");
        assert_eq!(FileSystem { magic: 0xABC }.to_string(), "unknown (0xabc)");
    }

    #[test]
    fn memory_and_servers_are_warned_of_and_disks_are_not() {
        let warned: Vec<String> = KNOWN
            .iter()
            .map(|(magic, ..)| FileSystem { magic: *magic })
            .filter(|file_system| file_system.durability_warning().is_some())
            .map(|file_system| file_system.to_string())
            .collect();
        assert_eq!(
            warned,
            ["tmpfs", "ramfs", "nfs", "cifs", "smb2", "smb", "ceph", "fuse", "9p"].map(String::from)
        );
        assert_eq!(FileSystem { magic: 0xABC }.durability_warning(), None);
        let warning = FileSystem { magic: 0x0102_1994 }.durability_warning().unwrap();
        assert!(warning.contains("durability is not real here") && warning.contains("tmpfs"), "{warning}");
    }

    #[test]
    fn the_kernel_is_asked() {
        // Shared memory is a tmpfs on any Linux that has it.
        if Path::new("/dev/shm").exists() {
            assert_eq!(FileSystem::of(Path::new("/dev/shm")).unwrap().to_string(), "tmpfs");
        }
        assert!(FileSystem::of(Path::new("/proc")).unwrap().to_string().starts_with("unknown"));
        assert!(free_bytes(&std::env::temp_dir()).unwrap() > 0);
        assert_eq!(free_bytes(Path::new("/no/such/place")).unwrap_err(), Errno::ENOENT);
    }
}
