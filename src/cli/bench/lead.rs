//! How far publishers may run ahead of their subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::deliver::NOBODY;
use super::load::Load;
use super::receivers::PATIENCE;
use crate::bus::{Bus, Status, Stopwatch};
use crate::cli::exit::{Exit, Failure};

/// Bytes that publishers may be ahead of the slowest subscriber: about what a node keeps in memory for those who keep up.
/// Beyond that they would measure how fast the log is read back.
pub const LEAD_BYTES: u64 = 4 << 20;

/// How often it is looked how far they are ahead, for each subscriber: a look costs more with each.
const LOOK: Duration = Duration::from_micros(250);

/// And how often at least.
const LOOK_MAX: Duration = Duration::from_millis(4);

/// What publishers wait for before they go on.
#[derive(Clone)]
pub enum Lead {
    /// That not too much is owed.
    Little(Owed),
    /// That nothing is: one message at a time, from its publishing until it was handled and acknowledged.
    Nothing(Bus),
}

/// Messages that may be owed to each subscriber, and how many are.
#[derive(Clone)]
pub struct Owed {
    owed_max: u64,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    owed: AtomicU64,
    /// Nobody is held back any more.
    is_over: AtomicBool,
    /// Nothing came back for too long.
    is_stuck: AtomicBool,
    changed: Notify,
}

impl Lead {
    /// The lead of that load.
    pub fn new(bus: &Bus, load: &Load, subscribers: u32) -> Lead {
        if load.publishers == 1 && load.pipeline == 1 {
            return Lead::Nothing(bus.clone());
        }
        Lead::Little(Owed::watch(bus, load.size(), subscribers))
    }

    /// Waits until one may go on.
    pub async fn wait(&self) -> Result<(), Failure> {
        match self {
            Lead::Little(owed) => owed.wait().await?,
            Lead::Nothing(bus) => {
                let left = bus.drain(PATIENCE).await?;
                if !left.is_empty() {
                    let text = format!("a message has not come back for {} s", PATIENCE.as_secs());
                    return Err(Failure::new(Exit::Failure, text));
                }
            }
        }
        Ok(())
    }

    /// The time is over: whoever waits goes on, and nobody waits any more.
    pub fn end(&self) {
        if let Lead::Little(owed) = self {
            owed.shared.is_over.store(true, Ordering::Relaxed);
            owed.shared.changed.notify_waiters();
        }
    }
}

impl Owed {
    /// Looks at what the node owes, until it closes or nobody wants to know. A thread of its own looks, for the timers of a
    /// runtime have a coarser grain.
    fn watch(bus: &Bus, size: u32, subscribers: u32) -> Owed {
        let owed_max = (LEAD_BYTES / u64::from(size)).max(1);
        let owed = Owed { owed_max, shared: Arc::default() };
        let (bus, told, runtime) =
            (bus.clone(), Arc::downgrade(&owed.shared), tokio::runtime::Handle::current());
        let pause = LOOK_MAX.min(LOOK * subscribers);
        std::thread::spawn(move || {
            let mut rest = Rest { owed: 0, since: Stopwatch::start() };
            while let Ok(status) = runtime.block_on(bus.status()) {
                let Some(shared) = told.upgrade() else { return };
                let owed = owed_to_the_slowest(&status);
                shared.tell(owed, owed_max, rest.is_too_long(owed));
                drop(shared);
                std::thread::sleep(pause);
            }
        });
        owed
    }

    async fn wait(&self) -> Result<(), Failure> {
        loop {
            let changed = self.shared.changed.notified();
            if self.shared.is_stuck.load(Ordering::Relaxed) {
                let text = format!("a receiver has handled nothing for {} s", PATIENCE.as_secs());
                return Err(Failure::new(Exit::Failure, text));
            }
            let little = self.shared.owed.load(Ordering::Relaxed) < self.owed_max;
            if little || self.shared.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            changed.await;
        }
    }
}

/// How long the same has been owed. Publishers that are not held back make it more, and subscribers less.
struct Rest {
    owed: u64,
    since: Stopwatch,
}

impl Rest {
    fn is_too_long(&mut self, owed: u64) -> bool {
        if owed == 0 || owed != self.owed {
            *self = Rest { owed, since: Stopwatch::start() };
        }
        self.since.elapsed() > PATIENCE
    }
}

impl Shared {
    /// So many are owed now to the slowest; and whether that has been so for too long.
    fn tell(&self, owed: u64, owed_max: u64, is_stuck: bool) {
        self.owed.store(owed, Ordering::Relaxed);
        self.is_stuck.store(is_stuck, Ordering::Relaxed);
        if owed < owed_max || is_stuck {
            self.changed.notify_waiters();
        }
    }
}

/// The publishers wait for the slowest: what is owed to the others is a part of what is owed to it.
fn owed_to_the_slowest(status: &Status) -> u64 {
    let present = status.destinations.iter().filter(|destination| destination.address != NOBODY);
    slowest(present.map(|destination| destination.owed))
}

fn slowest(owed: impl Iterator<Item = u64>) -> u64 {
    owed.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_hears_that_nothing_comes_back() {
        let owed = Owed { owed_max: 10, shared: Arc::default() };
        owed.shared.tell(10, 10, false);
        let shared = Arc::clone(&owed.shared);
        let waiting = tokio::spawn(async move { owed.wait().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        shared.tell(10, 10, true);
        assert!(waiting.await.unwrap().is_err());
    }

    #[test]
    fn only_what_is_owed_and_stays_the_same_can_be_for_too_long() {
        let long_ago = || Stopwatch::from_reading(0);
        for (before, now, is_too_long) in [(7, 7, true), (7, 6, false), (7, 8, false), (0, 0, false)] {
            let mut rest = Rest { owed: before, since: long_ago() };
            assert_eq!(rest.is_too_long(now), is_too_long, "{before} and then {now}");
        }
    }

    #[test]
    fn publishers_wait_for_the_slowest_alone() {
        assert_eq!(slowest([3, 9, 4].into_iter()), 9);
        assert_eq!(slowest(std::iter::empty()), 0);
    }
}
