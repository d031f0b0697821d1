//! How other threads wake the engine's: only when it sleeps, and only for what it could do something about.

use tokio::sync::Notify;

use super::wake_flags::WakeFlags;

/// The bell of the engine's thread. [`WakeFlags`] says when it is rung.
#[derive(Debug)]
pub struct Wake {
    flags: WakeFlags,
    bell: Notify,
}

impl Default for Wake {
    fn default() -> Wake {
        Wake { flags: WakeFlags::new(), bell: Notify::new() }
    }
}

impl Wake {
    /// A record was staged.
    pub fn record_staged(&self) {
        if self.flags.take_records() {
            self.bell.notify_one();
        }
    }

    /// Something was put into the mailbox.
    pub fn mail_left(&self) {
        if self.flags.take_mail() {
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
        self.flags.arm(for_records);
    }

    /// The engine is awake.
    pub fn disarm(&self) {
        self.flags.disarm();
    }

    /// What the engine sleeps on.
    #[must_use]
    pub fn bell(&self) -> &Notify {
        &self.bell
    }
}
