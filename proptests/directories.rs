//! Data directories that are taken, damaged, full, in memory, or not what they seem.

#[path = "directories/mount.rs"]
mod mount;
#[path = "directories/written.rs"]
mod written;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use resolute::format::batch::{BATCH_HEADER_BYTES, FORMAT_VERSION};
use resolute::format::checksum::checksum;
use resolute::format::segment::segment_name;
use resolute::ids::SegmentNumber;
use resolute::limits::TORN_FILES_MAX;
use resolute::{Bus, Error, ErrorClass};

use crate::scene::{
    Seen, alone, builder, chain, close, drained, free_port, open, plain, status, subscribe, until, within,
};
use mount::Mount;

/// Nobody is there.
const ABSENT: &str = "tcp://127.0.0.1:9";

async fn refusal(directory: &Path) -> String {
    let refused = within("open", Bus::builder(directory).segment_bytes(8 << 20).open()).await;
    let error = refused.expect_err("it can be opened");
    assert!(matches!(error, Error::Open(_)) && !error.is_retryable(), "{error:?}");
    chain(&error)
}

async fn small(directory: &Path) -> Bus {
    open(Bus::builder(directory).segment_bytes(8 << 20)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_use_names_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let bus = plain(directory.path()).await;
    let refused = refusal(directory.path()).await;
    assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
    close(&bus).await;
    close(&plain(directory.path()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_no_directory_or_cannot_be_written_is_said_to_be_so() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    assert!(refusal(&file).await.contains("not a directory"));
    let below = refusal(&file.join("below")).await;
    assert!(below.contains("not a directory"), "{below}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    let Some(mount) = Mount::in_memory("size=32m") else { return };
    let inside = mount.path().join("node");
    close(&small(&inside).await).await;
    assert!(mount.remount("ro"));
    let before = written::content(&inside);
    let refused = refusal(&inside).await;
    assert!(refused.contains("cannot be written") && refused.contains("Read-only"), "{refused}");
    assert!(refusal(&mount.path().join("new")).await.contains("cannot be written"));
    assert!(written::content(&inside) == before);
}

/// A log of several batches that was closed.
async fn a_closed_log(directory: &Path) {
    let bus = small(directory).await;
    for number in 0..20 {
        within("send", bus.send(ABSENT, "do", format!("{number} {}", "x".repeat(9000)))).await.unwrap();
    }
    close(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_is_refused_and_nothing_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    a_closed_log(directory.path()).await;
    let segment = &written::segments(directory.path())[0];
    let mut header = std::fs::read(segment).unwrap()[..BATCH_HEADER_BYTES].to_vec();
    header[4..6].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let crc = checksum(&header[..BATCH_HEADER_BYTES - 4]);
    header[BATCH_HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    written::overwrite(segment, 0, &header);
    let before = written::content(directory.path());
    let refused = refusal(directory.path()).await;
    assert!(refused.contains(&format!("format version {}", FORMAT_VERSION + 1)), "{refused}");
    assert!(refused.contains(segment.to_str().unwrap()) && refused.contains("offset 0"), "{refused}");
    assert!(written::content(directory.path()) == before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_the_middle_names_segment_and_offset_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    a_closed_log(directory.path()).await;
    let segment = &written::segments(directory.path())[0];
    let batches = written::batches(segment);
    let hit = batches[batches.len() / 2];
    let byte = hit.offset + 5000;
    let old = std::fs::read(segment).unwrap()[byte as usize];
    written::overwrite(segment, byte, &[old ^ 1]);
    let before = written::content(directory.path());
    for _ in 0..2 {
        let refused = refusal(directory.path()).await;
        assert!(refused.contains(segment.to_str().unwrap()), "{refused}");
        assert!(refused.contains(&format!("offset {}", hit.offset)), "{refused}");
        assert!(written::content(directory.path()) == before);
    }
    // Put right, it is what it was.
    written::overwrite(segment, byte, &[old]);
    let bus = small(directory.path()).await;
    assert_eq!(status(&bus).await.outgoing, 20);
    close(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_cut_off_reported_and_kept_aside() {
    let directory = tempfile::tempdir().unwrap();
    let crashed = directory.path().join("crashed");
    a_torn_log(&crashed).await;
    let segment = &written::segments(&crashed)[0];
    let last = *written::batches(segment).last().unwrap();
    for number in 1..=TORN_FILES_MAX {
        std::fs::write(crashed.join(format!("torn-{number}.bin")), "kept long ago").unwrap();
    }
    let bus = small(&crashed).await;
    let repaired = status(&bus).await;
    assert_eq!(repaired.outgoing, 50);
    assert!(
        repaired.recovery.contains("torn") && repaired.recovery.contains("kept in"),
        "{}",
        repaired.recovery
    );
    assert!(repaired.recovery.contains(&format!("offset {}", last.offset)), "{}", repaired.recovery);
    let names =
        std::fs::read_dir(&crashed).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let kept: Vec<String> = names.filter(|name| name.starts_with("torn-")).collect();
    assert!(kept.len() == TORN_FILES_MAX && !kept.contains(&"torn-1.bin".to_owned()), "{kept:?}");
    assert!(kept.iter().any(|name| repaired.recovery.contains(name.as_str())), "{kept:?}");
    within("send", bus.send(ABSENT, "do", "51")).await.unwrap();
    close(&bus).await;
    let bus = small(&crashed).await;
    let after = status(&bus).await;
    assert_eq!((after.outgoing, after.recovery.as_str()), (51, "closed cleanly"));
    close(&bus).await;
}

/// A log in `crashed` that ends in the middle of a write, with fifty messages before it.
async fn a_torn_log(crashed: &Path) {
    let live = tempfile::tempdir().unwrap();
    let bus = small(live.path()).await;
    for number in 0..50 {
        within("send", bus.send(ABSENT, "do", number.to_string())).await.unwrap();
    }
    within("send", bus.send(ABSENT, "do", vec![b'x'; 20_000])).await.unwrap();
    written::copy_as_it_lies(live.path(), crashed);
    close(&bus).await;
    // The last batch did not arrive in whole.
    let segment = &written::segments(crashed)[0];
    let last = *written::batches(segment).last().unwrap();
    assert!(last.bytes > 16384);
    written::overwrite(segment, last.offset + 8192, &vec![0; last.bytes as usize - 8192]);
}

// It was said to be a failure of the disk, and whoever waits for room did not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_room_for_what_is_cut_off_is_said_to_be_full() {
    let Some(mount) = Mount::in_memory("size=44m") else { return };
    let crashed = mount.path().join("node");
    a_torn_log(&crashed).await;
    // Its inode was there before the disk was full.
    std::fs::write(crashed.join("lock"), "").unwrap();
    let filler = mount.fill();
    let before = written::content(&crashed);
    let refused = within("open", Bus::builder(&crashed).segment_bytes(8 << 20).open()).await;
    let error = refused.expect_err("it can be opened");
    assert!(chain(&error).contains("keep what was cut off"), "{}", chain(&error));
    assert_eq!(error.class(), ErrorClass::DiskFull, "{}", chain(&error));
    // What was kept of it so far takes no room.
    assert!(written::content(&crashed) == before);
    std::fs::remove_file(filler).unwrap();
    let bus = small(&crashed).await;
    let repaired = status(&bus).await;
    assert!(repaired.outgoing == 50 && repaired.recovery.contains("kept in"), "{}", repaired.recovery);
    close(&bus).await;
}

// The next segment lacked its checkpoint. Once it was the oldest one, the node could never be opened again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_died_between_two_segments_begins_the_second_one_as_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let (live, crashed) = (directory.path().join("live"), directory.path().join("crashed"));
    let (seen, port) = (Seen::default(), free_port());
    let build = |directory: &Path| {
        let seen = seen.clone();
        builder(directory, port).every("a", move |_: resolute::Envelope| {
            seen.push("");
            std::future::ready(Ok::<(), String>(()))
        })
    };
    let bus = open(build(&live)).await;
    subscribe(&bus, bus.address(), "a").await;
    // Batches so large that the last one of the segment leaves less room than another might need.
    let mut count = 0;
    while status(&bus).await.segments == 1 {
        let mut batch = bus.batch();
        for _ in 0..13 {
            batch = batch.publish("a", vec![b'x'; 60_000]).unwrap();
        }
        count += within("commit", batch.commit()).await.unwrap().len();
    }
    written::copy_as_it_lies(&live, &crashed);
    close(&bus).await;
    let [first, second] = &written::segments(&crashed)[..] else { panic!("not two segments") };
    let last = *written::batches(first).last().unwrap();
    assert!((8 << 20) - (last.offset + last.bytes) < 1 << 20, "{last:?}");
    // Nothing of the second was written yet.
    std::fs::remove_file(second).unwrap();
    let bus = open(build(&crashed)).await;
    let serving = tokio::spawn(bus.serve());
    seen.reaches(count).await;
    until("the first segment is freed", async || status(&bus).await.segments == 1).await;
    close(&bus).await;
    drop(within("serve", serving).await);
    let bus = open(build(&crashed)).await;
    let again = status(&bus).await;
    assert_eq!((again.incoming, again.recovery.as_str()), (0, "closed cleanly"));
    close(&bus).await;
}

// They were given up from the first one on. Whoever died between two of them left a gap, and the node could never be opened
// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_never_became_segments_are_given_up_from_the_last_one_on() {
    let directory = tempfile::tempdir().unwrap();
    close(&small(directory.path()).await).await;
    let path = |number: u64| directory.path().join(segment_name(SegmentNumber(number)));
    let inode = |number: u64| std::fs::metadata(path(number)).map(|metadata| metadata.ino()).ok();
    for number in [2, 3] {
        std::fs::write(path(number), vec![0; 8 << 20]).unwrap();
    }
    let last = inode(3);
    let bus = small(directory.path()).await;
    // Of the spares, the one that was one first is the next segment.
    until("the next segment is there", async || inode(2).is_some()).await;
    assert_eq!(inode(2), last);
    close(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_it_works_and_says_that_durability_is_not_real() {
    let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: there is no /dev/shm");
        return;
    };
    for epoch in 1..=2 {
        let bus = small(directory.path()).await;
        within("send", bus.send(ABSENT, "do", "x")).await.unwrap();
        let status = status(&bus).await;
        assert_eq!((status.epoch, status.outgoing), (epoch, epoch));
        assert!(status.durability_warning.unwrap().contains("durability is not real"));
        assert_eq!(status.file_system, "tmpfs");
        println!("measured: O_DIRECT on tmpfs: {}", status.direct);
        close(&bus).await;
    }
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let bus = small(disk.path()).await;
    let status = status(&bus).await;
    if status.file_system == "ext4" {
        assert_eq!((status.durability_warning, status.direct), (None, true));
    }
    close(&bus).await;
}

/// Publishes until the disk is full; how many were acknowledged.
async fn fill(web: &Bus) -> u64 {
    for number in 0..10_000 {
        match within("publish", web.publish("a", vec![b'x'; 100_000])).await {
            Ok(receipt) => assert_eq!(receipt.routed, 1),
            Err(Error::DiskFull) => {
                assert!(Error::DiskFull.is_retryable());
                return number;
            }
            Err(other) => panic!("{}", chain(&other)),
        }
    }
    panic!("the disk takes everything");
}

async fn a_full_disk_drains(directory: &Path) {
    let elsewhere = tempfile::tempdir().unwrap();
    let (seen, port) = (Seen::default(), free_port());
    let web_port = free_port();
    let web = open(builder(directory.join("web"), web_port)).await;
    let build = || {
        let seen = seen.clone();
        builder(elsewhere.path().join("email"), port).every("a", move |_: resolute::Envelope| {
            seen.push("");
            std::future::ready(Ok::<(), String>(()))
        })
    };
    let email = open(build()).await;
    subscribe(&email, web.address(), "a").await;
    close(&email).await;
    let stored = fill(&web).await;
    let full = status(&web).await;
    assert!(full.disk_full && full.failure.is_none(), "{full:?}");
    assert_eq!(full.outgoing, stored);
    assert!(stored > 100, "only {stored} messages found room");
    // It can be closed and opened like this.
    close(&web).await;
    let web = open(builder(directory.join("web"), web_port)).await;
    assert_eq!(status(&web).await.outgoing, stored);
    let email = open(build()).await;
    let serving = tokio::spawn(email.serve());
    drained(&web).await;
    seen.reaches(stored as usize).await;
    until("room again", async || !status(&web).await.disk_full).await;
    for _ in 0..30 {
        let published = within("publish", web.publish("a", vec![b'y'; 100_000])).await;
        assert!(published.is_ok(), "{published:?}");
    }
    seen.reaches(stored as usize + 30).await;
    drained(&web).await;
    drained(&email).await;
    assert_eq!(seen.count(), stored as usize + 30);
    close(&email).await;
    close(&web).await;
    drop(within("serve", serving).await);
}

// What had been staged behind the last batch of a full segment waited for ever, and so did whoever wanted to stage more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_segment_that_cannot_be_made_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let bus = small(directory.path()).await;
    // A file takes longer to be made than this segment to be filled, and then cannot get its name.
    let next = directory.path().join(segment_name(SegmentNumber(2)));
    until("the next file is begun", async || unfinished(directory.path())).await;
    std::fs::create_dir(&next).unwrap();
    let publishing = (0..100).map(|_| {
        let bus = bus.clone();
        tokio::spawn(async move { bus.send(ABSENT, "a", vec![b'x'; 200_000]).await })
    });
    let publishing: Vec<_> = publishing.collect();
    let (mut stored, mut refused) = (0, 0);
    for one in publishing {
        match within("an outcome", one).await.unwrap() {
            Ok(_) => stored += 1,
            Err(Error::DiskFull) => refused += 1,
            Err(other) => panic!("{}", chain(&other)),
        }
    }
    assert!(stored > 20 && refused > 20, "{stored} stored, {refused} refused");
    assert!(matches!(within("send", bus.send(ABSENT, "a", "y")).await, Err(Error::DiskFull)));
    std::fs::remove_dir(&next).unwrap();
    until("room again", async || !status(&bus).await.disk_full).await;
    within("send", bus.send(ABSENT, "a", "y")).await.unwrap();
    close(&bus).await;
}

/// Whether a file is being prepared.
fn unfinished(directory: &Path) -> bool {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .into_iter()
        .any(|name| name.to_string_lossy().contains("2.") && !name.to_string_lossy().ends_with(".log"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_in_memory_publishing_is_refused_and_draining_goes_on() {
    let Some(mount) = Mount::in_memory("size=52m") else { return };
    a_full_disk_drains(&mount.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_ext4_publishing_is_refused_and_draining_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::on_loop(&directory.path().join("image"), 80 << 20) else { return };
    a_full_disk_drains(&mount.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_whose_disk_is_full_takes_the_rest_when_it_has_handled_some() {
    let Some(mount) = Mount::in_memory("size=44m") else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let (count, seen) = (800, Seen::default());
    let remember = seen.clone();
    let web = open(builder(elsewhere.path().join("web"), free_port())).await;
    let email = builder(mount.path().join("email"), free_port()).every("a", move |_: resolute::Envelope| {
        remember.push("");
        std::future::ready(Ok::<(), String>(()))
    });
    let email = open(email).await;
    subscribe(&email, web.address(), "a").await;
    for _ in 0..count {
        drop(within("publish", web.publish_nowait("a", vec![b'x'; 100_000])).await.unwrap());
    }
    until("a full disk", async || status(&email).await.disk_full).await;
    // The session goes on: it is told that it may not send for now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (full, owing) = (status(&email).await, status(&web).await);
    assert!(full.failure.is_none() && full.incoming > 100 && owing.outgoing > 100, "{full:?}");
    assert_eq!(full.incoming + owing.outgoing, count);
    let serving = tokio::spawn(email.serve());
    drained(&web).await;
    drained(&email).await;
    assert_eq!(seen.count(), count as usize);
    close(&email).await;
    close(&web).await;
    drop(within("serve", serving).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_ones_own_on_a_full_disk_makes_room_by_being_worked_off() {
    let Some(mount) = Mount::in_memory("size=44m") else { return };
    let seen = Seen::default();
    let remember = seen.clone();
    let bus = builder(mount.path().join("own"), free_port()).every("a", move |_: resolute::Envelope| {
        remember.push("");
        std::future::ready(Ok::<(), String>(()))
    });
    let bus = open(bus).await;
    subscribe(&bus, bus.address(), "a").await;
    let stored = fill(&bus).await;
    let serving = tokio::spawn(bus.serve());
    drained(&bus).await;
    assert_eq!(seen.count() as u64, stored);
    until("room again", async || within("publish", bus.publish("a", "x")).await.is_ok()).await;
    drained(&bus).await;
    close(&bus).await;
    drop(within("serve", serving).await);
}

/// Each of two nodes publishes to the other, and the disk of one is full: what the other acknowledges makes room on it,
/// and must get past the messages that find none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_get_past_messages_that_find_no_room() {
    let Some(mount) = Mount::in_memory("size=44m") else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let (port, email_port, seen) = (free_port(), free_port(), Seen::default());
    let remember = seen.clone();
    let web = builder(mount.path().join("web"), port).every("b", move |_: resolute::Envelope| {
        remember.push("");
        std::future::ready(Ok::<(), String>(()))
    });
    let web = open(web).await;
    let build = || builder(elsewhere.path().join("email"), email_port).every("a", Seen::default().handler());
    let email = open(build()).await;
    subscribe(&email, web.address(), "a").await;
    subscribe(&web, email.address(), "b").await;
    close(&email).await;
    fill(&web).await;
    assert!(status(&web).await.outgoing > 100);
    // What the other has for it comes first.
    let email =
        open(build().bind("tcp://127.0.0.1:0").advertise(format!("tcp://127.0.0.1:{}", free_port()))).await;
    for _ in 0..60 {
        drop(within("publish", email.publish_nowait("b", vec![b'x'; 100_000])).await.unwrap());
    }
    let watched = tokio::spawn(loses_a_session(web.clone()));
    let serving = [tokio::spawn(web.serve()), tokio::spawn(email.serve())];
    drained(&web).await;
    drained(&email).await;
    seen.reaches(60).await;
    assert!(!watched.is_finished(), "a session had to time out");
    watched.abort();
    close(&email).await;
    close(&web).await;
    for serving in serving {
        drop(within("serve", serving).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_not_even_one_segment_finds_room_opening_says_so() {
    let Some(mount) = Mount::in_memory("size=4m") else { return };
    let refused = refusal(&mount.path().join("node")).await;
    assert!(refused.contains("no room"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_too_little_locked_memory_it_works_unregistered_and_says_so() {
    if !alone("directories::with_too_little_locked_memory_it_works_unregistered_and_says_so") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let nobody = nix::unistd::Uid::from_raw(65_534);
    if nix::unistd::Uid::effective().is_root() {
        // Whoever may do everything may lock everything: it must be somebody else.
        std::os::unix::fs::chown(directory.path(), Some(65_534), None).unwrap();
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK, 64 << 10, 64 << 10)
            .unwrap();
        nix::unistd::setuid(nobody).unwrap();
    } else {
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK, 64 << 10, 64 << 10)
            .unwrap();
    }
    let bus = small(&directory.path().join("node")).await;
    let receipt = within("send", bus.send(ABSENT, "do", vec![b'x'; 100_000])).await.unwrap();
    assert_eq!(receipt.routed, 1);
    let told = status(&bus).await.registration;
    println!("measured: {told}");
    assert!(told.contains("not registered") && told.contains("ulimit -l"), "{told}");
    close(&bus).await;
    // The kernel gives back what a ring had locked some time after the ring is gone: whoever comes at once waits for it.
    for _ in 0..20 {
        let bus = small(&directory.path().join("node")).await;
        assert_eq!(status(&bus).await.outgoing, 1);
        close(&bus).await;
    }
    // The directory belongs to somebody else now; whoever began this test cleans up.
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Resolves when a session that goes on no longer does.
async fn loses_a_session(bus: Bus) {
    let mut connected = false;
    while let Ok(status) = bus.status().await {
        let now = status.destinations.iter().any(|peer| peer.connected);
        if connected && !now {
            return;
        }
        connected = now;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
