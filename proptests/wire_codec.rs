//! The frames of a session: what is sent is what is read, whatever the reads, and nothing else is read at all.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use resolute::format::frame::{FRAME_HEADER_BYTES, FrameKind, FrameView, append, append_run_headers};
use resolute::format::message::{MessageHead, MessageParts};
use resolute::format::record::{self, RecordKind};
use resolute::ids::{Epoch, Incarnation, Lsn, NodeId, Position, StreamId};
use resolute::limits::{
    ADDRESS_BYTES_MAX, FRAME_BYTES_MAX, HANDSHAKE_FRAME_BYTES_MAX, INBOUND_STREAMS_PER_PEER_MAX,
    NAME_BYTES_MAX, POSITION_MAX, REASON_BYTES_MAX, RECEIVE_WINDOW_BYTES_MAX,
};
use resolute::time::Wall;
use resolute::wire::bodies::Body;
use resolute::wire::frame_buffer::ReceiveWindow;
use resolute::wire::goodbye::GoodbyeCode;
use resolute::wire::hello::Hello;
use resolute::wire::met::Met;
use resolute::wire::records::verify_run;

/// A text of at most `most` bytes, of letters of one to four bytes.
fn text(most: usize) -> impl Strategy<Value = String> {
    let chars = vec(prop_oneof![Just('a'), Just('ß'), Just('€'), Just('𝄞'), any::<char>()], 0..most / 4 + 1);
    chars.prop_map(|chars| chars.into_iter().collect())
}

fn cursors() -> impl Strategy<Value = Vec<(StreamId, Position)>> {
    btree_map(1..=u64::MAX, 0..=POSITION_MAX, 0..=INBOUND_STREAMS_PER_PEER_MAX)
        .prop_map(|map| map.into_iter().map(|(s, p)| (StreamId(s), Position(p))).collect())
}

fn gap() -> impl Strategy<Value = Body> {
    (1..=u64::MAX, 1..=POSITION_MAX).prop_flat_map(|(stream, first)| {
        (1..=POSITION_MAX - first + 1).prop_map(move |count| Body::Gap {
            stream: StreamId(stream),
            first: Position(first),
            count,
        })
    })
}

fn met() -> impl Strategy<Value = Option<Met>> {
    any::<Option<(u64, u64, u64, u64)>>().prop_map(|met| {
        let (incarnation, epoch, nonce, seen) = met?;
        Some(Met { incarnation: Incarnation(incarnation), epoch: Epoch(epoch), nonce, seen: Lsn(seen) })
    })
}

fn body() -> impl Strategy<Value = Body> {
    let topics = btree_set("[a-zß.]{1,40}", 0..40).prop_map(|set| set.into_iter().collect());
    prop_oneof![
        (any::<([u8; 32], Option<[u8; 16]>)>(), met()).prop_map(|((mac, proposed), met)| Body::Proof {
            mac,
            proposed,
            met
        }),
        any::<[u8; 32]>().prop_map(|mac| Body::Established { mac }),
        cursors().prop_map(|cursors| Body::Resume { cursors }),
        (any::<u64>(), topics).prop_map(|(generation, topics)| Body::Interest { generation, topics }),
        any::<u64>().prop_map(|generation| Body::InterestConfirmed { generation }),
        (any::<u64>(), cursors()).prop_map(|(credit, cursors)| Body::Ack { credit, cursors }),
        (1..=u64::MAX, 0..=POSITION_MAX)
            .prop_map(|(stream, last)| Body::StreamEnd { stream: StreamId(stream), last: Position(last) }),
        gap(),
        Just(Body::Heartbeat),
        (any::<u16>(), text(REASON_BYTES_MAX))
            .prop_map(|(code, reason)| Body::Goodbye { code: GoodbyeCode::from_number(code), reason }),
    ]
}

prop_compose! {
    fn hello()(
        versions in (0..=1_u16, 1..=u16::MAX),
        (node, incarnation, epoch, nonce, challenge) in any::<(u128, u64, u64, u64, [u8; 16])>(),
        frame_bytes_max in FRAME_BYTES_MAX as u32..,
        credit_bytes in any::<u64>(),
        name in text(NAME_BYTES_MAX),
        address in text(ADDRESS_BYTES_MAX),
        dialled in text(ADDRESS_BYTES_MAX),
        met in met(),
    ) -> Hello {
        Hello {
            version_min: versions.0,
            version_max: versions.1,
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            epoch: Epoch(epoch),
            nonce,
            challenge,
            frame_bytes_max,
            credit_bytes,
            name,
            address,
            dialled,
            met,
        }
    }
}

/// A whole run frame of messages with those payloads.
fn run(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut records = Vec::new();
    let head = MessageHead::with_topics(Wall(1), ["topic"]).unwrap();
    for (index, payload) in payloads.iter().enumerate() {
        let body = MessageParts::new(&head, payload).unwrap().pieces().concat();
        record::append(&mut records, Lsn(index as u64 + 1), RecordKind::Message, 0, &body);
    }
    let mut out = Vec::new();
    append_run_headers(&mut out, StreamId(1), Position(1), payloads.len() as u32, records.len());
    out.extend(records);
    out
}

/// A frame whose body makes no sense but has that length.
fn long_frame(body_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    append(&mut out, FrameKind::Interest, &vec![0; body_bytes]);
    out
}

