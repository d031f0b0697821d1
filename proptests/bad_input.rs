//! What a node does about strangers. Each time the session that is meant ends, with a reason where one can be told, a
//! session beside it goes on, and the node remains as it was.

#[path = "bad_input/stranger.rs"]
pub mod stranger;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use resolute::format::frame::{FRAME_HEADER_BYTES, FrameKind};
use resolute::format::record::RECORD_HEADER_BYTES;
use resolute::ids::{Lsn, Position, StreamId};
use resolute::wire::bodies::Body;
use resolute::wire::goodbye::GoodbyeCode;
use resolute::wire::hello::Hello;
use resolute::{Builder, Bus};

use crate::scene::{Seen, alone, close, drained, open, resident_bytes, status, subscribe, until, within};
use stranger::{End, Stranger, body_frame, hello, hello_frame, run_frame};

/// A node with a publisher, which knocks at no door but is knocked at.
pub struct House {
    pub web: Bus,
    pub email: Bus,
    pub seen: Seen,
    serving: tokio::task::JoinHandle<Result<(), resolute::Error>>,
    _directory: tempfile::TempDir,
}

impl House {
    pub async fn build() -> House {
        Self::with(|web| web).await
    }

    /// With something said of the node at whose door everyone knocks.
    pub async fn with(say: impl FnOnce(Builder) -> Builder) -> House {
        let directory = tempfile::tempdir().unwrap();
        let seen = Seen::default();
        let web = open(say(Bus::builder(directory.path().join("web")))).await;
        let email = Bus::builder(directory.path().join("email")).concurrency(1);
        let email = open(email.every("a", seen.handler())).await;
        let serving = tokio::spawn(email.serve());
        subscribe(&email, web.address(), "a").await;
        let house = House { web, email, seen, serving, _directory: directory };
        house.stands().await;
        house
    }

    pub fn knock(&self) -> Stranger {
        Stranger::connect(self.web.address())
    }

    /// The session beside goes on.
    pub async fn stands(&self) {
        let before = self.seen.count();
        within("publish", self.web.publish("a", "x")).await.unwrap();
        self.seen.reaches(before + 1).await;
    }

    /// Honest messages go both ways, one after the other, until this is aborted or one does not arrive; so many did.
    pub fn goes_on(&self) -> (tokio::task::JoinHandle<()>, Arc<AtomicU64>) {
        let (web, email) = (self.web.clone(), self.email.clone());
        let arrived = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&arrived);
        let task = tokio::spawn(async move {
            let own = web.address().to_owned();
            loop {
                within("publish", web.publish("a", "x")).await.unwrap();
                within("send", email.send(&own, "kept", "x")).await.unwrap();
                within("what is honest arrives", async {
                    while status(&web).await.outgoing + status(&email).await.outgoing > 0 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                })
                .await;
                count.fetch_add(2, Ordering::Relaxed);
            }
        });
        (task, arrived)
    }

    pub async fn leave(self) {
        self.stands().await;
        drained(&self.web).await;
        drained(&self.email).await;
        let web = status(&self.web).await;
        assert_eq!((web.incoming, web.parked, web.failure), (0, 0, None));
        close(&self.email).await;
        close(&self.web).await;
        drop(within("serve", self.serving).await);
    }
}

pub const SOON: Duration = Duration::from_secs(3);
pub const AFTER_THE_HANDSHAKE: Duration = Duration::from_secs(8);

