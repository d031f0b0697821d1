//! That the file system itself keeps its law, seen from outside: what was flushed is there after a cut, and what was not is
//! gone. A test on a file system that forgets nothing would show nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use resolute::format::batch::{BatchFacts, seal};
use resolute::ids::{BatchNumber, Epoch, Lsn, SegmentNumber};

use super::fault::{Effect, Fault, Kind};
use super::image::Image;
use super::loss::{Loss, Unit};
use super::power::{Power, Stop};
use super::rng::Rng;
use super::tally::Tally;

/// Memory that O_DIRECT takes.
#[repr(align(4096))]
struct Block([u8; 4096]);

const BLOCK: Block = Block([7; 4096]);

/// Tries it.
pub async fn check(above: &Path) -> Result<(), Stop> {
    let at = above.join("law");
    fs::create_dir(&at).map_err(|error| Stop::Failed(error.to_string()))?;
    let mut power = Power::start(&at).await?;
    let broken = |why: String| Stop::Failed(format!("the file system breaks its own law: {why}"));
    own_flushes().map_err(broken)?;
    files(&mut power).await.map_err(broken)?;
    names(&mut power).await.map_err(broken)?;
    refusals(&mut power).await.map_err(broken)
}

fn told(error: io::Error) -> String {
    error.to_string()
}

fn must(so: bool, what: &str) -> Result<(), String> {
    if so { Ok(()) } else { Err(format!("it is not so that {what}")) }
}

fn is_refused<T>(outcome: io::Result<T>) -> bool {
    outcome.is_err_and(|error| error.raw_os_error() == Some(Errno::EIO as i32))
}

/// A new file, with its name flushed, and nothing in it.
fn new_file(at: &Path, name: &str) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).open(at.join(name))?;
    File::open(at)?.sync_all()?;
    Ok(file)
}

async fn cut(power: &mut Power) -> Result<(), String> {
    power.cut(Loss::ALL).await?;
    must(is_refused(fs::read_dir(power.mount_point())), "without power nothing is answered")?;
    power.restore().await
}

/// Each of two writes of the log that are on their way at once has a flush of its own; and what overtakes what.
fn own_flushes() -> Result<(), String> {
    let batch = |number: u64| {
        let facts = BatchFacts {
            log_id: 1,
            epoch: Epoch(1),
            nonce: 1,
            batch_number: BatchNumber(number),
            durable_batch: BatchNumber(0),
            segment: SegmentNumber(1),
            previous_header_crc: 0,
            closing: false,
        };
        let mut bytes = vec![0; 4096];
        seal(&mut bytes, 0, Lsn(number), 0, &[], &facts);
        bytes
    };
    let after = |flushes: u64, unit: Unit| {
        let mut image = Image::default();
        for number in 1..=3 {
            // The second half of the first one comes as a request of its own.
            image.write(8192 * (number as usize - 1), &batch(number), true);
            image.write(8192 * (number as usize - 1) + 4096, &BLOCK.0, true);
        }
        let left = (0..flushes).fold(true, |_, _| image.flush_own());
        let (mut rng, mut tally) = (Rng::new(1), Tally::default());
        image.cut(Loss { unit, keep: 0, seed: 1 }, true, &mut rng, &mut tally);
        let there = |number: u64| {
            let at = 8192 * (number as usize - 1);
            image.read(at, 4096) == batch(number) && image.read(at + 4096, 4096) == BLOCK.0
        };
        (left, (1..=3).map(there).collect::<Vec<bool>>(), image.bytes())
    };
    must(after(0, Unit::Sectors).1 == [false, false, false], "without a flush nothing is there")?;
    must(after(1, Unit::Sectors) == (true, vec![true, false, false], 8192), "one flush is for one write")?;
    must(after(2, Unit::Writes) == (true, vec![true, true, false], 16_384), "two are for two")?;
    must(after(3, Unit::Sectors) == (false, vec![true, true, true], 24_576), "three are for all")?;
    must(after(0, Unit::Newest).1 == [false, false, true], "the newest may be there alone")?;
    // The flush of the first write was refused, so it is written again, behind the second one.
    let mut image = Image::default();
    for number in [1, 2, 1] {
        image.write(8192 * (number as usize - 1), &batch(number), true);
    }
    let are_left = [image.flush_own(), image.flush_own()];
    must(are_left == [true, false], "a write that is made again takes the place of what it was before")
}

