//! What the library hands out of a damaged log: messages under the names of their publishers, each once, and every damage.

use std::collections::BTreeMap;
use std::fs::OpenOptions;

use resolute::format::control::{Accepted, Carried, Control, PeerRecord};
use resolute::format::message::{MessageHead, MessageParts};
use resolute::format::record::{self, RECORD_HEADER_BYTES, RecordKind};
use resolute::format::segment::segment_name;
use resolute::ids::{
    Epoch, Incarnation, Lsn, MessageId, NodeId, PeerSlot, Position, SegmentNumber, SetId, StreamId,
};
use resolute::inspect::{Damage, Piece, Publisher, Salvage};
use resolute::log::batch_builder::BatchBuilder;
use resolute::time::Wall;

use super::written_log::{Image, WrittenLog, put_on_disk};

const OWN: (NodeId, Incarnation) = (NodeId(0xaaa), Incarnation(11));
const PEER: (NodeId, Incarnation) = (NodeId(0xbbb), Incarnation(77));

/// By the numbers of their records: what names a message, who published it and its payload.
type Messages = BTreeMap<u64, (Option<MessageId>, Publisher, String)>;

fn pieces(salvage: Salvage) -> (Messages, Vec<Damage>) {
    let (mut messages, mut damage) = (Messages::new(), Vec::new());
    for piece in salvage {
        match piece.unwrap() {
            Piece::Damage(found) => damage.push(found),
            Piece::Message(found) => {
                let payload = String::from_utf8(found.payload().to_vec()).unwrap();
                let twice = messages.insert(found.record, (found.id, found.publisher, payload));
                assert_eq!(twice, None, "record {} comes once", found.record);
            }
        }
    }
    (messages, damage)
}

fn salvaged(image: &Image) -> (Messages, Vec<Damage>) {
    let directory = tempfile::tempdir().unwrap();
    put_on_disk(image, directory.path());
    pieces(Salvage::read(directory.path()).unwrap())
}

fn head() -> MessageHead {
    MessageHead::with_topics(Wall(1), ["orders.placed"]).unwrap()
}

fn push_message(builder: &mut BatchBuilder, buffer: &mut [u8], payload: &str) {
    let head = head();
    let parts = MessageParts::new(&head, payload.as_bytes()).unwrap();
    builder.push_message(buffer, &parts, 0, SetId(1));
}

/// A message as the peer wrote it.
fn peers(lsn: u64, payload: &str) -> Vec<u8> {
    let message = MessageParts::new(&head(), payload.as_bytes()).unwrap().pieces().concat();
    let mut record = Vec::new();
    record::append(&mut record, Lsn(lsn), RecordKind::Message, 0, &message);
    record
}

fn push_run(builder: &mut BatchBuilder, buffer: &mut [u8], records: &[Vec<u8>]) {
    let bytes = records.concat();
    let accepted = Accepted {
        slot: PeerSlot(1),
        incarnation: PEER.1,
        stream: StreamId(1),
        first_position: Position(1),
        count: records.len() as u32,
        bytes: bytes.len() as u32,
        last_lsn: Lsn(1000),
    };
    builder.push_run(buffer, &accepted, &bytes);
}

fn peer() -> Control {
    Control::Peer(PeerRecord {
        slot: PeerSlot(1),
        node: PEER.0,
        incarnation: PEER.1,
        epoch: Epoch(1),
        nonce: 1,
        secret: [0; 16],
        secret_confirmed: true,
        address: "tcp://peer:1".to_owned(),
        name: "peer".to_owned(),
        removed: false,
    })
}

/// Who the node is (1), and its peer (2); a message (3); a run (4) of two (5, 6), a message (7), and what was carried
/// forward (8) of 6. Each in a batch of its own but the run.
fn log() -> WrittenLog {
    let mut log = WrittenLog::new(1 << 16);
    let (id, incarnation) = OWN;
    log.append_filled(|batch, at| {
        batch.push_control(at, &Control::Node { id, incarnation, created: Wall(1) });
    });
    log.append_filled(|batch, at| {
        batch.push_control(at, &peer());
    });
    log.append_filled(|batch, at| push_message(batch, at, "own"));
    log.append_filled(|batch, at| push_run(batch, at, &[peers(40, "first"), peers(44, "second")]));
    log.append_filled(|batch, at| push_message(batch, at, "own again"));
    log.append_filled(|batch, at| {
        let (slot, incarnation, record) = (PeerSlot(1), PEER.1, &*peers(44, "second"));
        let copy = Carried { lsn: Lsn(6), slot, incarnation, in_inbox: true, owed: vec![], record };
        batch.push_record(at, RecordKind::Carried, &copy.encode());
    });
    log.append_filled(|_, _| {});
    log
}

/// The messages of [`log`].
fn messages() -> Messages {
    let of = |(node, incarnation): (NodeId, Incarnation), lsn, payload: &str| {
        let publisher = match node {
            node if node == OWN.0 => Publisher::ThisNode,
            node => Publisher::Peer(node.to_string()),
        };
        (Some(MessageId { node, incarnation, lsn: Lsn(lsn) }), publisher, payload.to_owned())
    };
    let all = [of(OWN, 3, "own"), of(PEER, 40, "first"), of(PEER, 44, "second"), of(OWN, 7, "own again")];
    [3, 5, 6, 7].into_iter().zip(all).collect()
}

