//! How far one life of a node is, counted where it happens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use resolute::Status;

use super::report::Report;

/// See the module.
#[derive(Default)]
pub struct Progress {
    pub acknowledged: AtomicU64,
    pub handled: AtomicU64,
    pub refused: AtomicU64,
    pub quiet: AtomicBool,
    /// Bytes owed to peers, when they were last looked at.
    pub owed_bytes: AtomicU64,
}

impl Progress {
    /// All of it, with what the bus says of itself if it is open.
    pub fn report(&self, status: Option<&Status>) -> Report {
        let mut report = Report {
            acknowledged: self.acknowledged.load(Ordering::Relaxed),
            handled: self.handled.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            quiet: self.quiet.load(Ordering::Relaxed),
            ..Report::default()
        };
        if let Some(status) = status {
            let destinations = &status.destinations;
            let owed_bytes = destinations.iter().map(|to| to.owed_bytes).sum();
            self.owed_bytes.store(owed_bytes, Ordering::Relaxed);
            let lost: u64 = destinations.iter().map(|to| to.lost).sum();
            report.opened = true;
            report.connected = destinations.iter().filter(|to| to.connected).count() as u64;
            (report.outgoing, report.incoming) = (status.outgoing, status.incoming);
            (report.parked, report.gone) = (status.parked, status.dead_letters + status.dropped + lost);
            (report.disk_full, report.failure) = (status.disk_full, status.failure.clone());
        }
        report
    }
}

/// Counts one more.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
