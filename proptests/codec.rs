//! The bytes on disk and on the wire: what is written is read back, what is damaged is refused, and no bytes at all
//! make a parser panic.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use zerocopy::IntoBytes;

use resolute::format::batch::{
    BATCH_HEADER_BYTES, BatchDefect, BatchFacts, BatchHeader, BatchView, OWED_RUN_BYTES, OwedRun, padded,
    seal,
};
use resolute::format::body::BodyDefect;
use resolute::format::checksum::checksum;
use resolute::format::control::{
    Accepted, AtLimit, Carried, Change, Control, Decided, Decision, IntentState, OwnQuota, PeerRecord, Place,
    Standing, StreamOwner, Verb,
};
use resolute::format::frame::{FRAME_HEADER_BYTES, FrameKind, FrameView, RUN_HEADER_BYTES};
use resolute::format::frame::{append as append_frame, append_run_headers};
use resolute::format::message::{MessageHead, MessageParts, MessageView, extension};
use resolute::format::record::{
    RECORD_HEADER_BYTES, RecordDefect, RecordHeader, RecordKind, RecordView, Records, append,
};
use resolute::format::segment::{is_spare, segment_name, segment_number};
use resolute::ids::{
    BatchNumber, Epoch, Incarnation, Lsn, LsnRange, NodeId, PeerSlot, Position, SegmentNumber, SetId,
    StreamId,
};
use resolute::limits::RECORD_BYTES_MAX;
use resolute::time::Wall;

fn text() -> impl Strategy<Value = String> {
    ".{0,40}"
}

fn ranges() -> impl Strategy<Value = Vec<LsnRange>> {
    let range = (0..=u64::MAX - u64::from(u32::MAX), 1..=u32::MAX);
    vec(range.prop_map(|(first, count)| LsnRange { first: Lsn(first), count: count.into() }), 0..20)
}

fn cursors() -> impl Strategy<Value = Vec<(StreamId, Position)>> {
    vec(any::<(u64, u64)>().prop_map(|(stream, position)| (StreamId(stream), Position(position))), 0..20)
}

fn quota() -> impl Strategy<Value = OwnQuota> {
    let at_limit = prop_oneof![Just(AtLimit::Refuse), Just(AtLimit::Park), Just(AtLimit::Evict)];
    let quota = (any::<Option<u64>>(), option::of(at_limit), any::<Option<u64>>());
    quota.prop_map(|(backlog_bytes, at_limit, lease_ms)| OwnQuota { backlog_bytes, at_limit, lease_ms })
}

fn decided() -> impl Strategy<Value = Decided> {
    prop_oneof![
        Just(Decided::Paused),
        Just(Decided::Resumed),
        Just(Decided::Forgotten),
        Just(Decided::Subscribed),
        Just(Decided::Unsubscribed),
        Just(Decided::Limited),
        Just(Decided::Evicted)
    ]
}

prop_compose! {
    fn peer()(
        (slot, node, incarnation, epoch, nonce, secret) in any::<(u32, u128, u64, u64, u64, [u8; 16])>(),
        (secret_confirmed, removed) in any::<(bool, bool)>(),
        (address, name) in (text(), text()),
    ) -> PeerRecord {
        PeerRecord {
            slot: PeerSlot(slot),
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            epoch: Epoch(epoch),
            nonce,
            secret,
            secret_confirmed,
            address,
            name,
            removed,
        }
    }
}

