//! What can still be read of the directory of a node that is damaged: logs as nodes wrote them.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use resolute::inspect::{Damage, Piece, Publisher, Salvage};
use resolute::limits::BATCH_BYTES_MAX;
use resolute::{Builder, Bus};

use crate::scene::{Seen, builder, close, drained, free_port, open, seed, subscribe, within};

const TORN_BYTES: usize = 1 << 20;

/// Ids, publishers and payloads by the numbers of the records.
type Messages = BTreeMap<u64, (Option<String>, Publisher, Vec<u8>)>;

/// All messages, and the damage.
fn salvaged(directory: &Path) -> (Messages, Vec<Damage>) {
    let (mut messages, mut damage) = (BTreeMap::new(), Vec::new());
    for piece in Salvage::read(directory).unwrap() {
        match piece.unwrap() {
            Piece::Damage(found) => damage.push(found),
            Piece::Message(found) => {
                let id = found.id.map(|id| id.to_string());
                assert_eq!(id.is_none(), found.publisher == Publisher::Unknown);
                let value = (id, found.publisher.clone(), found.payload().to_vec());
                let twice = messages.insert(found.record, value);
                assert_eq!(twice, None, "record {} comes once", found.record);
            }
        }
    }
    (messages, damage)
}

/// A receiver of messages, which parks some of them, far behind which its log goes on until they were carried forward;
/// and the ids of those. Of its own, it has published one.
async fn receiver(directory: &Path) -> (PathBuf, Vec<String>) {
    let (at, from) = (directory.join("receiver"), directory.join("publisher"));
    let publisher = open(builder(&from, free_port())).await;
    let seen = Seen::default();
    let with_handler = |builder: Builder| builder.every("bulk", seen.handler());
    let port = free_port();
    let bus = open(with_handler(builder(&at, port))).await;
    let serving = tokio::spawn(bus.serve());
    for topic in ["kept", "bulk"] {
        subscribe(&bus, publisher.address(), topic).await;
    }
    bus.publish("own", "to nobody").await.unwrap();
    bus.send("tcp://127.0.0.1:9", "own", "to somebody").await.unwrap();
    let mut kept = Vec::new();
    for number in 0..10 {
        let receipt = publisher.publish("kept", format!("kept {number}")).await.unwrap();
        kept.push(receipt.id.unwrap().to_string());
    }
    for number in 0..700_usize {
        let mut payload = format!("{number} ").into_bytes();
        payload.resize(60_000, b'.');
        within("publish", publisher.publish("bulk", payload)).await.unwrap();
    }
    drained(&publisher).await;
    seen.reaches(700).await;
    close(&publisher).await;
    close(&bus).await;
    serving.abort();
    (at, kept)
}

/// Whether all messages that were found are as they were. Where what says who published one is damaged, it comes without a
/// name.
fn is_of(found: &Messages, whole: &Messages) -> bool {
    found.iter().all(|(record, message)| {
        let before = &whole[record];
        message == before || message.1 == Publisher::Unknown && message.2 == before.2
    })
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    logs.sort();
    logs
}

/// A bit of a byte that is no zero: something was written there.
fn written_bit(logs: &[PathBuf], random: usize) -> (&Path, u64) {
    let written = logs.iter().map(|path| (path, std::fs::read(path).unwrap()));
    let written: Vec<_> = written.filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)).collect();
    let (path, bytes) = &written[random % written.len()];
    let from = (random >> 16) % bytes.len();
    let at = (from..bytes.len()).chain(0..from).find(|at| bytes[*at] != 0).unwrap();
    (path.as_path(), (at * 8 + random % 8) as u64)
}

fn flip(path: &Path, bit: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], bit / 8).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_there_once_under_its_id_and_with_a_flipped_bit_all_but_one() {
    let directory = tempfile::tempdir().unwrap();
    let (at, kept) = receiver(directory.path()).await;
    let (whole, damage) = salvaged(&at);
    assert_eq!(damage, []);
    for (number, id) in kept.iter().enumerate() {
        let found = whole.values().find(|(found, ..)| found.as_ref() == Some(id));
        let (_, publisher, payload) = found.unwrap();
        assert!(matches!(publisher, Publisher::Peer(node) if id.starts_with(node.as_str())), "{publisher:?}");
        assert_eq!(payload, format!("kept {number}").as_bytes());
    }
    let own: Vec<_> = whole.values().filter(|(_, publisher, _)| *publisher == Publisher::ThisNode).collect();
    assert_eq!(own.len(), 1, "what is owed to somebody");
    let seed = seed("salvaging");
    let logs = segments(&at);
    assert!(!logs[0].ends_with("00000000000000000001.log"), "what was kept was carried forward");
    for number in 0..30_u64 {
        let random = (seed ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let (path, bit) = written_bit(&logs, random as usize);
        flip(path, bit);
        let (found, damage) = salvaged(&at);
        assert!(is_of(&found, &whole), "{path:?} {bit}");
        assert!(found.len() + 1 >= whole.len(), "{path:?} {bit}: {damage:?}");
        assert!(damage.len() <= 1 && (found == whole || !damage.is_empty()), "{path:?} {bit}: {damage:?}");
        flip(path, bit);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_torn_out_beginning_all_others_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let (at, kept) = receiver(directory.path()).await;
    let (whole, _) = salvaged(&at);
    let logs = segments(&at);
    let file = std::fs::OpenOptions::new().write(true).open(&logs[0]).unwrap();
    file.write_all_at(&[0x5a; TORN_BYTES], 0).unwrap();
    let refused = within("open", Bus::builder(&at).open()).await;
    assert!(refused.is_err(), "a damaged log is not opened");
    let (found, damage) = salvaged(&at);
    assert_eq!(damage.len(), 1, "{damage:?}");
    // How many messages are in a batch is up to the machine; no more can be lost than what was torn out and what is left of
    // the batch at its end.
    let lost = whole.iter().filter(|(record, _)| !found.contains_key(record));
    let lost_bytes: usize = lost.map(|(_, (_, _, payload))| payload.len()).sum();
    assert!(lost_bytes <= TORN_BYTES + BATCH_BYTES_MAX, "{lost_bytes}: {} of {}", found.len(), whole.len());
    assert!(is_of(&found, &whole), "{damage:?}");
    // What was carried forward out of it may be there all the same.
    let left = kept.iter().filter(|id| found.values().any(|(found, ..)| found.as_ref() == Some(id)));
    println!("{} of {} that were kept", left.count(), kept.len());
}