/// What a receiver makes of a frame: nothing if any checksum or any field is wrong.
fn understood(frame: &FrameView<'_>) -> bool {
    match frame.kind {
        FrameKind::Hello => Hello::decode(frame.body).is_ok(),
        FrameKind::Run => frame.run().is_some_and(|(run, records)| verify_run(run, records).is_ok()),
        kind => Body::decode(kind, frame.body).is_ok(),
    }
}

/// Any whole frame.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let framed = |append_to: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        append_to(&mut out);
        out
    };
    prop_oneof![
        8 => body().prop_map(move |body| framed(&|out| body.append_to(out))),
        1 => hello().prop_map(move |hello| framed(&|out| hello.append_to(out))),
        2 => vec(vec(any::<u8>(), 0..300), 1..20).prop_map(|payloads| run(&payloads)),
    ]
}

/// Everything that comes out of a window into which `stream` is read in pieces of those lengths, over and over.
fn received(stream: &[u8], pieces: &[usize]) -> Vec<(FrameKind, Vec<u8>)> {
    let mut window = ReceiveWindow::new(FRAME_BYTES_MAX);
    let (mut seen, mut rest, mut lengths) = (Vec::new(), stream, pieces.iter().cycle());
    while let (false, Some(length)) = (rest.is_empty(), lengths.next()) {
        let count = window.push(&rest[..rest.len().min(*length)]);
        rest = &rest[count..];
        while let Some(frame) = window.next_frame().unwrap() {
            seen.push((frame.kind, frame.body.to_vec()));
        }
        window.check_invariants();
    }
    assert!(window.unread().is_empty());
    seen
}

proptest! {
    #[test]
    fn every_body_reads_back(body in body()) {
        let mut bytes = Vec::new();
        body.append_to(&mut bytes);
        let (frame, length) = FrameView::parse(&bytes).unwrap().unwrap();
        prop_assert_eq!(length, bytes.len());
        prop_assert_eq!(Body::decode(frame.kind, frame.body), Ok(body));
    }

    #[test]
    fn every_hello_reads_back_and_fits_what_a_stranger_may_send(hello in hello()) {
        let bytes = hello.encode();
        prop_assert!(bytes.len() <= HANDSHAKE_FRAME_BYTES_MAX);
        prop_assert_eq!(Hello::decode(&bytes), Ok(hello));
    }

    #[test]
    fn any_chunking_yields_the_same_frames(
        frames in vec(frame(), 1..12),
        pieces in vec(prop_oneof![1..40_usize, 1..5000_usize], 1..20),
    ) {
        let expected: Vec<_> = frames.iter().map(|bytes| {
            let (frame, _) = FrameView::parse(bytes).unwrap().unwrap();
            (frame.kind, frame.body.to_vec())
        }).collect();
        prop_assert_eq!(received(&frames.concat(), &pieces), expected);
    }

    #[test]
    fn a_flipped_body_under_a_good_checksum_never_panics(frame in frame(), bit in any::<prop::sample::Index>()) {
        let mut body = frame[FRAME_HEADER_BYTES..].to_vec();
        if !body.is_empty() {
            let bit = bit.index(body.len() * 8);
            body[bit / 8] ^= 1 << (bit % 8);
        }
        for kind in FrameKind::ALL {
            let _ = understood(&FrameView { kind, body: &body });
        }
    }

    #[test]
    fn random_bytes_never_panic(body in vec(any::<u8>(), 0..200)) {
        for kind in FrameKind::ALL {
            let _ = understood(&FrameView { kind, body: &body });
        }
    }

    #[test]
    fn random_bytes_never_grow_the_window_beyond_its_bound(
        allowed in prop_oneof![Just(HANDSHAKE_FRAME_BYTES_MAX), Just(FRAME_BYTES_MAX)],
        start in prop_oneof![frame(), Just(long_frame(FRAME_BYTES_MAX)), (0..=FRAME_BYTES_MAX).prop_map(long_frame)],
        noise in vec(any::<u8>(), 0..40_000),
        at_once in 100..400_000_usize,
    ) {
        let mut window = ReceiveWindow::new(allowed);
        for chunk in [start, noise].concat().chunks(at_once) {
            let mut rest = chunk;
            while !rest.is_empty() {
                rest = &rest[window.push(rest)..];
                while let Ok(Some(_)) = window.next_frame() {}
                window.check_invariants();
                prop_assert!(window.capacity() <= RECEIVE_WINDOW_BYTES_MAX);
                // The io layer ends the session here; so that more noise comes in, the noise is thrown away instead.
                if window.next_frame().is_err() {
                    window.consume(window.unread().len());
                }
            }
        }
    }
}

proptest! {
    // Each case flips every bit of a frame.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_single_bit_flip_of_a_frame_is_detected(good in frame()) {
        let mut bad = good.clone();
        for bit in 0..good.len() * 8 {
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(Some((frame, _))) = FrameView::parse(&bad) {
                prop_assert!(!understood(&frame), "bit {} of {}", bit, good.len() * 8);
            }
            bad[bit / 8] ^= 1 << (bit % 8);
        }
        let intact = FrameView::parse(&bad).unwrap().is_some_and(|(frame, _)| understood(&frame));
        prop_assert!(intact, "the frame itself is good");
    }
}
