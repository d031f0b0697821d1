//! What tests of the program stand on: nodes in several segments, their files, and bits of those.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use resolute::Bus;

/// A node with so many messages of 200,000 bytes that nobody handles, each with its number in front.
pub async fn node(directory: &Path, count: u32) -> Bus {
    let bus = Bus::builder(directory).segment_bytes(8 << 20).open().await.unwrap();
    bus.subscribe(bus.address(), ["a"]).await.unwrap();
    for number in 0..count {
        bus.publish("a", [&number.to_le_bytes()[..], &[b'x'; 200_000]].concat()).await.unwrap();
    }
    bus
}

pub fn segment(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.log"))
}

/// Flips a bit of a file.
pub fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Lets a node call its handlers until so many messages are parked and so many dead, and no longer.
pub async fn serve_until(bus: &Bus, parked: u64, dead: u64) {
    let serving = tokio::spawn(bus.serve());
    for _ in 0..4_000 {
        let status = bus.status().await.unwrap();
        if (status.parked, status.dead_letters) == (parked, dead) {
            serving.abort();
            assert!(serving.await.unwrap_err().is_cancelled());
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{parked} parked and {dead} dead did not come: {:?}", bus.status().await);
}
