//! Connections that would leave the log without a descriptor.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use resolute::limits::{DESCRIPTORS_KEPT, SEGMENT_BYTES_MIN};

use crate::bad_input::House;
use crate::bad_input::stranger::{End, Stranger, hello};
use crate::scene::{alone, drained, status, within};

const DESCRIPTORS: u64 = 3 * DESCRIPTORS_KEPT;

/// Comes in, stays, and says whether it could.
fn crowd_in(house: &House, crowd: &mut Vec<Stranger>) -> bool {
    let Ok(mut stranger) = Stranger::try_connect(house.web.address()) else { return false };
    let established = stranger.try_establish(&hello(1 + crowd.len() as u128));
    crowd.push(stranger);
    assert_ne!(established, Err(End::Open), "it was neither let in nor sent away");
    established.is_ok()
}

// The next segment could not be opened, and the log stood still for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_leave_the_log_the_descriptors_that_it_needs() {
    if !alone("hostile::descriptors::connections_leave_the_log_the_descriptors_that_it_needs") {
        return;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(hard), hard).unwrap();
    let house = House::with(|web| web.segment_bytes(SEGMENT_BYTES_MIN)).await;
    let mut crowd = Vec::new();
    while crowd_in(&house, &mut crowd) {}
    // Both ends of each are in this process.
    let most = (DESCRIPTORS - DESCRIPTORS_KEPT) as usize / 2;
    assert!((most / 2..=most + 1).contains(&crowd.len()), "{} of {most} got in", crowd.len());
    println!("measured: {} connections of {DESCRIPTORS} descriptors", crowd.len());
    // Several segments are opened meanwhile.
    for _ in 0..5 * SEGMENT_BYTES_MIN / 200_000 {
        within("publish", house.web.publish("a", vec![0; 200_000])).await.unwrap();
    }
    drained(&house.web).await;
    let web = status(&house.web).await;
    assert_eq!((web.failure, web.disk_full), (None, false));
    house.stands().await;
    drop(crowd);
    house.leave().await;
}
