//! A disk with a strict file system on it, and its power: the fault model of this test.
//!
//! * What was written to a file is durable once that file was flushed, and not before. Names are durable once their
//!   directory was flushed, and not before; a flush of a file says nothing about its name.
//! * A write with O_DSYNC is durable once its own flush was done, and no other that is on its way is durable with it, though it
//!   was written: see `image.rs`.
//! * At a cut, of what was not flushed any part may be there: each sector of 512 bytes, or each write, and each change of names
//!   by itself, in any order. The request in the middle of which the power goes is one of these, and a flush may be done or not.
//! * From then on every request is answered with EIO until the power is back.
//! * A flush that was refused made nothing durable. What it was to flush is still seen, and is lost or not at the next cut.
//! * What was flushed is never lost, and a sector is never half written.

use std::collections::{BTreeMap, BTreeSet};

use fuser::{Errno, FileType};
use resolute::format::segment::{is_spare, segment_number};

use super::fault::{Effect, Fault, Kind};
use super::image::Image;
use super::kind::Asked;
use super::loss::Loss;
use super::names::{Change, Names};
use super::rng::Rng;
use super::tally::Tally;
use super::trouble::{Meeting, Troubles};

/// The number of the directory at the top.
pub const ROOT: u64 = 1;

#[derive(Clone)]
pub enum Content {
    File(Image),
    Directory(Names),
}

/// A file or directory.
#[derive(Clone)]
pub struct Inode {
    pub mode: u16,
    pub content: Content,
}

impl Inode {
    pub fn kind(&self) -> FileType {
        match self.content {
            Content::File(_) => FileType::RegularFile,
            Content::Directory(_) => FileType::Directory,
        }
    }
}

/// What becomes of a request.
enum Fate {
    Done,
    Refused,
    /// The power goes while it is being done.
    Last {
        loss: Loss,
        /// Whether a flush is done before.
        is_done: bool,
    },
}

/// The disk.
pub struct Disk {
    inodes: BTreeMap<u64, Inode>,
    next: u64,
    is_on: bool,
    fault: Option<Fault>,
    news: Option<String>,
    tally: Tally,
    /// What comes instead of what is asked for.
    pub troubles: Troubles,
    /// What was there when it was saved.
    saved: BTreeMap<String, BTreeMap<u64, Inode>>,
}

impl Default for Disk {
    fn default() -> Disk {
        let root = Inode { mode: 0o755, content: Content::Directory(Names::default()) };
        let inodes = BTreeMap::from([(ROOT, root)]);
        Disk {
            inodes,
            next: ROOT + 1,
            is_on: true,
            fault: None,
            news: None,
            tally: Tally::default(),
            troubles: Troubles::default(),
            saved: BTreeMap::new(),
        }
    }
}

