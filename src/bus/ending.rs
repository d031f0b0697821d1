//! The end of the thread of a node or a store, as all those see it who wait for it.

use std::thread::{Builder, JoinHandle};

use tokio::sync::watch;

/// Whether the thread has ended.
#[derive(Debug)]
pub(crate) struct Ending {
    ended: watch::Sender<bool>,
}

impl Ending {
    /// It has not.
    pub(crate) fn new() -> Ending {
        Ending { ended: watch::Sender::new(false) }
    }

    /// Waits until the thread has ended. Whoever closes first brings its handle.
    pub(crate) async fn wait(&self, thread: Option<JoinHandle<()>>) {
        let mut ended = self.ended.subscribe();
        if let Some(thread) = thread {
            self.report_end_of(thread);
        }
        // The sender is ours as long as we are.
        drop(ended.wait_for(|ended| *ended).await);
    }

    /// Waits on a thread of its own, for a join blocks, and whose executor this is nobody knows.
    fn report_end_of(&self, thread: JoinHandle<()>) {
        let ended = self.ended.clone();
        let spawned = Builder::new().name("resolute-close".to_owned()).spawn(move || {
            // Of a panic there the failure that is kept tells.
            drop(thread.join());
            ended.send_replace(true);
        });
        if spawned.is_err() {
            self.ended.send_replace(true);
        }
    }
}
