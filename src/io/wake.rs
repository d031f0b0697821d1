//! How other threads wake the engine's: only when it sleeps, and only for what it could do something about.

use std::sync::atomic::{AtomicBool, Ordering, fence};

use tokio::sync::Notify;

/// The bell of the engine's thread.
///
/// Whoever leaves something for the engine does so first, then rings. The engine, before it sleeps, first says what it
/// would wake for and then looks once more whether something was left. Each side fences between its two steps, so
/// that at least one of them sees the other's.
#[derive(Debug, Default)]
pub struct Wake {
    records: AtomicBool,
    mail: AtomicBool,
    bell: Notify,
}

impl Wake {
    /// A record was staged.
    pub fn record_staged(&self) {
        fence(Ordering::SeqCst);
        if self.records.load(Ordering::Relaxed) && self.records.swap(false, Ordering::AcqRel) {
            self.bell.notify_one();
        }
    }

    /// Something was put into the mailbox.
    pub fn mail_left(&self) {
        fence(Ordering::SeqCst);
        if self.mail.load(Ordering::Relaxed) && self.mail.swap(false, Ordering::AcqRel) {
            self.bell.notify_one();
        }
    }

    /// For the engine's own thread, where tasks report to the driver: it wakes, or does not go to sleep.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// The engine is about to sleep. After this it looks once more for what was left. With no write to begin,
    /// publishers need not wake it: the end of a write will.
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

    /// What the engine sleeps on.
    #[must_use]
    pub fn bell(&self) -> &Notify {
        &self.bell
    }
}
