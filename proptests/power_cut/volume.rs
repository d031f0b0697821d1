//! The disk, as the kernel asks for it.
//!
//! FOPEN_DIRECT_IO is never set: with it the kernel would not send the flush that O_DSYNC asks for.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use nix::fcntl::OFlag;

use super::disk::{Content, Disk, Inode};
use super::image::Image;
use super::kind::Asked;
use super::latency::Latency;
use super::names::Names;
use super::trouble::Meeting;

/// Nothing that was asked is remembered by the kernel.
const TTL: Duration = Duration::ZERO;

const BLOCK_BYTES: u32 = 4096;

/// How a file was opened that is written with O_DSYNC. Any other is 0.
const OWN_FLUSHES: FileHandle = FileHandle(1);

/// More than any test needs.
const FREE_BLOCKS: u64 = 1 << 20;

/// The disk, mounted.
pub struct Volume {
    pub disk: Arc<Mutex<Disk>>,
    /// While one request takes so long, the next is on its way.
    pub latency: Arc<Mutex<Latency>>,
}

impl Volume {
    /// Does something with the disk. What went wrong meanwhile is told before the answer is.
    fn ask<T>(
        &self,
        (asked, number, name): (Asked, u64, Option<&OsStr>),
        what: impl FnOnce(&mut Disk) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let mut disk = lock(&self.disk);
        let meeting = match asked {
            // How much of it is done is up to the disk.
            Asked::Write => Meeting::Done,
            _ => disk.meet(asked, number, name.and_then(OsStr::to_str), 0),
        };
        let answer = match meeting {
            Meeting::Refused(error) => Err(error),
            _ => what(&mut disk),
        };
        if let Some(news) = disk.take_news() {
            println!("{news}");
        }
        answer
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(name: &OsStr) -> Result<&str, Errno> {
    name.to_str().ok_or(Errno::EINVAL)
}

fn attributes(disk: &Disk, number: u64) -> Result<FileAttr, Errno> {
    let inode = disk.inode(number)?;
    let size = match &inode.content {
        Content::File(image) => image.bytes() as u64,
        Content::Directory(_) => 0,
    };
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: inode.kind(),
        perm: inode.mode,
        nlink: if inode.kind() == FileType::Directory { 2 } else { disk.links(number) },
        uid: nix::unistd::Uid::effective().as_raw(),
        gid: nix::unistd::Gid::effective().as_raw(),
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    })
}

fn made(mode: u32, umask: u32, content: Content) -> Inode {
    Inode { mode: (mode & !umask & 0o7777) as u16, content }
}

fn handle(flags: i32) -> FileHandle {
    if OFlag::from_bits_truncate(flags).contains(OFlag::O_DSYNC) { OWN_FLUSHES } else { FileHandle(0) }
}

fn empty(reply: ReplyEmpty, answer: Result<(), Errno>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn entry(reply: ReplyEntry, answer: Result<FileAttr, Errno>) {
    match answer {
        Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Volume {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let answer = self.ask((Asked::Look, parent.0, Some(name)), |disk| {
            let number = disk.names(parent.0)?.get(text(name)?).ok_or(Errno::ENOENT)?;
            attributes(disk, number)
        });
        entry(reply, answer);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.ask((Asked::Look, ino.0, None), |disk| attributes(disk, ino.0)) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let answer = self.ask((Asked::Change, ino.0, None), |disk| {
            if let Some(bytes) = size {
                disk.resize(ino.0, bytes)?;
            }
            attributes(disk, ino.0)
        });
        match answer {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let answer = self.ask((Asked::Change, parent.0, Some(name)), |disk| {
            let directory = made(mode, umask, Content::Directory(Names::default()));
            let number = disk.create(parent.0, text(name)?, directory)?;
            attributes(disk, number)
        });
        entry(reply, answer);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let answer = self.ask((Asked::Change, parent.0, Some(name)), |disk| {
            let file = made(mode, umask, Content::File(Image::default()));
            let number = disk.create(parent.0, text(name)?, file)?;
            attributes(disk, number)
        });
        match answer {
            Ok(attributes) => {
                reply.created(&TTL, &attributes, Generation(0), handle(flags), FopenFlags::empty());
            }
            Err(error) => reply.error(error),
        }
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let answer = self.ask((Asked::Change, parent.0, Some(name)), |disk| {
            disk.link(ino.0, parent.0, text(name)?)?;
            attributes(disk, ino.0)
        });
        entry(reply, answer);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(
            reply,
            self.ask((Asked::Change, parent.0, Some(name)), |disk| disk.unlink(parent.0, text(name)?)),
        );
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let answer = self.ask((Asked::Change, parent.0, Some(newname)), |disk| {
            match (parent == newparent, flags.is_empty()) {
                (false, _) => Err(Errno::EXDEV),
                (_, false) => Err(Errno::EINVAL),
                _ => disk.rename(parent.0, text(name)?, text(newname)?),
            }
        });
        empty(reply, answer);
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.ask((Asked::Open, ino.0, None), |disk| disk.inode(ino.0).map(drop)) {
            Ok(()) => reply.opened(handle(flags.0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.ask((Asked::Read, ino.0, None), |disk| disk.read(ino.0, offset, size).map(<[u8]>::to_vec))
        {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let is_own = handle == OWN_FLUSHES;
        if is_own {
            let write_us = lock(&self.latency).write_us;
            std::thread::sleep(Duration::from_micros(write_us));
        }
        match self.ask((Asked::Write, ino.0, None), |disk| disk.write(ino.0, offset, data, is_own)) {
            // The kernel counts the bytes of a request in 32 bits.
            Ok(written) => reply.written(written as u32),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        let flush_us = lock(&self.latency).flush_us;
        std::thread::sleep(Duration::from_micros(flush_us));
        empty(reply, self.ask((Asked::Flush, ino.0, None), |disk| disk.flush(ino.0, handle == OWN_FLUSHES)));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.ask((Asked::FlushNames, ino.0, None), |disk| disk.flush(ino.0, false)));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let answer = self.ask((Asked::Look, ino.0, None), |disk| {
            let own = [(".".to_owned(), ino.0), ("..".to_owned(), ino.0)];
            let names = disk.names(ino.0)?.all().iter().map(|(name, number)| (name.clone(), *number));
            let entry = |(name, number)| Ok((disk.inode(number)?.kind(), name, number));
            own.into_iter().chain(names).map(entry).collect::<Result<Vec<_>, Errno>>()
        });
        match answer {
            Ok(entries) => {
                for (index, (kind, name, number)) in (1..).zip(entries).skip(offset as usize) {
                    if reply.add(INodeNo(number), index, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        match self.ask((Asked::Look, ino.0, None), |disk| disk.inode(ino.0).map(drop)) {
            Ok(()) => reply.statfs(
                2 * FREE_BLOCKS,
                FREE_BLOCKS,
                FREE_BLOCKS,
                FREE_BLOCKS,
                FREE_BLOCKS,
                BLOCK_BYTES,
                255,
                BLOCK_BYTES,
            ),
            Err(error) => reply.error(error),
        }
    }
}
