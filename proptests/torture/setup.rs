//! What a node is told when its process is started.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The name of the environment by which a process knows that it is a node.
pub const VARIABLE: &str = "RESOLUTE_TORTURE_NODE";

/// One life of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// Its place in the cast.
    pub node: usize,
    /// Counted from 1.
    pub life: u32,
    /// Whether the node handles now what was kept, and publishes nothing.
    pub is_last: bool,
    /// What it publishes in which groups derives from this.
    pub seed: u64,
    pub directory: PathBuf,
    pub journals: PathBuf,
    pub bind: String,
    pub advertise: String,
    /// Where each node of the cast is found.
    pub addresses: Vec<String>,
    /// The process that started it.
    pub driver: u32,
}

/// What this process is to be, if it is to be a node.
pub fn given() -> Option<Setup> {
    let text = std::env::var(VARIABLE).ok()?;
    Some(serde_json::from_str(&text).expect("the driver sets it up in JSON"))
}
