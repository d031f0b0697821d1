//! What the driver tells a node, as lines on its standard input.

use std::io::BufRead;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// All that is asked of a node at a time; a later line replaces an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Publish little: enough was published.
    pub trickle: bool,
    /// Publish large messages, however much is owed.
    pub flood: bool,
    /// Publish nothing more.
    pub quiet: bool,
    /// Close.
    pub finish: bool,
}

/// Follows what comes in. A driver that is gone takes the node with it.
pub fn listen() -> watch::Receiver<Orders> {
    let (sender, receiver) = watch::channel(Orders::default());
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let orders = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            sender.send_replace(orders.expect("the driver gives orders in JSON"));
        }
        eprintln!("the driver is gone");
        std::process::exit(1);
    });
    receiver
}