async fn files(power: &mut Power) -> Result<(), String> {
    let at = power.mount_point().to_owned();
    let mut lost = new_file(&at, "not flushed").map_err(told)?;
    lost.write_all(b"lost").map_err(told)?;
    let mut kept = new_file(&at, "flushed").map_err(told)?;
    kept.write_all(b"kept").and_then(|()| kept.sync_data()).map_err(told)?;
    let direct = |name: &str, flags: OFlag| {
        let path = at.join(name);
        new_file(&at, name)?;
        let file =
            OpenOptions::new().write(true).custom_flags((OFlag::O_DIRECT | flags).bits()).open(path)?;
        file.write_all_at(&BLOCK.0, 4096)
    };
    direct("O_DSYNC", OFlag::O_DSYNC).and_then(|()| direct("O_DIRECT", OFlag::empty())).map_err(told)?;
    let before = fs::read(at.join("not flushed")).map_err(told)?;
    must(before == b"lost", "what was written is seen before it is flushed")?;
    drop((lost, kept));
    cut(power).await?;
    let bytes = |name: &str| fs::read(at.join(name)).map_err(told);
    must(bytes("not flushed")?.is_empty(), "what was not flushed is gone")?;
    must(bytes("O_DIRECT")?.is_empty(), "O_DIRECT alone flushes nothing")?;
    must(bytes("flushed")? == b"kept", "what was flushed is there")?;
    must(bytes("O_DSYNC")?[4096..] == BLOCK.0, "what was written with O_DSYNC is there")
}

async fn names(power: &mut Power) -> Result<(), String> {
    let at = power.mount_point().to_owned();
    let flush = || File::open(&at).and_then(|directory| directory.sync_all()).map_err(told);
    for name in ["a", "b", "c"] {
        File::create_new(at.join(name)).and_then(|file| file.sync_all()).map_err(told)?;
    }
    flush()?;
    fs::rename(at.join("a"), at.join("renamed")).map_err(told)?;
    fs::hard_link(at.join("c"), at.join("linked")).map_err(told)?;
    flush()?;
    fs::rename(at.join("renamed"), at.join("renamed again")).map_err(told)?;
    fs::remove_file(at.join("b")).map_err(told)?;
    let new = File::create_new(at.join("new")).map_err(told)?;
    new.sync_all().map_err(told)?;
    drop(new);
    cut(power).await?;
    let is_there = |name: &str| at.join(name).exists();
    must(is_there("renamed") && !is_there("a"), "a rename that was flushed happened")?;
    must(is_there("linked") && is_there("c"), "a link that was flushed happened")?;
    must(!is_there("renamed again"), "a rename that was not flushed did not happen")?;
    must(is_there("b"), "a name that was taken without a flush is there again")?;
    must(!is_there("new"), "to flush a file does not flush its name")
}

async fn refusals(power: &mut Power) -> Result<(), String> {
    let at = power.mount_point().to_owned();
    new_file(&at, "refused").map_err(told)?;
    let flags = (OFlag::O_DIRECT | OFlag::O_DSYNC).bits();
    let file = OpenOptions::new().write(true).custom_flags(flags).open(at.join("refused")).map_err(told)?;
    power.arm(Fault { kind: Some(Kind::Flush), number: 2, effect: Effect::Refuse }).await?;
    file.write_all_at(&BLOCK.0, 0).map_err(told)?;
    must(is_refused(file.write_all_at(&BLOCK.0, 4096)), "a flush that is refused fails the write")?;
    file.write_all_at(&BLOCK.0, 8192).map_err(told)?;
    power.settle().await?;
    must(power.event().is_some(), "what goes wrong is told")?;
    let effect = Effect::Cut(Loss::ALL);
    power.arm(Fault { kind: Some(Kind::Write), number: 2, effect }).await?;
    file.write_all_at(&BLOCK.0, 0).map_err(told)?;
    must(is_refused(file.write_all_at(&BLOCK.0, 12_288)), "the write in which the power goes fails")?;
    must(is_refused(file.write_all_at(&BLOCK.0, 0)), "and so does the next")?;
    drop(file);
    power.restore().await?;
    let bytes = fs::metadata(at.join("refused")).map_err(told)?.len();
    must(bytes == 12_288, "what was written before is there, and what was cut off is not")
}
