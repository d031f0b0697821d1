//! What was imported into a directory, so that nothing is imported twice.
//!
//! ```text
//! epoch 7                              the section is written while the node is open for the 7th time; of a queue, its mark
//! 9f86d081884c7d659a2feaa0c55ad015     what is about to be imported
//! 60303ae22b998861bce3b28f33eec1be
//! done 2 e3069283                      it is on the disk; how many, and a checksum of their lines
//! ```
//!
//! A section is on the disk before what it names is imported, and its end once that is: whatever ends an import in between leaves
//! one section open, and the next import looks which of its messages are there.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cli::exit::{Exit, Failure};
use crate::format::checksum::checksum;

/// The file in the directory.
const NAME: &str = "imported";

/// Messages are nobody else's business, and neither is what was imported.
const MODE: u32 = 0o600;

/// What names something that is imported: the beginning of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u128);

impl Key {
    /// Of everything by which it differs from others.
    pub fn of(parts: &[&[u8]]) -> Key {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Key(u128::from_be_bytes(bytes))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

/// Something that was begun and not ended, and how often the node had been opened by then.
pub type Begun = (Key, u64);

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    done: HashSet<Key>,
    open: Vec<Begun>,
    /// Bytes that say something.
    length: u64,
    file: Option<File>,
}

impl Ledger {
    /// What was imported into a directory. Nothing is changed before something else is.
    pub fn read(directory: &Path) -> Result<Ledger, Failure> {
        let path = directory.join(NAME);
        let text = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Failure::io(&format!("read {}", path.display()), &error)),
        };
        let Said { done, open, length, .. } = parsed(&text).map_err(|line| {
            let text = format!(
                "{} is damaged in line {line}: it says what was imported; without the file nothing is known of that",
                path.display()
            );
            Failure::new(Exit::Corrupt, text)
        })?;
        Ok(Ledger { path, done, open, length: length as u64, file: None })
    }

    pub fn has(&self, key: Key) -> bool {
        self.done.contains(&key)
    }

    /// What nobody knows whether it was imported.
    pub fn open(&self) -> &[Begun] {
        &self.open
    }

    /// Says, on the disk, that these are about to be imported.
    pub fn begin(&mut self, epoch: u64, keys: &[Key]) -> Result<(), Failure> {
        let mut lines = format!("epoch {epoch}\n");
        keys.iter().for_each(|key| lines.push_str(&line(*key)));
        self.append(&lines)
    }

    /// Says, on the disk, that those that were begun last are imported.
    pub fn end(&mut self, keys: &[Key]) -> Result<(), Failure> {
        let lines: String = keys.iter().map(|key| line(*key)).collect();
        self.append(&format!("done {} {:08x}\n", keys.len(), checksum(lines.as_bytes())))?;
        self.done.extend(keys);
        Ok(())
    }

    fn append(&mut self, lines: &str) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::io(&format!("write {}", self.path.display()), &error);
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let file = options.create(true).append(true).mode(MODE).open(&self.path).map_err(failed)?;
            // What did not arrive whole is no beginning of what comes now.
            file.set_len(self.length).map_err(failed)?;
            let directory = self.path.parent().map(File::open).transpose().map_err(failed)?;
            directory.map_or(Ok(()), |directory| directory.sync_all()).map_err(failed)?;
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.write_all(lines.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)?;
        }
        Ok(())
    }
}

fn line(Key(key): Key) -> String {
    format!("{key:032x}\n")
}

/// What the lines of a file say so far.
#[derive(Default)]
struct Said {
    done: HashSet<Key>,
    open: Vec<Begun>,
    epoch: u64,
    /// Bytes that say something.
    length: usize,
}