impl Disk {
    pub fn arm(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    pub fn power_on(&mut self) {
        self.is_on = true;
    }

    /// What just went wrong, once.
    pub fn take_news(&mut self) -> Option<String> {
        self.news.take()
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Cuts the power between two requests, if it was not cut before.
    pub fn cut(&mut self, loss: Loss) {
        if self.is_on {
            self.tally.add("cuts between requests", 1);
            self.lose(loss);
        }
    }

    fn lose(&mut self, loss: Loss) {
        (self.is_on, self.fault) = (false, None);
        let mut rng = Rng::new(loss.seed);
        let logs: BTreeSet<u64> = self.inodes.keys().copied().filter(|number| self.is_log(*number)).collect();
        for (number, inode) in &mut self.inodes {
            match &mut inode.content {
                Content::File(image) => image.cut(loss, logs.contains(number), &mut rng, &mut self.tally),
                Content::Directory(names) => names.cut(loss.keep, &mut rng, &mut self.tally),
            }
        }
        let (mut reached, mut to_see) = (BTreeSet::new(), vec![ROOT]);
        while let Some(number) = to_see.pop() {
            reached.insert(number);
            if let Some(Inode { content: Content::Directory(names), .. }) = self.inodes.get(&number) {
                to_see.extend(names.all().values());
            }
        }
        self.inodes.retain(|number, _| reached.contains(number));
    }

    pub fn inode(&self, number: u64) -> Result<&Inode, Errno> {
        if !self.is_on {
            return Err(Errno::EIO);
        }
        self.inodes.get(&number).ok_or(Errno::ENOENT)
    }

    fn file(&mut self, number: u64) -> Result<&mut Image, Errno> {
        match self.inodes.get_mut(&number).ok_or(Errno::ENOENT)? {
            Inode { content: Content::File(image), .. } => Ok(image),
            _ => Err(Errno::EISDIR),
        }
    }

    pub fn names(&self, number: u64) -> Result<&Names, Errno> {
        match self.inode(number)? {
            Inode { content: Content::Directory(names), .. } => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// How many names a file has.
    pub fn links(&self, number: u64) -> u32 {
        self.named().filter(|(_, of)| *of == number).count() as u32
    }

    /// Every name, with that of its directory before it.
    fn named(&self) -> impl Iterator<Item = (String, u64)> {
        let directories = self.inodes.iter().filter_map(|(number, inode)| match &inode.content {
            Content::Directory(names) => Some((*number, names)),
            Content::File(_) => None,
        });
        let name_of = |number: u64| {
            let Some(Inode { content: Content::Directory(top), .. }) = self.inodes.get(&ROOT) else {
                return "";
            };
            top.all().iter().find(|(_, of)| **of == number).map_or("", |(name, _)| name.as_str())
        };
        directories.flat_map(move |(directory, names)| {
            let above = name_of(directory);
            names.all().iter().map(move |(name, number)| (format!("{above}/{name}"), *number))
        })
    }

    fn name_of(&self, number: u64) -> String {
        self.named().find(|(_, of)| *of == number).map_or_else(|| format!("#{number}"), |(name, _)| name)
    }

    fn is_log(&self, number: u64) -> bool {
        is_segment(self.name_of(number).rsplit('/').next().unwrap_or_default())
    }

    /// Counts a request, and says whether it is the one at which something goes wrong.
    fn begin(&mut self, kind: Kind, number: u64) -> Result<Fate, Errno> {
        if !self.is_on {
            return Err(Errno::EIO);
        }
        let frees = kind == Kind::FlushNames && self.names(number)?.will_lose(is_segment);
        let is_meant = |of: Kind| of == kind || of == Kind::Free && frees;
        let Some(fault) = self.fault.as_mut().filter(|fault| fault.kind.is_none_or(is_meant)) else {
            return Ok(Fate::Done);
        };
        fault.number -= 1;
        if fault.number > 0 {
            return Ok(Fate::Done);
        }
        let (effect, kind, name) = (fault.effect, fault.kind.unwrap_or(kind), self.name_of(number));
        self.fault = None;
        match effect {
            Effect::Cut(loss) => {
                self.news = Some(format!("cut {name}"));
                self.tally.add(kind.counted_as(), 1);
                Ok(Fate::Last { loss, is_done: kind == Kind::Free || loss.seed.is_multiple_of(2) })
            }
            Effect::Refuse => {
                self.news = Some(format!("refused {name}"));
                let counted = if kind == Kind::Flush && self.is_log(number) {
                    "flushes of the log refused"
                } else {
                    "other flushes refused"
                };
                self.tally.add(counted, 1);
                Ok(Fate::Refused)
            }
        }
    }

    /// The end of a request of which the change itself was made.
    fn end(&mut self, fate: Fate) -> Result<(), Errno> {
        match fate {
            Fate::Done => Ok(()),
            // Only flushes are refused.
            Fate::Refused => Err(Errno::EIO),
            Fate::Last { loss, .. } => {
                self.lose(loss);
                Err(Errno::EIO)
            }
        }
    }

    pub fn read(&self, number: u64, offset: u64, bytes: u32) -> Result<&[u8], Errno> {
        match self.inode(number)? {
            Inode { content: Content::File(image), .. } => Ok(image.read(offset as usize, bytes as usize)),
            _ => Err(Errno::EISDIR),
        }
    }

    /// Writes, and says how much of it. `is_own`: a flush of its own follows.
    pub fn write(&mut self, number: u64, offset: u64, bytes: &[u8], is_own: bool) -> Result<usize, Errno> {
        let fate = self.begin(Kind::Write, number)?;
        let meeting = self.meet(Asked::Write, number, None, bytes.len());
        let written = match meeting {
            Meeting::Done => bytes.len(),
            Meeting::Short(written) => written,
            Meeting::Refused(Errno::EINTR | Errno::EAGAIN) => 0,
            Meeting::Refused(_) => bytes.len() / 2,
        };
        if !self.file(number)?.is_flushed() && self.is_log(number) {
            self.tally.add("writes of the log at once", 1);
        }
        self.file(number)?.write(offset as usize, &bytes[..written], is_own);
        self.end(fate)?;
        match meeting {
            Meeting::Refused(error) => Err(error),
            _ => Ok(written),
        }
    }

    /// What is to become of a request: about a file, or about a name in a directory.
    pub fn meet(&mut self, asked: Asked, number: u64, name: Option<&str>, bytes: usize) -> Meeting {
        if !self.troubles.is_armed() {
            return Meeting::Done;
        }
        let file = match name {
            Some(name) => format!("{}/{name}", self.name_of(number)),
            None => self.name_of(number),
        };
        self.troubles.meet(asked, file, bytes)
    }

    /// Remembers all that is there, durable or not.
    pub fn save(&mut self, name: &str) {
        self.saved.insert(name.to_owned(), self.inodes.clone());
    }

    /// Nothing is there but what was saved under that name, if anything was. Files get new numbers: what the kernel still knows
    /// of the old ones is not about them.
    pub fn load(&mut self, name: &str) {
        let base = self.next;
        let renumbered = |number: u64| if number == ROOT { ROOT } else { number + base };
        let mut saved = match self.saved.get(name) {
            Some(saved) => saved.clone(),
            None => Disk::default().inodes,
        };
        for inode in saved.values_mut() {
            if let Content::Directory(names) = &mut inode.content {
                names.renumber(renumbered);
            }
        }
        self.inodes = saved.into_iter().map(|(number, inode)| (renumbered(number), inode)).collect();
        self.next = self.inodes.keys().next_back().map_or(ROOT, |last| *last) + 1;
        self.next = self.next.max(base);
        self.is_on = true;
    }

    /// The names of all files.
    pub fn all_names(&self) -> String {
        self.named().map(|(name, _)| name + " ").collect()
    }

    pub fn resize(&mut self, number: u64, bytes: u64) -> Result<(), Errno> {
        let fate = self.begin(Kind::Write, number)?;
        self.file(number)?.resize(bytes as usize);
        self.end(fate)
    }

    /// Flushes a file's content, or the names in a directory. `is_own`: it is the flush of a write with O_DSYNC.
    pub fn flush(&mut self, number: u64, is_own: bool) -> Result<(), Errno> {
        let kind = match self.inode(number)?.kind() {
            FileType::Directory => Kind::FlushNames,
            _ => Kind::Flush,
        };
        let fate = self.begin(kind, number)?;
        let is_done = match fate {
            Fate::Done => true,
            Fate::Refused => false,
            Fate::Last { is_done, .. } => is_done,
        };
        if is_done {
            match self.inodes.get_mut(&number).map(|inode| &mut inode.content) {
                Some(Content::File(image)) if is_own => {
                    let is_more = image.flush_own();
                    self.tally.add("flushes that another write did not share", u64::from(is_more));
                }
                Some(Content::File(image)) => image.flush(),
                Some(Content::Directory(names)) => names.flush(),
                None => return Err(Errno::ENOENT),
            }
        }
        self.end(fate)
    }

    /// Makes a file or a directory, and says its number.
    pub fn create(&mut self, directory: u64, name: &str, inode: Inode) -> Result<u64, Errno> {
        if self.names(directory)?.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let number = self.next;
        self.next += 1;
        self.inodes.insert(number, inode);
        let change = Change { takes: None, gives: Some((name.to_owned(), number)) };
        self.change_names(directory, change).map(|()| number)
    }

    pub fn link(&mut self, number: u64, directory: u64, name: &str) -> Result<(), Errno> {
        if self.names(directory)?.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        self.change_names(directory, Change { takes: None, gives: Some((name.to_owned(), number)) })
    }

    pub fn unlink(&mut self, directory: u64, name: &str) -> Result<(), Errno> {
        let number = self.names(directory)?.get(name).ok_or(Errno::ENOENT)?;
        self.change_names(directory, Change { takes: Some((name.to_owned(), number)), gives: None })
    }

    /// Within one directory: nobody here needs more.
    pub fn rename(&mut self, directory: u64, from: &str, to: &str) -> Result<(), Errno> {
        let number = self.names(directory)?.get(from).ok_or(Errno::ENOENT)?;
        let change = Change { takes: Some((from.to_owned(), number)), gives: Some((to.to_owned(), number)) };
        self.tally.add("segments begun", u64::from(is_segment(to)));
        self.tally.add("segments recycled", u64::from(is_spare(from) && is_segment(to)));
        self.change_names(directory, change)
    }

    fn change_names(&mut self, directory: u64, change: Change) -> Result<(), Errno> {
        let fate = self.begin(Kind::ChangeNames, directory)?;
        match self.inodes.get_mut(&directory).map(|inode| &mut inode.content) {
            Some(Content::Directory(names)) => names.change(change),
            _ => return Err(Errno::ENOTDIR),
        }
        self.end(fate)
    }
}

fn is_segment(name: &str) -> bool {
    segment_number(name).is_some()
}
