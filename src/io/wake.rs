//! How other threads wake the engine's: only when it sleeps, and only for what it could do something about.

use tokio::sync::Notify;

use super::sleep_flag::SleepFlag;

/// The bell of the engine's thread. [`SleepFlag`] says when it is rung for mail; the lock of the staging buffer guards
/// whether it is rung for records, for publishers hold that lock anyway.
#[derive(Debug)]
pub struct Wake {
    sleeping: SleepFlag,
    bell: Notify,
}

impl Default for Wake {
    fn default() -> Wake {
        Wake { sleeping: SleepFlag::new(), bell: Notify::new() }
    }
}

impl Wake {
    /// Something was put into the mailbox.
    pub fn mail_left(&self) {
        if self.sleeping.take() {
            self.bell.notify_one();
        }
    }

    /// It wakes, or does not go to sleep.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// The engine is about to sleep. After this it looks once more for what was left.
    pub fn arm(&self) {
        self.sleeping.arm();
    }

    /// The engine is awake.
    pub fn disarm(&self) {
        self.sleeping.disarm();
    }

    /// What the engine sleeps on.
    #[must_use]
    pub fn bell(&self) -> &Notify {
        &self.bell
    }
}
