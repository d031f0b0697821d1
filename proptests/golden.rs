//! Today's bytes of one record of each kind, of a batch and of one frame of each kind, as logs and peers out there
//! have them.
//!
//! A change of these bytes is a change of the format: logs that exist can no longer be read, peers no longer be
//! understood. Where that is meant, the version is raised, and the files in `golden/` are made anew by running the
//! tests once with the environment variable [`REWRITE`] set.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use resolute::format::batch::{BATCH_HEADER_BYTES, BatchFacts, BatchView, OwedRun, padded, seal};
use resolute::format::control::{
    Accepted, AtLimit, Carried, Change, Control, Decided, Decision, IntentState, OwnQuota, PeerRecord,
    Standing, StreamOwner, Verb,
};
use resolute::format::entry::{Entry, Place, StoreKind};
use resolute::format::frame::{FrameKind, FrameView, append as append_frame, append_run_headers};
use resolute::format::message::{MessageHead, MessageParts, MessageView, extension};
use resolute::format::record::{
    FLAG_ATOMIC_MORE, FLAG_COMMAND, RecordKind, RecordView, Records, append as append_record,
};
use resolute::format::segment::{segment_name, spare_name};
use resolute::ids::{
    BatchNumber, Epoch, Incarnation, Lsn, LsnRange, NodeId, PeerSlot, Position, SegmentNumber, SetId,
    StreamId,
};
use resolute::limits::FRAME_BYTES_MAX;
use resolute::time::Wall;
use resolute::wire::bodies::Body;
use resolute::wire::goodbye::GoodbyeCode;
use resolute::wire::hello::Hello;
use resolute::wire::met::Met;

/// Set to 1, the tests write the files instead of comparing with them, and fail all the same.
const REWRITE: &str = "RESOLUTE_REWRITE_GOLDEN";

/// Whether the code reads the value from those bytes.
type Reads = Box<dyn Fn(&[u8]) -> bool>;

/// A value whose bytes are pinned.
struct Pinned {
    name: String,
    /// What the code writes today.
    written: Vec<u8>,
    reads: Reads,
}

/// The bytes as people compare them: 16 in a line.
fn dump(pinned: &[Pinned]) -> String {
    let mut out = String::new();
    for Pinned { name, written, .. } in pinned {
        writeln!(out, "{name}").unwrap();
        let zeros = written.iter().rev().take_while(|byte| **byte == 0).count();
        // Padding is counted, and zeros that are a field's are shown.
        let used = if zeros < 64 { written.len() } else { written.len() - zeros };
        for line in written[..used].chunks(16) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(out, "    {}", hex.join(" ")).unwrap();
        }
        if used < written.len() {
            writeln!(out, "    zeros: {}", written.len() - used).unwrap();
        }
    }
    out
}

/// The names and the bytes in a file.
fn read_dump(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        let Some(content) = line.strip_prefix("    ") else {
            found.push((line.to_owned(), Vec::new()));
            continue;
        };
        let (_, bytes) = found.last_mut().unwrap();
        match content.strip_prefix("zeros: ") {
            Some(count) => bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), 0),
            None => bytes.extend(content.split(' ').map(|hex| u8::from_str_radix(hex, 16).unwrap())),
        }
    }
    found
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("proptests/golden").join(file)
}

/// That the file holds what is written today, and that what it holds is read.
fn compare(file: &str, pinned: &[Pinned]) {
    if env::var(REWRITE).is_ok_and(|value| value == "1") {
        fs::write(path(file), dump(pinned)).unwrap();
        panic!("{file} was written anew: look at what changed, and run again without {REWRITE}");
    }
    let text = fs::read_to_string(path(file)).unwrap();
    let kept = read_dump(&text);
    let names = |all: Vec<&String>| all.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(kept.iter().map(|(name, _)| name).collect()),
        names(pinned.iter().map(|pinned| &pinned.name).collect()),
        "{file} pins other things than this test does; if that is meant, run once with {REWRITE}=1"
    );
    for ((name, kept), pinned) in kept.iter().zip(pinned) {
        assert!(
            *kept == pinned.written,
            "the bytes of {name} in {file} changed: logs and peers out there have the old ones. If that is meant, raise \
             the version and run once with {REWRITE}=1. Now written:\n{}",
            dump(std::slice::from_ref(pinned))
        );
        assert!(
            (pinned.reads)(kept),
            "the bytes of {name} in {file} are no longer read as the value they were"
        );
    }
}