/// That the connection ended, with that code if anything could be said.
#[track_caller]
pub fn assert_goodbye(end: &End, expected: GoodbyeCode, word: &str) {
    match end {
        End::Goodbye(code, reason) => assert!(*code == expected && reason.contains(word), "{end:?}"),
        other => panic!("{other:?} instead of {expected:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_frame_end_their_session_with_a_reason() {
    let house = House::build().await;
    let mut oversized = hello_frame(&hello(1));
    oversized[4..8].copy_from_slice(&(5000_u32).to_le_bytes());
    let crc = resolute::format::checksum::checksum(&oversized[..12]);
    oversized[12..16].copy_from_slice(&crc.to_le_bytes());
    let mut huge = oversized.clone();
    huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = resolute::format::checksum::checksum(&huge[..12]);
    huge[12..16].copy_from_slice(&crc.to_le_bytes());
    let inputs: [(&[u8], &str); 5] = [
        (&[0x5a; 1000], "not the resolute protocol"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not the resolute protocol"),
        (&oversized, "5000"),
        (&huge, "longer"),
        (b"r", ""),
    ];
    for (bytes, word) in inputs {
        let mut stranger = house.knock();
        stranger.send(bytes);
        if bytes.len() == 1 {
            stranger.hush();
            assert_eq!(stranger.end(SOON), End::Closed);
        } else {
            assert_goodbye(&stranger.end(SOON), GoodbyeCode::BadFrame, word);
        }
        house.stands().await;
    }
    house.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_frame_and_then_silence_ends_when_the_handshake_takes_too_long() {
    let house = House::build().await;
    let frame = hello_frame(&hello(1));
    let mut half: Vec<Stranger> = Vec::new();
    for length in [0, 1, 15, 16, 17, frame.len() - 1] {
        let mut stranger = house.knock();
        stranger.send(&frame[..length]);
        half.push(stranger);
    }
    // This one says hello and does not prove it.
    let mut stranger = house.knock();
    stranger.meet(&hello(1));
    half.push(stranger);
    house.stands().await;
    for stranger in &mut half {
        assert_goodbye(&stranger.end(AFTER_THE_HANDSHAKE), GoodbyeCode::Timeout, "handshake");
    }
    house.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_bit_that_flips_on_the_way_is_noticed() {
    let house = House::build().await;
    let frame = hello_frame(&hello(1));
    for bit in (0..frame.len() * 8).step_by(29) {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut stranger = house.knock();
        stranger.send(&flipped);
        assert_goodbye(&stranger.end(SOON), GoodbyeCode::BadFrame, "");
    }
    house.stands().await;
    let own = hello(2);
    let frame = {
        let mut stranger = house.knock();
        let theirs = stranger.meet(&own);
        body_frame(&Stranger::proof(&own, &theirs, [9; 16]))
    };
    for bit in (0..frame.len() * 8).step_by(31) {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut stranger = house.knock();
        stranger.meet(&own);
        stranger.send(&flipped);
        assert_goodbye(&stranger.end(SOON), GoodbyeCode::BadFrame, "");
    }
    house.stands().await;
    let run = run_frame(1, 1, 3);
    for bit in (0..run.len() * 8).step_by(67) {
        let mut flipped = run.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut stranger = house.knock();
        stranger.establish(3);
        stranger.send(&flipped);
        match stranger.end(SOON) {
            End::Goodbye(GoodbyeCode::BadFrame, _) => {}
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    assert_eq!(status(&house.web).await.incoming, 0, "nothing of that was accepted");
    house.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_of_the_protocol_is_told_which_one_is_spoken() {
    let house = House::build().await;
    let mut stranger = house.knock();
    stranger.send(&hello_frame(&Hello { version_min: 2, version_max: 9, ..hello(1) }));
    assert_goodbye(&stranger.end(SOON), GoodbyeCode::Version, "2 to 9");
    house.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_to_be_the_node_itself_or_another_and_cannot_prove_it_is_refused() {
    let house = House::build().await;
    // The node itself, with the wrong nonce: a copy of its directory.
    let mut stranger = house.knock();
    stranger.send(&hello_frame(&hello(house.web.node_id().0)));
    assert_goodbye(&stranger.end(SOON), GoodbyeCode::Clone, "copy");
    // The node itself in every respect: it never becomes a peer of its own.
    let nonce = house.knock().meet(&hello(1)).nonce;
    let own = Hello { nonce, ..hello(house.web.node_id().0) };
    let mut stranger = house.knock();
    stranger.send(&hello_frame(&own));
    let theirs = Hello { challenge: [0; 16], ..own.clone() };
    stranger.say(&Stranger::proof(&own, &theirs, [9; 16]));
    assert!(matches!(stranger.end(SOON), End::Goodbye(..)));
    // The subscriber, without its secret.
    let own = hello(house.email.node_id().0);
    let mut stranger = house.knock();
    let theirs = stranger.meet(&own);
    stranger.say(&Stranger::proof(&own, &theirs, [9; 16]));
    assert_goodbye(&stranger.end(SOON), GoodbyeCode::ProofFailed, "not the node we met");
    house.stands().await;
    // A stranger that was met before and wants something, and now has another secret, or an old proof.
    let mut stranger = house.knock();
    stranger.establish(5);
    stranger.say(&Body::Interest { generation: 1, topics: vec!["b".into()] });
    stranger.until(FrameKind::InterestConfirmed);
    let own = hello(5);
    let mut stranger = house.knock();
    let theirs = stranger.meet(&own);
    stranger.say(&Stranger::proof(&own, &theirs, [8; 16]));
    assert_goodbye(&stranger.end(SOON), GoodbyeCode::ProofFailed, "not the node we met");
    let mut stranger = house.knock();
    let theirs = stranger.meet(&hello(6));
    let old = Hello { challenge: [1; 16], ..theirs };
    stranger.say(&Stranger::proof(&hello(6), &old, [8; 16]));
    assert_goodbye(&stranger.end(SOON), GoodbyeCode::ProofFailed, "");
    let known = status(&house.web).await.destinations;
    assert!(known.iter().all(|peer| peer.node != Some(house.web.node_id().to_string())), "{known:?}");
    house.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_out_of_its_place_ends_the_session() {
    let house = House::build().await;
    let interest = |topics: &[&str]| Body::Interest {
        generation: 1,
        topics: topics.iter().map(|t| (*t).into()).collect(),
    };
    // Before anything was proved.
    let early = [
        run_frame(1, 1, 1),
        body_frame(&interest(&["a"])),
        body_frame(&Body::Ack { credit: 1, durable: Lsn(1), cursors: vec![] }),
    ];
    for frame in early {
        let mut stranger = house.knock();
        stranger.send(&frame);
        assert_goodbye(&stranger.end(SOON), GoodbyeCode::ProtocolError, "before both sides");
        let mut stranger = house.knock();
        stranger.meet(&hello(1));
        stranger.send(&frame);
        assert_goodbye(&stranger.end(SOON), GoodbyeCode::ProtocolError, "before both sides");
    }
    let mut twice = house.knock();
    twice.meet(&hello(1));
    twice.send(&hello_frame(&hello(1)));
    assert_goodbye(&twice.end(SOON), GoodbyeCode::ProtocolError, "second hello");
    // In a session.
    let late: [(Vec<u8>, GoodbyeCode, &str); 6] = [
        (run_frame(1, 2, 1), GoodbyeCode::ProtocolError, "1 was expected"),
        (bad_body(run_frame(1, 1, 2)), GoodbyeCode::BadFrame, ""),
        (hello_frame(&hello(1)), GoodbyeCode::ProtocolError, "second hello"),
        (
            body_frame(&Body::Gap { stream: StreamId(1), first: Position(5), count: 1 }),
            GoodbyeCode::ProtocolError,
            "gap",
        ),
        (unsorted_interest(), GoodbyeCode::BadFrame, "topics"),
        (
            body_frame(&Body::Resume { durable: Lsn(1), cursors: vec![] }),
            GoodbyeCode::ProtocolError,
            "out of its place",
        ),
    ];
    for (index, (frame, code, word)) in late.into_iter().enumerate() {
        let mut stranger = house.knock();
        stranger.establish(100 + index as u128);
        stranger.send(&frame);
        assert_goodbye(&stranger.end(SOON), code, word);
        house.stands().await;
    }
    house.leave().await;
}

/// A run whose last record has another body than its checksum says.
fn bad_body(mut run: Vec<u8>) -> Vec<u8> {
    let last = run.len() - 1;
    assert!(last > RECORD_HEADER_BYTES);
    run[last] ^= 1;
    run
}

fn unsorted_interest() -> Vec<u8> {
    let mut frame = body_frame(&Body::Interest { generation: 1, topics: vec!["a".into(), "b".into()] });
    let body = FRAME_HEADER_BYTES;
    frame.swap(body + 9, body + 11);
    let mut whole = Vec::new();
    resolute::format::frame::append(&mut whole, FrameKind::Interest, &frame[body..]);
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_of_what_was_never_sent_ends_the_session() {
    let house = House::build().await;
    let mut stranger = house.knock();
    stranger.establish(1);
    stranger.say(&Body::Interest { generation: 1, topics: vec!["b".into()] });
    stranger.until(FrameKind::InterestConfirmed);
    assert_eq!(within("publish", house.web.publish("b", "x")).await.unwrap().routed, 1);
    let run = stranger.until(FrameKind::Run);
    let stream = StreamId(u64::from_le_bytes(run[..8].try_into().unwrap()));
    stranger.say(&Body::Ack { credit: 4 << 20, durable: Lsn(1), cursors: vec![(stream, Position(7))] });
    assert_goodbye(&stranger.end(SOON), GoodbyeCode::ProtocolError, "never sent");
    assert_eq!(status(&house.web).await.outgoing, 1);
    // It comes back, claims to have everything, and is not believed either.
    let mut stranger = house.knock();
    let own = hello(1);
    let theirs = stranger.meet(&own);
    stranger.say(&Stranger::proof(&own, &theirs, [9; 16]));
    stranger.until(FrameKind::Resume);
    stranger.say(&Body::Resume { durable: Lsn(1), cursors: vec![(stream, Position(1 << 40))] });
    let end = stranger.end(SOON);
    assert!(matches!(end, End::Goodbye(..)), "{end:?}");
    drop(stranger);
    let mut stranger = house.knock();
    stranger.establish(1);
    stranger.until(FrameKind::Run);
    stranger.say(&Body::Ack { credit: 4 << 20, durable: Lsn(1), cursors: vec![(stream, Position(1))] });
    house.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_right_is_accepted_once_and_a_stranger_may_hang_up_at_any_time() {
    let house = House::build().await;
    for round in 0..3 {
        let mut stranger = house.knock();
        stranger.establish(1);
        stranger.send(&run_frame(1, 1, 3));
        stranger.send(&run_frame(1, 1, 5));
        // Later ones are told in the beginning how far it is.
        let acked = (round == 0).then(|| stranger.until(FrameKind::Ack));
        if let Some(Body::Ack { cursors, .. }) =
            acked.map(|body| Body::decode(FrameKind::Ack, &body).unwrap())
        {
            assert!(cursors[0].1 >= Position(3), "{cursors:?}");
        }
    }
    until("five", async || status(&house.web).await.incoming == 5).await;
    // Cut anywhere, even in the middle of a run.
    let run = run_frame(1, 6, 2);
    for length in [1, 20, run.len() / 2, run.len() - 1] {
        let mut stranger = house.knock();
        stranger.establish(1);
        stranger.send(&run[..length]);
        stranger.hush();
        assert_ne!(stranger.end(SOON), End::Open);
    }
    assert_eq!(status(&house.web).await.incoming, 5);
    house.stands().await;
    close(&house.email).await;
    close(&house.web).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_reads_holds_nobody_up_and_costs_a_bounded_memory() {
    if !alone("bad_input::a_peer_that_never_reads_holds_nobody_up_and_costs_a_bounded_memory") {
        return;
    }
    let house = House::build().await;
    let mut stranger = house.knock();
    stranger.establish(1);
    stranger.say(&Body::Interest { generation: 1, topics: vec!["b".into()] });
    stranger.until(FrameKind::InterestConfirmed);
    stranger.say(&Body::Ack { credit: 1 << 40, durable: Lsn(1), cursors: vec![] });
    let before = resident_bytes();
    for _ in 0..1000 {
        let ticket = within("publish", house.web.publish_nowait("b", vec![0; 100_000])).await.unwrap();
        assert_eq!(ticket.routed(), 1);
        drop(ticket);
    }
    let grown = resident_bytes().saturating_sub(before);
    println!("measured: {} MiB more for a peer that does not read 100 MB", grown >> 20);
    assert!(grown < 48 << 20, "{grown}");
    house.stands().await;
    // What it does not take is no life: nothing is heard of it either.
    until("given up", async || {
        let status = status(&house.web).await;
        status.destinations.iter().all(|peer| !peer.connected || peer.name != "stranger")
    })
    .await;
    house.stands().await;
    close(&house.email).await;
    close(&house.web).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_that_say_nothing_are_borne_and_then_sent_away() {
    if !alone("bad_input::three_hundred_that_say_nothing_are_borne_and_then_sent_away") {
        return;
    }
    let house = House::build().await;
    let before = resident_bytes();
    let mut silent: Vec<Stranger> = (0..300).map(|_| house.knock()).collect();
    house.stands().await;
    let mut refused = 0;
    until("those who are too many are refused", async || {
        let ended = |stranger: &mut Stranger| stranger.end(Duration::from_millis(1)) != End::Open;
        let before = silent.len();
        silent.retain_mut(|stranger| !ended(stranger));
        refused += before - silent.len();
        refused >= 300 - resolute::limits::SESSIONS_UNESTABLISHED_MAX
    })
    .await;
    assert_eq!(refused, 300 - resolute::limits::SESSIONS_UNESTABLISHED_MAX);
    let grown = resident_bytes().saturating_sub(before);
    println!("measured: {} KiB more for 300 silent connections", grown >> 10);
    assert!(grown < 24 << 20, "{grown}");
    // Half of them announce a frame, and send nothing of it.
    for stranger in &mut silent[..150] {
        stranger.send(&hello_frame(&hello(1))[..FRAME_HEADER_BYTES]);
    }
    house.stands().await;
    assert!(resident_bytes().saturating_sub(before) < 24 << 20);
    until("room again", async || {
        let mut stranger = house.knock();
        stranger.send(&hello_frame(&hello(1)));
        matches!(stranger.frame(Duration::from_millis(300)), Ok((FrameKind::Hello, _)))
    })
    .await;
    house.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_that_is_none_of_ours_is_knocked_at_without_harm() {
    // The node dials something that answers with another protocol.
    let house = House::build().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let answers: [&[u8]; 3] = [b"SSH-2.0-OpenSSH_9.6\r\n", b"rs", &[0; 64]];
    std::thread::spawn(move || {
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            drop(std::io::Write::write_all(&mut socket, answer));
        }
    });
    within("send", house.web.send(&address, "a", "x")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    house.stands().await;
    // That a handler has seen an event says nothing yet of its acknowledgement.
    until("the command is all that is owed", async || status(&house.web).await.outgoing == 1).await;
    within("remove", house.web.remove_destination(&address)).await.unwrap();
    house.leave().await;
}
