//! What a peer may claim, and is not believed.

use resolute::format::frame::FrameKind;
use resolute::ids::{Epoch, Lsn, Position, StreamId};
use resolute::wire::bodies::Body;
use resolute::wire::goodbye::GoodbyeCode;
use resolute::wire::hello::Hello;

use crate::bad_input::stranger::{End, Stranger, hello};
use crate::bad_input::{House, SOON, assert_goodbye};
use crate::scene::{close, status, until, within};

/// Room for one small message.
const CREDIT: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_acknowledges_what_it_is_owed_and_was_not_sent_yet_is_sent_away() {
    let house = House::build().await;
    let mut stranger = house.knock();
    stranger.try_establish(&Hello { credit_bytes: CREDIT, ..hello(1) }).unwrap();
    stranger.say(&Body::Interest { generation: 1, topics: vec!["b".into()] });
    stranger.until(FrameKind::InterestConfirmed);
    within("publish", house.web.publish("b", "x")).await.unwrap();
    let run = stranger.until(FrameKind::Run);
    let stream = StreamId(u64::from_le_bytes(run[..8].try_into().unwrap()));
    // For this one it granted nothing, so it cannot have come.
    within("publish", house.web.publish("b", vec![0; 2 * CREDIT as usize])).await.unwrap();
    stranger.say(&Body::Ack { credit: CREDIT, durable: Lsn(1), cursors: vec![(stream, Position(2))] });
    assert_goodbye(&stranger.end(SOON), GoodbyeCode::ProtocolError, "never sent");
    assert_eq!(status(&house.web).await.outgoing, 2);
    house.stands().await;
    close(&house.email).await;
    close(&house.web).await;
}

// An older copy of this program would not notice by itself that its log was set back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_for_an_earlier_opening_than_was_met_is_refused() {
    let house = House::build().await;
    let of = |epoch: u64, nonce: u64| Hello { epoch: Epoch(epoch), nonce, ..hello(1) };
    for (epoch, nonce, is_taken) in
        [(5, 50, true), (4, 40, false), (5, 51, false), (5, 50, true), (6, 60, true)]
    {
        let mut stranger = house.knock();
        let met = stranger.try_establish(&of(epoch, nonce));
        if is_taken {
            assert!(met.is_ok(), "{epoch} {nonce}: {met:?}");
            continue;
        }
        let Err(end @ End::Goodbye(..)) = met else { panic!("{epoch} {nonce}: {met:?}") };
        assert_goodbye(&end, GoodbyeCode::ProtocolError, "set back");
    }
    house.stands().await;
    close(&house.email).await;
    close(&house.web).await;
}

// A session that its peer had ended meanwhile was taken for its latest, and what was accepted since for lost (seed 2000517).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_that_comes_late_does_not_make_what_was_accepted_since_look_lost() {
    let house = House::build().await;
    let mut stranger = house.knock();
    stranger.try_establish(&hello(1)).unwrap();
    stranger.say(&Body::Interest { generation: 1, topics: vec!["b".into()] });
    stranger.until(FrameKind::InterestConfirmed);
    within("publish", house.web.publish("b", "x")).await.unwrap();
    let run = stranger.until(FrameKind::Run);
    let stream = StreamId(u64::from_le_bytes(run[..8].try_into().unwrap()));
    stranger.say(&Body::Ack { credit: CREDIT, durable: Lsn(50), cursors: vec![(stream, Position(1))] });
    until("it is accepted", async || status(&house.web).await.outgoing == 0).await;
    for (durable, cursors, is_taken) in [
        (49, vec![], false),
        (50, vec![(stream, Position(1))], true),
        (49, vec![], false),
        (51, vec![], true),
    ] {
        let mut stranger = house.knock();
        let own = hello(1);
        let theirs = stranger.meet(&own);
        stranger.say(&Stranger::proof(&own, &theirs, [9; 16]));
        stranger.until(FrameKind::Resume);
        stranger.say(&Body::Resume { durable: Lsn(durable), cursors: cursors.clone() });
        if !is_taken {
            assert_goodbye(&stranger.end(SOON), GoodbyeCode::Duplicate, "said more on another session");
            continue;
        }
        // Who says so later has lost it: that is told.
        if cursors.is_empty() {
            stranger.until(FrameKind::Gap);
        }
        stranger.say(&Body::Interest { generation: 1, topics: vec!["b".into()] });
        stranger.until(FrameKind::InterestConfirmed);
    }
    house.stands().await;
    close(&house.email).await;
    close(&house.web).await;
}