fn message_body() -> Vec<u8> {
    let published_at = Wall(1_750_000_000_000_000_001);
    let mut head = MessageHead::with_topics(published_at, ["orders.placed", "à la carte"]).unwrap();
    let (deadline, not_before) = (1_800_000_000_000_000_000_u64, 1_700_000_000_000_000_000_u64);
    head.extension(extension::HEADER, &[&[11], b"traceparent", b"00-ab-cd-01"]).unwrap();
    head.extension(extension::REPLY_TO, &[b"tcp://shop:7000"]).unwrap();
    head.extension(extension::DEADLINE, &[&deadline.to_le_bytes()]).unwrap();
    head.extension(extension::NOT_BEFORE, &[&not_before.to_le_bytes()]).unwrap();
    head.extension(extension::ORDERING_KEY, &[b"customer-7"]).unwrap();
    head.finish(published_at).unwrap();
    MessageParts::new(&head, b"{\"total\":12}").unwrap().pieces().concat()
}

fn reads_message(body: &[u8]) -> bool {
    let message = MessageView::parse(body).unwrap();
    message.published_at() == Wall(1_750_000_000_000_000_001)
        && message.topics().eq(["orders.placed", "à la carte"])
        && message.headers().eq([("traceparent", b"00-ab-cd-01".as_slice())])
        && message.extension(extension::REPLY_TO) == Some(b"tcp://shop:7000")
        && message.extension(extension::DEADLINE) == Some(&1_800_000_000_000_000_000_u64.to_le_bytes())
        && message.extension(extension::NOT_BEFORE) == Some(&1_700_000_000_000_000_000_u64.to_le_bytes())
        && message.extension(extension::ORDERING_KEY) == Some(b"customer-7")
        && message.payload == b"{\"total\":12}"
}

fn accepted() -> Accepted {
    Accepted {
        slot: PeerSlot(3),
        incarnation: Incarnation(0x0123_4567_89ab_cdef),
        stream: StreamId(5),
        first_position: Position(1001),
        count: 1,
        bytes: 99,
        last_lsn: Lsn(0x77),
    }
}

/// The record that is carried forward in the record that is pinned.
fn borne() -> Vec<u8> {
    let mut out = Vec::new();
    append_record(&mut out, Lsn(17), RecordKind::Message, FLAG_COMMAND, &message_body());
    out
}

fn carried(record: &[u8]) -> Carried<'_> {
    Carried {
        lsn: Lsn(17),
        slot: PeerSlot(3),
        incarnation: Incarnation(0x0123_4567_89ab_cdef),
        in_inbox: true,
        owed: vec![(StreamId(2), Position(40)), (StreamId(5), Position(41))],
        record,
    }
}

