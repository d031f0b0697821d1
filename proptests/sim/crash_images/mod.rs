//! Every image that a crash may leave of a log, for every workload of one to three operations, and every image that a crash of
//! its recovery may leave.
//!
//! A workload is run on a whole engine with its peer. At each moment at which a crash may leave something else than before,
//! all images are made: which of the writes in flight arrived, and which sectors of them ([`writes`]); which names of files were changed.
//! A file that was a segment before shows what it held then where new bytes did not arrive. Each image is recovered by
//! the shipped scan and the shipped steps of a repair, and crashed again after each step, by a power cut and by a kill
//! ([`judge`]). What must be found is said in [`expected`]. Each log that a recovery leaves is opened, its first writes are
//! crashed too, and it is gone on with ([`afterwards`]).
//!
//! An image that was seen is recovered no second time, but still held against what must be found at that moment.
//!
//! `RESOLUTE_CRASH_IMAGES=all` runs all workloads, in a release build, `RESOLUTE_CRASH_IMAGES=600..900` those of these numbers, and
//! `RESOLUTE_CRASH_IMAGES=Publish,Roll` that one. Otherwise
//! those of one operation are run, and some of the others: the same ones each time, and some by a seed that is printed;
//! and of all their images a part, by the same seed. `RESOLUTE_SEED` sets it.

mod afterwards;
mod expected;
mod judge;
mod life;
mod medium;
mod operation;
mod writes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::rng::Rng;
use afterwards::Moment;
use judge::{Depth, Judge};
use life::{Life, Look, Order};
use operation::Operation;
use writes::Share;

/// How long an operation takes at most, in microseconds.
const OPERATION_US: u64 = 60_000;

/// Workloads of two and three operations that a run has that is not asked for all: the same each time, and others.
const SAMPLES: [usize; 2] = [2, 2];

/// What such a run looks at of each.
const SLICE: Share = Share { at_most: 24, one_in: 4, seed: 0 };

#[derive(Clone, Debug)]
struct Workload {
    operations: Vec<Operation>,
    order: Order,
}

impl Workload {
    fn all() -> Vec<Workload> {
        let mut all = vec![Workload { operations: Vec::new(), order: Order::Apart }];
        let mut longest: Vec<Vec<Operation>> = vec![Vec::new()];
        for _ in 0..3 {
            let longer =
                |before: &Vec<Operation>, next: &Operation| before.iter().copied().chain([*next]).collect();
            longest = longest
                .iter()
                .flat_map(|before| Operation::ALL.iter().map(move |next| longer(before, next)))
                .collect();
            for operations in &longest {
                // One operation has no other to begin together with.
                let orders = Order::ALL.into_iter().filter(|o| operations.len() > 1 || *o != Order::Together);
                all.extend(orders.map(|order| Workload { operations: operations.clone(), order }));
            }
        }
        all
    }

    /// The moments of the operations before the last are those of shorter workloads; that of none is how a node comes to be.
    fn run(&self, judge: &Judge) {
        judge.counts.workloads.fetch_add(1, Ordering::Relaxed);
        self.go_through(&mut |life| Moment::of(life).judge(judge, Depth::GoneOn));
    }

    fn go_through(&self, look: &mut Look<'_>) {
        let Some((last, before)) = self.operations.split_last() else {
            Life::begin(self.order, look);
            return;
        };
        let mut life = Life::begin(self.order, &mut |_| {});
        for operation in before {
            operation.begin(&mut life, &mut |_| {});
            wait(&mut life, *operation, self.order, &mut |_| {});
        }
        last.begin(&mut life, look);
        wait(&mut life, *last, Order::Apart, look);
    }
}

fn wait(life: &mut Life, operation: Operation, order: Order, look: &mut Look<'_>) {
    match order {
        Order::Apart => life.advance(OPERATION_US, look),
        Order::Together | Order::Overtaking => {
            life.advance_until(OPERATION_US, look, &mut |life| !life.is_idle());
        }
    }
    operation.end(life, look);
}

