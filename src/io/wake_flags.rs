//! What the engine would wake for, as two flags, and the order in which both sides look at them.
//!
//! Whoever leaves something does so first, then asks [`WakeFlags::take_records`] or [`WakeFlags::take_mail`] whether to
//! ring. The engine, before it sleeps, first says what it would wake for ([`WakeFlags::arm`]), and then looks once more
//! whether something was left. Each side has a full fence between its two steps, so that at least one of them sees the
//! other's. A model of this file goes through every order in which the two can meet.

use super::sync::{AtomicBool, Ordering, fence};

/// The flags. See the module.
#[derive(Debug, Default)]
pub struct WakeFlags {
    records: AtomicBool,
    mail: AtomicBool,
}

impl WakeFlags {
    /// The engine is awake.
    #[must_use]
    pub fn new() -> WakeFlags {
        WakeFlags { records: AtomicBool::new(false), mail: AtomicBool::new(false) }
    }

    /// A record was staged: whether the engine sleeps, would wake for it, and was not rung for already.
    #[must_use]
    pub fn take_records(&self) -> bool {
        take(&self.records)
    }

    /// Mail was left: whether the engine sleeps and was not rung for already.
    #[must_use]
    pub fn take_mail(&self) -> bool {
        take(&self.mail)
    }

    /// The engine is about to sleep, and looks once more after this.
    pub fn arm(&self, for_records: bool) {
        self.records.store(for_records, Ordering::Relaxed);
        self.mail.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The engine is awake.
    pub fn disarm(&self) {
        self.records.store(false, Ordering::Relaxed);
        self.mail.store(false, Ordering::Relaxed);
    }
}

fn take(flag: &AtomicBool) -> bool {
    fence(Ordering::SeqCst);
    // Mostly it is down, and a look costs less than a swap.
    flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Relaxed)
}
