//! SIGINT and SIGTERM: the driver ends as if it had failed, and cleans up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal};

/// Whether someone wants this to end.
#[derive(Clone)]
pub struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// Takes both signals from now on. Called before any other thread is started: they inherit that neither ends them.
    pub fn listen() -> Result<Interruption, String> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block().map_err(|error| error.to_string())?;
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupted);
        std::thread::spawn(move || {
            while signals.wait().is_ok() {
                flag.store(true, Ordering::SeqCst);
            }
        });
        Ok(Interruption(interrupted))
    }

    pub fn must_not_be(&self) -> Result<(), String> {
        if self.0.load(Ordering::SeqCst) { Err("interrupted".to_owned()) } else { Ok(()) }
    }
}
