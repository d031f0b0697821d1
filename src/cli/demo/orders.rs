//! What the demo tells its two processes, as lines on their standard input: `up-to N` and `finish`.
//!
//! If that input ends without `finish`, the demo is gone, and its processes go too.

use std::io::BufRead;

use tokio::sync::watch;

use crate::cli::exit::{Exit, Failure};

/// The last order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Sign-ups that web may publish: those with numbers up to this one.
    pub up_to: u64,
    /// Whether to end, in good order.
    pub finish: bool,
}

impl Orders {
    /// The line that says so.
    pub fn line(&self) -> String {
        if self.finish { "finish\n".to_owned() } else { format!("up-to {}\n", self.up_to) }
    }

    fn take(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("up-to", number)) => self.up_to = number.parse().unwrap_or(self.up_to),
            _ => self.finish |= line == "finish",
        }
    }
}

/// Listens for orders.
pub fn listen() -> Result<watch::Receiver<Orders>, Failure> {
    let (sender, orders) = watch::channel(Orders::default());
    let read = move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            sender.send_modify(|orders| orders.take(&line));
        }
        if !sender.borrow().finish {
            std::process::exit(Exit::Failure as i32);
        }
    };
    let spawned = std::thread::Builder::new().name("demo-orders".to_owned()).spawn(read);
    spawned.map_err(|error| Failure::io("start a thread", &error))?;
    Ok(orders)
}

/// Waits for orders that fit. They come until the process ends, so this waits for as long.
pub async fn wait_for(orders: &mut watch::Receiver<Orders>, fits: impl FnMut(&Orders) -> bool) -> Orders {
    let found = orders.wait_for(fits).await.map(|orders| *orders);
    // Without a sender the last order was `finish`.
    found.unwrap_or_else(|_| Orders { finish: true, ..*orders.borrow() })
}