/// The value of each kind that is a control record.
pub fn control(kind: RecordKind) -> Option<Control> {
    let (lsn, at) = (Lsn(0x1_0000_0002), Wall(1_750_000_000_000_000_000));
    let (handler, reason) = ("invoice".to_owned(), "no such customer".to_owned());
    let (address, name) = ("tcp://shop:7000".to_owned(), "shop".to_owned());
    let ranges =
        || vec![LsnRange { first: Lsn(9), count: 3 }, LsnRange { first: Lsn(1 << 40), count: 70_000 }];
    Some(match kind {
        RecordKind::Message | RecordKind::Accepted | RecordKind::Carried | RecordKind::Entry => return None,
        RecordKind::Handled => Control::Handled(ranges()),
        RecordKind::Parked => Control::Parked(ranges()),
        RecordKind::Administered => Control::Administered(Change {
            at,
            who: "zoe (uid 1000)".to_owned(),
            verb: Verb::Remove,
            place: resolute::format::control::Place::Outgoing,
            stream: Some(StreamId(6)),
            dropped: 5,
            ranges: ranges(),
        }),
        RecordKind::Acked => {
            Control::Acked(vec![(StreamId(1), Position(8)), (StreamId(6), Position(1 << 33))])
        }
        RecordKind::Attempt => Control::Attempt { lsn, attempts: 2, next_at: at, handler, reason },
        RecordKind::HandlerDone => Control::HandlerDone { lsn, handler },
        RecordKind::DeadLetter => Control::DeadLetter { lsn, attempts: 25, at, handler, reason },
        RecordKind::Node => {
            Control::Node { id: NodeId(1 << 100 | 7), incarnation: Incarnation(11), created: at }
        }
        RecordKind::Opened => Control::Opened { epoch: Epoch(4), nonce: 0xfeed, at, name, address },
        RecordKind::Openings => {
            Control::Openings(vec![(Epoch(3), 0xfeec, Lsn(61)), (Epoch(4), 0xfeed, Lsn(62))])
        }
        RecordKind::Peer => Control::Peer(PeerRecord {
            slot: PeerSlot(3),
            node: NodeId(0xabc << 64),
            incarnation: Incarnation(12),
            epoch: Epoch(13),
            nonce: 14,
            secret: *b"0123456789abcdef",
            secret_confirmed: true,
            address,
            name,
            removed: false,
        }),
        RecordKind::Decided => Control::Decided(Decision {
            at,
            who: "zoe (uid 1000), pid 4711".into(),
            what: Decided::Subscribed,
            about: address,
            topics: vec!["orders.placed".into(), "à la carte".into()],
        }),
        RecordKind::PeerPaused => Control::PeerPaused { slot: PeerSlot(3), paused: true },
        RecordKind::PeerQuota => {
            let (backlog_bytes, lease_ms) = (Some(16 << 30), Some(86_400_000));
            let quota = OwnQuota { backlog_bytes, at_limit: Some(AtLimit::Park), lease_ms };
            Control::PeerQuota { slot: PeerSlot(3), quota }
        }
        RecordKind::PeerStanding => {
            Control::PeerStanding { slot: PeerSlot(3), standing: Standing { unseen_since: at, parked: true } }
        }
        RecordKind::PeerLives => Control::PeerLives {
            slot: PeerSlot(3),
            lives: vec![Incarnation(0x0123_4567_89ab_cdef), Incarnation(11)],
        },
        RecordKind::Stream => Control::Stream {
            id: StreamId(7),
            owner: StreamOwner::Address(address),
            next: Position(21),
            acked: Position(20),
            ended: true,
        },
        RecordKind::StreamClosed => Control::StreamClosed { id: StreamId(7), dropped: 19 },
        RecordKind::Seen => Control::Seen {
            slot: PeerSlot(3),
            incarnation: Incarnation(0x0123_4567_89ab_cdef),
            lsn: Lsn(0x77),
        },
        RecordKind::Inbound => Control::Inbound {
            slot: PeerSlot(3),
            stream: StreamId(5),
            accepted: Position(1000),
            lost: 2,
            ended: false,
        },
        RecordKind::Subscriber => Control::Subscriber {
            slot: PeerSlot(3),
            added: true,
            topics: vec!["orders.placed".to_owned(), "à la carte".to_owned()],
        },
        RecordKind::Intent => {
            Control::Intent { address, topic: "orders.placed".to_owned(), state: IntentState::Removing }
        }
        RecordKind::AddressBound => Control::AddressBound { address, slot: PeerSlot(3) },
        RecordKind::PeerRemoved => Control::PeerRemoved { slot: PeerSlot(3), dropped: 18 },
        RecordKind::DestinationSet => {
            Control::DestinationSet { id: SetId(2), streams: vec![StreamId(0), StreamId(7)] }
        }
        RecordKind::CheckpointBegin => {
            Control::CheckpointBegin { slots: PeerSlot(3), streams: StreamId(7), dropped: 2 }
        }
        RecordKind::CheckpointEnd => Control::CheckpointEnd,
        RecordKind::StreamEnded => Control::StreamEnded { id: StreamId(7) },
        RecordKind::AddressRemoved => Control::AddressRemoved { address, dropped: 3 },
    })
}

fn reads_body(kind: RecordKind, body: &[u8]) -> bool {
    match kind {
        RecordKind::Message => reads_message(body),
        RecordKind::Accepted => Accepted::decode(body) == Ok(accepted()),
        RecordKind::Carried => Carried::decode(body) == Ok(carried(&borne())),
        RecordKind::Entry => Entry::decode(body) == Ok(entries()[2]),
        kind => Control::decode(kind, body).ok() == control(kind),
    }
}