/// The log with a flipped bit in the bodies of these records.
fn hit(log: &WrittenLog, lsns: &[u64]) -> Image {
    let mut image = log.image.clone();
    for batch in &log.batches {
        for (lsn, begin, _) in batch.records().filter(|(lsn, ..)| lsns.contains(&lsn.0)) {
            assert!(batch.body_of_which(begin + RECORD_HEADER_BYTES) == Some(lsn));
            image.get_mut(&batch.segment).unwrap()[batch.offset + begin + RECORD_HEADER_BYTES] ^= 1;
        }
    }
    image
}

fn nameless(mut messages: Messages, records: &[u64]) -> Messages {
    for record in records {
        let message = messages.get_mut(record).unwrap();
        (message.0, message.1) = (None, Publisher::Unknown);
    }
    messages
}

#[test]
fn messages_come_under_the_names_of_their_publishers() {
    assert_eq!(salvaged(&log().image), (messages(), vec![]));
}

#[test]
fn where_what_says_who_published_a_message_is_lost_it_comes_without_a_name() {
    let log = log();
    for (lost, without) in [(1, &[3, 7][..]), (2, &[5, 6]), (4, &[5, 6])] {
        let (found, damage) = salvaged(&hit(&log, &[lost]));
        assert_eq!(found, nameless(messages(), without), "without record {lost}");
        let lost: Vec<_> = damage.into_iter().flat_map(|damage| damage.lost).collect();
        assert_eq!(lost.len(), 1);
    }
}

#[test]
fn who_is_who_may_stand_behind_what_they_said() {
    let mut log = WrittenLog::new(1 << 16);
    log.append_filled(|batch, at| push_run(batch, at, &[peers(40, "first")]));
    log.append_filled(|batch, at| {
        batch.push_control(at, &peer());
    });
    let (found, _) = salvaged(&log.image);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(2, messages()[&5].clone())]);
}

#[test]
fn what_was_carried_forward_stands_in_for_its_original_and_never_beside_it() {
    let log = log();
    let (found, damage) = salvaged(&hit(&log, &[6]));
    assert_eq!((found, damage.len()), (messages(), 1));
    let (found, damage) = salvaged(&hit(&log, &[6, 8]));
    let mut without = messages();
    without.remove(&6);
    assert_eq!((found, damage.len()), (without, 2));
    // The file in which it was is freed, and it was carried forward twice.
    let mut rest = WrittenLog::go_on(Image::new(), 1 << 16, &super::scan(&log.image).1.unwrap(), 5);
    rest.roll();
    for _ in 0..2 {
        rest.append_filled(|batch, at| {
            let (slot, incarnation, record) = (PeerSlot(1), PEER.1, &*peers(44, "second"));
            let copy = Carried { lsn: Lsn(6), slot, incarnation, in_inbox: true, owed: vec![], record };
            batch.push_record(at, RecordKind::Carried, &copy.encode());
            batch.push_control(at, &peer());
        });
    }
    let (found, damage) = salvaged(&rest.image);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(6, messages()[&6].clone())]);
    assert_eq!(damage, []);
}

#[test]
fn messages_of_each_life_of_the_log_come_under_it() {
    let mut log = WrittenLog::new(1 << 16);
    let lives = [Incarnation(11), Incarnation(12)];
    for incarnation in lives {
        log.append_filled(|batch, at| {
            batch.push_control(at, &Control::Node { id: OWN.0, incarnation, created: Wall(1) });
        });
        log.append_filled(|batch, at| push_message(batch, at, "own"));
    }
    let (found, damage) = salvaged(&log.image);
    let found: Vec<_> = found.into_values().map(|(id, ..)| id.unwrap().incarnation).collect();
    assert_eq!((&found[..], damage), (&lives[..], vec![]));
}

/// A file that becomes shorter while it is read stands for a disk that no longer gives its blocks back.
#[test]
fn each_block_that_the_disk_does_not_give_back_is_named_once() {
    let (log, end) = (log(), 1 << 16);
    for (kept, messages) in [(log.batches[3].offset as u64, &[3][..]), (0, &[])] {
        let directory = tempfile::tempdir().unwrap();
        put_on_disk(&log.image, directory.path());
        let salvage = Salvage::read(directory.path()).unwrap();
        let path = directory.path().join(segment_name(SegmentNumber(1)));
        OpenOptions::new().write(true).open(path).unwrap().set_len(kept).unwrap();
        let (found, damage) = pieces(salvage);
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), messages);
        let blocks: Vec<_> = damage.iter().map(|damage| (damage.segment, damage.offset)).collect();
        let expected: Vec<_> = (kept..end).step_by(4096).map(|at| (1, at)).collect();
        assert_eq!(blocks, expected, "{damage:?}");
        assert!(damage.iter().all(|damage| damage.what.contains("does not give back")), "{damage:?}");
    }
}

/// Nothing is lost of which a salvage knows, and yet no node is opened on this log: that is said.
#[test]
fn why_no_node_is_opened_is_said_where_a_salvage_finds_no_damage() {
    let log = log();
    let mut image = log.image.clone();
    // A file that was not yet written to, and the one before it is not there.
    image.insert(3, vec![0; 1 << 16]);
    let (found, damage) = salvaged(&image);
    let [damage] = &damage[..] else { panic!("{damage:?}") };
    assert_eq!((found, damage.segment, damage.offset), (messages(), 2, 0));
    assert!(damage.what.contains("missing"), "{damage:?}");
}
