//! One of those who make trials side by side: a disk, two places for nodes, and prepared disks.

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::addresses::free_port;
use super::ledger::Ledger;
use super::node::Place;
use super::power::{Power, Stop};
use super::template::Template;

/// What one trial after the other is made with.
pub struct Lane {
    pub power: Power,
    pub node_at: Place,
    pub peer_at: Place,
    /// Where the peers' directories are.
    pub ordinary: TempDir,
    known: BTreeMap<Template, Ledger>,
}

impl Lane {
    pub async fn start() -> Result<Lane, Stop> {
        let failed = |error: std::io::Error| Stop::Failed(error.to_string());
        let ordinary = tempfile::tempdir().map_err(failed)?;
        let mounted = ordinary.path().join("disk");
        std::fs::create_dir(&mounted).map_err(failed)?;
        let place = |directory| Place { directory, port: free_port() };
        let node_at = place(mounted.join("node"));
        let peer_at = place(ordinary.path().join("peer"));
        let power = Power::start(&mounted).await?;
        Ok(Lane { power, node_at, peer_at, ordinary, known: BTreeMap::new() })
    }

    /// What is known of a prepared disk, which is made the first time.
    pub async fn ledger_of(&mut self, template: Template) -> Result<Ledger, String> {
        if let Some(known) = self.known.get(&template) {
            return Ok(known.clone());
        }
        let made = template.make(&mut self.power, &self.node_at, &self.peer_at).await;
        let made = made.map_err(|error| format!("to prepare {template:?}: {error}"))?;
        self.power.restore().await?;
        let copy = made.clone();
        self.known.insert(template, made);
        Ok(copy)
    }
}