/// What a node writes down of messages.
fn control_of_messages() -> impl Strategy<Value = Control> {
    let failure = || (any::<(u64, u32, u64)>(), text(), text());
    prop_oneof![
        ranges().prop_map(Control::Handled),
        ranges().prop_map(Control::Parked),
        (any::<(u64, u8, u8)>(), text(), ranges()).prop_map(|((at, verb, place), who, ranges)| {
            let verb = [Verb::Retry, Verb::Remove, Verb::Edit, Verb::Requeue][usize::from(verb) % 4];
            let place =
                [Place::Incoming, Place::Parked, Place::Dead, Place::Outgoing][usize::from(place) % 4];
            let stream = (place == Place::Outgoing && at % 3 > 0).then_some(StreamId(at | 1));
            let dropped = if place == Place::Outgoing { at >> 7 } else { 0 };
            Control::Administered(Change { at: Wall(at), who, verb, place, stream, dropped, ranges })
        }),
        cursors().prop_map(Control::Acked),
        failure().prop_map(|((lsn, attempts, at), handler, reason)| Control::Attempt {
            lsn: Lsn(lsn),
            attempts,
            next_at: Wall(at),
            handler,
            reason
        }),
        failure().prop_map(|((lsn, attempts, at), handler, reason)| Control::DeadLetter {
            lsn: Lsn(lsn),
            attempts,
            at: Wall(at),
            handler,
            reason
        }),
        (any::<u64>(), text()).prop_map(|(lsn, handler)| Control::HandlerDone { lsn: Lsn(lsn), handler }),
    ]
}

/// What a node writes down of itself and of what it owes.
fn control_of_state() -> impl Strategy<Value = Control> {
    let owner = prop_oneof![
        any::<u32>().prop_map(|slot| StreamOwner::Peer(PeerSlot(slot))),
        text().prop_map(StreamOwner::Address)
    ];
    let positions = (1..=u64::MAX).prop_flat_map(|next| (Just(next), 0..next));
    prop_oneof![
        any::<(u128, u64, u64)>().prop_map(|(id, incarnation, created)| Control::Node {
            id: NodeId(id),
            incarnation: Incarnation(incarnation),
            created: Wall(created)
        }),
        (any::<(u64, u64, u64)>(), text(), text()).prop_map(|((epoch, nonce, at), name, address)| {
            Control::Opened { epoch: Epoch(epoch), nonce, at: Wall(at), name, address }
        }),
        vec(any::<(u64, u64, u64)>(), 0..40).prop_map(|openings| {
            let openings = openings.into_iter().map(|(epoch, nonce, lsn)| (Epoch(epoch), nonce, Lsn(lsn)));
            Control::Openings(openings.collect())
        }),
        (any::<(u64, bool)>(), owner, positions).prop_map(|((id, ended), owner, (next, acked))| {
            Control::Stream { id: StreamId(id), owner, next: Position(next), acked: Position(acked), ended }
        }),
        any::<(u64, u64)>().prop_map(|(id, dropped)| Control::StreamClosed { id: StreamId(id), dropped }),
        any::<u64>().prop_map(|id| Control::StreamEnded { id: StreamId(id) }),
        (any::<u32>(), vec(any::<u64>(), 0..20)).prop_map(|(id, streams)| Control::DestinationSet {
            id: SetId(id),
            streams: streams.into_iter().map(StreamId).collect()
        }),
        any::<(u32, u64, u64)>().prop_map(|(slots, streams, dropped)| Control::CheckpointBegin {
            slots: PeerSlot(slots),
            streams: StreamId(streams),
            dropped
        }),
        Just(Control::CheckpointEnd),
    ]
}

