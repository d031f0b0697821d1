//! What the commands that open a node run on: one thread, and signals that end them in good order.

use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::{Exit, Failure};
use super::output;

/// Runs a command. Threads that still wait for standard input or output end with the process.
pub fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime: Runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("start the runtime", &error))?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}

/// Whether the user, or the system, wants the command to end: SIGINT or SIGTERM.
#[derive(Clone, Debug)]
pub struct Stop {
    wanted: watch::Receiver<bool>,
}

impl Stop {
    /// Begins to listen. A second signal ends the process at once, which is as safe as any crash.
    pub fn listen() -> Result<Stop, Failure> {
        let failed = |error: std::io::Error| Failure::io("listen for signals", &error);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let (sender, wanted) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                select(pin!(interrupt.recv()), pin!(terminate.recv())).await;
                if sender.send_replace(true) {
                    std::process::exit(Exit::Failure as i32);
                }
                output::say("closing; once more to end at once");
            }
        });
        Ok(Stop { wanted })
    }

    /// The outcome of `future`, unless the command is to end before.
    pub async fn or<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut wanted = self.wanted.clone();
        let stop = pin!(async move {
            // Without a sender there are no signals to wait for.
            if wanted.wait_for(|wanted| *wanted).await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        match select(pin!(future), stop).await {
            Either::Left((outcome, _)) => Some(outcome),
            Either::Right(_) => None,
        }
    }
}
