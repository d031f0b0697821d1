//! Peers that never acknowledge, or take none of what is acknowledged to them.

use resolute::format::frame::FrameKind;
use resolute::ids::{Lsn, Position, StreamId};
use resolute::limits::INBOUND_STREAMS_PER_PEER_MAX;
use resolute::wire::bodies::Body;

use crate::bad_input::House;
use crate::bad_input::stranger::{Stranger, run_frame};
use crate::scene::{alone, close, resident_bytes, status, until, within};

/// A session that subscribes to `b`, and may be sent anything.
async fn subscriber(house: &House, node: u128) -> Stranger {
    let mut stranger = house.knock();
    stranger.establish(node);
    stranger.say(&Body::Interest { generation: 1, topics: vec!["b".into()] });
    stranger.until(FrameKind::InterestConfirmed);
    stranger.say(&Body::Ack { credit: 1 << 40, durable: Lsn(1), cursors: vec![] });
    stranger
}

async fn publish(house: &House, count: usize, bytes: usize) {
    for _ in 0..count {
        let ticket = within("publish", house.web.publish_nowait("b", vec![0; bytes])).await.unwrap();
        assert_eq!(ticket.routed(), 1);
    }
}

/// Nothing but what the stranger never acknowledged.
async fn owes(house: &House, count: usize) {
    until("all others have theirs", async || status(&house.web).await.outgoing == count as u64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_reads_all_and_acknowledges_nothing_costs_the_log_and_no_memory() {
    const NAME: &str =
        "hostile::acks::a_peer_that_reads_all_and_acknowledges_nothing_costs_the_log_and_no_memory";
    if !alone(NAME) {
        return;
    }
    const MESSAGES: usize = 600;
    let house = House::build().await;
    let mut stranger = subscriber(&house, 1).await;
    let before = resident_bytes();
    let mut taken = 0;
    for _ in 0..MESSAGES / 20 {
        publish(&house, 20, 100_000).await;
        while taken < status(&house.web).await.outgoing {
            let run = stranger.until(FrameKind::Run);
            taken += u64::from(u32::from_le_bytes(run[16..20].try_into().unwrap()));
        }
    }
    let grown = resident_bytes().saturating_sub(before);
    println!("measured: {} MiB more for 60 MB that were never acknowledged", grown >> 20);
    assert!(grown < 48 << 20, "{grown}");
    house.stands().await;
    // All of it is still owed, and comes again to whoever says to have nothing.
    owes(&house, MESSAGES).await;
    let mut again = house.knock();
    again.establish(1);
    let run = again.until(FrameKind::Run);
    assert_eq!(run[8..16], 1_u64.to_le_bytes());
    let stream = StreamId(u64::from_le_bytes(run[..8].try_into().unwrap()));
    house.stands().await;
    // What it never got it cannot have.
    again.say(&Body::Ack {
        credit: 0,
        durable: Lsn(1),
        cursors: vec![(stream, Position(MESSAGES as u64 + 1))],
    });
    assert!(again.try_until(FrameKind::Hello).is_err());
    house.stands().await;
    owes(&house, MESSAGES).await;
    house.stands().await;
    close(&house.email).await;
    close(&house.web).await;
}

// The acks of all streams that ever were piled up, and as soon as the peer read on the node panicked: a frame has room for
// those of so many streams as there may be at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_come_and_go_while_a_peer_reads_nothing_bring_nobody_down() {
    const STREAMS: u64 = 2 * INBOUND_STREAMS_PER_PEER_MAX as u64 + 9;
    let house = House::build().await;
    let mut stranger = subscriber(&house, 1).await;
    // More than sockets take, so that the node has no room to say anything else.
    publish(&house, 250, 100_000).await;
    for stream in 1..=STREAMS {
        stranger.send(&run_frame(stream, 1, 1));
        stranger.say(&Body::StreamEnd { stream: StreamId(stream), last: Position(1) });
        let accepted = async || status(&house.web).await.incoming == stream;
        until(&format!("stream {stream} is accepted"), accepted).await;
    }
    stranger.send(&run_frame(STREAMS + 1, 1, 1));
    until("accepted", async || status(&house.web).await.incoming == STREAMS + 1).await;
    house.stands().await;
    // It reads on, and hears of the stream that there is.
    let acked = Body::decode(FrameKind::Ack, &stranger.until(FrameKind::Ack)).unwrap();
    let Body::Ack { cursors, .. } = acked else { panic!("{acked:?}") };
    assert_eq!(cursors, [(StreamId(STREAMS + 1), Position(1))]);
    house.stands().await;
    close(&house.email).await;
    close(&house.web).await;
}