/// What a node writes down of others.
fn control_of_peers() -> impl Strategy<Value = Control> {
    let state = prop_oneof![
        Just(IntentState::Wanted),
        Just(IntentState::Confirmed),
        Just(IntentState::Removing),
        Just(IntentState::Removed)
    ];
    prop_oneof![
        peer().prop_map(Control::Peer),
        (any::<u32>(), any::<bool>())
            .prop_map(|(slot, paused)| Control::PeerPaused { slot: PeerSlot(slot), paused }),
        (any::<u32>(), quota()).prop_map(|(slot, quota)| Control::PeerQuota { slot: PeerSlot(slot), quota }),
        any::<(u32, u64, bool)>().prop_map(|(slot, since, parked)| Control::PeerStanding {
            slot: PeerSlot(slot),
            standing: Standing { unseen_since: Wall(since), parked },
        }),
        (any::<u64>(), text(), decided(), text(), vec(text(), 0..5)).prop_map(
            |(at, who, what, about, topics)| {
                Control::Decided(Decision { at: Wall(at), who, what, about, topics })
            }
        ),
        (any::<u32>(), vec(any::<u64>(), 0..20)).prop_map(|(slot, lives)| Control::PeerLives {
            slot: PeerSlot(slot),
            lives: lives.into_iter().map(Incarnation).collect()
        }),
        any::<(u32, u64, u64)>().prop_map(|(slot, incarnation, lsn)| Control::Seen {
            slot: PeerSlot(slot),
            incarnation: Incarnation(incarnation),
            lsn: Lsn(lsn),
        }),
        any::<(u32, u64, u64, u64, bool)>().prop_map(|(slot, stream, accepted, lost, ended)| {
            Control::Inbound {
                slot: PeerSlot(slot),
                stream: StreamId(stream),
                accepted: Position(accepted),
                lost,
                ended,
            }
        }),
        (any::<(u32, bool)>(), vec(text(), 0..8)).prop_map(|((slot, added), topics)| Control::Subscriber {
            slot: PeerSlot(slot),
            added,
            topics
        }),
        (text(), text(), state).prop_map(|(address, topic, state)| Control::Intent { address, topic, state }),
        (text(), any::<u32>())
            .prop_map(|(address, slot)| Control::AddressBound { address, slot: PeerSlot(slot) }),
        any::<(u32, u64)>()
            .prop_map(|(slot, dropped)| Control::PeerRemoved { slot: PeerSlot(slot), dropped }),
        (text(), any::<u64>()).prop_map(|(address, dropped)| Control::AddressRemoved { address, dropped }),
    ]
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![control_of_messages(), control_of_state(), control_of_peers()]
}

prop_compose! {
    fn accepted()(
        (slot, incarnation, stream, first, bytes) in any::<(u32, u64, u64, u64, u32)>(),
        (count, last) in (1..=u32::MAX, any::<u64>()),
    ) -> Accepted {
        Accepted {
            slot: PeerSlot(slot),
            incarnation: Incarnation(incarnation),
            stream: StreamId(stream),
            first_position: Position(first),
            count,
            bytes,
            last_lsn: Lsn(last),
        }
    }
}

/// A message before it is written.
#[derive(Clone, Debug)]
struct Message {
    published_at: u64,
    topics: Vec<String>,
    headers: Vec<(String, Vec<u8>)>,
    ordering_key: Option<String>,
    payload: Vec<u8>,
}

fn message() -> impl Strategy<Value = Message> {
    let headers = vec(("[a-zé-]{0,12}", vec(any::<u8>(), 0..20)), 0..4);
    let key = prop::option::of("[a-z]{0,9}");
    let topics = vec("[a-zé.]{1,20}", 1..=16);
    (any::<u64>(), topics, headers, key, vec(any::<u8>(), 0..200)).prop_map(
        |(published_at, topics, headers, ordering_key, payload)| Message {
            published_at,
            topics,
            headers,
            ordering_key,
            payload,
        },
    )
}

impl Message {
    /// The body, and how many bytes of it come before the payload.
    fn written(&self) -> (Vec<u8>, usize) {
        let mut head = MessageHead::new();
        self.topics.iter().for_each(|topic| head.topic(topic).unwrap());
        for (name, value) in &self.headers {
            head.extension(extension::HEADER, &[&[name.len() as u8], name.as_bytes(), value]).unwrap();
        }
        if let Some(key) = &self.ordering_key {
            head.extension(extension::ORDERING_KEY, &[key.as_bytes()]).unwrap();
        }
        head.finish(Wall(self.published_at)).unwrap();
        let parts = MessageParts::new(&head, &self.payload).unwrap();
        (parts.pieces().concat(), parts.pieces()[0].len())
    }
}