/// Runs workloads on all cores. The first that fails is named.
fn run(workloads: &[Workload], share: Share) -> Judge {
    let (judge, next) = (Judge::new(share), AtomicUsize::new(0));
    let failures: Mutex<Vec<String>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for number in 0..threads {
            let (judge, next, failures) = (&judge, &next, &failures);
            scope.spawn(move || {
                let mut said = Instant::now();
                while let Some(workload) = workloads.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !failures.lock().unwrap().is_empty() {
                        return;
                    }
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| workload.run(judge))) {
                        let text = panic.downcast_ref::<String>().cloned();
                        let text =
                            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                        failures.lock().unwrap().push(format!("{workload:?}: {}", text.unwrap_or_default()));
                    }
                    if number == 0 && said.elapsed() > Duration::from_secs(10) {
                        said = Instant::now();
                        println!("{}", judge.counts.line());
                    }
                }
            });
        }
    });
    println!("{}", judge.counts.line());
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    judge
}

/// All workloads of one operation.
fn short() -> Vec<Workload> {
    let all = Workload::all().into_iter();
    all.filter(|workload| workload.operations.len() <= 1 && workload.order == Order::Apart).collect()
}

/// So many of the longer ones.
fn longer(seed: u64, count: usize) -> Vec<Workload> {
    let longer: Vec<_> =
        Workload::all().into_iter().filter(|workload| workload.operations.len() > 1).collect();
    let mut rng = Rng::new(seed);
    (0..count).map(|_| longer[rng.below(longer.len() as u64) as usize].clone()).collect()
}

/// What the variable asks for: everything, the workloads of these numbers, or one workload in each order.
fn asked_for(what: &str) -> Vec<Workload> {
    if let Some((first, end)) = what.split_once("..") {
        let [first, end] = [first, end].map(|number| number.parse::<usize>().expect("A..B, of numbers"));
        return Workload::all().into_iter().take(end).skip(first).collect();
    }
    let is_it = |workload: &Workload| {
        let names: Vec<String> = workload.operations.iter().map(|name| format!("{name:?}")).collect();
        names.join(",") == what
    };
    let asked: Vec<_> = Workload::all().into_iter().filter(|w| what == "all" || is_it(w)).collect();
    assert!(
        !asked.is_empty(),
        "RESOLUTE_CRASH_IMAGES is all, A..B, or one of {:?} or up to three, as A,B,C",
        Operation::ALL
    );
    asked
}

/// One in so many workloads is gone through without its images in each run.
const GONE_THROUGH: usize = 16;

#[test]
fn every_workload_comes_to_its_end() {
    for seed in crate::scene::seeds("sim::crash_images, gone through") {
        let mut moments = 0;
        for workload in Workload::all().iter().skip(seed as usize % GONE_THROUGH).step_by(GONE_THROUGH) {
            workload.go_through(&mut |_| moments += 1);
        }
        assert!(moments > 300, "{moments}");
    }
}

#[test]
fn whatever_a_crash_leaves_is_recovered_and_gone_on_with() {
    let seed = crate::scene::seed("sim::crash_images");
    let begun = Instant::now();
    let counts = match std::env::var("RESOLUTE_CRASH_IMAGES") {
        Ok(what) => run(&asked_for(&what), Share::ALL).counts.numbers(),
        Err(_) => {
            let same = [short(), longer(1, SAMPLES[0])].concat();
            let same = run(&same, Share { seed: 1, ..SLICE }).counts.numbers();
            let fresh = run(&longer(seed, SAMPLES[1]), Share { seed, ..SLICE }).counts.numbers();
            assert_eq!(same.workloads, 9 + SAMPLES[0] as u64);
            // Those of one operation alone leave so many, whatever is drawn.
            assert!(same.images > 2_000 && same.second > 2_000 && same.killed > 100, "{same:?}");
            same.with(&fresh)
        }
    };
    println!("{:.0?}", begun.elapsed());
    assert!(counts.images > 50 && counts.recovered > 5, "there are images to look at: {counts:?}");
}