/// What a file says. Only its end may be in pieces; otherwise the number of the line that makes no sense.
fn parsed(text: &[u8]) -> Result<Said, usize> {
    let mut said = Said::default();
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    for (number, bytes) in text[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let took = std::str::from_utf8(bytes).ok().and_then(|line| said.take(line.trim_end()));
        if took.is_none() {
            // Where nothing is ended any more, it is what was written last and did not arrive whole.
            let is_last = !text[said.length..].windows(5).any(|bytes| bytes == b"\ndone");
            return if is_last { Ok(said) } else { Err(number + 1) };
        }
        said.length += bytes.len();
    }
    Ok(said)
}

impl Said {
    fn take(&mut self, text: &str) -> Option<()> {
        if let Some(epoch) = text.strip_prefix("epoch ") {
            self.epoch = epoch.parse().ok()?;
        } else if let Some(end) = text.strip_prefix("done ") {
            let (count, sum) = end.split_once(' ')?;
            let first = self.open.len().checked_sub(count.parse().ok()?)?;
            let lines: String = self.open[first..].iter().map(|(key, _)| line(*key)).collect();
            if format!("{:08x}", checksum(lines.as_bytes())) != sum {
                return None;
            }
            self.done.extend(self.open.drain(first..).map(|(key, _)| key));
            // One that an earlier import had begun may be among them.
            self.open.retain(|(key, _)| !self.done.contains(key));
        } else {
            let is_key =
                text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let key = Key(u128::from_str_radix(text, 16).ok().filter(|_| is_key)?);
            self.open.push((key, self.epoch));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Vec<Key> {
        names.iter().map(|name| Key::of(&[name.as_bytes()])).collect()
    }

    #[test]
    fn what_was_ended_is_known_and_what_was_only_begun_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::read(dir.path()).unwrap();
        let (first, second) = (keys(&["a", "b"]), keys(&["c", "d", "e"]));
        ledger.begin(3, &first).unwrap();
        ledger.end(&first).unwrap();
        ledger.begin(3, &second).unwrap();
        let mut again = Ledger::read(dir.path()).unwrap();
        assert!(first.iter().all(|key| again.has(*key)) && !again.has(second[0]));
        assert_eq!(again.open(), second.iter().map(|key| (*key, 3)).collect::<Vec<_>>());
        // One of the three turns out to be there; the others stay open.
        again.begin(4, &second[1..2]).unwrap();
        again.end(&second[1..2]).unwrap();
        let again = Ledger::read(dir.path()).unwrap();
        assert_eq!((again.has(second[1]), again.open()), (true, &[(second[0], 3), (second[2], 3)][..]));
    }

    #[test]
    fn an_end_that_did_not_arrive_whole_is_cut_off_and_damage_before_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (keys(&["a", "b"]), keys(&["c"]));
        let mut ledger = Ledger::read(dir.path()).unwrap();
        ledger.begin(1, &first).unwrap();
        ledger.end(&first).unwrap();
        let whole = std::fs::read(dir.path().join(NAME)).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(dir.path().join(NAME), &whole[..cut]).unwrap();
            let mut ledger = Ledger::read(dir.path()).unwrap();
            assert!(!ledger.has(first[0]), "{cut}");
            ledger.begin(2, &second).unwrap();
            ledger.end(&second).unwrap();
            assert!(Ledger::read(dir.path()).unwrap().has(second[0]), "{cut}");
        }
        for index in 0..whole.len() {
            let mut bytes = [&whole[..], &whole].concat();
            bytes[index] ^= 4;
            std::fs::write(dir.path().join(NAME), &bytes).unwrap();
            let ledger = Ledger::read(dir.path());
            // How often the node was opened has no checksum: it only says what else might be there.
            let is_number = index == b"epoch ".len();
            assert_eq!(ledger.is_ok(), is_number, "byte {index}");
        }
    }

    #[test]
    fn keys_differ_by_where_their_parts_end() {
        assert_ne!(Key::of(&[b"ab", b"c"]), Key::of(&[b"a", b"bc"]));
        assert_eq!(Key::of(&[b"ab", b"c"]), Key::of(&[b"ab", b"c"]));
    }
}