fn kind() -> impl Strategy<Value = RecordKind> {
    prop::sample::select(RecordKind::ALL.as_slice())
}

prop_compose! {
    fn record()(
        (lsn, flags) in any::<(u64, u8)>(),
        kind in kind(),
        body in vec(any::<u8>(), 0..60),
    ) -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, Lsn(lsn), kind, flags, &body);
        out
    }
}

/// A batch with its records and its trailer, and how many of its bytes are not padding.
#[derive(Clone, Debug)]
struct Batch {
    bytes: Vec<u8>,
    used: usize,
    records: Vec<Vec<u8>>,
    owed: Vec<OwedRun>,
    facts: BatchFacts,
}

prop_compose! {
    fn batch()(
        records in vec(record(), 0..6),
        owed in vec(any::<(u32, u32)>(), 0..4),
        (log_id, epoch, nonce, batch_number, durable_batch, segment) in any::<(u64, u64, u64, u64, u64, u64)>(),
        (previous_header_crc, closing) in any::<(u32, bool)>(),
        first_lsn in 0..=u64::MAX - 6,
    ) -> Batch {
        let owed: Vec<OwedRun> =
            owed.into_iter().map(|(count, set)| OwedRun { count: count.into(), set: set.into() }).collect();
        let facts = BatchFacts {
            log_id,
            epoch: Epoch(epoch),
            nonce,
            batch_number: BatchNumber(batch_number),
            durable_batch: BatchNumber(durable_batch),
            segment: SegmentNumber(segment),
            previous_header_crc,
            closing,
        };
        let all = records.concat();
        let used = BATCH_HEADER_BYTES + all.len() + owed.len() * OWED_RUN_BYTES;
        // What the buffer held before must not show.
        let mut bytes = vec![0xee; padded(used)];
        bytes[BATCH_HEADER_BYTES..][..all.len()].copy_from_slice(&all);
        let header = seal(&mut bytes, all.len(), Lsn(first_lsn), records.len() as u32, &owed, &facts);
        assert_eq!(header.batch_bytes.get() as usize, bytes.len());
        Batch { bytes, used, records, owed, facts }
    }
}