fn record(kind: RecordKind) -> Pinned {
    let body = match kind {
        RecordKind::Message => message_body(),
        RecordKind::Accepted => accepted().encode(),
        RecordKind::Carried => carried(&borne()).encode(),
        RecordKind::Entry => entries()[2].encode(),
        kind => control(kind).unwrap().encode(),
    };
    let lsn = Lsn(0x0102_0304_0506_0700 + kind as u64);
    let flags = if kind == RecordKind::Message { FLAG_ATOMIC_MORE } else { 0 };
    let mut written = Vec::new();
    append_record(&mut written, lsn, kind, flags, &body);
    let reads = move |bytes: &[u8]| {
        let record = RecordView::parse_verified(bytes).unwrap();
        let header = record.header;
        (record.lsn(), record.kind, record.bytes()) == (lsn, kind, bytes.len())
            && (header.flags, header.part, header.parts) == (flags, 0, 1)
            && reads_body(kind, record.body)
    };
    Pinned { name: format!("record {} {kind:?}", kind as u8), written, reads: Box::new(reads) }
}

/// What stores write down.
pub fn entries() -> [Entry<'static>; 6] {
    let place = Place(0x8000_0000_0000_0003_0000_0000_0000_0001);
    [
        Entry::Store(StoreKind::Queue),
        Entry::Set { key: b"\"kind\"", value: b"\"grapefruit\"" },
        Entry::Cleared(b"\"kind\""),
        Entry::ClearedAll,
        Entry::Item { place, value: b"{\"id\":7}" },
        Entry::Taken { first: place, last: Place(u128::MAX) },
    ]
}

fn entry(entry: Entry<'static>) -> Pinned {
    let written = entry.encode();
    let name = format!("{entry:?}");
    let name = name.split([' ', '(']).next().unwrap_or_default().to_owned();
    let reads = move |bytes: &[u8]| Entry::decode(bytes) == Ok(entry);
    Pinned { name: format!("entry {} {name}", written[0]), written, reads: Box::new(reads) }
}

fn batch() -> Pinned {
    let mut records = Vec::new();
    append_record(&mut records, Lsn(50), RecordKind::Message, 0, &message_body());
    append_record(&mut records, Lsn(51), RecordKind::Accepted, 0, &accepted().encode());
    append_record(&mut records, Lsn(17), RecordKind::Message, 0, &message_body());
    append_record(&mut records, Lsn(53), RecordKind::Message, 0, &message_body());
    let owed = || {
        [(1, 1), (2, 0), (1, 0x0203)]
            .map(|(count, set): (u32, u32)| OwedRun { count: count.into(), set: set.into() })
    };
    let facts = BatchFacts {
        log_id: 0x1111_2222_3333_4444,
        epoch: Epoch(4),
        nonce: 0xfeed,
        batch_number: BatchNumber(30),
        durable_batch: BatchNumber(28),
        segment: SegmentNumber(2),
        previous_header_crc: 0xdead_beef,
        closing: true,
    };
    let used = BATCH_HEADER_BYTES + records.len() + size_of_val(&owed());
    let mut written = vec![0xee; padded(used)];
    written[BATCH_HEADER_BYTES..][..records.len()].copy_from_slice(&records);
    seal(&mut written, records.len(), Lsn(50), 4, &owed(), &facts);
    let reads = move |bytes: &[u8]| {
        let view = BatchView::parse_verified(bytes).unwrap();
        let header = view.header;
        let lsns: Vec<u64> = Records::new(view.records).map(|record| record.unwrap().lsn().0).collect();
        lsns == [50, 51, 17, 53]
            && view.owed == owed()
            && (header.log_id.get(), header.epoch.get(), header.nonce.get())
                == (0x1111_2222_3333_4444, 4, 0xfeed)
            && (header.number(), header.durable_batch.get()) == (BatchNumber(30), 28)
            && (header.first_lsn(), header.end_lsn()) == (Lsn(50), Lsn(54))
            && (header.segment(), header.previous_header_crc.get()) == (SegmentNumber(2), 0xdead_beef)
            && header.is_closing()
    };
    Pinned { name: "batch".to_owned(), written, reads: Box::new(reads) }
}

fn met() -> Met {
    Met { incarnation: Incarnation(13), epoch: Epoch(6), nonce: 0xfaded, seen: Lsn(0x5ee) }
}

fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 2,
        node: NodeId(1 << 100 | 7),
        incarnation: Incarnation(11),
        epoch: Epoch(4),
        nonce: 0xfeed,
        challenge: *b"fedcba9876543210",
        frame_bytes_max: FRAME_BYTES_MAX as u32,
        credit_bytes: 4 << 20,
        name: "shop".to_owned(),
        address: "tcp://shop:7000".to_owned(),
        dialled: "tcp://billing:7000".to_owned(),
        met: Some(met()),
    }
}

/// The value of each kind that is neither a hello nor a run.
fn body(kind: FrameKind) -> Option<Body> {
    let cursors = || vec![(StreamId(5), Position(1000)), (StreamId(6), Position(0))];
    Some(match kind {
        FrameKind::Hello | FrameKind::Run => return None,
        FrameKind::Proof => {
            Body::Proof { mac: [0xa5; 32], proposed: Some(*b"0123456789abcdef"), met: Some(met()) }
        }
        FrameKind::Established => Body::Established { mac: [0x5a; 32] },
        FrameKind::Resume => Body::Resume { durable: Lsn(0x77), cursors: cursors() },
        FrameKind::Interest => Body::Interest {
            generation: 3,
            topics: vec!["orders.placed".to_owned(), "à la carte".to_owned()],
        },
        FrameKind::InterestConfirmed => Body::InterestConfirmed { generation: 3 },
        FrameKind::Ack => Body::Ack { credit: 5 << 20, durable: Lsn(0x77), cursors: cursors() },
        FrameKind::StreamEnd => Body::StreamEnd { stream: StreamId(5), last: Position(1000) },
        FrameKind::Gap => Body::Gap { stream: StreamId(5), first: Position(1001), count: 2 },
        FrameKind::Heartbeat => Body::Heartbeat,
        FrameKind::Goodbye => {
            Body::Goodbye { code: GoodbyeCode::Duplicate, reason: "à bientôt".to_owned() }
        }
    })
}

fn frame(kind: FrameKind) -> Pinned {
    let mut written = Vec::new();
    match kind {
        FrameKind::Hello => append_frame(&mut written, kind, &hello().encode()),
        FrameKind::Run => {
            append_run_headers(&mut written, StreamId(5), Position(1001), 1, borne().len());
            written.extend(borne());
        }
        kind => body(kind).unwrap().append_to(&mut written),
    }
    let reads = move |bytes: &[u8]| {
        let (frame, length) = FrameView::parse(bytes).unwrap().unwrap();
        let value = match kind {
            FrameKind::Hello => Hello::decode(frame.body) == Ok(hello()),
            FrameKind::Run => {
                let (run, records) = frame.run().unwrap();
                (run.stream.get(), run.first_position.get(), run.count.get()) == (5, 1001, 1)
                    && records == borne()
            }
            kind => Body::decode(kind, frame.body).ok() == body(kind),
        };
        (frame.kind, length) == (kind, bytes.len()) && value
    };
    Pinned { name: format!("frame {} {kind:?}", kind as u8), written, reads: Box::new(reads) }
}

#[test]
fn the_bytes_of_a_record_of_each_kind_are_those_of_today() {
    compare("records.txt", &RecordKind::ALL.map(record));
}

#[test]
fn the_bytes_of_each_entry_of_a_store_are_those_of_today() {
    compare("entries.txt", &entries().map(entry));
}

#[test]
fn the_bytes_of_a_batch_are_those_of_today() {
    compare("batch.txt", &[batch()]);
}

#[test]
fn the_bytes_of_a_frame_of_each_kind_are_those_of_today() {
    compare("frames.txt", &FrameKind::ALL.map(frame));
}

#[test]
fn the_names_of_files_are_those_of_today() {
    assert_eq!(segment_name(SegmentNumber(1)), "00000000000000000001.log");
    assert_eq!(segment_name(SegmentNumber(u64::MAX)), "18446744073709551615.log");
    assert_eq!(spare_name(12), "spare-12.log");
}

#[test]
fn a_dump_reads_back() {
    let pinned = [batch(), frame(FrameKind::Heartbeat)];
    let expected: Vec<_> =
        pinned.iter().map(|pinned| (pinned.name.clone(), pinned.written.clone())).collect();
    assert_eq!(read_dump(&dump(&pinned)), expected);
}