/// Runs `check` with each bit of the first `bytes` flipped in turn.
fn flip_each_bit(good: &[u8], bytes: usize, mut check: impl FnMut(usize, &[u8])) {
    let mut bad = good.to_vec();
    for bit in 0..bytes * 8 {
        bad[bit / 8] ^= 1 << (bit % 8);
        check(bit, &bad);
        bad[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(bad, good);
}

/// Shows a body to everything that reads one of a record.
fn read_as_any_body(body: &[u8]) {
    for kind in RecordKind::ALL {
        if let Ok(control) = Control::decode(kind, body) {
            assert_eq!(control.kind(), kind);
            assert_eq!(control.encode(), body, "there is one way to write a value");
        }
    }
    if let Ok(accepted) = Accepted::decode(body) {
        assert_eq!(accepted.encode(), body);
    }
    if let Ok(carried) = Carried::decode(body) {
        assert_eq!(carried.encode(), body);
    }
    if let Ok(message) = MessageView::parse(body) {
        assert!(message.topics().count() >= 1);
        assert!(message.headers().count() <= message.extensions().count());
        let _ = (message.published_at(), message.extension(extension::REPLY_TO));
    }
}

/// Shows bytes to everything that reads whole records, batches or frames.
fn read_as_anything(bytes: &[u8]) {
    read_as_any_body(bytes);
    if let Ok(record) = RecordView::parse(bytes) {
        assert!(record.bytes() <= bytes.len());
        let _ = (record.verify_body(), record.lsn());
    }
    let walk = Records::new(bytes);
    assert!(walk.clone().count() <= bytes.len() / RECORD_HEADER_BYTES + 1);
    if let Ok(header) = BatchHeader::parse(bytes) {
        assert!(header.first_lsn() <= header.end_lsn());
        let _ = (header.number(), header.segment(), header.is_closing());
    }
    let _ = BatchView::parse_verified(bytes);
    if let Ok(Some((frame, length))) = FrameView::parse(bytes) {
        assert!(length <= bytes.len());
        let _ = frame.run();
    }
}

/// Gives whatever stands at the start of `bytes` the checksums of a record, of a batch and of a frame.
fn with_good_checksums(bytes: &[u8]) -> [Vec<u8>; 3] {
    let mut all = [bytes.to_vec(), bytes.to_vec(), bytes.to_vec()];
    let [record, batch, frame] = &mut all;
    if bytes.len() >= RECORD_HEADER_BYTES {
        let crc = checksum(&record[4..RECORD_HEADER_BYTES]);
        record[..4].copy_from_slice(&crc.to_le_bytes());
    }
    if bytes.len() >= BATCH_HEADER_BYTES {
        batch[..6].copy_from_slice(b"RSB1\x01\x00");
        let crc = checksum(&batch[..BATCH_HEADER_BYTES - 4]);
        batch[BATCH_HEADER_BYTES - 4..BATCH_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    }
    if bytes.len() >= FRAME_HEADER_BYTES {
        frame[..2].copy_from_slice(b"rs");
        let crc = checksum(&frame[..FRAME_HEADER_BYTES - 4]);
        frame[FRAME_HEADER_BYTES - 4..FRAME_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    }
    all
}

proptest! {
    #[test]
    fn every_control_record_reads_back(control in control()) {
        prop_assert_eq!(Control::decode(control.kind(), &control.encode()), Ok(control));
    }

    #[test]
    fn every_cut_of_a_control_record_and_every_byte_more_is_refused(control in control()) {
        let mut body = control.encode();
        for length in 0..body.len() {
            prop_assert!(Control::decode(control.kind(), &body[..length]).is_err(), "cut to {}", length);
        }
        body.push(0);
        prop_assert_eq!(Control::decode(control.kind(), &body), Err(BodyDefect::TrailingBytes(1)));
    }

    #[test]
    fn the_header_of_an_accepted_run_reads_back_and_no_part_of_it_does(accepted in accepted()) {
        let body = accepted.encode();
        prop_assert_eq!(Accepted::decode(&body), Ok(accepted));
        for length in 0..body.len() {
            prop_assert_eq!(Accepted::decode(&body[..length]), Err(BodyDefect::Truncated));
        }
    }

    #[test]
    fn a_carried_record_reads_back_and_no_part_that_ends_before_the_record_does(
        (lsn, slot, incarnation, in_inbox) in any::<(u64, u32, u64, bool)>(),
        owed in cursors(),
        record in record(),
    ) {
        let carried = Carried {
            lsn: Lsn(lsn),
            slot: PeerSlot(slot),
            incarnation: Incarnation(incarnation),
            in_inbox,
            owed,
            record: &record,
        };
        let body = carried.encode();
        prop_assert_eq!(Carried::decode(&body), Ok(carried));
        for length in 0..body.len() - record.len() {
            prop_assert_eq!(Carried::decode(&body[..length]), Err(BodyDefect::Truncated));
        }
    }

    #[test]
    fn a_message_reads_back_and_no_part_that_ends_before_the_payload_does(message in message()) {
        let (body, before_payload) = message.written();
        let view = MessageView::parse(&body).unwrap();
        prop_assert_eq!(view.published_at(), Wall(message.published_at));
        prop_assert_eq!(view.topics().collect::<Vec<_>>(), message.topics);
        let headers: Vec<_> = view.headers().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        prop_assert_eq!(headers, message.headers);
        let key = view.extension(extension::ORDERING_KEY);
        prop_assert_eq!(key, message.ordering_key.as_ref().map(String::as_bytes));
        prop_assert_eq!(view.payload, message.payload);
        for length in 0..before_payload {
            prop_assert!(MessageView::parse(&body[..length]).is_err(), "cut to {}", length);
        }
    }

    #[test]
    fn a_record_reads_back_among_others_and_no_part_of_it_does(
        (lsn, flags) in any::<(u64, u8)>(),
        kind in kind(),
        body in vec(any::<u8>(), 0..200),
        behind in record(),
    ) {
        let mut bytes = Vec::new();
        append(&mut bytes, Lsn(lsn), kind, flags, &body);
        let length = bytes.len();
        bytes.extend(behind);
        let view = RecordView::parse_verified(&bytes).unwrap();
        prop_assert_eq!((view.lsn(), view.kind, view.header.flags, view.body), (Lsn(lsn), kind, flags, &body[..]));
        prop_assert_eq!(view.bytes(), length);
        prop_assert_eq!(Records::new(&bytes).filter(Result::is_ok).count(), 2);
        for cut in 0..length {
            prop_assert_eq!(RecordView::parse(&bytes[..cut]).err(), Some(RecordDefect::Truncated));
        }
    }

    #[test]
    fn a_batch_reads_back_and_no_part_of_it_does(batch in batch(), cut in any::<prop::sample::Index>()) {
        let view = BatchView::parse_verified(&batch.bytes).unwrap();
        let records: Vec<_> = Records::new(view.records).map(|record| record.unwrap().bytes()).collect();
        prop_assert_eq!(records, batch.records.iter().map(Vec::len).collect::<Vec<_>>());
        prop_assert_eq!(view.owed, batch.owed);
        let BatchHeader { log_id, epoch, nonce, batch_number, durable_batch, segment_number, .. } = *view.header;
        let facts = BatchFacts {
            log_id: log_id.get(),
            epoch: Epoch(epoch.get()),
            nonce: nonce.get(),
            batch_number: BatchNumber(batch_number.get()),
            durable_batch: BatchNumber(durable_batch.get()),
            segment: SegmentNumber(segment_number.get()),
            previous_header_crc: view.header.previous_header_crc.get(),
            closing: view.header.is_closing(),
        };
        prop_assert_eq!(facts, batch.facts);
        prop_assert!(batch.bytes[batch.used..].iter().all(|byte| *byte == 0));
        let cut = cut.index(batch.bytes.len());
        prop_assert_eq!(BatchView::parse(&batch.bytes[..cut]).err(), Some(BatchDefect::Truncated));
    }

    #[test]
    fn a_batch_is_not_completed_by_a_good_record_that_is_not_its_own(
        batch in batch(),
        which in any::<prop::sample::Index>(),
        lsn in any::<u64>(),
    ) {
        prop_assume!(!batch.records.is_empty());
        let which = which.index(batch.records.len());
        let (own, mut other) = (&batch.records[which], batch.records[which].clone());
        other[8..16].copy_from_slice(&lsn.to_le_bytes());
        let [other, _, _] = with_good_checksums(&other);
        prop_assume!(other != *own);
        let at = BATCH_HEADER_BYTES + batch.records[..which].concat().len();
        let mut bytes = batch.bytes;
        bytes[at..at + other.len()].copy_from_slice(&other);
        prop_assert_eq!(BatchView::parse_verified(&bytes).err(), Some(BatchDefect::OtherRecords));
    }

    #[test]
    fn a_frame_reads_back_and_a_part_of_it_asks_for_more(
        number in prop::sample::select(FrameKind::ALL.as_slice()),
        body in vec(any::<u8>(), 0..300),
        behind in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        if number == FrameKind::Run {
            append_run_headers(&mut bytes, StreamId(1), Position(2), 3, body.len());
            bytes.extend(&body);
        } else {
            append_frame(&mut bytes, number, &body);
        }
        let whole = bytes.len();
        bytes.extend(behind);
        let (frame, length) = FrameView::parse(&bytes).unwrap().unwrap();
        prop_assert_eq!((frame.kind, length), (number, whole));
        prop_assert!(frame.body.ends_with(&body));
        prop_assert_eq!(frame.run().is_some(), number == FrameKind::Run);
        for cut in 0..whole {
            prop_assert!(FrameView::parse(&bytes[..cut]).unwrap().is_none());
        }
    }

    #[test]
    fn the_names_of_segments_read_back_and_no_other_name_does(number in any::<u64>(), other in "[0-9]{0,22}(\\.log)?|.{0,24}") {
        let name = segment_name(SegmentNumber(number));
        prop_assert_eq!(segment_number(&name), Some(SegmentNumber(number)));
        prop_assert!(!is_spare(&name));
        if let Some(found) = segment_number(&other) {
            prop_assert_eq!(segment_name(found), other);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        read_as_anything(&bytes);
        for bytes in with_good_checksums(&bytes) {
            read_as_anything(&bytes);
        }
    }

    #[test]
    fn a_flipped_or_cut_body_under_a_good_checksum_never_panics(
        control in control(),
        message in message(),
        bit in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for mut body in [control.encode(), message.written().0] {
            read_as_any_body(&body[..cut.index(body.len() + 1)]);
            if !body.is_empty() {
                let bit = bit.index(body.len() * 8);
                body[bit / 8] ^= 1 << (bit % 8);
            }
            read_as_any_body(&body);
        }
    }

    #[test]
    fn a_batch_header_that_lies_under_a_good_checksum_never_panics(
        batch in batch(),
        at in 6..BATCH_HEADER_BYTES - 4,
        lie in any::<[u8; 8]>(),
    ) {
        let mut bytes = batch.bytes;
        let end = (at + lie.len()).min(BATCH_HEADER_BYTES - 4);
        bytes[at..end].copy_from_slice(&lie[..end - at]);
        let [_, bytes, _] = with_good_checksums(&bytes);
        read_as_anything(&bytes);
    }

    #[test]
    fn a_record_never_claims_more_than_the_largest(length in any::<u32>()) {
        let mut header = RecordHeader::new(Lsn(1), RecordKind::Message, 0, 0, 0);
        header.body_length = length.into();
        let [bytes, _, _] = with_good_checksums(header.as_bytes());
        let most = RECORD_BYTES_MAX + RECORD_BYTES_MAX / 2;
        prop_assert_eq!(RecordHeader::parse(&bytes).is_ok(), length as usize + RECORD_HEADER_BYTES <= most);
    }
}

proptest! {
    // Each case flips every bit of what it made.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_single_bit_flip_of_a_record_is_detected(record in record()) {
        flip_each_bit(&record, record.len(), |bit, bad| {
            assert!(RecordView::parse_verified(bad).is_err(), "bit {bit}");
        });
    }

    #[test]
    fn every_single_bit_flip_of_a_batch_and_its_trailer_is_detected(batch in batch()) {
        flip_each_bit(&batch.bytes, batch.used, |bit, bad| {
            assert!(BatchView::parse_verified(bad).is_err(), "bit {bit}");
        });
    }

    #[test]
    fn every_single_bit_flip_of_a_frame_is_detected_up_to_the_records_of_a_run(
        number in prop::sample::select(FrameKind::ALL.as_slice()),
        body in vec(any::<u8>(), 0..100),
    ) {
        let mut bytes = Vec::new();
        let covered = if number == FrameKind::Run {
            append_run_headers(&mut bytes, StreamId(1), Position(2), 3, 0);
            FRAME_HEADER_BYTES + RUN_HEADER_BYTES
        } else {
            append_frame(&mut bytes, number, &body);
            FRAME_HEADER_BYTES + body.len()
        };
        flip_each_bit(&bytes, covered, |bit, bad| assert!(FrameView::parse(bad).is_err(), "bit {bit}"));
    }
}
